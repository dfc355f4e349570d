# SPDX-License-Identifier: BSD-3-Clause
"""Calls that post a message and wait for it: in one call into C where that does."""

from __future__ import annotations

import contextlib
import time
import warnings
from typing import TYPE_CHECKING, Final

from .._core import channel, operation
from .._core.buffers import readable, release
from .._core.constants import BLOCKING, BYTES, IDLE, OBJECT, PART, SLOT
from .._core.holds import any_finished, let_go_finished
from .._core.operation import Operation, quarantine
from .._core.results import NEEDS_BULK, NOT_NOW
from ..errors import Stalled
from .channel_request import ChannelRequest
from .overtime import STALLED_BELOW, wait_for_match, wait_while_moving

if TYPE_CHECKING:
    from .._core.types import Hold
    from .endpoint import Endpoint
    from .message import Frames

__all__ = ["Blocking"]

_MOMENT: Final = 0.01  # seconds; a call with less time than this looks at the clock first
_WARN_AFTER: Final = 1.0  # seconds both ends sit in a large write before one says so


class Blocking:
    """The blocking calls of a channel, and the operations that it keeps for them."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._kept: list[Operation] = []  # in use or spare
        self._spares: dict[str, list[Operation]] = {"read": [], "write": []}
        self._warned = False

    def transfer(self, verb: str, hold: Hold, timeout: float | None, deadline: float | None) -> int:
        """A "read" or a "write" that waits; the bytes of the message."""
        kept: Operation | None = None
        request: ChannelRequest | None = None
        try:
            kept = self._spare(verb)
            kept.hold = hold
            request = ChannelRequest(self._endpoint, verb, (kept,))
            if timeout is None or timeout > _MOMENT:
                nbytes = self._run(kept, hold)
                if any_finished():
                    let_go_finished()
                if nbytes != NOT_NOW:
                    space = len(hold)
                    if nbytes >= 0:
                        request._nbytes = nbytes
                    request._operations = ()
                    self._give_back(verb, kept)
                    if nbytes >= 0:
                        return nbytes
                    raise self._endpoint.error(nbytes, space=space, operation=kept)
                self._adopt(kept)
            else:
                if verb == "write":
                    self._endpoint.bring_segment(len(hold))
                kept.aim(hold)
                self._adopt(kept)
                self._endpoint.post((kept,))
            return self._wait(request, deadline, timeout)
        except BaseException as interruption:
            if kept is not None and request is None:
                self._give_back(verb, kept)  # it struck before anything was posted
            elif kept is not None and request is not None:
                if request._operations:
                    self._adopt(kept)
                self.take_back(request, interruption)
            raise

    def send(self, frames: Frames, timeout: float | None, deadline: float | None) -> None:
        """Write an object, and wait."""
        flags = BLOCKING | (SLOT if frames.parts else 0)
        head = Operation(readable(frames.head, "send"), read=False, kind=OBJECT, flags=flags)
        head.req.total = frames.nbytes
        head.req.parts = len(frames.parts)
        operations = [head]
        for part in frames.parts:
            hold = readable(part, "send")
            operations.append(Operation(hold, read=False, kind=PART, flags=flags))
        for each in operations:
            self._endpoint.bring_segment(each.req.length)
        request = ChannelRequest(self._endpoint, "send", operations)
        try:
            self._endpoint.post(operations)
            self._wait(request, deadline, timeout)
        except BaseException as interruption:
            self.take_back(request, interruption)
            raise

    # What an exception leaves

    def own_up(
        self, verb: str, hold: Hold, written: int | None, interruption: BaseException
    ) -> None:
        """A signal's exception struck as a one-call read or write returned: did it happen?

        If so the exception carries the request, which is done.
        """
        result = channel.last_result(self._endpoint.chan, hold)
        if result >= 0:
            nbytes = result if written is None else written
            request = ChannelRequest._of_result(self._endpoint, verb, nbytes)
            interruption.request = request  # type: ignore[attr-defined]

    def let_go(self, hold: Hold) -> None:
        """Give the buffer of a call that ends by an exception back to its owner, at once.

        Not only when the traceback goes, which refers to it, too; but not while a
        request still owns it either.
        """
        kept = (*self._endpoint.pending, *self._kept, *quarantine)
        if not any(each.hold is hold for each in kept):
            release(hold)

    def take_back(self, request: ChannelRequest, interruption: BaseException) -> None:
        """Withdraw what an interrupted call posted; or let the exception say that it won."""
        endpoint = self._endpoint
        operations = request._operations
        operation.give_up(endpoint.chan)  # what else is pending goes on without this call
        if request._nbytes is not None:
            interruption.request = request  # type: ignore[attr-defined]
            return
        posted = [each for each in operations if each.req.state != IDLE]
        failed = any(each.done and each.req.error for each in posted)
        if posted and not failed and not request.cancel():
            for each in operations:
                each.tell(endpoint.chan)
            interruption.request = request  # type: ignore[attr-defined]
            return
        for each in operations:
            operation.observe(endpoint.chan, each.req)
            if each.done or each not in posted:
                endpoint.release(each)
            else:
                each.tell(endpoint.chan)

    # Operations

    def _run(self, kept: Operation, hold: Hold) -> int:
        nbytes = operation.run(self._endpoint.chan, kept.req, hold, len(hold))
        if nbytes == NEEDS_BULK:
            self._endpoint.bring_segment(len(hold))
            nbytes = operation.run(self._endpoint.chan, kept.req, hold, len(hold))
        return nbytes

    def _spare(self, verb: str) -> Operation:
        """An operation for a blocking call; each is kept for as long as the channel lives."""
        with contextlib.suppress(IndexError):
            return self._spares[verb].pop()
        made = Operation(None, read=verb == "read", kind=BYTES, flags=BLOCKING)
        self._kept.append(made)
        return made

    def _adopt(self, kept: Operation) -> None:
        """Make it an operation like any other, which the endpoint keeps until it is done."""
        if kept in self._kept:
            kept.keep(self._endpoint.pending)
            self._kept.remove(kept)

    def _give_back(self, verb: str, kept: Operation) -> None:
        if kept.req.held:
            quarantine.append(kept)
            self._kept.remove(kept)
            return
        kept.let_go()
        self._spares[verb].append(kept)

    # Waiting

    def _wait(self, request: ChannelRequest, deadline: float | None, timeout: float | None) -> int:
        """Wait for what was posted. Two ends that are stuck in large writes are told so."""
        writes = not request._operations[0].req.is_read
        if writes:
            channel.count_blocked(self._endpoint.chan, 1)
        try:
            if writes:
                self._warn_if_stuck(request, deadline)
            if not request._wait_until(deadline):
                self._end_or_go_on(request, timeout)
            return request._settle()
        finally:
            if writes:
                channel.count_blocked(self._endpoint.chan, -1)

    def _end_or_go_on(self, request: ChannelRequest, timeout: float | None) -> None:
        """The time of a call is over: take back what it posted, or wait on while bytes move."""
        chan, operations = self._endpoint.chan, request._operations
        if not operations[0].req.is_read:
            wait_for_match(chan, operations[0])
        if request.cancel():
            raise TimeoutError(
                f"{request._verb} met no counterpart within timeout={timeout} s: it was taken back"
            )
        if not wait_while_moving(chan, operations):
            raise Stalled(
                f"{request!r}: timeout={timeout} s is over, and less than {STALLED_BELOW} bytes "
                "moved in a second; .request is still pending and owns the buffer",
                request=request,
            )

    def _warn_if_stuck(self, request: ChannelRequest, deadline: float | None) -> None:
        """Wait a moment; if both ends are in a large write by then, say so once."""
        if self._warned or request._operations[0].done:
            return
        moment = time.monotonic() + _WARN_AFTER
        if deadline is not None and deadline <= moment:
            return
        if request._wait_until(moment) or not channel.is_deadlocked(self._endpoint.chan):
            return
        self._warned = True
        warnings.warn(
            f"both ends of {self._endpoint!r} have been in a blocking write of a large message "
            "for a second, and neither reads: use iwrite() on one side, or read in another thread",
            RuntimeWarning,
            stacklevel=5,
        )
