# SPDX-License-Identifier: BSD-3-Clause
"""Tasks that await requests."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from . import loops

if TYPE_CHECKING:
    from ..request import Awaited

__all__ = ["suspended"]


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
    loop = loops.running()
    parked = loop.park()
    cancelled = False
    _awaiting.join(request)
    try:
        loop.completions.enrol(request, parked.wake)
        yield from parked.__await__()
    except parked.cancelled:
        cancelled = True
        raise
    finally:
        loop.completions.withdraw(request, parked.wake)
        if _awaiting.leave(request) and cancelled:
            request.cancel()  # too late: its result is kept, for whoever waits for it again
