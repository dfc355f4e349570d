# SPDX-License-Identifier: BSD-3-Clause
"""Memory that goes away while a message in it is under way, and limits on pinning it."""

from __future__ import annotations

import mmap
import resource

from support.limits import HANG
from support.payload import pattern
from support.peer_main import End


def forbid_pinning(end: End) -> None:
    """RLIMIT_MEMLOCK 0."""
    del end
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))


def limit_pinning(end: End, nbytes: int) -> None:
    del end
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (nbytes, nbytes))


def iwrite_mapped(end: End, name: str, nbytes: int, seed: int) -> None:
    """Post a write from a mapping of its own."""
    area = mmap.mmap(-1, nbytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area[:] = pattern(nbytes, seed)
    end.kept[name] = (end.channel.iwrite(area), area)


def change(end: End, name: str, seed: int) -> None:
    """Replace the pages: MADV_DONTNEED, then other bytes."""
    area = end.kept[name][1]
    area.madvise(mmap.MADV_DONTNEED)
    area[:] = pattern(len(area), seed)


def finish(end: End, name: str) -> int:
    request, area = end.kept.pop(name)
    nbytes = int(request.wait(timeout=HANG))
    del request
    area.close()
    return nbytes
