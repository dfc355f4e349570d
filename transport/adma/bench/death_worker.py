# SPDX-License-Identifier: BSD-3-Clause
"""One side of ``benchmarks/death.py``: blocks in a call until its peer is killed.

Started as ``python -m adma.bench.death_worker KIND RANK CONTROL_SOCKET LINK_FD MECHANISM``. Rank 1
is the one that is killed; rank 0 tells when its call raised, by the clock that all processes share.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from adma.bench.control import Line
from adma.bench.worker import AdmaEnd, serve

TIMEOUT = 30.0


class Survivor:
    """Rank 0, and for its memory rank 1 as well."""

    def __init__(self, line: Line, end: AdmaEnd) -> None:
        self.line = line
        self.channel = end.channel
        self.ballast = bytearray()

    def load(self, command: dict[str, Any]) -> dict[str, Any]:
        """Hold so many bytes of touched memory, which the kernel frees before the death is seen."""
        self.ballast = bytearray(b"\x01") * int(command["bytes"])
        return {"ok": True}

    def block(self, command: dict[str, Any]) -> dict[str, Any]:
        """Announce it, block in a call, and tell when the call ended, and with what."""
        buffer = bytearray(int(command["size"]))
        call = self.channel.read if command["call"] == "read" else self.channel.write
        self.line.send({"ready": True})
        try:
            call(buffer, timeout=TIMEOUT)
        except OSError as error:
            return {"at": time.monotonic(), "raised": type(error).__name__}
        raise RuntimeError("the call came back although nobody answered")


def main(argv: list[str]) -> int:
    rank, control, link, mechanism = int(argv[1]), argv[2], int(argv[3]), argv[4]
    line = Line.dial(control)
    try:
        end = AdmaEnd(link, mechanism)
    except Exception as error:
        line.send({"rank": rank, "error": f"{type(error).__name__}: {error}"})
        return 1
    line.send({"rank": rank, "pid": os.getpid(), **end.about()})
    survivor = Survivor(line, end)
    return serve(line, {"load": survivor.load, "block": survivor.block})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
