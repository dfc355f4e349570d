# SPDX-License-Identifier: BSD-3-Clause
"""A channel whose calls are awaited."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, SupportsIndex, TypeVar

from .. import channel as blocking
from .._core.constants import BYTES, EAGER_MAX, TELL
from ..arguments import deadline_of
from ..errors import ChannelClosed
from ..messages.arrival import Arrival
from ..messages.channel_request import ChannelRequest
from ..messages.incoming import Incoming
from ..messages.message import Message, bytes_of
from ..request import Request
from . import loops
from .kept import Kept
from .threads import ThreadCall

if TYPE_CHECKING:
    from ..buffer_types import Gathered, Scattered

__all__ = ["Channel"]

T = TypeVar("T")

_IN_A_ROW: Final = 32  # calls that need not wait; then other tasks have their turn


class Channel:
    """This end of a channel, for tasks of asyncio or trio.

    `adma.aio.connect` and the listeners of `adma.aio.listen` make it, and `Channel(channel)` makes
    it of an `adma.Channel`, which it owns from then on. `async with` closes it. Its calls do what
    those of `adma.Channel` do, and raise what those raise. None of them takes a timeout: use that
    of the event loop, such as `asyncio.timeout`.

    Tasks of one event loop may share it. Tasks that read get the messages in the order in which
    they called. A call that need not wait does not suspend its task, but for one call in a while.

    **A task that is cancelled loses nothing.** A read that waits for its message has taken
    nothing. If the message was matched already, it is kept, and the next call that reads returns
    it. Until it is there, it may still be written to the buffer of the call that was cancelled.
    A write that the peer has not matched is taken back. Otherwise it is delivered: the exception
    has its request as `.request`, which owns the buffer until it is done.
    """

    def __init__(self, channel: blocking.Channel) -> None:
        if not isinstance(channel, blocking.Channel):
            raise TypeError(
                f"Channel(channel) takes an adma.Channel, not {type(channel).__name__}: "
                "use adma.aio.connect() or listen(), or pass what adma.connect() returned"
            )
        self._channel = channel
        self._endpoint = channel._endpoint
        self._small = 0 if self._endpoint.link.forced else EAGER_MAX
        self._kept: deque[Kept] = deque()
        self._waiting = 0  # tasks that wait for a message
        self._writes: deque[ChannelRequest] = deque()  # that tasks wait for
        self._in_a_row = 0

    @property
    def channel(self) -> blocking.Channel:
        """The channel itself, for `explain`, `stats`, and `iread` and the like, whose requests
        are awaited. Do not read from it in other ways while tasks do.
        """
        return self._channel

    # Reading

    async def probe(self) -> Message:
        """Wait until there is a message to read; returns its kind and length, and leaves it.

        Raises `ChannelEnded` when no message can come any more. A task that is cancelled leaves
        nothing behind.
        """
        while self._kept:
            first = self._kept[0]
            if await first.settle():
                return first.message
            self._forget(first)
        return await self._message()

    async def read(self, buf: Scattered) -> int:
        """Read one message into a writable, C-contiguous buffer; returns its length in bytes.

        `MessageTooLong`, `WrongKind`: the message stays and is the next one again. See
        `adma.Channel.read`, and above for tasks that are cancelled.
        """
        if not self._waiting and not self._kept:
            nbytes = self._channel._read_now(buf)
            if nbytes is not None:
                self._in_a_row += 1
                if self._in_a_row >= _IN_A_ROW:
                    await self._let_others_run()
                return nbytes
        return await self._read_later(buf)

    async def _read_later(self, buf: Scattered) -> int:
        if self._kept:
            kept = await self._take_kept(lambda kept: kept.read_into(buf))
            if kept is not None:
                return kept

        def look() -> int | Message | None:
            nbytes = self._channel._read_now(buf)
            return self._channel.iprobe() if nbytes is None else nbytes

        found: int | Message = await self._in_line(look)
        if not isinstance(found, Message):
            return found
        result: int = await self._finish(self._channel.iread(buf), buf)
        return result

    async def read_bytes(self, max_bytes: SupportsIndex | None = None) -> bytes:
        """Read one message of any size; returns it as `bytes`. See `adma.Channel.read_bytes`."""
        limit = None if max_bytes is None else bytes_of(max_bytes, "read_bytes(max_bytes)")
        if self._kept:
            found = await self._take_kept(lambda kept: kept.read_bytes(limit))
            if found is not None:
                return found
        while True:
            message = await self._message()
            if message.kind != "bytes" or message.nbytes > self._small:
                break
            with suppress(TimeoutError):  # another thread has taken it
                return self._channel.read_bytes(limit, timeout=0)
        incoming = Incoming(self._endpoint, BYTES, TELL)
        incoming.limit_to(limit)
        arrival = Arrival(self._endpoint, "read_bytes", incoming)
        incoming.head.feed_by(arrival._advance)
        arrival.post()
        data: bytes = await self._finish(arrival)
        return data

    async def recv(self, max_bytes: int | None = None, *, allow_pickle: bool = False) -> Any:
        """Read the next message, which `send` wrote, and unpickle it. See `adma.Channel.recv`.

        An object that was received and kept for this call is returned whatever its size.
        """
        if self._kept:
            found = await self._take_kept(lambda kept: (kept.received(),))
            if found is not None:
                return found[0]
        while True:
            message = await self._message()
            if message.nbytes > self._small or self._channel._receiver.begun is not None:
                break
            with suppress(TimeoutError):  # another thread has taken it
                return self._channel.recv(0, max_bytes, allow_pickle=allow_pickle)
        return await self._finish(self._channel.irecv(max_bytes, allow_pickle=allow_pickle))

    async def _message(self) -> Message:
        """Wait until there is a message, behind other tasks that do. It is this task's to take."""
        if not self._waiting:
            message = self._channel.iprobe()
            if message is not None:
                await self._take_turns()
                return self._channel.iprobe() or message
        return await self._in_line(self._channel.iprobe)

    async def _in_line(self, look: Callable[[], T | None]) -> T:
        """Wait behind other tasks until `look` finds something, which it is told may be so."""
        loop = loops.running()
        if self._in_a_row < _IN_A_ROW and not self._waiting:
            found = look() if loop.completions.spin(self._endpoint) else None
            if found is not None:
                self._in_a_row += 1
                return found
        self._in_a_row = 0
        self._waiting += 1
        try:
            while True:
                parked = loop.park()
                try:
                    loop.completions.await_message(self._endpoint, parked.wake)
                    await parked
                except BaseException:
                    loop.completions.forget_message(self._endpoint, parked.wake)
                    raise
                found = look()
                if found is not None:
                    return found
        finally:
            self._waiting -= 1

    async def _finish(self, request: Request, buf: Scattered | None = None) -> Any:
        """The result of a read that was posted. If its task is cancelled too late, it is kept."""
        try:
            return await request
        except BaseException as interruption:
            if not isinstance(interruption, Exception) and not request.cancel():
                assert isinstance(request, ChannelRequest)
                self._kept.append(Kept(request, buf))
            raise

    async def _take_kept(self, take: Callable[[Kept], T]) -> T | None:
        """What was kept first, if its read has not failed. It stays if `take` raises."""
        while self._kept:
            first = self._kept[0]
            try:
                there = await first.settle()
            except Exception:  # it cannot be unpickled, and so is lost
                self._forget(first)
                raise
            if first not in self._kept:
                continue  # another task has taken it
            if there:
                result = take(first)
                self._forget(first)
                return result
            self._forget(first)
        return None

    def _forget(self, kept: Kept) -> None:
        with suppress(ValueError):  # another task has taken it
            self._kept.remove(kept)

    # Writing

    async def write(self, buf: Gathered) -> None:
        """Write one message: all bytes of a C-contiguous buffer. See `adma.Channel.write`.

        It returns when the buffer may be used again.
        """
        if not self._writes and self._channel._write_now(buf):
            self._in_a_row += 1
            if self._in_a_row >= _IN_A_ROW:
                await self._let_others_run()
            return
        await self._finish_write(await self._post(self._channel.iwrite, buf))

    async def send(self, obj: object) -> None:
        """Write a Python object, for `recv` at the other end. See `adma.Channel.send`."""
        await self._finish_write(await self._post(self._channel.isend, obj))

    async def _post(self, post: Callable[[Any], Any], what: object) -> ChannelRequest:
        """Post a write, once as many are outstanding as `max_outstanding` allows."""
        while True:
            try:
                posted: ChannelRequest = post(what)
                return posted
            except BlockingIOError:
                if not self._writes:
                    raise  # they are not ours
            pending = next((each for each in self._writes if not each._done), None)
            if pending is None:
                await loops.running().pause()
                continue
            with suppress(Exception):  # is told to whoever posted it
                await pending

    async def _finish_write(self, request: ChannelRequest) -> None:
        if request.check():
            await self._take_turns()
            return
        self._in_a_row = 0
        self._writes.append(request)
        try:
            await request
        except BaseException as interruption:
            if not isinstance(interruption, Exception) and not request.cancel():
                interruption.request = request  # type: ignore[attr-defined]
            raise
        finally:
            self._writes.remove(request)

    async def _take_turns(self) -> None:
        """This call need not wait. Where many of them follow each other, others have their turn."""
        self._in_a_row += 1
        if self._in_a_row >= _IN_A_ROW:
            await self._let_others_run()

    async def _let_others_run(self) -> None:
        self._in_a_row = 0
        await loops.running().pause()

    # Ending

    @property
    def closed(self) -> bool:
        """Was it closed by this process?"""
        return self._channel.closed

    async def close(self, timeout: float | None = 5) -> None:
        """Deliver what was posted, and close. See `adma.Channel.close`.

        Tasks that wait on it are told `ChannelClosed` at once. A thread waits for the peer, for up
        to `timeout` seconds. If the task is cancelled, that goes on without it. Where no
        thread can be started, the event loop waits itself.
        """
        deadline_of(timeout, "close")
        if self._channel.closed:
            return
        closing = self._close_in_thread(timeout)
        if closing is not None:
            await closing.result()

    def _close_in_thread(self, timeout: float | None) -> ThreadCall[None] | None:
        """None: no thread can be started, and so it is closed."""
        self._endpoint.begin_drain()
        with suppress(RuntimeError):  # no loop runs any more
            loops.running().completions.wake_all(self._endpoint)
        self._kept.clear()
        try:
            return ThreadCall(lambda: self._channel.close(timeout), "adma-close")
        except OSError:
            self._channel.close(timeout)
            return None

    async def __aenter__(self) -> Channel:
        if self._channel.closed:
            raise ChannelClosed("the channel was closed on this side")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<adma.aio of {self._channel!r}>"
