# SPDX-License-Identifier: BSD-3-Clause
"""Tasks of asyncio that await requests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final

from .completions import Completions

if TYPE_CHECKING:
    from ..request import Awaited

__all__ = ["suspended"]

_ATTRIBUTE: Final = "_adma_completions"  # of a loop, which then is freed together with its core


class _Loop:
    """An event loop of asyncio, as the completion core sees it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

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


class _Awaiting:
    """How many tasks await each request, in whatever loops."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[int, int] = {}  # by the id of the request, which the tasks hold

    def join(self, request: Awaited) -> None:
        with self._lock:
            self._counts[id(request)] = self._counts.get(id(request), 0) + 1

    def leave(self, request: Awaited) -> bool:
        """True: this task was the last one."""
        with self._lock:
            left = self._counts.pop(id(request)) - 1
            if left:
                self._counts[id(request)] = left
        return not left


_awaiting = _Awaiting()


def suspended(request: Awaited) -> Generator[Any, None, None]:
    """Suspend the task that awaits `request` until that may be done: look at it then.

    If the task is cancelled, so is the request, unless other tasks await it, too.
    """
    loop = asyncio.get_running_loop()
    completions = _completions_of(loop)
    future = loop.create_future()

    def wake() -> None:
        if not future.done():
            future.set_result(None)

    cancelled = False
    _awaiting.join(request)
    try:
        completions.enrol(request, wake)
        yield from future
    except asyncio.CancelledError:
        cancelled = True
        raise
    finally:
        completions.withdraw(request, wake)
        if _awaiting.leave(request) and cancelled:
            request.cancel()  # too late: its result is kept, for whoever waits for it again


def _completions_of(loop: asyncio.AbstractEventLoop) -> Completions:
    found = getattr(loop, _ATTRIBUTE, None)
    if found is None:
        found = Completions(_Loop(loop))
        setattr(loop, _ATTRIBUTE, found)
    assert isinstance(found, Completions)
    return found
