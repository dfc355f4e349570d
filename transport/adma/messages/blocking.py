# SPDX-License-Identifier: BSD-3-Clause
"""What blocking calls leave to Python, which are compiled themselves (binding/blocking.c).

That is an object with large buffers, a call whose time is over, and one that an exception ends.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, SupportsIndex

from .._core import channel, operation
from .._core.constants import BLOCKING, IDLE, OBJECT, PART, SLOT, TELL
from .._core.operation import Operation
from ..errors import Stalled
from .arrival import bytes_to_come
from .channel_request import ChannelRequest, ManyRequest
from .message import bytes_of, frames_of
from .overtime import STALLED_BELOW, wait_for_match, wait_while_moving

if TYPE_CHECKING:
    from .endpoint import Endpoint

__all__ = ["Blocking"]

_WARN_AFTER: Final = 1.0  # seconds both ends sit in a large write before one says so


class Blocking:
    """What the blocking calls of a channel seldom do."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._warned = False

    def send(
        self,
        body: bytes,
        parts: Sequence[memoryview],
        timeout: float | None,
        deadline: float | None,
    ) -> None:
        """Write an object that was pickled, and wait."""
        request = self._object(body, parts, BLOCKING)
        try:
            self._endpoint.post(request._operations)
            self._wait(request, deadline, timeout)
        except BaseException as interruption:
            self.take_back(request, interruption)
            raise

    def isend(self, body: bytes, parts: Sequence[memoryview]) -> ManyRequest:
        """Post an object that was pickled."""
        request = self._object(body, parts, TELL)
        try:
            self._endpoint.post(request._operations)
        except BaseException as interruption:
            self.take_back(request, interruption)
            raise
        return request

    def _object(self, body: bytes, parts: Sequence[memoryview], flags: int) -> ManyRequest:
        """An object that was pickled, ready to be posted."""
        frames = frames_of(body, parts)
        flags |= SLOT if parts else 0
        head = Operation(frames.head, read=False, kind=OBJECT, flags=flags)
        head.req.total = frames.nbytes
        head.req.parts = len(parts)
        operations = [head]
        for part in parts:
            operations.append(Operation(part, read=False, kind=PART, flags=flags))
        for each in operations:
            self._endpoint.bring_segment(each.req.length)
        return ManyRequest(self._endpoint, "send", operations)

    def read_bytes(
        self, timeout: float | None, deadline: float | None, max_bytes: SupportsIndex | None
    ) -> bytes:
        """Read the next message, of whatever size, and wait."""
        limit = None if max_bytes is None else bytes_of(max_bytes, "read_bytes(max_bytes)")
        arrival = bytes_to_come(self._endpoint, limit)
        try:
            arrival.post()
            if not arrival._wait_until(deadline):
                self.end_or_go_on(arrival, timeout)
            found: bytes = arrival.wait()
        except BaseException as interruption:
            self.take_back(arrival, interruption)
            raise
        return found

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
        """Wait for a write that was posted. Two ends that are stuck in large writes are told so."""
        channel.count_blocked(self._endpoint.chan, 1)
        try:
            moment = time.monotonic() + _WARN_AFTER
            if (deadline is None or deadline > moment) and not request._wait_until(moment):
                self.warn_if_stuck(stacklevel=4)  # the caller of send()
            if not request._wait_until(deadline):
                self.end_or_go_on(request, timeout)
            return request._settle()
        finally:
            channel.count_blocked(self._endpoint.chan, -1)

    def end_or_go_on(self, request: ChannelRequest, timeout: float | None) -> None:
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

    def warn_if_stuck(self, stacklevel: int = 2) -> None:
        """After a second in a write: if both ends are in a large one, say so once.

        The compiled calls, which are no frames, are called by whom the warning is for.
        """
        if self._warned or not channel.is_deadlocked(self._endpoint.chan):
            return
        self._warned = True
        warnings.warn(
            f"both ends of {self._endpoint!r} have been in a blocking write of a large message "
            "for a second, and neither reads: use iwrite() on one side, or read in another thread",
            RuntimeWarning,
            stacklevel=stacklevel,
        )
