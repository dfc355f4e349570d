# SPDX-License-Identifier: BSD-3-Clause
"""Does the clock of this machine count instructions, and how many while all processors idled?

QEMU's ``-icount shift=0`` moves the guest's clock on by one nanosecond for each instruction that
any of its processors executes. So a time is a number of instructions. This module checks that, with
a loop of machine code whose number of instructions is known.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# A function that counts its first argument down to zero: two instructions a turn, then a return.
LOOPS = {
    "x86_64": bytes.fromhex("48ffcf 75fb c3"),  # dec rdi; jnz; ret
    "aarch64": bytes.fromhex("000400f1 e1ffff54 c0035fd6"),  # subs x0, x0, #1; b.ne; ret
}
INSTRUCTIONS = 2  # of a turn
TURNS = 5_000_000
TRIALS = 3
TOLERANCE = 0.01  # the timer's interrupts take part of it


@dataclass(frozen=True)
class Calibration:
    """What the clock showed for a loop of known length: `ns` for `instructions`."""

    instructions: int
    ns: int

    @property
    def counts(self) -> bool:
        """The clock counts instructions, one nanosecond each."""
        return abs(self.ns / self.instructions - 1) <= TOLERANCE

    def __str__(self) -> str:
        return f"a loop of {self.instructions} instructions took {self.ns} ns of the clock"


def calibrate(turns: int = TURNS) -> Calibration:
    """Time the loop: the shortest of a few trials, less that of half as many turns.

    The difference leaves out the way into the loop and out of it. Raises RuntimeError on a
    processor for which there is no loop, OSError where memory may not be executed.
    """
    code = LOOPS.get(platform.machine())
    if code is None:
        raise RuntimeError(f"no loop of known length is written for {platform.machine()}")
    area = _executable(code)
    first = ctypes.c_char.from_buffer(area)
    loop = ctypes.CFUNCTYPE(None, ctypes.c_uint64)(ctypes.addressof(first))
    long, short = _shortest(loop, turns), _shortest(loop, turns // 2)
    return Calibration(INSTRUCTIONS * (turns - turns // 2), long - short)


def idle_seconds() -> float:
    """How long all processors together had nothing to run since boot, in steps of 10 ms."""
    return float(Path("/proc/uptime").read_text(encoding="ascii").split()[1])


def _shortest(loop: Callable[[int], None], turns: int) -> int:
    times = []
    for _ in range(TRIALS):
        begin = time.perf_counter_ns()
        loop(turns)
        times.append(time.perf_counter_ns() - begin)
    return min(times)


def _executable(code: bytes) -> mmap.mmap:
    """A mapping with the code, from a file, so that the kernel keeps the caches right."""
    fd = os.memfd_create("loop", os.MFD_CLOEXEC)
    try:
        os.write(fd, code)
        protection = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        return mmap.mmap(fd, len(code), mmap.MAP_PRIVATE, protection)
    finally:
        os.close(fd)
