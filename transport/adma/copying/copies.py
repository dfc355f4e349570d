# SPDX-License-Identifier: BSD-3-Clause
"""Copies inside one process, handed to the copy engine: the paper's table 1."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from .._core import copies as core
from .._core.buffers import is_hold, lengths_differ, pair
from .._core.buffers import release as release_hold
from .._core.holds import any_finished, forget, keep, let_go_finished
from .._core.results import FORKED, error_for
from ..arguments import deadline_of
from ..errors import Cancelled
from ..request import Request, size_text
from . import engine
from .outstanding import SLICE_NS, keep_for_ever, pending

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from .._core.types import Copy, Dims, Hold, Plan
    from .arrays import Strided

__all__ = ["CopyRequest", "copy", "icopy", "wait_copies"]

# Bytes from which the engine's threads take part in a blocking copy. For less, handing a part
# over costs more than it gains. Measured, see docs/benchmarks.md.
_SPREAD_FROM = 512 << 10
_SMALL = engine.AT_ONCE_MAX  # bytes; icopy never makes a longer copy itself

# Looked up once: these are called for each small copy.
_copy_now, _copy_small, _new_copy = core.copy_now, core.copy_small, core.new


class CopyRequest(Request):
    """A copy under way inside this process. `icopy` makes it."""

    __slots__ = ("__weakref__", "_copy", "_dims", "_holds", "_nbytes", "_told")

    def __init__(
        self, nbytes: int | None, copy: Copy | None = None, holds: Sequence[Hold | Strided] = ()
    ) -> None:
        self._nbytes = nbytes  # once it is known to be done without error
        self._copy: Any = copy  # None: icopy made it itself
        self._told = False  # is it on the core's list when it is done?
        self._holds = holds
        self._dims: Dims | None = None

    def check(self) -> bool:
        """Is it done? Makes no system call. (Paper, table 1: adma_checkcopy.)

        Raises `Cancelled`, or OSError: the engine could not make the copy.
        """
        if self._nbytes is not None:
            return True
        rc = core.check(self._copy)
        if not rc:
            return False
        judged(rc)
        self._settle()
        return True

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it is done; returns its bytes. (Paper, table 1: adma_waitcopy.)

        The calling thread helps to copy, unless the engine is configured otherwise. `timeout`
        is in seconds; None means no limit. After a TimeoutError, or the exception of a signal
        handler, the request is still pending and owns its buffers. Raises as `check` does.
        """
        deadline = None if timeout is None else deadline_of(timeout, "wait")
        if self._nbytes is not None:
            return self._nbytes
        try:
            while not (rc := core.wait_one(self._copy, _slice(deadline))):
                if any_finished():
                    let_go_finished()
                if deadline is not None and time.monotonic() >= deadline:
                    raise TimeoutError(f"{self!r} is not done after {timeout} s; it stays pending")
            judged(rc)
            return self._settle()
        finally:
            if any_finished():
                let_go_finished()

    def cancel(self) -> bool:
        """Take it back. True: no byte of dst was written, or will be.

        False: it is done, or has begun; wait for it. After True, `check` and `wait` raise
        `Cancelled`.
        """
        if self._copy is None or not core.cancel(self._copy):
            return False
        self._let_go()
        return True

    def times(self) -> dict[str, int]:
        """Nanoseconds that each stage of a copy took, once it is done. (Paper, figure 7.)

        `post`: in icopy. `start`: from there to its first byte. `copy`: to the last byte.
        `complete`: until a caller saw it. All are 0 for a small copy, which icopy made itself.
        ValueError: it is pending.
        """
        if not self._done:
            raise ValueError(f"{self!r}: what it took is known once it is done")
        if self._copy is None:
            return dict.fromkeys(("post", "start", "copy", "complete"), 0)
        times = self._copy.times
        return {
            "post": times.queued - times.posted,
            "start": max(0, times.started - times.queued),
            "copy": times.copied - times.started,
            "complete": max(0, times.seen - times.copied) if times.seen else 0,
        }

    @property
    def _done(self) -> bool:
        return self._nbytes is not None or bool(core.is_done(self._copy))

    def _settle(self) -> int:
        copy = self._copy
        self._let_go()
        if copy.error == errno.ECANCELED:
            raise Cancelled("the copy was cancelled")
        if copy.error:
            raise OSError(copy.error, f"the copy failed: {os.strerror(copy.error)}")
        self._nbytes = int(copy.plan.bytes)
        return self._nbytes

    def _let_go(self) -> None:
        """Give the buffers back to their owner. The engine is through with them."""
        holds, self._holds = self._holds, ()  # two threads may come by at once
        if self._copy is not None and self._copy.error == errno.EIO:
            keep_for_ever(holds)
        else:
            _release(holds)
        pending.discard(self)
        if self._told:
            forget(self._copy)

    def let_go_if_done(self) -> bool:
        """Give the buffers back to their owner, if the engine is through with them: True."""
        if not self._done:
            return False
        self._let_go()
        return True

    def let_go_after_fork(self) -> None:
        """The engine does not touch buffers in a forked child."""
        self._let_go()

    def __repr__(self) -> str:
        if self._copy is None:
            return f"<copy of {size_text(self._nbytes or 0)}, done>"
        plan, copy = self._copy.plan, self._copy
        return f"<copy of {size_text(plan.bytes)}, {_state(copy, plan)}>"


