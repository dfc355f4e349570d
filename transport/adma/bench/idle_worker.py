# SPDX-License-Identifier: BSD-3-Clause
"""One side of ``benchmarks/idle.py``: opens many channels and tells what they cost it.

Started as ``python -m adma.bench.idle_worker KIND RANK CONTROL_SOCKET LINK_FD MECHANISM``: rank 0
accepts, rank 1 connects. The link is not used: the channels come from a listener, as a user's do.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterable
from typing import Any

from adma.bench import build
from adma.bench.control import Line
from adma.bench.worker import serve

TIMEOUT = 30.0
KIB = 1024


class Side:
    """The channels of one process."""

    def __init__(self, rank: int, mechanism: str) -> None:
        self.rank = rank
        self.mechanism = mechanism
        self.channels: list[Any] = []
        self.server: Any = None

    def listen(self, command: dict[str, Any]) -> dict[str, Any]:
        """Listen: rank 0 only, before `open`."""
        import adma

        self.server = adma.listen(command["path"])
        return {"ok": True}

    def open(self, command: dict[str, Any]) -> dict[str, Any]:
        """Open `count` channels, one after the other."""
        for _ in range(int(command["count"])):
            self.channels.append(self._another(command["path"]))
        return {"ok": True}

    def exchange(self, command: dict[str, Any]) -> dict[str, Any]:
        """Send `times` messages of `size` bytes in both directions on every channel."""
        out, into = bytearray(int(command["size"])), bytearray(int(command["size"]))
        for channel in self.channels:
            for _ in range(int(command["times"])):
                if self.rank == 0:
                    channel.write(out, timeout=TIMEOUT)
                    channel.read(into, timeout=TIMEOUT)
                else:
                    channel.read(into, timeout=TIMEOUT)
                    channel.write(out, timeout=TIMEOUT)
        return {"ok": True}

    def poll(self, command: dict[str, Any]) -> dict[str, Any]:
        """Ask every channel for its descriptor to poll. The channel makes it at that moment."""
        del command
        for channel in self.channels:
            channel.fileno()
        return {"ok": True}

    def measure(self, command: dict[str, Any]) -> dict[str, Any]:
        """What this process holds now: memory in KiB and descriptors."""
        del command
        gc.collect()
        return {**memory(), "descriptors": descriptors()}

    def _another(self, path: str) -> Any:
        if self.rank == 0:
            return self.server.accept(timeout=TIMEOUT)
        import adma

        return adma.connect(
            path,
            timeout=TIMEOUT,
            mechanism=self.mechanism,  # type: ignore[arg-type]
        )


def memory() -> dict[str, float]:
    """Pss and Rss in KiB. (In Pss a page that two processes share counts half for each.)"""
    with open("/proc/self/smaps_rollup", encoding="ascii") as file:
        fields = dict(_fields(file))
    return {"pss": fields["Pss"], "rss": fields["Rss"]}


def _fields(lines: Iterable[str]) -> Iterable[tuple[str, float]]:
    for line in lines:
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB":
            yield name, float(words[0])


def descriptors() -> int:
    """Open descriptors, without the one that the listing itself needs."""
    return len(os.listdir("/proc/self/fd")) - 1


def main(argv: list[str]) -> int:
    rank, control, mechanism = int(argv[1]), argv[2], argv[4]
    os.close(int(argv[3]))
    line = Line.dial(control)
    line.send({"rank": rank, "pid": os.getpid(), **build.describe()})
    side = Side(rank, mechanism)
    names = ("listen", "open", "exchange", "poll", "measure")
    return serve(line, {name: getattr(side, name) for name in names})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
