# SPDX-License-Identifier: BSD-3-Clause
"""The machine's DMA channels, as every user sees them: in sysfs, and by their interrupts."""

from __future__ import annotations

import os
import re
from pathlib import Path

CLASS = Path("/sys/class/dma")
INTERRUPTS = Path("/proc/interrupts")


def describe_channels(where: Path = CLASS) -> list[dict[str, str]]:
    """Name and driver of every channel of every engine; empty if the kernel has no such class."""
    try:
        names = sorted(os.listdir(where), key=_natural)
    except OSError:
        return []
    return [{"name": name, "driver": _driver(where / name)} for name in names]


def interrupts(text: str | None = None) -> dict[str, int]:
    """How often each interrupt of a DMA engine came, over all processors.

    By the line's number and device, of those whose device has "dma" in its name. `text` is what
    ``/proc/interrupts`` holds, read here unless given. Raises OSError when it cannot be read.
    """
    if text is None:
        text = INTERRUPTS.read_text(encoding="ascii", errors="replace")
    lines = text.splitlines()
    processors = len(lines[0].split()) if lines else 0
    found = {}
    for line in lines[1:]:
        number, _, rest = line.partition(":")
        words = rest.split()
        device = " ".join(words[processors:])
        if "dma" in device.lower():
            key = f"{number.strip()} {words[-1]}"
            found[key] = sum(int(word) for word in words[:processors])
    return found


def _driver(channel: Path) -> str:
    try:
        return (channel / "device" / "driver").resolve(strict=True).name
    except OSError:
        return "unknown"


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that puts dma10 after dma9."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
