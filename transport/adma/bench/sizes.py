# SPDX-License-Identifier: BSD-3-Clause
"""Message sizes on the command line: ``8:16M``, ``8:16M:2``, ``8,64K,1M:16M``."""

from __future__ import annotations

import re

STEP = 4
LARGEST = 1 << 40
_SUFFIXES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def parse_size(text: str) -> int:
    """One size in bytes, with an optional suffix K, M or G (powers of 1024).

    Raises ValueError that names the text and what is accepted.
    """
    found = re.fullmatch(r"\s*(\d+)\s*([KMG]?)(?:I?B)?\s*", text.upper())
    if found is None:
        raise ValueError(f"size {text!r}: expected bytes with an optional K, M or G, such as 64K")
    size = int(found.group(1)) * _SUFFIXES[found.group(2)]
    if not 1 <= size <= LARGEST:
        raise ValueError(f"size {text!r}: must lie between 1 byte and {format_size(LARGEST)}")
    return size


def parse_sizes(text: str) -> list[int]:
    """Ascending sizes from a list of sizes (``64K``) and ranges (``LOW:HIGH[:FACTOR]``).

    A range is counted down from HIGH, dividing by FACTOR (4 unless given), and always holds LOW:
    so the round sizes that bars are stated for (64K, 1M, 4M, 16M) are in it.
    Raises ValueError that names what is wrong.
    """
    sizes: set[int] = set()
    for part in text.split(","):
        sizes.update(_parse_range(part) if ":" in part else [parse_size(part)])
    return sorted(sizes)


def _parse_range(text: str) -> set[int]:
    parts = text.split(":")
    if len(parts) > 3:
        raise ValueError(f"sizes {text!r}: expected LOW:HIGH or LOW:HIGH:FACTOR")
    low, high = parse_size(parts[0]), parse_size(parts[1])
    if len(parts) == 3 and not parts[2].isdecimal():
        raise ValueError(f"sizes {text!r}: FACTOR must be a whole number of 2 or more")
    factor = int(parts[2]) if len(parts) == 3 else STEP
    if factor < 2:
        raise ValueError(f"sizes {text!r}: FACTOR must be a whole number of 2 or more")
    if low > high:
        raise ValueError(f"sizes {text!r}: LOW is larger than HIGH; write {parts[1]}:{parts[0]}")
    sizes = {low}
    while high >= low:
        sizes.add(high)
        high //= factor
    return sizes


def format_size(size: int) -> str:
    """Short and exact: 8, 64K, 1M; a size that is no multiple stays in bytes."""
    for suffix in ("G", "M", "K"):
        if size >= _SUFFIXES[suffix] and size % _SUFFIXES[suffix] == 0:
            return f"{size // _SUFFIXES[suffix]}{suffix}"
    return str(size)