def copy(dst: WriteableBuffer, src: ReadableBuffer) -> int:
    """Copy src to dst; returns the number of bytes. (Paper, table 1: adma_copy.)

    Both are contiguous buffers of equal length, or arrays of equal shape and element size with
    any strides. They may overlap, as for memmove(3). The copy waits for earlier ones of the
    same bytes. This thread and the engine's threads make a large copy together; the first one
    that is large enough starts the engine's threads.

    ValueError: lengths or shapes differ. BufferError: dst is read-only. TypeError: no buffer,
    or an array of Python objects. When a signal's exception interrupts it, the copy is taken
    back. If it has begun it goes on, and the exception has the request as `.request`.
    """
    holds = pair(dst, src, "copy")
    if holds is None:
        return _copy_strided(dst, src)
    to, from_ = holds
    nbytes = len(to)
    if nbytes != len(from_):
        raise _mismatch("copy", holds)
    if nbytes <= _SPREAD_FROM and not _copy_now(to, from_, nbytes):
        return nbytes
    request = CopyRequest(None, _new_copy(), holds)
    try:  # from before the post on: a signal may strike as that returns
        _post(request, to, from_, nbytes)
        return request.wait()
    except BaseException as error:
        _take_back(request, error)
        raise


def icopy(dst: WriteableBuffer, src: ReadableBuffer) -> CopyRequest:
    """Begin to copy src to dst; returns a request. (Paper, table 1: adma_icopy.)

    The request owns both buffers until it is done. The result is as if copies were made one
    after the other, in the order in which they were posted: a copy that touches bytes which an
    earlier one writes, or writes bytes which an earlier one touches, waits for that one.
    Small copies are made at once. Arguments and errors are as for `copy`.

    When 65536 copies wait, `icopy` waits for room, and helps to copy. When the engine cannot
    be started, a RuntimeWarning says so once, and this thread makes the copy.
    """
    holds = pair(dst, src, "icopy")
    if holds is None:
        request = _planned(dst, src, "icopy")
        _post(request, told=True)
        return request
    to, from_ = holds
    nbytes = len(to)
    if nbytes != len(from_):
        raise _mismatch("icopy", holds)
    if nbytes <= _SMALL and not _copy_small(to, from_, nbytes):
        return CopyRequest(nbytes)
    request = CopyRequest(None, _new_copy(), holds)
    _post(request, to, from_, nbytes, told=True)
    return request


def wait_copies(requests: Sequence[CopyRequest], need: int, deadline: float | None) -> bool:
    """Wait until `need` are done; results are not looked at. False: the deadline passed before."""
    waited = [request._copy for request in requests if request._nbytes is None]
    need -= len(requests) - len(waited)
    if need <= 0:
        return True
    copies = core.Copies(waited)
    while not (rc := copies.wait(need, _slice(deadline))):
        if deadline is not None and time.monotonic() >= deadline:
            return False
    return judged(rc)


