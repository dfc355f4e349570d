# SPDX-License-Identifier: BSD-3-Clause
"""What was posted on an end of a pipe before both ends had met, in post order."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .._core.constants import PENDING_MAX
from ..connect.line import Line, Put, What
from .requests import EarlyRequest

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Outgoing", "Posts"]


class Outgoing:
    """A message for the line. `parts` of None: it can only travel over the channel."""

    __slots__ = ("_told", "kind", "nbytes", "parts")

    def __init__(self, kind: int, parts: Sequence[ReadableBuffer] | None, nbytes: int) -> None:
        self.kind = kind
        self.parts = parts
        self.nbytes = nbytes
        self._told = False  # the other end knows that it comes by the channel

    def put(self, line: Line) -> Put:
        """Put it on the line. TOO_LONG: it waits for the channel, and the other end knows."""
        done = Put.TOO_LONG
        if self.parts is not None:
            done = line.put(What.MESSAGE, self.kind, self.nbytes, self.parts)
        if done is Put.TOO_LONG and not self._told:
            told = line.put(What.COMING, self.kind, self.nbytes)
            self._told = told is Put.SENT
            return done if self._told else told
        return done


class Posts:
    """The queues of both directions. All is called under the lock of the end."""

    def __init__(self) -> None:
        self.reads: deque[EarlyRequest] = deque()
        self.writes: deque[EarlyRequest] = deque()
        self.needs_room = False  # on the line, for the first write

    def add(self, request: EarlyRequest, queue: deque[EarlyRequest]) -> None:
        """Put it last. BlockingIOError: there are too many."""
        if len(queue) >= PENDING_MAX:
            raise BlockingIOError(
                errno.EAGAIN,
                f"{PENDING_MAX} requests of this direction wait for both ends of the pipe to meet, "
                "and no more may; cure: wait for some of them, or have the other end used",
            )
        queue.append(request)

    def remove(self, request: EarlyRequest) -> None:
        """Take it out of its queue."""
        (self.reads if request in self.reads else self.writes).remove(request)

    def fail(self, queue: deque[EarlyRequest], error: Exception) -> None:
        """Nothing of what is in this queue will happen."""
        while queue:
            queue.popleft().fail(error)

    def fail_all(self, error: Exception) -> None:
        """Nothing of it will happen."""
        self.fail(self.reads, error)
        self.fail(self.writes, error)

    def last_read(self) -> EarlyRequest | None:
        """The one that was posted last."""
        return self.reads[-1] if self.reads else None

    def last_write(self) -> EarlyRequest | None:
        """The one that was posted last."""
        return self.writes[-1] if self.writes else None
