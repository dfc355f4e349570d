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

COMM = MPI.COMM_WORLD
RANK = COMM.Get_rank()
PEER = 1 - RANK
TAG = 7


class Traffic:
    """One form of traffic. Both ranks call the same methods."""

    share = 2
    """Messages of a turn of the loop: its time is divided by this."""

    def loop(self, count: int) -> None:
        """Make `count` turns."""
        (self.lead if RANK == 0 else self.follow)(count)

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

    def __init__(self, command: dict[str, Any]) -> None:
        size = int(command["size"])
        self.out = pattern(size, RANK)
        self.into = bytearray(b"\xa5") * size
        self.out_spec = [self.out, size, MPI.BYTE]
        self.into_spec = [self.into, size, MPI.BYTE]

    def lead(self, count: int) -> None:
        send, recv, out, into = COMM.Send, COMM.Recv, self.out_spec, self.into_spec
        for _ in range(count):
            send(out, PEER, TAG)
            recv(into, PEER, TAG)

    def follow(self, count: int) -> None:
        send, recv, out, into = COMM.Send, COMM.Recv, self.out_spec, self.into_spec
        for _ in range(count):
            recv(into, PEER, TAG)
            send(out, PEER, TAG)

    def verify(self) -> None:
        """One round trip of patterns. Raises ValueError when a byte differs."""
        self.loop(1)
        if self.into != pattern(len(self.into), PEER):
            raise ValueError(f"rank {RANK} received {len(self.into)} bytes that were not sent")


class Persistent(PingPong):
    """The same by persistent requests."""

    def lead(self, count: int) -> None:
        send = COMM.Send_init(self.out_spec, PEER, TAG)
        recv = COMM.Recv_init(self.into_spec, PEER, TAG)
        self.started(count, send, recv)

    def follow(self, count: int) -> None:
        send = COMM.Send_init(self.out_spec, PEER, TAG)
        recv = COMM.Recv_init(self.into_spec, PEER, TAG)
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

    def __init__(self, command: dict[str, Any]) -> None:
        size, self.share = int(command["size"]), int(command["window"])
        self.parts = window_of(size, self.share, filled=RANK == 0)
        self.specs = [[part, size, MPI.BYTE] for part in self.parts]
        self.answer = [bytearray(8), 8, MPI.BYTE]

    def lead(self, count: int) -> None:
        post, wait_all, specs, answer = COMM.Isend, MPI.Request.Waitall, self.specs, self.answer
        for _ in range(count):
            wait_all([post(spec, PEER, TAG) for spec in specs])
            COMM.Recv(answer, PEER, TAG)

    def follow(self, count: int) -> None:
        post, wait_all, specs, answer = COMM.Irecv, MPI.Request.Waitall, self.specs, self.answer
        for _ in range(count):
            wait_all([post(spec, PEER, TAG) for spec in specs])
            COMM.Send(answer, PEER, TAG)

    def verify(self) -> None:
        self.loop(1)
        if self.parts != window_of(len(self.parts[0]), self.share, filled=True):
            raise ValueError(f"a window of {self.share} messages arrived that was not sent")


class Objects(Traffic):
    """One Python object there and one back, by the communicator's lower-case methods."""

    def __init__(self, command: dict[str, Any], comm: Any = COMM) -> None:
        self.value = OBJECTS[command["what"]]()
        self.comm = comm

    def lead(self, count: int) -> None:
        send, recv, value = self.comm.send, self.comm.recv, self.value
        for _ in range(count):
            send(value, PEER, TAG)
            recv(None, PEER, TAG)

    def follow(self, count: int) -> None:
        send, recv, value = self.comm.send, self.comm.recv, self.value
        for _ in range(count):
            recv(None, PEER, TAG)
            send(value, PEER, TAG)

    def verify(self) -> None:
        if RANK == 0:
            self.comm.send(self.value, PEER, TAG)
        if not same(self.comm.recv(None, PEER, TAG), self.value):
            raise ValueError("an object arrived that was not sent")
        if RANK == 1:
            self.comm.send(self.value, PEER, TAG)


def by_pkl5(command: dict[str, Any]) -> Objects:
    """The same by mpi4py's module for pickles with large buffers out of band."""
    from mpi4py.util import pkl5

    return Objects(command, pkl5.Intracomm(COMM))


FORMS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "plain": PingPong,
    "persistent": Persistent,
    "window": Window,
    "object": Objects,
    "pkl5": by_pkl5,
}
