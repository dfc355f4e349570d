# SPDX-License-Identifier: BSD-3-Clause
"""A channel as a stream of bytes, for protocols that want one.

Each write is a message, and a message without bytes is the end of the stream. So both ends of a
channel have to be streams.
"""

from __future__ import annotations

import sys
from collections import deque
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from .. import channel as blocking
from ..errors import ChannelClosed, ChannelEnded, MessagesLost
from . import loops
from .channel import Channel
from .stream_ends import Reader, Writer
from .threads import ThreadCall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..request import Request

__all__ = ["Stream", "stream"]

_PIECE: Final = 1 << 20  # bytes of a message, at most: what the other end holds for it


class Stream:
    """A stream of bytes in both directions. `stream` makes it.

    Its calls are those of trio's streams, whose conformance kit it passes; in a run of trio it is a
    `trio.abc.HalfCloseableStream`. `reader` and `writer` are its ends as asyncio knows them.

    One task at a time may receive, and one may send; another one gets RuntimeError, and in trio
    `trio.BusyResourceError`. A stream that was closed here raises `ChannelClosed`, and in trio
    `trio.ClosedResourceError`; to send to a peer that is gone raises `ChannelEnded`, and in trio
    `trio.BrokenResourceError`. The end of the peer's stream is b"".
    """

    def __init__(self, channel: Channel) -> None:
        """This is not public: `stream` makes streams."""
        self._channel = channel
        self._left = memoryview(b"")  # received, and not returned yet
        self._ended = self._sent_end = self._closed = False
        self._receives = self._sends = False  # a task does
        self._under_way: deque[Request] = deque()  # writes that nobody waits for
        self._failure: Exception | None = None  # of one of these
        self._closing: ThreadCall[None] | None = None
        self.reader = Reader(self)
        self.writer = Writer(self)
        _register_with_trio()

    # Receiving

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes; returns from 1 to `max_bytes` of them, or b"" at the end of the stream.

        None: as many as there are in one message. ValueError: less than 1. A task that is cancelled
        loses nothing. After the peer died the error is `PeerDied` or `MessagesLost`.
        """
        if max_bytes is not None:
            if not isinstance(max_bytes, int):
                raise TypeError(f"max_bytes={max_bytes!r}: it is a whole number, or None")
            if max_bytes < 1:
                raise ValueError(f"max_bytes={max_bytes}: it is 1 or more, or None")
        with self._busy("_receives", "receive"):
            await _checkpoint()
            self._check_open()
            with self._translated(receiving=True):
                while not self._left and not self._ended:
                    await self._fill()
            data = self._left if max_bytes is None else self._left[:max_bytes]
            self._left = self._left[len(data) :]
            return bytes(data)

    async def _fill(self) -> None:
        try:
            data = await self._channel.read_bytes()
        except ChannelClosed:
            if self._closed:
                raise
            data = b""
        self._left = memoryview(data)
        self._ended = not data

    # Sending

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it; returns when it may be changed again. b"" sends nothing.

        If the task is cancelled, a part of it may have been sent, and the rest is not.
        """
        with self._busy("_sends", "send"):
            await _checkpoint()
            self._check_open()
            self._check_sends()
            with self._translated():
                view = memoryview(data).cast("B")
                for start in range(0, len(view), _PIECE):
                    await self._channel.write(view[start : start + _PIECE])
                await self._until_sent()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until what was posted before is sent."""
        with self._busy("_sends", "send"):
            await _checkpoint()
            self._check_open()
            with self._translated():
                await self._until_sent()

    async def send_eof(self) -> None:
        """End the stream in this direction. Calling it twice is no error."""
        with self._busy("_sends", "send"):
            await _checkpoint()
            self._check_open()
            if not self._sent_end:
                self._sent_end = True
                with self._translated():
                    await self._channel.write(b"")
                    await self._until_sent()

    def post(self, data: bytes) -> None:
        """Send it without waiting. It is copied before, and an error is raised by the next call."""
        self._check_open()
        self._check_sends()
        with self._translated():
            for start in range(0, len(data), _PIECE):
                self._under_way.append(self._channel.channel.iwrite(data[start : start + _PIECE]))
        self.is_idle()

    def post_eof(self) -> None:
        """The same for the end of the stream."""
        self._check_open()
        if not self._sent_end:
            self._sent_end = True
            with self._translated():
                self._under_way.append(self._channel.channel.iwrite(b""))

    def is_idle(self) -> bool:
        """Is all sent that was posted?"""
        try:
            while self._under_way and self._under_way[0].check():
                self._under_way.popleft()
        except Exception as error:
            self._failure = error
            self._under_way.clear()
        return not self._under_way

    async def _until_sent(self) -> None:
        while not self.is_idle():
            first = self._under_way[0]
            parked = loops.running().park()
            completions = loops.running().completions
            try:
                completions.enrol(first, parked.wake)  # it stays posted if this task is cancelled
                await parked
            finally:
                completions.withdraw(first, parked.wake)
            self._check_open()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    # Ending

    @property
    def closed(self) -> bool:
        """Was it closed here?"""
        return self._closed

    def shut(self) -> None:
        """Close it, and do not wait. A thread delivers what was sent, for up to 5 seconds."""
        if self._closed:
            return
        if not self._sent_end and self._failure is None:
            with suppress(ChannelEnded, BlockingIOError):
                self._under_way.append(self._channel.channel.iwrite(b""))
        self._closed = True
        self._left = memoryview(b"")
        self._closing = self._channel._close_in_thread(5)

    async def aclose(self) -> None:
        """Close it. Closing twice is no error. What was sent is delivered, later if need be.

        Tasks that send or receive are told at once.
        """
        self.shut()
        await _checkpoint()

    async def wait_closed(self) -> None:
        """Wait until the peer has what was sent, or 5 seconds after the close are over."""
        closing, self._closing = self._closing, None
        if closing is not None:
            with suppress(TimeoutError):
                await closing.result()

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    # Errors

    def _check_open(self) -> None:
        if self._closed:
            raise _named("ClosedResourceError", ChannelClosed("the stream was closed here"))

    def _check_sends(self) -> None:
        if self._sent_end:
            text = "the stream was ended in this direction by send_eof() or write_eof()"
            raise _named("ClosedResourceError", ChannelClosed(text))

    @contextmanager
    def _busy(self, which: str, verb: str) -> Iterator[None]:
        if getattr(self, which):
            raise _named(
                "BusyResourceError", RuntimeError(f"another task is about to {verb} on this stream")
            )
        setattr(self, which, True)
        try:
            yield
        finally:
            setattr(self, which, False)

    @contextmanager
    def _translated(self, receiving: bool = False) -> Iterator[None]:
        try:
            yield
        except ChannelEnded as error:
            name = "ClosedResourceError" if self._closed else "BrokenResourceError"
            if not receiving and isinstance(error, MessagesLost):
                error = ChannelClosed(str(error))
            raise _named(name, error) from None


def stream(channel: Channel | blocking.Channel) -> Stream:
    """The channel as a stream of bytes, which owns it. The other end has to be a stream, too.

    reader, writer = (s := adma.aio.stream(channel)).reader, s.writer
    """
    return Stream(channel if isinstance(channel, Channel) else Channel(channel))


def _in_trio() -> Any:
    """The module, if the running task is one of trio's."""
    trio = sys.modules.get("trio")
    return trio if trio is not None and trio.lowlevel.in_trio_task() else None


def _named(name: str, error: Exception) -> Exception:
    """The error as trio names it, for its tasks."""
    trio = _in_trio()
    if trio is None:
        return error
    found: Exception = getattr(trio, name)(str(error))
    found.__cause__ = error
    return found


async def _checkpoint() -> None:
    """In trio each call lets others run, and sees whether its task is cancelled."""
    trio = _in_trio()
    if trio is not None:
        await trio.lowlevel.checkpoint()


_registered: list[object] = []


def _register_with_trio() -> None:
    trio = sys.modules.get("trio")
    if trio is not None and not _registered:
        _registered.append(trio)
        trio.abc.HalfCloseableStream.register(Stream)
