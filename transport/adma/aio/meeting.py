# SPDX-License-Identifier: BSD-3-Clause
"""Meeting other processes: `listen` and `connect`, awaited."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Final

from .. import channel as blocking
from .. import listener, meeting
from ..arguments import deadline_of
from ..errors import ChannelClosed
from ..mechanisms import MechanismName
from . import loops
from .channel import Channel
from .opening import Opening
from .threads import ThreadCall

__all__ = ["Listener", "connect", "listen"]

_log = logging.getLogger("adma")
_PAUSE: Final = 0.05  # seconds between two looks for clients where no thread can wait for them


class Listener:
    """A name at which other processes reach this one. `adma.aio.listen` makes it.

    `async for channel in listener` yields a channel for each process that connects, until the
    listener is closed. `async with` closes it. Handshakes are made in threads, so that a client
    that is slow, or sends nonsense, holds up neither the event loop nor other clients.
    """

    def __init__(self, blocking_listener: listener.Listener) -> None:
        """This is not public: `listen` makes listeners."""
        self._listener = blocking_listener
        self._has_warned = False
        self._left: list[ThreadCall[blocking.Channel]] = []  # by tasks that were cancelled

    @property
    def name(self) -> str:
        """The name as it was given to `listen`."""
        return self._listener.name

    @property
    def address(self) -> str:
        """The path of the socket."""
        return self._listener.address

    async def accept(self) -> Channel:
        """Wait for a client; returns the channel. See `adma.Listener.accept`.

        If the task is cancelled, the client that comes next is the next call's. ChannelClosed:
        the listener was closed.
        """
        try:
            call = (
                self._left.pop() if self._left else ThreadCall(self._listener.accept, "adma-accept")
            )
        except OSError as error:
            return Channel(await self._accept_without_thread(error))
        try:
            return Channel(await call.result())
        except BaseException as error:
            if not isinstance(error, Exception):
                self._left.append(call)
            raise

    async def _accept_without_thread(self, error: OSError) -> blocking.Channel:
        """Look at the listener again and again."""
        if not self._has_warned:
            self._has_warned = True
            _log.warning("%s: accepts slowly: %s", self.name, error)
        loop = loops.running()
        while True:
            with suppress(TimeoutError):
                return self._listener.accept(timeout=0)
            parked = loop.park()
            loop.later(_PAUSE, parked.wake)
            await parked

    async def close(self) -> None:
        """Stop listening. Tasks in `accept` are told ChannelClosed. Closing twice is no error.

        Channels live on. A client that was let in for a task that was cancelled is closed.
        """
        self._listener.close()
        left, self._left = self._left, []
        for call in left:
            call.discard(lambda channel: channel.close(timeout=0))

    def __aiter__(self) -> AsyncIterator[Channel]:
        return self._channels()

    async def _channels(self) -> AsyncIterator[Channel]:
        while True:
            try:
                channel = await self.accept()
            except ChannelClosed:
                return
            yield channel

    async def __aenter__(self) -> Listener:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<adma.aio of {self._listener!r}>"

    def __del__(self) -> None:
        if hasattr(self, "_listener") and self._listener.fileno() >= 0:
            try:
                warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            finally:  # a warning may be an error
                self._listener.close()


def listen(
    name: str | os.PathLike[str],
    backlog: int = 128,
    *,
    mode: int | None = None,
    allow_uids: Iterable[int] | None = None,
) -> Opening[Listener]:
    """Listen at a name or a path: `await` it, or `async with` it. See `adma.listen`."""

    async def opens() -> Listener:
        return Listener(listener.listen(name, backlog, mode=mode, allow_uids=allow_uids))

    return Opening(opens)


def connect(
    name: str | os.PathLike[str], timeout: float = 5, mechanism: MechanismName = "auto"
) -> Opening[Channel]:
    """Connect to the process that listens at a name: `await` it, or `async with` it.

    See `adma.connect`. A thread waits for the listener, for up to `timeout` seconds. If the task
    is cancelled, the thread goes on for as long, and then closes what it has made. So there has
    to be a limit: TypeError for None. OSError (EAGAIN): no thread can be started.
    """
    if timeout is None:
        raise TypeError(
            "connect(timeout=None): it takes a number of seconds, because what a task that is "
            "cancelled leaves behind has to end; call it again after a TimeoutError"
        )
    deadline_of(timeout, "connect")

    async def opens() -> Channel:
        call = ThreadCall(lambda: meeting.connect(name, timeout, mechanism), "adma-connect")
        try:
            return Channel(await call.result())
        except BaseException as error:
            if not isinstance(error, Exception):
                call.discard(lambda channel: channel.close(timeout=0))
            raise

    return Opening(opens)
