# SPDX-License-Identifier: BSD-3-Clause
"""The ends of a stream as asyncio knows them: `StreamReader` and `StreamWriter`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from ..errors import ChannelEnded

if TYPE_CHECKING:
    from .stream import Stream

__all__ = ["Reader", "Writer"]

_LIMIT: Final = 1 << 16  # bytes in which a separator has to be found, as in asyncio


class Reader:
    """What is received, by the names of `asyncio.StreamReader`."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._ended = False

    async def read(self, n: int = -1) -> bytes:
        """Up to `n` bytes, at least one; b"" at the end. Less than 0: all up to the end."""
        if n < 0:
            while await self._more():
                pass
            return self._take(len(self._buffer))
        if n and not self._buffer:
            await self._more()
        return self._take(min(n, len(self._buffer)))

    async def readexactly(self, n: int) -> bytes:
        """Just `n` bytes. `asyncio.IncompleteReadError` has what there was before the end."""
        if n < 0:
            raise ValueError(f"readexactly({n}): it is 0 or more")
        while len(self._buffer) < n:
            if not await self._more():
                raise asyncio.IncompleteReadError(self._take(len(self._buffer)), n)
        return self._take(n)

    async def readuntil(self, separator: bytes = b"\n") -> bytes:
        """All up to the separator, which is included.

        `asyncio.IncompleteReadError`: the end came before. `asyncio.LimitOverrunError`: it is not
        in the first 64 KiB, which stay.
        """
        if not separator:
            raise ValueError("separator: it has one byte at least")
        start = 0
        while (found := self._buffer.find(separator, start)) < 0:
            start = max(0, len(self._buffer) - len(separator) + 1)
            if start > _LIMIT:
                text = f"the separator is not in the first {_LIMIT} bytes"
                raise asyncio.LimitOverrunError(text, start)
            if not await self._more():
                raise asyncio.IncompleteReadError(self._take(len(self._buffer)), None)
        return self._take(found + len(separator))

    async def readline(self) -> bytes:
        """A line, with its end. At the end of the stream what there is of one, or b""."""
        try:
            return await self.readuntil(b"\n")
        except asyncio.IncompleteReadError as incomplete:
            return incomplete.partial

    def at_eof(self) -> bool:
        """Has the stream ended, and is all of it taken?"""
        return self._ended and not self._buffer

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> bytes:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    async def _more(self) -> bool:
        """Receive something. False: the stream has ended."""
        if not self._ended:
            data = await self._stream.receive_some()
            self._buffer += data
            self._ended = not data
        return not self._ended

    def _take(self, n: int) -> bytes:
        data = bytes(self._buffer[:n])
        del self._buffer[:n]
        return data


class Writer:
    """What is sent, by the names of `asyncio.StreamWriter`.

    `write` does not wait, and keeps a copy of what the other end has not taken: `drain` waits.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send it. BlockingIOError: 1024 writes were not waited for."""
        self._stream.post(bytes(data))

    def writelines(self, data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send several buffers as one."""
        self._stream.post(b"".join(data))

    async def drain(self) -> None:
        """Wait until all is sent. Raises what a `write` before has met."""
        await self._stream.wait_send_all_might_not_block()

    def can_write_eof(self) -> bool:
        """True."""
        return True

    def write_eof(self) -> None:
        """End the stream in this direction."""
        self._stream.post_eof()

    def close(self) -> None:
        """Close the stream. What was sent is delivered."""
        self._stream.shut()

    def is_closing(self) -> bool:
        """Was it closed here?"""
        return self._stream.closed

    async def wait_closed(self) -> None:
        """Wait until what was sent is delivered, or cannot be."""
        try:
            await self._stream.wait_closed()
        except ChannelEnded:
            return

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """ "channel": the `adma.aio.Channel`. There is nothing else."""
        return self._stream._channel if name == "channel" else default
