# SPDX-License-Identifier: BSD-3-Clause
"""One side of ``benchmarks/helper_counts.py``. It does one thing at a time, which can be counted.

Started as ``python -m adma.bench.count_worker adma RANK CONTROL_SOCKET LINK_FD MECHANISM``.
Besides ping-pong it posts, checks and streams on command: rank 0 writes, rank 1 reads.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import sys
import time
from itertools import pairwise, repeat
from typing import Any

from adma.bench.control import Line
from adma.bench.samples import pattern
from adma.bench.worker import AdmaEnd, Pinger, cure_of, serve

HUGE = 2 << 20
PAGE = mmap.PAGESIZE
TIMEOUT = 60.0
PRESENT = 1 << 63  # of an entry of pagemap
FRAME = (1 << 55) - 1
COMMANDS = (
    "prepare",
    "run",
    "nothing",
    "buffers",
    "post",
    "check",
    "finish",
    "lay",
    "stream",
    "verify",
)


class Area:
    """Private memory, all of it touched, that begins `offset` bytes after the start of a page.

    It is in huge pages as far as the kernel gives them, or in ordinary ones, aligned the same.
    """

    def __init__(self, size: int, offset: int, huge: bool) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self.map = mmap.mmap(-1, size + offset + 2 * HUGE, flags)
        self.map.madvise(mmap.MADV_HUGEPAGE if huge else mmap.MADV_NOHUGEPAGE)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        begin = -base % HUGE + offset
        self.address = base + begin
        self.view = memoryview(self.map)[begin : begin + size]
        self.view[::PAGE] = bytes(len(self.view[::PAGE]))
        self.view[-1] = 0

    def runs(self) -> int:
        """How many physically contiguous pieces it has; 0 where only root may know."""
        first = self.address // PAGE
        last = (self.address + len(self.view) - 1) // PAGE
        with open("/proc/self/pagemap", "rb", buffering=0) as file:
            file.seek(first * 8)
            entries = struct.unpack(f"={last - first + 1}Q", file.read((last - first + 1) * 8))
        frames: list[int] = [entry & FRAME for entry in entries if entry & PRESENT]
        if not all(frames):
            return 0
        return 1 + sum(b != a + 1 for a, b in pairwise(frames))


class Counted(Pinger):
    """Answers the commands of the counting benchmark."""

    def __init__(self, end: AdmaEnd, rank: int) -> None:
        super().__init__(end, rank)
        self.channel = end.channel
        self.area: Area | None = None
        self.posted: list[bytearray] = []
        self.requests: list[Any] = []

    def nothing(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do nothing, so that the cost of a command itself is known."""
        del command
        return {"ok": True}

    def buffers(self, command: dict[str, Any]) -> dict[str, Any]:
        """Make the buffers that will be posted, so that a post costs nothing else."""
        self.posted = [bytearray(int(command["size"])) for _ in range(int(command["count"]))]
        return {"ok": True}

    def post(self, command: dict[str, Any]) -> dict[str, Any]:
        """Post every buffer: as writes at rank 0, as reads at rank 1."""
        del command
        post = self.channel.iwrite if self.rank == 0 else self.channel.iread
        self.requests = [post(buffer) for buffer in self.posted]
        return {"ok": True}

    def check(self, command: dict[str, Any]) -> dict[str, Any]:
        """Check every posted request `times` times, whether it is done or not."""
        done = 0
        begin = time.monotonic_ns()
        for _ in repeat(None, int(command["times"])):
            done = sum([request.check() for request in self.requests])
        return {"done": done, "ns": time.monotonic_ns() - begin}

    def finish(self, command: dict[str, Any]) -> dict[str, Any]:
        """Check every posted request until it is done. No other call is made."""
        del command
        deadline = time.monotonic() + TIMEOUT
        checks = 0
        for request in self.requests:
            checks += 1
            while not request.check():
                checks += 1
                if time.monotonic() > deadline:
                    raise TimeoutError("posted requests are not done")
        self.requests.clear()
        return {"checks": checks}

    def lay(self, command: dict[str, Any]) -> dict[str, Any]:
        """A new area for `stream`: `size`, `offset`, `huge`. The writer's holds a pattern."""
        self.area = None
        size = int(command["size"])
        self.area = Area(size, int(command["offset"]), bool(command["huge"]))
        if self.rank == 0:
            self.area.view[:] = pattern(size, 0)
        return {"runs": self.area.runs()}

    def stream(self, command: dict[str, Any]) -> dict[str, Any]:
        """`count` messages from the area of rank 0 to that of rank 1, each waited for."""
        area = self.area
        assert area is not None
        act = self.channel.write if self.rank == 0 else self.channel.read
        for _ in repeat(None, int(command["count"])):
            act(area.view, timeout=TIMEOUT)
        return {"ok": True}

    def verify(self, command: dict[str, Any]) -> dict[str, Any]:
        """The reader's area holds what the writer's began with."""
        del command
        area = self.area
        assert area is not None
        if area.view != pattern(len(area.view), 0):
            raise ValueError(f"{len(area.view)} bytes arrived that were not sent")
        return {"ok": True}


def main(argv: list[str]) -> int:
    rank, control, link, mechanism = int(argv[1]), argv[2], int(argv[3]), argv[4]
    line = Line.dial(control)
    hello = {"rank": rank, "pid": os.getpid()}
    try:
        end = AdmaEnd(link, mechanism)
    except Exception as error:
        line.send({**hello, "error": f"{type(error).__name__}: {error}", "cure": cure_of(error)})
        return 1
    line.send({**hello, **end.about()})
    side = Counted(end, rank)
    return serve(line, {name: getattr(side, name) for name in COMMANDS})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
