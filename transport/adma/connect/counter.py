# SPDX-License-Identifier: BSD-3-Clause
"""Counters in the kernel that processes share: eventfd(2).

Python has its own functions for them only where it was built on a system that has them.
"""

from __future__ import annotations

import os
import sys

from .._core import handshake as processes
from ..errors import failure

__all__ = ["add", "make", "take"]

_BYTES = 8


def make(value: int) -> int:
    """The descriptor of a new one, which does not block. OSError: the system refuses it."""
    fd = processes.eventfd(value)
    if fd < 0:
        raise failure("pipe", -fd)
    return fd


def take(fd: int) -> int:
    """What it has, which is 0 from then on. BlockingIOError: it was 0."""
    return int.from_bytes(os.read(fd, _BYTES), sys.byteorder)


def add(fd: int, value: int) -> None:
    os.write(fd, value.to_bytes(_BYTES, sys.byteorder))
