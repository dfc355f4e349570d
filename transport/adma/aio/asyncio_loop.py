# SPDX-License-Identifier: BSD-3-Clause
"""An event loop of asyncio, or one that stands in for it, such as uvloop's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, Final

from .completions import Completions

__all__ = ["AsyncioLoop"]

_ATTRIBUTE: Final = "_adma_loop"  # of a loop, which then is freed together with its core


class _Parked:
    """A task that waits until it is woken."""

    __slots__ = ("_future",)

    cancelled: Final = asyncio.CancelledError

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._future = loop.create_future()

    def wake(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    def __await__(self) -> Generator[Any, None, None]:
        return self._future.__await__()


class AsyncioLoop:
    """What the completion core and tasks need of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.completions = Completions(self)

    @classmethod
    def running(cls) -> AsyncioLoop:
        """The loop of the running task. RuntimeError: there is none in this thread."""
        loop = asyncio.get_running_loop()
        found = getattr(loop, _ATTRIBUTE, None)
        if found is None:
            found = cls(loop)
            setattr(loop, _ATTRIBUTE, found)
        assert isinstance(found, cls)
        return found

    # For tasks

    def park(self) -> _Parked:
        """What the running task awaits until somebody calls its `wake`."""
        return _Parked(self._loop)

    async def pause(self) -> None:
        """Let other tasks run."""
        await asyncio.sleep(0)

    def from_threads(self, call: Callable[[], object]) -> None:
        """Call it in the loop's thread; not if the loop is over."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call)

    # For the completion core

    def watch(self, fd: int, call: Callable[[], object]) -> None:
        self._loop.add_reader(fd, call)

    def unwatch(self, fd: int) -> None:
        if not self._loop.is_closed():
            self._loop.remove_reader(fd)

    def soon(self, call: Callable[[], object]) -> None:
        if self._loop.is_closed():
            call()
        else:
            self._loop.call_soon(call)

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        self._loop.call_later(seconds, call)
