# SPDX-License-Identifier: BSD-3-Clause
"""Copies inside one process, handed to the copy engine: the paper's table 1."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import engine
from ._native import ffi, lib
from .buffers import lengths_differ, pair
from .errors import Cancelled, error_for
from .request import Request, size_text
from .waiting import deadline_of

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from ._native import CData

__all__ = ["CopyRequest", "copy", "icopy", "wait_copies"]

# Blocking copies below are made here and now: handing over half of one gains less than it costs.
# 512 KiB: measured, see docs/benchmarks.md.
_SPREAD_FROM = 512 << 10
_AT_ONCE = 16 << 10  # icopy below is a copy: struct adma_engine_config, at_once
_SLICE_NS = 5_000_000  # copying and sleeping before signals are looked at
_SWEEP_EVERY = 64  # posts; then what is done and was dropped is let go
_DONE, _RUNNING, _READY = lib.ADMA_COPY_DONE, lib.ADMA_COPY_RUNNING, lib.ADMA_COPY_READY

_new_copy = ffi.new_allocator(should_clear_after_alloc=True)
_COPY = ffi.typeof("struct adma_copy *")
# The plan is what a copy begins with: a cast of the pointer, which costs a fifth of ffi.addressof.
_PLAN = ffi.typeof("struct adma_plan *")
assert ffi.offsetof("struct adma_copy", "plan") == 0


class CopyRequest(Request):
    """A copy under way inside this process, made by `icopy`."""

    __slots__ = ("_copy", "_dims", "_holds", "_nbytes")

    def __init__(self, nbytes: int | None, copy: CData | None = None, holds: Any = ()) -> None:
        self._nbytes = nbytes  # once it is known to be done without error
        self._copy: Any = copy  # None: icopy made it itself
        self._holds = holds
        self._dims: CData | None = None

    def check(self) -> bool:
        """True when it is done, False while it is not. No system call. (Table 1: adma_checkcopy.)

        Raises `Cancelled`, or OSError for a copy that its engine could not make.
        """
        if self._nbytes is not None:
            return True
        rc = lib.adma_copy_check(self._copy)
        if rc < 0:
            raise error_for(rc)
        if not rc:
            return False
        self._settle()
        return True

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it is done, copying meanwhile if nobody else is; the bytes.

        `timeout` in seconds, None: for ever. TimeoutError leaves it pending
        and its buffers owned by it, as does an interruption. Raises as
        `check` does. (Table 1: adma_waitcopy.)
        """
        if self._nbytes is not None:
            return self._nbytes
        deadline = None if timeout is None else deadline_of(timeout, "wait")
        while not (rc := lib.adma_copy_wait_one(self._copy, _slice(deadline))):
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"{self!r} is not done after {timeout} s; it stays pending")
        if rc < 0:
            raise error_for(rc)
        return self._settle()

    def cancel(self) -> bool:
        """Take it back. True only if nothing of it will happen: no byte of dst is written.

        False: it is done, or has begun; wait for it. After True, `check` and
        `wait` raise `Cancelled`.
        """
        if self._copy is None or not lib.adma_copy_cancel(self._copy):
            return False
        self._let_go()
        return True

    def times(self) -> dict[str, int]:
        """Where the time of a copy that is done went, in nanoseconds: the paper's figure 7.

        `post`: in icopy; `start`: from there to its first byte; `copy`: to the
        last; `complete`: until a caller saw it. All 0 for one that icopy made
        itself, being small. ValueError while it is pending.
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
        return self._nbytes is not None or bool(self._copy.state == _DONE)

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
        """The engine is through with the buffers: they are their owner's again."""
        holds, self._holds = self._holds, ()  # two threads may come by at once
        _release(holds)
        _pending.discard(self)

    def __repr__(self) -> str:
        if self._copy is None:
            return f"<copy of {size_text(self._nbytes or 0)}, done>"
        plan, copy = self._copy.plan, self._copy
        return f"<copy of {size_text(plan.bytes)}, {_state(copy, plan)}>"


def copy(dst: WriteableBuffer, src: ReadableBuffer) -> int:
    """Copy src to dst; the bytes. As memmove: they may overlap. (Table 1: adma_copy.)

    Contiguous buffers of equal length, or arrays of equal shape and element
    size with any strides. Waits for earlier copies of these bytes. A large one is
    shared between this thread and the engine's queues; the engine's threads
    start with the first that pays.

    ValueError: lengths or shapes differ. BufferError: dst is read-only.
    TypeError: no buffer, or an array of objects.
    """
    holds = pair(dst, src, "copy")
    if holds is None:
        return _strided(dst, src, "copy").wait()
    to, from_ = holds
    nbytes = len(to)
    if nbytes != len(from_):
        raise lengths_differ("copy", nbytes, len(from_))
    if nbytes <= _SPREAD_FROM and not lib.adma_copy_now(to, from_, nbytes):
        return nbytes
    request = CopyRequest(None, _new_copy(_COPY), holds)
    lib.adma_plan_bytes(ffi.cast(_PLAN, request._copy), to, from_, nbytes)
    _post(request)
    return request.wait()


