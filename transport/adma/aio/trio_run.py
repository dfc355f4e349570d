# SPDX-License-Identifier: BSD-3-Clause
"""A run of trio, which is an event loop, too."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, Final

import trio  # type: ignore[import-not-found, unused-ignore]
from trio import lowlevel  # type: ignore[import-not-found, unused-ignore]

from .completions import Completions

__all__ = ["TrioRun"]


class _Parked:
    """A task that waits until it is woken."""

    __slots__ = ("_asleep", "_task", "_woken")

    cancelled: Final = trio.Cancelled

    def __init__(self) -> None:
        self._task = lowlevel.current_task()
        self._asleep = self._woken = False

    def wake(self) -> None:
        if not self._woken:
            self._woken = True
            if self._asleep:
                self._asleep = False
                lowlevel.reschedule(self._task)

    def _abort(self, raise_cancel: object) -> lowlevel.Abort:
        del raise_cancel
        self._asleep, self._woken = False, True
        return lowlevel.Abort.SUCCEEDED

    def __await__(self) -> Generator[Any, None, None]:
        if self._woken:
            return
        self._asleep = True
        yield from lowlevel.wait_task_rescheduled(self._abort).__await__()


class TrioRun:
    """What the completion core and tasks need of it."""

    def __init__(self) -> None:
        self._token = lowlevel.current_trio_token()
        self._watches: dict[int, trio.CancelScope] = {}
        self.completions = Completions(self)

    @classmethod
    def running(cls) -> TrioRun:
        """The run of the running task."""
        found = _current.get(None)
        if found is None:
            found = cls()
            _current.set(found)
        assert isinstance(found, cls)
        return found

    # For tasks

    def park(self) -> _Parked:
        """What the running task awaits until somebody calls its `wake`."""
        return _Parked()

    async def pause(self) -> None:
        """Let other tasks run."""
        await lowlevel.checkpoint()

    def from_threads(self, call: Callable[[], object]) -> None:
        """Call it in the thread of the run; not if that is over."""
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(call)

    # For the completion core

    def watch(self, fd: int, call: Callable[[], object]) -> None:
        scope = self._watches[fd] = trio.CancelScope()

        async def look() -> None:
            with scope:
                # Once it is unwatched the number may be nobody's, or another one's: before the
                # task first runs, while it waits, or by what it calls.
                while not scope.cancel_called:
                    await lowlevel.wait_readable(fd)
                    if not scope.cancel_called:
                        call()

        lowlevel.spawn_system_task(look)

    def unwatch(self, fd: int) -> None:
        scope = self._watches.pop(fd, None)
        if scope is not None:
            scope.cancel()
            lowlevel.notify_closing(fd)

    def soon(self, call: Callable[[], object]) -> None:
        async def make() -> None:
            call()

        lowlevel.spawn_system_task(make)

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        async def make() -> None:
            await trio.sleep(seconds)
            call()

        lowlevel.spawn_system_task(make)


_current: Final[lowlevel.RunVar[TrioRun | None]] = lowlevel.RunVar("adma", None)
