# SPDX-License-Identifier: BSD-3-Clause
"""What two ranks of an MPI do: the forms of traffic of ``traffic.py``, by mpi4py's own calls.

Needs the standard library and mpi4py; NumPy for an array. MPI's description of a buffer is built
once, with the buffer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from mpi4py import MPI

try:
    from adma.bench.samples import OBJECTS, pattern, same, window_of
except ImportError:  # an MPI's environment: the file beside this one
    from samples import OBJECTS, pattern, same, window_of  # type: ignore[import-not-found,no-redef]

TAG = 7


class Ranks:
    """The world of one of mpi4py's namespaces: its own, or that of a library with its names."""

    def __init__(self, namespace: Any = MPI, comm: Any = None) -> None:
        self.mpi = namespace
        self.comm = comm or namespace.COMM_WORLD
        self.rank = self.comm.Get_rank()
        self.peer = 1 - self.rank  # where there are two


class Traffic:
    """One form of traffic. All ranks call the same methods."""

    share = 2
    """Messages of a turn of the loop: its time is divided by this."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.comm = ranks.comm
        self.peer = ranks.peer

    def loop(self, count: int) -> None:
        """Make `count` turns."""
        (self.lead if self.ranks.rank == 0 else self.follow)(count)

    def lead(self, count: int) -> None:
        raise NotImplementedError

    def follow(self, count: int) -> None:
        raise NotImplementedError

    def timed(self, count: int) -> float:
        begin = time.perf_counter()
        self.loop(count)
        return time.perf_counter() - begin


class PingPong(Traffic):
    """One message there and one back, by blocking calls."""

    def __init__(self, command: dict[str, Any], ranks: Ranks) -> None:
        super().__init__(ranks)
        size = int(command["size"])
        self.out = pattern(size, ranks.rank)
        self.into = bytearray(b"\xa5") * size
        self.out_spec = [self.out, size, MPI.BYTE]
        self.into_spec = [self.into, size, MPI.BYTE]

    def lead(self, count: int) -> None:
        send, recv, peer = self.comm.Send, self.comm.Recv, self.peer
        out, into = self.out_spec, self.into_spec
        for _ in range(count):
            send(out, peer, TAG)
            recv(into, peer, TAG)

    def follow(self, count: int) -> None:
        send, recv, peer = self.comm.Send, self.comm.Recv, self.peer
        out, into = self.out_spec, self.into_spec
        for _ in range(count):
            recv(into, peer, TAG)
            send(out, peer, TAG)

    def verify(self) -> None:
        """One round trip of patterns. Raises ValueError when a byte differs."""
        self.loop(1)
        if self.into != pattern(len(self.into), self.peer):
            raise ValueError(
                f"rank {self.ranks.rank} received {len(self.into)} bytes that were not sent"
            )


class Persistent(PingPong):
    """The same by persistent requests."""

    def lead(self, count: int) -> None:
        send = self.comm.Send_init(self.out_spec, self.peer, TAG)
        recv = self.comm.Recv_init(self.into_spec, self.peer, TAG)
        self.started(count, send, recv)

    def follow(self, count: int) -> None:
        send = self.comm.Send_init(self.out_spec, self.peer, TAG)
        recv = self.comm.Recv_init(self.into_spec, self.peer, TAG)
        self.started(count, recv, send)

    def started(self, count: int, first: Any, second: Any) -> None:
        start_first, wait_first = first.Start, first.Wait
        start_second, wait_second = second.Start, second.Wait
        try:
            for _ in range(count):
                start_first()
                wait_first()
                start_second()
                wait_second()
        finally:
            first.Free()
            second.Free()


class Window(Traffic):
    """Many messages from rank 0, posted and waited for together; then a short answer."""

    def __init__(self, command: dict[str, Any], ranks: Ranks) -> None:
        super().__init__(ranks)
        size, self.share = int(command["size"]), int(command["window"])
        self.parts = window_of(size, self.share, filled=ranks.rank == 0)
        self.specs = [[part, size, MPI.BYTE] for part in self.parts]
        self.answer = [bytearray(8), 8, MPI.BYTE]

    def lead(self, count: int) -> None:
        post, wait_all, peer = self.comm.Isend, self.ranks.mpi.Request.Waitall, self.peer
        specs, answer = self.specs, self.answer
        for _ in range(count):
            wait_all([post(spec, peer, TAG) for spec in specs])
            self.comm.Recv(answer, peer, TAG)

    def follow(self, count: int) -> None:
        post, wait_all, peer = self.comm.Irecv, self.ranks.mpi.Request.Waitall, self.peer
        specs, answer = self.specs, self.answer
        for _ in range(count):
            wait_all([post(spec, peer, TAG) for spec in specs])
            self.comm.Send(answer, peer, TAG)

    def verify(self) -> None:
        self.loop(1)
        if self.parts != window_of(len(self.parts[0]), self.share, filled=True):
            raise ValueError(f"a window of {self.share} messages arrived that was not sent")


class Objects(Traffic):
    """One Python object there and one back, by the communicator's lower-case methods."""

    def __init__(self, command: dict[str, Any], ranks: Ranks) -> None:
        super().__init__(ranks)
        self.value = OBJECTS[command["what"]]()

    def lead(self, count: int) -> None:
        send, recv, value, peer = self.comm.send, self.comm.recv, self.value, self.peer
        for _ in range(count):
            send(value, peer, TAG)
            recv(None, peer, TAG)

    def follow(self, count: int) -> None:
        send, recv, value, peer = self.comm.send, self.comm.recv, self.value, self.peer
        for _ in range(count):
            recv(None, peer, TAG)
            send(value, peer, TAG)

    def verify(self) -> None:
        if self.ranks.rank == 0:
            self.comm.send(self.value, self.peer, TAG)
        if not same(self.comm.recv(None, self.peer, TAG), self.value):
            raise ValueError("an object arrived that was not sent")
        if self.ranks.rank == 1:
            self.comm.send(self.value, self.peer, TAG)


def by_pkl5(command: dict[str, Any], ranks: Ranks) -> Objects:
    """The same by mpi4py's module for pickles with large buffers out of band."""
    from mpi4py.util import pkl5

    return Objects(command, Ranks(ranks.mpi, pkl5.Intracomm(ranks.comm)))


FORMS: dict[str, Callable[[dict[str, Any], Ranks], Any]] = {
    "plain": PingPong,
    "persistent": Persistent,
    "window": Window,
    "object": Objects,
    "pkl5": by_pkl5,
}
