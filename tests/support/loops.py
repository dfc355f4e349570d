# SPDX-License-Identifier: BSD-3-Clause
"""Event loops that count their turns: one that sleeps makes none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from adma.testing.limits import HANG

T = TypeVar("T")


class Loop(asyncio.SelectorEventLoop):
    """A loop of asyncio with a counter."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = 0

    def _run_once(self) -> None:
        self.turns += 1
        super()._run_once()  # type: ignore[misc]

    def watches(self) -> list[int]:
        """The descriptors that it watches, its own excepted."""
        own = self._ssock.fileno()  # type: ignore[attr-defined]
        return [fd for fd in self._selector.get_map() if fd != own]  # type: ignore[attr-defined]


def run(main: Callable[[Loop], Awaitable[T]]) -> T:
    """Run `main(loop)` in a loop of its own, which watches nothing any more when that is over."""

    async def limited() -> T:
        async with asyncio.timeout(HANG):
            result = await main(loop)
        for _ in range(4):  # turns in which adma lets go of its descriptors
            await asyncio.sleep(0)
        assert not loop.watches()
        return result

    with asyncio.Runner(loop_factory=Loop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, Loop)
        return runner.run(limited())


async def begun(awaitable: Awaitable[T]) -> asyncio.Task[T]:
    """A task that awaits it, and has gone as far as it can for now."""

    async def wait() -> T:
        return await awaitable

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    return task
