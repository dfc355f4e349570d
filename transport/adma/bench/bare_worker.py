# SPDX-License-Identifier: BSD-3-Clause
"""One process of a loop in C (``bare.c``).

Started as ``python -m adma.bench.bare_worker LOOP RANK CONTROL_SOCKET LINK_FD LIBRARY``. Both ranks
tell each other over the link where their buffers are; messages do not travel there.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import socket
import sys
from typing import Any

from adma.bench import bare
from adma.bench.control import Line
from adma.bench.samples import pattern
from adma.bench.traffic import Traffic
from adma.bench.worker import Pinger, cure_of, serve

TRIALS = 4  # round trips with a chunk, before one is chosen
TIMEOUT = 60.0


class BareEnd:
    """What both processes share: memory, a link, and the loop."""

    def __init__(self, link: int, rank: int, name: str, library: str) -> None:
        self.library = bare.load(library)
        self.loop = next(loop for loop in bare.LOOPS if loop.name == name)
        self.rank = rank
        self._socket = socket.socket(fileno=link)
        self._socket.settimeout(TIMEOUT)
        self.link = Line(self._socket)
        self.shared = self._shared()
        place = ctypes.addressof(ctypes.c_char.from_buffer(self.shared))
        peer = int(self.tell({"pid": os.getpid()})["pid"])
        self.raw = bare.End(shared=place, rank=rank, pid=peer, how=self.loop.how)
        self.library.bare_allow(peer)
        self.tell({"ready": True})  # nobody copies before the other end has allowed it

    def tell(self, message: dict[str, Any]) -> dict[str, Any]:
        """Tell the other end, and hear what it tells."""
        self._socket.sendall(json.dumps(message).encode() + b"\n")
        return self.link.receive(TIMEOUT)

    def about(self) -> dict[str, Any]:
        return {}

    def path(self, size: int) -> str:
        del size
        return self.loop.path

    def _shared(self) -> mmap.mmap:
        size = int(self.library.bare_shared_size())
        if self.rank == 0:
            fd = os.memfd_create("adma-bench")
            os.ftruncate(fd, size)
            socket.send_fds(self._socket, [b"m"], [fd])
        else:
            _, (fd, *_), _, _ = socket.recv_fds(self._socket, 1, 1)
        try:
            return mmap.mmap(fd, size)
        finally:
            os.close(fd)


class BarePingPong(Traffic):
    """The loop, with two buffers of a size."""

    def __init__(self, end: BareEnd, rank: int, command: dict[str, Any]) -> None:
        self.end = end
        self.size = self.chunk = int(command["size"])
        # The loop over a cache line always copies eight bytes.
        self.out = pattern(max(self.size, 8), rank)
        self.into = bytearray(b"\xa5") * max(self.size, 8)
        self.mine = {"out": _address(self.out), "into": _address(self.into)}
        self.theirs = end.tell(self.mine)
        if end.loop.chunked:
            self._choose()

    def loop(self, count: int) -> None:
        self.timed(count)

    def timed(self, count: int) -> float:
        raw = self.end.raw
        raw.size, raw.chunk = self.size, self.chunk
        raw.out, raw.into = self.mine["out"], self.mine["into"]
        raw.peer_out, raw.peer_into = self.theirs["out"], self.theirs["into"]
        return bare.checked(self.end.library.bare_pingpong(ctypes.byref(raw), count))

    def verify(self) -> None:
        self.loop(1)
        if self.into != pattern(len(self.into), 1 - self.end.rank):
            raise ValueError(f"rank {self.end.rank} received bytes that were not sent")

    def _choose(self) -> None:
        """Take the chunk with which a few round trips are quickest; rank 0 says which."""
        took: dict[float, int] = {}
        for chunk in [chunk for chunk in bare.CHUNKS if chunk <= self.size] or [self.size]:
            self.chunk = chunk
            self.loop(1)
            took[self.timed(TRIALS)] = chunk
        mine = took[min(took)]
        theirs = int(self.end.tell({"chunk": mine})["chunk"])
        self.chunk = mine if self.end.rank == 0 else theirs


def _address(buffer: bytearray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


FORMS = {"plain": BarePingPong}


def main(argv: list[str]) -> int:
    name, rank, control, link, library = argv[0], int(argv[1]), argv[2], int(argv[3]), argv[4]
    line = Line.dial(control)
    hello = {"rank": rank, "pid": os.getpid()}
    try:
        end = BareEnd(link, rank, name, library)
    except Exception as error:
        line.send({**hello, "error": f"{type(error).__name__}: {error}", "cure": cure_of(error)})
        return 1
    line.send({**hello, **end.about()})
    pinger = Pinger(end, rank, FORMS)
    return serve(line, {"prepare": pinger.prepare, "run": pinger.run})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
