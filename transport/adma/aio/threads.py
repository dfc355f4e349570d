# SPDX-License-Identifier: BSD-3-Clause
"""Calls that block, made in a thread of their own and awaited by tasks."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from ..errors import failure
from . import loops

__all__ = ["ThreadCall"]

T = TypeVar("T")


class ThreadCall(Generic[T]):
    """A call in a thread. It cannot be cancelled: what waits for it can, and may wait again."""

    def __init__(self, call: Callable[[], T], name: str) -> None:
        """OSError: no thread can be started, so nothing was called."""
        self._lock = threading.Lock()
        self._over = False
        self._value: list[T] = []
        self._error: BaseException | None = None
        self._then: list[Callable[[], object]] = []
        thread = threading.Thread(target=self._run, args=(call,), name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # Python tells no errno; this is that of a limit
            raise failure("helper thread", errno.EAGAIN) from None

    def _run(self, call: Callable[[], T]) -> None:
        try:
            self._value.append(call())
        except BaseException as error:
            self._error = error
        with self._lock:
            self._over = True
            then, self._then = self._then, []
        del call
        for each in then:
            each()

    async def result(self) -> T:
        """Wait for its result, or raise its error. One task alone gets it."""
        loop = loops.running()
        parked = loop.park()
        with self._lock:
            waits = not self._over
            if waits:
                self._then.append(lambda: loop.from_threads(parked.wake))
        if waits:
            await parked
        if self._error is not None:
            error, self._error = self._error, None
            try:
                raise error
            finally:
                del error
        return self._value.pop()

    def discard(self, dispose: Callable[[T], object]) -> None:
        """Nobody will wait for it again: its result is disposed of, now or in its thread."""

        def end() -> None:
            while self._value:
                dispose(self._value.pop())

        with self._lock:
            if not self._over:
                self._then.append(end)
                return
        end()
