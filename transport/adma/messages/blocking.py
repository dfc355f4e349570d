# SPDX-License-Identifier: BSD-3-Clause
"""Calls that post a message and wait for it: in one call into C where that does."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from .._core import channel, operation
from .._core.constants import BLOCKING, IDLE, OBJECT, PART, SLOT
from .._core.operation import Operation
from ..errors import Stalled
from .channel_request import ChannelRequest, ManyRequest
from .message import frames_of
from .overtime import STALLED_BELOW, wait_for_match, wait_while_moving

if TYPE_CHECKING:
    from .endpoint import Endpoint

__all__ = ["Blocking"]

_WARN_AFTER: Final = 1.0  # seconds both ends sit in a large write before one says so


class Blocking:
    """The blocking calls of a channel, where they cannot end in one call into the core."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._warned = False

    def go_on(self, request: Any, timeout: float | None, deadline: float | None) -> int:
        """Wait for a read or a write, which is posted if it is not yet; the bytes of the message.

        After an exception the caller takes it back.
        """
        operation: Operation = request
        if operation.req.state == IDLE:
            if not operation.req.is_read:
                self._endpoint.bring_segment(operation.req.length)
            self._endpoint.post((operation,))
        return self._wait(request, deadline, timeout)

    def send(
        self,
        body: bytes,
        parts: Sequence[memoryview],
        timeout: float | None,
        deadline: float | None,
    ) -> None:
        """Write an object that was pickled, and wait."""
        frames = frames_of(body, parts)
        flags = BLOCKING | (SLOT if parts else 0)
        head = Operation(frames.head, read=False, kind=OBJECT, flags=flags)
        head.req.total = frames.nbytes
        head.req.parts = len(parts)
        operations = [head]
        for part in parts:
            operations.append(Operation(part, read=False, kind=PART, flags=flags))
        for each in operations:
            self._endpoint.bring_segment(each.req.length)
        request = ManyRequest(self._endpoint, "send", operations)
        try:
            self._endpoint.post(operations)
            self._wait(request, deadline, timeout)
        except BaseException as interruption:
            self.take_back(request, interruption)
            raise

    # What an exception leaves

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
                each.tell()
            interruption.request = request  # type: ignore[attr-defined]
            return
        for each in operations:
            operation.observe(endpoint.chan, each.req)
            if each.done or each not in posted:
                each.release()
            else:
                each.tell()

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
            stacklevel=4,  # the caller of write() or send(), which are no frames
        )
