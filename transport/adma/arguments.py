# SPDX-License-Identifier: BSD-3-Clause
"""Checks of arguments that several calls have: timeouts and whole numbers."""

from __future__ import annotations

import numbers
import operator
import time
from typing import Final, SupportsIndex

__all__ = ["FOREVER", "deadline_of", "remaining", "whole", "whole_between"]

#: Seconds. More, infinity included, is no different from no limit; the system's timers take this.
FOREVER: Final = 1e6


def deadline_of(timeout: float | None, call: str) -> float | None:
    """The moment (`time.monotonic`) at which `timeout` seconds from now are over; None: never.

    `call` names the call for errors. TypeError: no number. ValueError: below 0, or NaN.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, numbers.Real):
        kind = type(timeout).__name__
        raise TypeError(f"{call}(timeout): seconds as a number, or None for ever, not {kind}")
    if not timeout >= 0:  # also NaN
        raise ValueError(f"{call}(timeout): {timeout} is no time to wait; use 0 to only try")
    return time.monotonic() + float(min(timeout, FOREVER))


def remaining(deadline: float | None) -> float | None:
    """Seconds left until the deadline, at least 0; None: no limit."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def whole(value: SupportsIndex, wanted: str, *, allow_bool: bool = True) -> int:
    """A whole number. TypeError says what is `wanted`, and what came instead."""
    try:
        if isinstance(value, bool) and not allow_bool:
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{wanted}, not {type(value).__name__}") from None


def whole_between(value: SupportsIndex, low: int, high: int, wanted: str, outside: str) -> int:
    """As `whole`. ValueError for a number outside [low, high]: `outside`, formatted with it."""
    number = whole(value, wanted)
    if not low <= number <= high:
        raise ValueError(outside.format(number))
    return number