def judged(rc: int) -> bool:
    """True for a wait that ended well; raises the error of another one. `rc` is not 0."""
    if rc == -FORKED:
        raise ProcessLookupError(
            errno.ESRCH,
            "the copy was posted by the parent process, before the fork, and goes on there: "
            "in the child dst may hold a part of it, copy anew",
        )
    if rc < 0:
        raise error_for(rc)
    return True


def _copy_strided(dst: WriteableBuffer, src: ReadableBuffer) -> int:
    request = None
    try:
        request = _planned(dst, src, "copy")
        _post(request)
        return request.wait()
    except BaseException as error:
        if request is not None:
            _take_back(request, error)
        raise


def _planned(dst: WriteableBuffer, src: ReadableBuffer, call: str) -> CopyRequest:
    from .arrays import plan_strided  # ctypes, for those who need it

    copy = _new_copy()
    holds, dims = plan_strided(core.plan_of(copy), dst, src, call)
    request = CopyRequest(None, copy, holds)
    request._dims = dims
    return request


def _post(request: CopyRequest, *range_: Any, told: bool = False) -> None:
    """Hand a copy over. It is kept until it is done, whoever drops it.

    `range_`: dst, src and bytes, of a contiguous copy. Others are planned already. `told`: the
    caller may drop it, too.
    """
    if any_finished():
        let_go_finished()
    if not engine.ready:
        engine.prepare()
    post = core.post_bytes if range_ else core.post_planned
    try:
        pending.add(request)
        if told:
            request._copy.tell = 1
            _tell(request)
        while (rc := post(request._copy, *range_)) == -errno.EAGAIN:
            core.wait_room(SLICE_NS)
        if rc < 0:
            nbytes = request._copy.plan.bytes
            raise MemoryError(
                f"source and destination overlap with different strides: their {size_text(nbytes)} "
                "go through memory of their own, and there is none"
            )
        if rc > 0:
            _copy_here(request)
        if request._told:
            request.let_go_if_done()  # it was made in the call
    except BaseException as error:
        _take_back(request, error)
        raise


def _take_back(request: CopyRequest, error: BaseException) -> None:
    if request._copy.state == core.IDLE:
        request._let_go()  # it was never posted
    elif request._done:
        request._let_go()
    elif not request.cancel():
        _tell(request)
        if core.tell(request._copy):
            request._let_go()
        error.request = request  # type: ignore[attr-defined]


def _tell(request: CopyRequest) -> None:
    """See to it that the buffers are let go when it is done, also if nobody looks then."""
    request._told = True
    keep(request._copy, request)


def _copy_here(request: CopyRequest) -> None:
    """Make a copy in this thread: there is no other one that would."""
    engine.warn_if_refused()
    while not core.wait_one(request._copy, SLICE_NS):
        pass  # signals are looked at


def _slice(deadline: float | None) -> int:
    if deadline is None:
        return SLICE_NS
    return max(0, min(SLICE_NS, int((deadline - time.monotonic()) * 1e9)))


def _mismatch(call: str, holds: tuple[Hold, Hold]) -> ValueError:
    """The error for two lengths. The holds are released: a traceback would keep them."""
    error = lengths_differ(call, *map(len, holds))
    _release(holds)
    return error


def _release(holds: Sequence[Hold | Strided]) -> None:
    for hold in holds:
        if is_hold(hold):
            release_hold(hold)
        else:
            cast("Strided", hold).release()


def _state(copy: Copy, plan: Plan) -> str:
    if copy.state == core.DONE:
        if not copy.error:
            return "done"
        return "cancelled" if copy.error == errno.ECANCELED else f"failed: errno {copy.error}"
    if copy.state == core.RUNNING:
        return f"{100 * copy.copied // plan.parts} %"
    return "queued" if copy.state == core.READY else "waits for earlier copies"
