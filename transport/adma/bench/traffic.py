# SPDX-License-Identifier: BSD-3-Clause
"""What a local pair of processes does: the forms of traffic, each with its buffers.

The loops call the library's own methods, so that the harness adds nothing to their time. Those of
MPI are in ``mpi_traffic.py``, which runs where adma is not.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any, Protocol

from adma.bench.samples import OBJECTS, pattern, same, window_of

PAGE = mmap.PAGESIZE
IDLE = 0.01  # seconds before each round trip of `idle`


class End(Protocol):
    """One end of a connected pair: the library's own methods."""

    @property
    def send(self) -> Callable[[Any], Any]: ...
    @property
    def receive(self) -> Callable[[Any], Any]: ...
    @property
    def give(self) -> Callable[[Any], Any]: ...
    @property
    def take(self) -> Callable[[], Any]: ...

    def about(self) -> dict[str, Any]: ...
    def path(self, size: int) -> str: ...


class Posting(End, Protocol):
    """An end that can post messages and wait for them."""

    @property
    def post_send(self) -> Callable[[Any], Any]: ...
    @property
    def post_receive(self) -> Callable[[Any], Any]: ...
    @property
    def wait_all(self) -> Callable[[Sequence[Any]], Any]: ...


class Traffic:
    """One form of traffic between two ranks. Both call the same methods."""

    share = 2
    """Messages of a turn of the loop: its time is divided by this."""

    def loop(self, count: int) -> None:
        """Make `count` turns. Not timed."""
        raise NotImplementedError

    def verify(self) -> None:
        """Make one turn, and check what arrived. Raises ValueError."""
        raise NotImplementedError

    def timed(self, count: int) -> float:
        """The seconds that `count` turns took, of what counts."""
        begin = time.perf_counter()
        self.loop(count)
        return time.perf_counter() - begin


class PingPong(Traffic):
    """One message there and one back, by blocking calls."""

    def __init__(self, end: End, rank: int, command: dict[str, Any]) -> None:
        size = int(command["size"])
        self.send, self.receive = end.send, end.receive
        self.rank = rank
        # Ordinary buffers, touched, so that no page fault is measured.
        self.out: bytearray | memoryview
        self.into: bytearray | memoryview
        if "offset" in command:
            self.out = placed(pattern(size, rank), 0)
            self.into = placed(bytearray(b"\xa5") * size, int(command["offset"]))
        else:
            self.out = pattern(size, rank)
            self.into = bytearray(b"\xa5") * size
        self.loop(int(command.get("before", 0)))

    def loop(self, count: int) -> None:
        send, receive, out, into = self.send, self.receive, self.out, self.into
        if self.rank == 0:
            for _ in repeat(None, count):
                send(out)
                receive(into)
        else:
            for _ in repeat(None, count):
                receive(into)
                send(out)

    def verify(self) -> None:
        self.loop(1)
        if self.into != pattern(len(self.into), 1 - self.rank):
            raise ValueError(f"rank {self.rank} received {len(self.into)} bytes that were not sent")


class Window(Traffic):
    """Many messages from rank 0, posted and waited for together; then a short answer."""

    def __init__(self, end: Posting, rank: int, command: dict[str, Any]) -> None:
        size, self.share = int(command["size"]), int(command["window"])
        self.end = end
        self.rank = rank
        self.parts = window_of(size, self.share, filled=rank == 0)
        self.answer = bytearray(8)

    def loop(self, count: int) -> None:
        wait_all, parts, answer = self.end.wait_all, self.parts, self.answer
        if self.rank == 0:
            post, receive = self.end.post_send, self.end.receive
            for _ in repeat(None, count):
                wait_all([post(part) for part in parts])
                receive(answer)
        else:
            post, send = self.end.post_receive, self.end.send
            for _ in repeat(None, count):
                wait_all([post(part) for part in parts])
                send(answer)

    def verify(self) -> None:
        self.loop(1)
        if self.parts != window_of(len(self.parts[0]), self.share, filled=True):
            raise ValueError(f"a window of {self.share} messages arrived that was not sent")


class Objects(Traffic):
    """One Python object there and one back."""

    def __init__(self, end: End, rank: int, command: dict[str, Any]) -> None:
        self.give, self.take = end.give, end.take
        self.rank = rank
        self.value = OBJECTS[command["what"]]()

    def loop(self, count: int) -> None:
        give, take, value = self.give, self.take, self.value
        if self.rank == 0:
            for _ in repeat(None, count):
                give(value)
                take()
        else:
            for _ in repeat(None, count):
                take()
                give(value)

    def verify(self) -> None:
        if self.rank == 0:
            self.give(self.value)
        if not same(self.take(), self.value):
            raise ValueError("an object arrived that was not sent")
        if self.rank == 1:
            self.give(self.value)


class Idle(PingPong):
    """A message there and back after both ranks have slept for a while: the whole round trip."""

    share = 1

    def timed(self, count: int) -> float:
        if self.rank == 1:
            self.loop(count)
            return 0.0
        spent = 0.0
        for _ in repeat(None, count):
            time.sleep(IDLE)
            spent += super().timed(1)
        return spent


def placed(data: bytearray, offset: int) -> memoryview:
    """The same bytes in memory that begins `offset` bytes behind the beginning of a page."""
    area = memoryview(mmap.mmap(-1, len(data) + PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    place = area[offset : offset + len(data)]
    place[:] = data
    return place


FORMS: dict[str, Callable[[Any, int, dict[str, Any]], Traffic]] = {
    "plain": PingPong,
    "window": Window,
    "object": Objects,
    "idle": Idle,
}
