# SPDX-License-Identifier: BSD-3-Clause
"""An object on its way in: asked for, sized, filled, put together.

Each step can be interrupted by a deadline or a signal. Before the head is
matched that takes everything back and the message stays in line; after it, the
object is ours already, and the next recv() goes on where this one stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._core._native import ffi, lib
from .._core.buffers import empty
from .._core.waiting import OneWaiter
from ..errors import MessageTooLong, raise_for
from .message import OBJECT, PART, load, part_sizes
from .operation import Operation

if TYPE_CHECKING:
    from ..channel import Channel

__all__ = ["Incoming"]

_IDLE, _NEED = 0, 4  # enum adma_req_state
_NO_LIMIT = (1 << 63) - 1


class Incoming:
    """One object being received on a channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        flags = lib.ADMA_REQ_OPEN | lib.ADMA_REQ_BLOCKING
        self._head = Operation(None, read=True, kind=OBJECT, flags=flags)
        self._head_buffer: Any = None
        self._over = False
        self._parts: list[Operation] | None = None
        self._part_buffers: list[Any] = []

    @property
    def matched(self) -> bool:
        """Was the object taken out of the line, so that it must be received to its end?"""
        return self._head_buffer is not None

    @property
    def unfinished(self) -> bool:
        """Is there something left that the next recv() has to go on with?"""
        return self.matched and not self._over

    @property
    def nbytes(self) -> int:
        """Bytes of the whole object, once matched."""
        return int(self._head.req.needed)

    def receive(self, deadline: float | None, limit: int | None) -> None:
        """Take in all of it; TimeoutError when the deadline passes first.

        `limit`: MessageTooLong for an object of more bytes, begun or not.
        """
        if self._head_buffer is None:
            self._head.req.limit = _NO_LIMIT if limit is None else limit
            self._begin(deadline)
        elif limit is not None and self.nbytes > limit:
            raise self._too_long(limit)
        while not self._finish_head(deadline):
            self._begin(deadline)
        if limit is not None and self.nbytes > limit:
            raise self._too_long(limit)  # it came in place of another, which was withdrawn
        self._finish_parts(deadline)

    def load(self) -> Any:
        """The object, once received."""
        return load(self._head_buffer, self._part_buffers)

    def _too_long(self, limit: int) -> MessageTooLong:
        return MessageTooLong(
            f"the object in line has {self.nbytes} bytes, recv(max_bytes) allows {limit}: "
            "it stays first in line",
            needed=self.nbytes,
        )

    def withdraw(self) -> None:
        """Take back what was asked for. A match that won stays, `unfinished` tells."""
        if lib.adma_cancel(self._channel._chan, self._head.req):
            self._head_buffer = None
            self._settle([self._head])

    def _begin(self, deadline: float | None) -> None:
        """Get in line, and when the turn comes, give the head a buffer of its size."""
        head, chan = self._head, self._channel._chan
        self._channel._post([head])
        self._wait(head, deadline)
        if head.req.state == _NEED:
            self._head_buffer = empty(head.req.need_length)  # MemoryError: it stays in line
            head.hold = ffi.from_buffer("char[]", self._head_buffer, True)
            if rc := lib.adma_supply(chan, head.req, head.hold, head.req.need_length):
                raise_for(rc)

    def _finish_head(self, deadline: float | None) -> bool:
        """False: to be begun anew, since the object that was asked for was withdrawn."""
        head = self._head
        if self._head_buffer is not None:
            self._wait(head, deadline)
        self._settle([head])
        error = head.req.error
        if error == lib.ADMA_E_TOOLONG and self._head_buffer is not None:
            # Another one, longer than its buffer, has taken its place in line.
            self._head_buffer = None
            head.req.flags |= lib.ADMA_REQ_OPEN
            return False
        if error == lib.ADMA_E_TOOLONG:
            raise self._too_long(head.req.limit)
        if error:
            self._over = True  # nothing of it was taken, or it is lost with its writer
            raise self._channel._explain_error(error)
        # In that place it may also be a shorter one.
        self._head_buffer = memoryview(self._head_buffer)[: head.req.done_bytes]
        return True

    def _finish_parts(self, deadline: float | None) -> None:
        if self._parts is None:
            req = self._head.req
            sizes = part_sizes(self._head_buffer, req.need_parts, req.needed)
            self._part_buffers = [empty(size) for size in sizes]
            self._parts = [
                Operation(
                    ffi.from_buffer("char[]", buffer, True),
                    read=True,
                    kind=PART,
                    flags=lib.ADMA_REQ_BLOCKING,
                )
                for buffer in self._part_buffers
            ]
        unposted = [part for part in self._parts if part.req.state == _IDLE]
        if unposted:
            self._channel._post(unposted)
        for part in self._parts:
            self._wait(part, deadline)
        self._settle(self._parts)
        for part in self._parts:
            if part.req.error:
                self._over = True
                raise self._channel._explain_error(part.req.error)

    def _wait(self, operation: Operation, deadline: float | None) -> None:
        if operation.done:
            return
        if not OneWaiter(self._channel._chan, operation.req).wait(deadline):
            raise TimeoutError("no object came in time" if not self.matched else _HALF)

    def _settle(self, operations: list[Operation]) -> None:
        for operation in operations:
            lib.adma_observe(self._channel._chan, operation.req)
            self._channel._forget(operation)


_HALF = "the object did not come to its end in time; the next recv() goes on with it"
