# SPDX-License-Identifier: BSD-3-Clause
"""One of two processes that exchange messages while one of them, or both, compute.

``python -m adma.bench.overlap_worker adma RANK CONTROL_SOCKET LINK_FD MECHANISM``, or by mpiexec
in an MPI's own environment, where adma is not: ``overlap_worker.py mpi CONTROL_SOCKET``. Both run
the same loops. Rank 0 sends, rank 1 receives. Needs the standard library, NumPy, and either.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

try:
    from adma.bench.compute import by_numpy, units_for
except ImportError:  # an MPI's environment: the file beside this one
    from compute import by_numpy, units_for  # type: ignore[import-not-found,no-redef]

SENDER, RECEIVER = 0, 1
TIMEOUT = 60.0
TAG, GO = 7, 8


class End(Protocol):
    """What both libraries can do, by the same names."""

    def about(self) -> dict[str, Any]: ...
    def send(self, buf: Any) -> None: ...
    def receive(self, buf: Any) -> None: ...
    def post_send(self, buf: Any) -> Any: ...
    def post_receive(self, buf: Any) -> Any: ...
    def wait(self, request: Any) -> None: ...
    def probe(self) -> None: ...
    def go(self) -> None: ...
    def await_go(self) -> None: ...


class AdmaEnd:
    """A channel over an inherited socket."""

    def __init__(self, link: int, mechanism: str) -> None:
        import adma

        sock = socket.socket(fileno=link)
        self.channel = adma.from_socket(
            sock,
            timeout=TIMEOUT,
            mechanism=mechanism,  # type: ignore[arg-type]
        )
        self.post_send = self.channel.iwrite
        self.post_receive = self.channel.iread
        self._token = bytearray(8)

    def about(self) -> dict[str, Any]:
        from adma.bench import build

        return {**build.describe(), "wait": build.waiting()}

    def send(self, buf: Any) -> None:
        self.channel.write(buf, timeout=TIMEOUT)

    def receive(self, buf: Any) -> None:
        self.channel.read(buf, timeout=TIMEOUT)

    def wait(self, request: Any) -> None:
        request.wait(TIMEOUT)

    def probe(self) -> None:
        self.channel.probe(TIMEOUT)

    def go(self) -> None:
        self.channel.write(self._token, timeout=TIMEOUT)

    def await_go(self) -> None:
        self.channel.read(self._token, timeout=TIMEOUT)


class MpiEnd:
    """Two ranks of a world of mpi4py's; the buffers' specifications are MPI's own."""

    def __init__(self, namespace: Any) -> None:
        self.world = namespace.COMM_WORLD
        self.rank = self.world.Get_rank()
        self._byte = namespace.BYTE
        self._peer = 1 - self.rank
        self._token = bytearray(8)

    def about(self) -> dict[str, Any]:
        try:
            import mpi_worker  # type: ignore[import-not-found]
        except ImportError:
            from adma.bench import mpi_worker
        return dict(mpi_worker.about())

    def send(self, buf: Any) -> None:
        self.world.Send([buf, self._byte], self._peer, TAG)

    def receive(self, buf: Any) -> None:
        self.world.Recv([buf, self._byte], self._peer, TAG)

    def post_send(self, buf: Any) -> Any:
        return self.world.Isend([buf, self._byte], self._peer, TAG)

    def post_receive(self, buf: Any) -> Any:
        return self.world.Irecv([buf, self._byte], self._peer, TAG)

    def wait(self, request: Any) -> None:
        request.Wait()

    def probe(self) -> None:
        self.world.Probe(self._peer, TAG)

    def go(self) -> None:
        self.world.Send([self._token, self._byte], self._peer, GO)

    def await_go(self) -> None:
        self.world.Recv([self._token, self._byte], self._peer, GO)


