# SPDX-License-Identifier: BSD-3-Clause
"""One side of ``benchmarks/poll_set.py``: a server with many channels, most of them idle.

Started as ``python -m adma.bench.poll_worker KIND RANK CONTROL_SOCKET LINK_FD MECHANISM``: rank 0
accepts and serves, rank 1 connects and asks.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from adma.bench import build
from adma.bench.control import Line
from adma.bench.idle_worker import TIMEOUT, Side
from adma.bench.worker import serve


class Server(Side):
    """The channels of one process. `count` of them are waited for; 0 is a plain read of one."""

    def look(self, command: dict[str, Any]) -> dict[str, Any]:
        """Look once whether any channel is ready, `times` times: ns a look. Rank 0 only."""
        import adma

        channels = self.channels[: int(command["count"])]
        times = int(command["times"])
        begin = time.perf_counter_ns()
        for _ in range(times):
            adma.wait(channels, timeout=0)
        return {"ns": (time.perf_counter_ns() - begin) / times}

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Exchange `times` messages of 8 bytes on the first channel: ns a message, one way."""
        times = int(command["times"])
        if self.rank == 0:
            self._answer(int(command["count"]), times)
            return {"ok": True}
        channel, buffer = self.channels[0], bytearray(8)
        begin = time.perf_counter_ns()
        for _ in range(times):
            channel.write(buffer, timeout=TIMEOUT)
            channel.read(buffer, timeout=TIMEOUT)
        return {"ns": (time.perf_counter_ns() - begin) / times / 2}

    def _answer(self, count: int, times: int) -> None:
        import adma

        channels, buffer = self.channels[:count], bytearray(8)
        ready = self.channels[:1]
        while times:
            if count:
                ready = adma.wait(channels, timeout=TIMEOUT)
            for channel in ready:
                channel.read(buffer, timeout=TIMEOUT)
                channel.write(buffer, timeout=TIMEOUT)
                times -= 1


def main(argv: list[str]) -> int:
    rank, control, mechanism = int(argv[1]), argv[2], argv[4]
    os.close(int(argv[3]))
    line = Line.dial(control)
    line.send({"rank": rank, "pid": os.getpid(), **build.describe()})
    side = Server(rank, mechanism)
    names = ("listen", "open", "look", "ask")
    return serve(line, {name: getattr(side, name) for name in names})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
