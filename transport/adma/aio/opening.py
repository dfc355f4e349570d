# SPDX-License-Identifier: BSD-3-Clause
"""What is opened by `await`, or by `async with`, which closes it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Generic, TypeVar

__all__ = ["Opening"]

T = TypeVar("T", bound=AbstractAsyncContextManager[Any])


class Opening(Generic[T]):
    """What `listen` and `connect` return: await it once, or use it in one `async with`."""

    def __init__(self, opens: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._opens = opens
        self._opened: T | None = None

    def __await__(self) -> Generator[Any, None, T]:
        return self._opens().__await__()

    async def __aenter__(self) -> T:
        self._opened = await self._opens()
        return self._opened

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._opened is not None:
            await self._opened.__aexit__(kind, error, trace)
