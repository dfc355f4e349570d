# SPDX-License-Identifier: BSD-3-Clause
"""Which event loop the running task is in: one of asyncio, or a run of trio."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from typing import Any, Protocol

from .asyncio_loop import AsyncioLoop
from .completions import Completions

__all__ = ["Loop", "Parked", "running"]


class Parked(Protocol):
    """A task that waits until it is woken: it awaits this once."""

    @property
    def cancelled(self) -> type[BaseException]:
        """What is raised in a task that is cancelled."""

    def wake(self) -> None:
        """Wake it, also before it waits. In the loop's thread; more than once is no error."""

    def __await__(self) -> Generator[Any, None, None]: ...


class Loop(Protocol):
    """What tasks need of their event loop."""

    @property
    def completions(self) -> Completions: ...

    def park(self) -> Parked:
        """What the running task awaits until somebody calls its `wake`."""

    async def pause(self) -> None:
        """Let other tasks run."""

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """Call it after this time."""

    def from_threads(self, call: Callable[[], object]) -> None:
        """Call it in the loop's thread; not if the loop is over."""


def running() -> Loop:
    """The event loop of the running task. RuntimeError: there is none in this thread."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        from .trio_run import TrioRun  # only for programs that have it

        return TrioRun.running()
    return AsyncioLoop.running()
