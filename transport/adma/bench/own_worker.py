# SPDX-License-Identifier: BSD-3-Clause
"""One process of what is asked of adma alone: the core's own ping-pong, and time spent asleep.

Started as ``adma.bench.worker`` is.
"""

from __future__ import annotations

import ctypes
import sys
import time
from typing import Any

from adma._core import channel as core
from adma._core.constants import BYTES
from adma._core.results import NOT_NOW
from adma.bench import bare
from adma.bench.traffic import FORMS, Traffic
from adma.bench.worker import AdmaEnd, main


class Core(Traffic):
    """Short messages by the core's two calls, from a loop in C (``bare.c``)."""

    def __init__(self, end: AdmaEnd, rank: int, command: dict[str, Any]) -> None:
        self.library = bare.load(command["library"])
        self.size, self.rank = int(command["size"]), rank
        self.buffer = bytearray([7]) * self.size
        self.chan, self.write, self.read = core.addresses(end.channel._endpoint.chan)

    def loop(self, count: int) -> None:
        self.timed(count)

    def verify(self) -> None:
        if self.rank == 1:
            self.buffer[:] = bytes(self.size)
        self.loop(1)
        if self.buffer != bytearray([7]) * self.size:
            raise ValueError("the core received bytes that were not sent")

    def timed(self, count: int) -> float:
        place = ctypes.addressof(ctypes.c_char.from_buffer(self.buffer))
        took = self.library.bare_calls(
            *(self.chan, self.write, self.read, BYTES, NOT_NOW, self.rank, place, self.size, count)
        )
        if took < 0:
            raise RuntimeError(f"the core said {took}")
        return float(took) / 1e9


def asleep(end: AdmaEnd, command: dict[str, Any]) -> dict[str, Any]:
    """Wait for a message that does not come. The processor time of this process, in seconds."""
    buffer = bytearray(8)
    begin = time.process_time()
    try:
        end.channel.read(buffer, timeout=float(command["seconds"]))
    except TimeoutError:
        return {"seconds": time.process_time() - begin}
    raise RuntimeError("a message came that nobody sent")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], {**FORMS, "core": Core}, {"asleep": asleep}))
