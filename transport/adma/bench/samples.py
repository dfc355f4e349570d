# SPDX-License-Identifier: BSD-3-Clause
"""What is sent: patterns of bytes, and Python objects. The same for all contestants.

Needs the standard library; and NumPy for an array. The workers of MPI use it, where adma is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

PERIOD = 251  # of patterns: no power of two fits
SYNC = 8  # bytes of a message that only brings both ranks into step
SYNCS = 16  # such round trips before cold buffers are touched
ARRAY = 4 << 20  # bytes


def pattern(size: int, seed: int) -> bytearray:
    """Bytes that differ by place (period 251, so no power of two fits) and by sender."""
    tile = bytes((i + 83 * seed) % PERIOD for i in range(PERIOD))
    return bytearray((tile * (size // PERIOD + 1))[:size])


def window_of(size: int, number: int, *, filled: bool) -> list[bytearray]:
    """A buffer for each message of a window, touched; those of the sender are all different."""
    if not filled:
        return [bytearray(b"\xa5") * size for _ in range(number)]
    return [pattern(size, seed) for seed in range(number)]


def _array() -> Any:
    import numpy as np

    return np.arange(ARRAY // 8, dtype=np.float64)


OBJECTS: dict[str, Callable[[], Any]] = {
    "int": lambda: 42,
    "dict": lambda: {"step": 17, "loss": 0.25, "name": "adma"},
    "list": lambda: list(range(10_000)),
    "array": _array,
}
"""Makes the object of each kind."""


def same(one: Any, other: Any) -> bool:
    """Are two objects of these kinds equal?"""
    equal = one == other
    return bool(equal.all()) if hasattr(equal, "all") else bool(equal)
