# SPDX-License-Identifier: BSD-3-Clause
"""Memory that goes away while a message in it is under way, and limits on pinning it."""

from __future__ import annotations

import mmap
import resource

from adma.testing import Endpoint
from adma.testing.limits import HANG
from adma.testing.payload import pattern


def forbid_pinning(endpoint: Endpoint) -> None:
    """RLIMIT_MEMLOCK 0."""
    del endpoint
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))


def limit_pinning(endpoint: Endpoint, nbytes: int) -> None:
    del endpoint
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (nbytes, nbytes))


def iwrite_mapped(endpoint: Endpoint, name: str, nbytes: int, seed: int) -> None:
    """Post a write from a mapping of its own."""
    area = mmap.mmap(-1, nbytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area[:] = pattern(nbytes, seed)
    endpoint.kept[name] = (endpoint.channel.iwrite(area), area)


def change(endpoint: Endpoint, name: str, seed: int) -> None:
    """Replace the pages: MADV_DONTNEED, then other bytes."""
    area = endpoint.kept[name][1]
    area.madvise(mmap.MADV_DONTNEED)
    area[:] = pattern(len(area), seed)


def finish(endpoint: Endpoint, name: str) -> int:
    request, area = endpoint.kept.pop(name)
    nbytes = int(request.wait(timeout=HANG))
    del request
    area.close()
    return nbytes
