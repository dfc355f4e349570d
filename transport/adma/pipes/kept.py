# SPDX-License-Identifier: BSD-3-Clause
"""A request for a message that went over the line of a pipe: it is done when it is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._core.operation import Operation
from ..messages.arrival import ReceiveRequest
from ..request import Watched

__all__ = ["Kept"]


class Kept(ReceiveRequest):
    """Done. `wait` returns what came: the bytes of a message, or an object."""

    __slots__ = ("_value",)

    _operations: Sequence[Operation] = ()  # the core has none of it

    def __init__(self, value: Any) -> None:
        self._value = value

    def check(self) -> bool:
        """True."""
        return True

    def wait(self, timeout: float | None = None) -> Any:
        """What came, or how many bytes went out."""
        del timeout
        return self._value

    def times(self) -> dict[str, int]:
        """Nothing was measured: each stage took no time that is known."""
        return dict.fromkeys(("post", "match", "start", "copy", "complete"), 0)

    def _watched(self) -> Watched:
        raise AssertionError("what is done is not watched")

    def _notify(self) -> bool:
        return True

    def __repr__(self) -> str:
        return "<message over the line of a pipe, done>"
