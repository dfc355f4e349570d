# SPDX-License-Identifier: BSD-3-Clause
"""Something to compute while others copy: arithmetic whose length can be chosen.

It needs the standard library and NumPy, but not adma, since it also runs in an MPI's environment.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import repeat

ELEMENTS = (
    2048  # 16 KB: it stays in the first-level cache, and leaves memory to the thread that copies
)
TRIAL = 0.002  # seconds
TRIALS = 5

Compute = Callable[[int], None]
"""Compute this many units."""


def by_numpy() -> Compute:
    """Multiply and add a vector. NumPy releases the GIL while it does."""
    import numpy as np

    x, step, bias = np.linspace(0.0, 1.0, ELEMENTS), 0.999, 0.001

    def compute(units: int) -> None:
        for _ in repeat(None, units):
            np.multiply(x, step, out=x)
            np.add(x, bias, out=x)

    return compute


def by_python() -> Compute:
    """The same arithmetic in plain Python, which holds the GIL all the time."""

    def compute(units: int) -> None:
        x = 0.5
        for _ in repeat(None, units):
            x = x * 0.999 + 0.001

    return compute


def units_for(compute: Compute, seconds: float) -> int:
    """How many units take about this long: at least 1."""
    units = 1
    while (took := _shortest(compute, units)) < min(TRIAL, seconds):
        units *= 2
    return max(1, round(units * seconds / took))


def _shortest(compute: Compute, units: int) -> float:
    times = []
    for _ in range(TRIALS):
        begin = time.perf_counter()
        compute(units)
        times.append(time.perf_counter() - begin)
    return min(times)
