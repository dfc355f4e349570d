# SPDX-License-Identifier: BSD-3-Clause
"""Memory to copy: the same bytes each time, or others.

*Hot*: one pair of buffers. *Cold*: two large areas through which the pointers advance by the size
of a copy (the paper's figure 4b), so that no cache holds what comes next. *Fresh*: mapped for each
copy, so that no cache of pinned pages can know it. All is page-aligned and touched.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Bytes = Any
"""An array of bytes. NumPy's own type is no buffer to a type checker before Python 3.12."""
Place = tuple[Bytes, Bytes]
"""Destination and source."""
Take = Callable[[int, int], list[Place]]
"""Finds places: of so many bytes, so many."""

AREA = 64 << 20
AREA_MAX = 512 << 20
SLACK = 4096
OFFSET = 2048
"""How far source and destination are apart within a page, where they are at all."""
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


class Places:
    """Two areas, and where in them the next cold copy goes. All contestants share them."""

    def __init__(self, area: int = 0) -> None:
        self.area = area or min(AREA_MAX, max(AREA, 2 * cache_size(3)))
        self._dst = memory(self.area + SLACK)
        self._src = memory(self.area + SLACK)
        self._next = 0

    def hot(self, size: int, count: int, offset: int = 0) -> list[Place]:
        """The same place, `count` times."""
        return [self._at(0, size, offset)] * count

    def cold(self, size: int, count: int, offset: int = 0) -> list[Place]:
        """The next `count` places of `size` bytes."""
        return [self._advance(size, offset) for _ in range(count)]

    def _advance(self, size: int, offset: int) -> Place:
        if self._next + size > self.area:
            self._next = 0
        place = self._at(self._next, size, offset)
        self._next += size
        return place

    def _at(self, start: int, size: int, offset: int) -> Place:
        if size > self.area:
            raise ValueError(f"size {size}: the areas hold {self.area} bytes")
        shifted = start + offset
        return self._dst[start : start + size], self._src[shifted : shifted + size]


def fresh(size: int, count: int, offset: int = 0) -> list[Place]:
    """Map `count` new places."""
    total = (size + offset + SLACK) * count
    dst, src = memory(total), memory(total)
    step = -(-(size + offset) // SLACK) * SLACK
    return [
        (dst[at : at + size], src[at + offset : at + offset + size])
        for at in range(0, step * count, step)
    ]


def memory(nbytes: int) -> Bytes:
    """Ordinary private memory, page-aligned and touched."""
    import numpy as np

    area = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    array = np.frombuffer(area, np.uint8)
    array[:] = 1
    return array


def cache_size(level: int) -> int:
    """Bytes of the data cache of this level, as the kernel tells; 0 where it does not."""
    for index in sorted(_CACHES.glob("index*")):
        try:
            if int((index / "level").read_text()) != level:
                continue
            if (index / "type").read_text().strip() == "Instruction":
                continue
            found = re.fullmatch(r"(\d+)([KM])", (index / "size").read_text().strip())
        except (OSError, ValueError):
            continue
        if found:
            return int(found[1]) << (10 if found[2] == "K" else 20)
    return 0
