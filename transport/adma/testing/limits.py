# SPDX-License-Identifier: BSD-3-Clause
"""How long a test waits, and the sizes at which messages begin to travel in another way.

ADMA_TEST_SLOWNESS, a whole number, multiplies all waits: for emulated machines.
"""

from __future__ import annotations

import os
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB


def _slowness() -> int:
    """A sanitizer, loaded before Python starts, makes everything slower; so does a guest."""
    sanitizer = 4 if "san.so" in os.environ.get("LD_PRELOAD", "") else 1
    return sanitizer * int(os.environ.get("ADMA_TEST_SLOWNESS", "1"))


SLOWNESS: Final = _slowness()

#: Seconds within which whatever has to happen happens, even on a busy machine.
#: A test that reaches it has found a hang; no test waits for it on purpose.
HANG: Final = 20.0 * SLOWNESS

#: Seconds of a timeout that a test does wait out.
SHORT: Final = 0.05

INLINE: Final = 32
EAGER: Final = 8 * KIB
CELL: Final = 64 * KIB
BULK: Final = 16 * CELL
LARGE: Final = 4 * MIB

#: Where the way of a message changes: into the descriptor, the bounce ring, one cell or
#: chunk of a mechanism or many of them, the whole bulk segment.
THRESHOLDS: Final = (INLINE, 4 * KIB, EAGER, CELL, 256 * KIB, BULK)


def around(thresholds: tuple[int, ...] = THRESHOLDS) -> list[int]:
    """Every threshold, one less and one more, ascending."""
    return sorted({size + step for size in thresholds for step in (-1, 0, 1)})