class Side:
    """One rank: its buffer, its computing, and the four ways to meet."""

    def __init__(self, end: End, rank: int) -> None:
        self.end = end
        self.rank = rank
        self.compute = by_numpy()
        self.units = 1
        self.buf = bytearray(1)

    def prepare(self, command: dict[str, Any]) -> dict[str, Any]:
        """Make a buffer of `size` and computing that takes `seconds`; check one message."""
        size = int(command["size"])
        self.buf = bytearray([self.rank + 1]) * size
        self.units = units_for(self.compute, float(command["seconds"]))
        if self.rank == SENDER:
            self.end.send(self.buf)
        else:
            self.end.receive(self.buf)
            if self.buf != bytearray([SENDER + 1]) * size:
                raise ValueError(f"{size} bytes arrived that were not sent")
        return {"ok": True}

    def run(self, command: dict[str, Any]) -> dict[str, Any]:
        """Copy without and with computing. Mean times in seconds, at the end that computes."""
        step = getattr(self, command["mode"])
        sums = {"copy": 0.0, "compute": 0.0, "during": 0.0, "total": 0.0}
        count = int(command["iterations"])
        for _ in range(count):
            whole, _ = step(0)
            alone = self.computed(self.units)
            both, during = step(self.units)
            for part, value in zip(sums, (whole, alone, during, both), strict=True):
                sums[part] += value
        if not whole:
            return {"ok": True}
        return {part: value / count for part, value in sums.items()}

    def computed(self, units: int) -> float:
        if not units:
            return 0.0
        begin = time.perf_counter()
        self.compute(units)
        return time.perf_counter() - begin

    def posted(self, post: Callable[[Any], Any], units: int) -> tuple[float, float]:
        """Post, compute, wait. The times of all of it, and of computing within it."""
        begin = time.perf_counter()
        request = post(self.buf)
        during = self.computed(units)
        self.end.wait(request)
        return time.perf_counter() - begin, during

    def receiver(self, units: int) -> tuple[float, float]:
        """The sender waits in its call before the receiver posts, and computes."""
        if self.rank == SENDER:
            self.end.await_go()
            self.end.send(self.buf)
            return 0.0, 0.0
        self.end.go()
        self.end.probe()
        return self.posted(self.end.post_receive, units)

    def early(self, units: int) -> tuple[float, float]:
        """The receiver posts and computes before the sender comes with its blocking call."""
        if self.rank == SENDER:
            self.end.await_go()
            self.end.send(self.buf)
            return 0.0, 0.0
        begin = time.perf_counter()
        request = self.end.post_receive(self.buf)
        self.end.go()
        during = self.computed(units)
        self.end.wait(request)
        return time.perf_counter() - begin, during

    def sender(self, units: int) -> tuple[float, float]:
        """The receiver waits in its call before the sender posts, and computes."""
        if self.rank == RECEIVER:
            self.end.go()
            self.end.receive(self.buf)
            return 0.0, 0.0
        self.end.await_go()
        return self.posted(self.end.post_send, units)

    def both(self, units: int) -> tuple[float, float]:
        """Both ends post, compute, and then wait."""
        if self.rank == RECEIVER:
            self.end.go()
            return self.posted(self.end.post_receive, units)
        self.end.await_go()
        return self.posted(self.end.post_send, units)


def serve(side: Side, path: str, about: dict[str, Any]) -> int:
    """Answer the driver's commands. Between them this process blocks, and uses no core."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(path)
    line = sock.makefile("rw", encoding="utf-8", newline="\n")

    def say(message: dict[str, Any]) -> None:
        line.write(json.dumps(message) + "\n")
        line.flush()

    say({"rank": side.rank, "pid": os.getpid(), **about})
    for text in line:
        command = json.loads(text)
        if command["op"] == "exit":
            return 0
        try:
            say(side.prepare(command) if command["op"] == "prepare" else side.run(command))
        except Exception as error:
            cure = str(getattr(error, "cure", ""))
            say({"error": f"{type(error).__name__}: {error}", "cure": cure})
    return 1


def main(argv: list[str]) -> int:
    if argv[0] == "mpi":
        from mpi4py import MPI

        ranks = MpiEnd(MPI)
        status = serve(Side(ranks, ranks.rank), argv[1], ranks.about())
        if status:  # the driver is gone, and the other rank may wait inside MPI
            ranks.world.Abort(status)
        return status
    rank, control, link, mechanism = int(argv[1]), argv[2], int(argv[3]), argv[4]
    end = AdmaEnd(link, mechanism)
    return serve(Side(end, rank), control, end.about())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
