# SPDX-License-Identifier: BSD-3-Clause
"""A peer that is bound to one core."""

from __future__ import annotations

import os

from adma.testing import Endpoint
from adma.testing.limits import HANG


def echo(endpoint: Endpoint, core: int, count: int) -> None:
    """Send messages of a byte back, on this core."""
    cores, buffer = os.sched_getaffinity(0), bytearray(1)
    os.sched_setaffinity(0, {core})
    try:
        for _ in range(count):
            assert endpoint.channel.read(buffer, timeout=HANG) == 1
            endpoint.channel.write(buffer, timeout=HANG)
    finally:
        os.sched_setaffinity(0, cores)