def icopy(dst: WriteableBuffer, src: ReadableBuffer) -> CopyRequest:
    """Begin to copy src to dst; a request. (Table 1: adma_icopy.)

    Both buffers are the request's until it is done. Copies behave as if made one
    after the other in the order of their posts: one that touches bytes which an
    earlier one writes, or writes bytes which an earlier one touches, waits
    for it. Small copies are made at once. Arguments and errors as `copy`.

    With more than 65536 waiting in line it waits for room, copying meanwhile.
    An engine that cannot be started is said so once, by a RuntimeWarning; the
    copy is made here then.
    """
    holds = pair(dst, src, "icopy")
    if holds is None:
        return _strided(dst, src, "icopy")
    to, from_ = holds
    nbytes = len(to)
    if nbytes != len(from_):
        raise lengths_differ("icopy", nbytes, len(from_))
    if nbytes <= _AT_ONCE and not lib.adma_copy_now(to, from_, nbytes):
        return CopyRequest(nbytes)
    request = CopyRequest(None, _new_copy(_COPY), holds)
    lib.adma_plan_bytes(ffi.cast(_PLAN, request._copy), to, from_, nbytes)
    _post(request)
    return request


def wait_copies(requests: Sequence[CopyRequest], need: int, deadline: float | None) -> bool:
    """Wait until `need` are done, without judging them. False: the deadline passed before."""
    pending = [request._copy for request in requests if request._nbytes is None]
    need -= len(requests) - len(pending)
    if need <= 0:
        return True
    structs = ffi.new("struct adma_copy *[]", pending)
    while not (rc := lib.adma_copy_wait(structs, len(pending), need, _slice(deadline))):
        if deadline is not None and time.monotonic() >= deadline:
            return False
    if rc < 0:
        raise error_for(rc)
    return True


def _strided(dst: WriteableBuffer, src: ReadableBuffer, call: str) -> CopyRequest:
    from .arrays import plan_strided  # ctypes, for those who need it

    copy = _new_copy(_COPY)
    holds, dims = plan_strided(ffi.addressof(copy, "plan"), dst, src, call)
    request = CopyRequest(None, copy, holds)
    request._dims = dims
    _post(request)
    return request


def _post(request: CopyRequest) -> None:
    """Hand it over; it is kept until it is done, whoever drops it."""
    global _posts
    _posts += 1
    if _posts % _SWEEP_EVERY == 0:
        _sweep()
    if not engine._prepared:
        engine.prepare()
    _pending.add(request)
    try:
        while (rc := lib.adma_copy_post(request._copy)) == -errno.EAGAIN:
            lib.adma_copy_wait_room(_SLICE_NS)
            _sweep()
        if rc < 0:
            nbytes = request._copy.plan.bytes
            raise MemoryError(
                f"source and destination overlap with different strides: their {size_text(nbytes)} "
                "go through memory of their own, and there is none"
            )
        if rc:
            _copy_here(request)
    except BaseException as error:
        if request._copy.state == 0:
            request._let_go()
        else:
            error.request = request  # type: ignore[attr-defined]
        raise


def _copy_here(request: CopyRequest) -> None:
    """Nobody but us copies."""
    engine.warn_if_refused()
    while not lib.adma_copy_wait_one(request._copy, _SLICE_NS):
        pass  # signals are looked at


def _sweep() -> None:
    for request in [request for request in _pending if request._done]:
        request._let_go()


def _slice(deadline: float | None) -> int:
    if deadline is None:
        return _SLICE_NS
    return max(0, min(_SLICE_NS, int((deadline - time.monotonic()) * 1e9)))


def _release(holds: Sequence[Any]) -> None:
    for hold in holds:
        if isinstance(hold, ffi.CData):
            ffi.release(hold)
        else:
            hold.release()


def _state(copy: CData, plan: CData) -> str:
    if copy.state == _DONE:
        if not copy.error:
            return "done"
        return "cancelled" if copy.error == errno.ECANCELED else f"failed: errno {copy.error}"
    if copy.state == _RUNNING:
        return f"{100 * copy.copied // plan.parts} %"
    return "in line" if copy.state == _READY else "behind earlier copies"


_pending: set[CopyRequest] = set()
_posts = 0
