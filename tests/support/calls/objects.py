# SPDX-License-Identifier: BSD-3-Clause
"""Objects that there is no memory for."""

from __future__ import annotations

import resource
from pathlib import Path

from adma.testing import Endpoint
from adma.testing.limits import HANG


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def recv_without_memory(endpoint: Endpoint, nbytes: int) -> tuple[list[str], int]:
    """What recv says while there is no room for `nbytes`; the length of what it returns then."""
    endpoint.channel.probe(timeout=HANG)
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + nbytes // 2, before[1]))
    errors = []
    try:
        for _ in range(3):
            try:
                endpoint.channel.recv(timeout=HANG)
            except MemoryError as error:
                errors.append(str(error))
            assert endpoint.channel.probe(timeout=HANG).kind == "object"
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    return errors, len(endpoint.channel.recv(timeout=HANG))
