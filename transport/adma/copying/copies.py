# SPDX-License-Identifier: BSD-3-Clause
"""Copies inside one process, handed to the copy engine: the paper's table 1.

`copy` and `icopy` are compiled (binding/copies.h), and so is what is called for each request. Here
is what is seldom needed, and what may take long: Python looks at signals meanwhile.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

from .._core import copies as core
from .._core.buffers import refuse_copied_objects
from .._core.copies import copy, icopy
from .._core.holds import any_finished, let_go_finished
from .._core.results import FORKED, error_for
from ..errors import Cancelled
from ..request import Request, Watched, size_text
from . import engine
from .outstanding import SLICE_NS

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from .._core.types import Copy, Dims, Plan

__all__ = ["CopyRequest", "copy", "icopy", "wait_copies"]


class CopyRequest(Request):
    """A copy under way inside this process. `icopy` makes it."""

    __slots__ = ()

    #: The core's copy, valid as long as this request. None: `icopy` made it itself.
    _copy: Any
    #: Its bytes, once it was seen to be done without an error.
    _nbytes: int | None

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

    def _keep(self, dims: Dims | None, /) -> None:
        """It owns the memory that its plan refers to, from now on."""
        raise NotImplementedError

    def _hold(
        self, dst: WriteableBuffer, src: ReadableBuffer, /
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Hold both, of any strides; how they are laid out."""
        raise NotImplementedError

    def _watched(self) -> Watched:
        return _COPIES

    def _notify(self) -> bool:
        return bool(core.notify(self._copy))

    # What the compiled calls leave to Python

    _engine = engine  # is prepared before the first post

    @staticmethod
    def _planned(call: str, dst: WriteableBuffer, src: ReadableBuffer) -> CopyRequest:
        """A request that is to be posted, for arrays of any strides. The errors of arguments."""
        from .arrays import plan_strided  # for those who need it

        refuse_copied_objects(dst, "dst", call)
        refuse_copied_objects(src, "src", call)
        request = core.new()
        try:
            request._keep(plan_strided(request, dst, src, call))
        except BaseException:
            request._let_go()  # a traceback would keep it
            raise
        return request

    @staticmethod
    def _wait_for_room() -> None:
        """Wait a moment for room in the backlog; then signals are looked at."""
        core.wait_room(SLICE_NS)

    def _copy_here(self) -> None:
        """Make a copy in this thread: there is no other one that would."""
        engine.warn_if_refused()
        while not core.wait_one(self._copy, SLICE_NS):
            pass  # signals are looked at

    def _wait_on(self, rc: int, deadline: float | None, timeout: float | None) -> None:
        """Go on with a wait that has taken a moment, with the result `rc`."""
        try:
            while not rc:
                if any_finished():
                    let_go_finished()
                if deadline is not None and time.monotonic() >= deadline:
                    raise TimeoutError(f"{self!r} is not done after {timeout} s; it stays pending")
                rc = core.wait_one(self._copy, _slice(deadline))
            judged(rc)
        finally:
            if any_finished():
                let_go_finished()

    @staticmethod
    def _judge(rc: int) -> None:
        judged(rc)

    def _raise(self) -> NoReturn:
        """Its own error."""
        number = self._copy.error
        if number == errno.ECANCELED:
            raise Cancelled("the copy was cancelled")
        raise OSError(number, f"the copy failed: {os.strerror(number)}")

    def _no_stage(self) -> NoReturn:
        nbytes = self._copy.plan.bytes
        raise MemoryError(
            f"source and destination overlap with different strides: their {size_text(nbytes)} "
            "go through memory of their own, and there is none"
        )

    def __repr__(self) -> str:
        if self._copy is None:
            return f"<copy of {size_text(self._nbytes or 0)}, done>"
        plan, copy = self._copy.plan, self._copy
        return f"<copy of {size_text(plan.bytes)}, {_state(copy, plan)}>"


#: The class of what `icopy` returns.
EngineRequest = core.type_on(CopyRequest)


class _Copies:
    """What makes copies, as an event loop sees it: copy worker threads, which need no help."""

    timed: Final = False

    def event_fd(self) -> int:
        return -1

    def advance(self, requests: Iterable[CopyRequest]) -> bool:
        if engine.queues_running():
            return False
        checks = [core.check(request._copy) for request in requests]
        return not all(checks)


_COPIES: Final = _Copies()


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


def _slice(deadline: float | None) -> int:
    if deadline is None:
        return SLICE_NS
    return max(0, min(SLICE_NS, int((deadline - time.monotonic()) * 1e9)))


def _state(copy: Copy, plan: Plan) -> str:
    if copy.state == core.DONE:
        if not copy.error:
            return "done"
        return "cancelled" if copy.error == errno.ECANCELED else f"failed: errno {copy.error}"
    if copy.state == core.RUNNING:
        return f"{100 * copy.copied // plan.parts} %"
    return "queued" if copy.state == core.READY else "waits for earlier copies"
