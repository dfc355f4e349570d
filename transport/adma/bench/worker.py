# SPDX-License-Identifier: BSD-3-Clause
"""One process of a local contestant: adma or ``multiprocessing.Pipe``.

Started as ``python -m adma.bench.worker KIND RANK CONTROL_SOCKET LINK_FD [MECHANISM]``, where
LINK_FD is one end of a socket pair. Between rounds it blocks in ``recv`` on the control line.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from itertools import repeat
from typing import Any, Protocol

from adma.bench import build
from adma.bench.control import Line

CONNECT_TIMEOUT = 20.0


class End(Protocol):
    """One end of a connected pair.

    The measured loop calls the library's own two methods, so that the harness adds nothing to
    their time.
    """

    @property
    def send(self) -> Callable[[Any], Any]: ...
    @property
    def receive(self) -> Callable[[Any], Any]: ...

    def about(self) -> dict[str, Any]: ...
    def path(self, size: int) -> str: ...


class AdmaEnd:
    """A channel over the given socket."""

    def __init__(self, link: int, mechanism: str) -> None:
        import adma

        sock = socket.socket(fileno=link)
        self.channel = adma.from_socket(sock, timeout=CONNECT_TIMEOUT, mechanism=mechanism)
        self.send = self.channel.write
        self.receive = self.channel.read

    def about(self) -> dict[str, Any]:
        return {**build.describe(), "channel": repr(self.channel), "wait": build.waiting()}

    def path(self, size: int) -> str:
        found = self.channel.explain(size)
        return f"{found.carry} over {found.mechanism}" if found.mechanism else found.carry


class PipeEnd:
    """One end of ``multiprocessing.Pipe()``, whose two ends are a connected socket pair.

    A duplex pipe is what the class makes by default, and measured no slower than two one-way
    ones. ``send_bytes`` takes a view of the buffer, ``recv_bytes_into`` fills one: the fewest
    copies that the class offers.
    """

    def __init__(self, link: int, mechanism: str) -> None:
        from multiprocessing.connection import Connection

        self.connection = Connection(link)
        self.send = self.connection.send_bytes
        self.receive = self.connection.recv_bytes_into

    def about(self) -> dict[str, Any]:
        return {"version": sys.version.split()[0]}

    def path(self, size: int) -> str:
        return "copied through a socket"


KINDS: dict[str, Callable[[int, str], End]] = {"adma": AdmaEnd, "pipe": PipeEnd}


class Pinger:
    """Answers the driver's commands: prepare buffers of a size, run round trips."""

    def __init__(self, end: End, rank: int) -> None:
        self.end = end
        self.rank = rank
        self.prepare_buffers(1)

    def prepare_buffers(self, size: int) -> None:
        """Two ordinary buffers, touched, so that no page fault is measured."""
        self.out = pattern(size, self.rank)
        self.into = bytearray(b"\xa5") * size

    def prepare(self, command: dict[str, Any]) -> dict[str, Any]:
        """Make new buffers, and check one round trip of patterns, which is not timed."""
        size = int(command["size"])
        self.prepare_buffers(size)
        self.loop(1)
        if self.into != pattern(size, 1 - self.rank):
            raise ValueError(f"rank {self.rank} received {size} bytes that were not sent")
        return {"ok": True, "path": self.end.path(size)}

    def run(self, command: dict[str, Any]) -> dict[str, Any]:
        """Warm up, then time round trips. The answer is half a round trip, in seconds."""
        iterations = int(command["iterations"])
        self.loop(int(command["warmup"]))
        begin = time.perf_counter()
        self.loop(iterations)
        return {"seconds": (time.perf_counter() - begin) / (2 * iterations)}

    def loop(self, count: int) -> None:
        send, receive, out, into = self.end.send, self.end.receive, self.out, self.into
        if self.rank == 0:
            for _ in repeat(None, count):
                send(out)
                receive(into)
        else:
            for _ in repeat(None, count):
                receive(into)
                send(out)


def pattern(size: int, seed: int) -> bytearray:
    """Bytes that differ by place (period 251, so no power of two fits) and by sender."""
    tile = bytes((i + 83 * seed) % 251 for i in range(251))
    return bytearray((tile * (size // 251 + 1))[:size])


def serve(line: Line, answers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]]) -> int:
    """Answer commands until told to exit (0) or the driver is gone (1)."""
    while True:
        try:
            command = line.receive()
        except EOFError:
            return 1
        if command["op"] == "exit":
            return 0
        try:
            reply = answers[command["op"]](command)
        except Exception as error:
            # The driver decides what to do about a contestant that failed.
            reply = {"error": f"{type(error).__name__}: {error}", "cure": cure_of(error)}
        line.send(reply)


def cure_of(error: Exception) -> str:
    """The cure that one of adma's errors tells, for the table."""
    return str(getattr(error, "cure", ""))


def main(argv: list[str]) -> int:
    kind, rank, control, link = argv[0], int(argv[1]), argv[2], int(argv[3])
    mechanism = argv[4] if len(argv) > 4 else "auto"
    line = Line.dial(control)
    hello = {"rank": rank, "pid": os.getpid()}
    try:
        end = KINDS[kind](link, mechanism)
    except Exception as error:
        line.send({**hello, "error": f"{type(error).__name__}: {error}", "cure": cure_of(error)})
        return 1
    line.send({**hello, **end.about()})
    pinger = Pinger(end, rank)
    return serve(line, {"prepare": pinger.prepare, "run": pinger.run})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
