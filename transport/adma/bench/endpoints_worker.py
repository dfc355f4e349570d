# SPDX-License-Identifier: BSD-3-Clause
"""One side of ``adma bench worker``: workers with few and many endpoints, and what is timed.

Started as ``python -m adma.bench.endpoints_worker KIND RANK CONTROL_SOCKET LINK_FD MECHANISM``:
rank 0 is the side that is measured, rank 1 has the other end of each endpoint. The loops call the
core directly, so that the layers above it add the same small part to all figures.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

import adma
from adma._core import worker as core
from adma._core.operation import Operation
from adma.bench import build
from adma.bench.control import Line
from adma.bench.idle_worker import descriptors, memory
from adma.bench.worker import serve
from adma.messages.worker import ALL_BITS, Worker

if TYPE_CHECKING:
    from adma._core.types import Req

TIMEOUT = 60.0
BUDGET_NS = 5_000_000
ASLEEP = 0.002  # seconds after which the other side certainly sleeps
WANTED, ACK, OTHERS = 1, 2, 1000  # tags; those of messages that nobody receives begin at OTHERS
PAYLOAD = 8


class Meeting:
    """A worker of this side, and its requests, which are used again and again."""

    def __init__(self) -> None:
        self.worker = Worker()
        self.numbers: list[int] = []
        self._kept: dict[tuple[bool, int, int], Operation] = {}

    def request(self, *, read: bool, index: int = 0, size: int = PAYLOAD) -> Req:
        """The request of this index: a receive or a send at the first endpoint."""
        found = self._kept.get((read, index, size))
        if found is None:
            buffer = bytearray(size)
            found = self._kept[read, index, size] = Operation(buffer, read=read, kind=core.TAGGED)
            found.req.source, found.req.tag, found.req.mask = self.numbers[0], WANTED, ALL_BITS
        return found.req

    def send(self, req: Req, tag: int = WANTED) -> None:
        req.tag = tag
        check(core.send(self.worker.handle, req))

    def receive(self, req: Req, tag: int = WANTED) -> None:
        req.tag = tag
        check(core.receive(self.worker.handle, req))

    def wait(self, reqs: Sequence[Req], *, spin: int = -1) -> None:
        """Wait for all. With `spin` 0 the thread sleeps at once."""
        handle = self.worker.handle
        check(core.complete(handle, reqs, spin, BUDGET_NS))
        for req in reqs:
            check(-req.error)
            core.observe(handle, req)


def check(result: int) -> None:
    """Raise for an error of the core."""
    if result < 0:
        raise RuntimeError(f"the core said {result}")


class Side:
    """The workers of one process, by name."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.meetings: dict[str, Meeting] = {}
        self.channels: list[adma.Channel] = []

    # Endpoints

    def open(self, command: dict[str, Any]) -> dict[str, Any]:
        """Connect `count` more endpoints of the worker `name`, by the socket at `path`."""
        path, count = command["path"], int(command["count"])
        socks = self._accepted(path, count) if self.rank == 0 else _dialled(path, count)
        if command["name"] == "channel":
            self.channels += [adma.from_socket(sock, timeout=TIMEOUT) for sock in socks]
            return {"ok": True}
        meeting = self.meetings.setdefault(command["name"], Meeting())
        for sock in socks:
            number = meeting.worker.connect(sock, TIMEOUT, command.get("mechanism", "auto"))
            meeting.numbers.append(number)
        return {"ok": True}

    def settle(self, command: dict[str, Any]) -> dict[str, Any]:
        """Make progress until the peers name their endpoints in the summary, or for `seconds`."""
        meeting = self.meetings[command["name"]]
        end = time.monotonic() + float(command["seconds"])
        while time.monotonic() < end:
            meeting.worker.progress()
        endpoints, direct = core.counts(meeting.worker.handle)
        return {"endpoints": endpoints, "direct": direct}

    def _accepted(self, path: str, count: int) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(path)
            listener.listen(128)
            listener.settimeout(TIMEOUT)
            for _ in range(count):
                yield listener.accept()[0]
        os.unlink(path)

    # Times: each answers the mean of one operation in us

    def poll(self, command: dict[str, Any]) -> dict[str, Any]:
        """Rounds of progress without news, less calls that do nothing."""
        handle, count = self.meetings[command["name"]].worker.handle, int(command["count"])
        drive, nothing, none = core.drive, core.nothing, core.NO_REQUESTS
        begin = time.perf_counter()
        for _ in repeat(None, count):
            drive(handle, none, 0, 0, 0, BUDGET_NS)
        middle = time.perf_counter()
        for _ in repeat(None, count):
            nothing()
        end = time.perf_counter()
        return {"us": (middle - begin - (end - middle)) / count * 1e6}

    def window(self, command: dict[str, Any]) -> dict[str, Any]:
        """Windows of `size` messages of 8 bytes, and an answer to each window: time per message."""
        meeting = self.meetings[command["name"]]
        size, count = int(command["size"]), int(command["count"])
        reqs = [meeting.request(read=self.rank == 1, index=i) for i in range(size)]
        last = meeting.request(read=self.rank == 0, index=0)
        post: Callable[[Req], None] = meeting.send if self.rank == 0 else meeting.receive
        answer: Callable[[Req, int], None] = meeting.receive if self.rank == 0 else meeting.send
        begin = time.perf_counter()
        for _ in repeat(None, count):
            for req in reqs:
                post(req)
            meeting.wait(reqs)
            answer(last, ACK)
            meeting.wait([last])
        return {"us": (time.perf_counter() - begin) / count / size * 1e6}

    def strand(self, command: dict[str, Any]) -> dict[str, Any]:
        """Let `count` messages arrive of tags that nobody receives, spread over all endpoints.

        So none passes the limit at which its peer would be told to send by rendezvous.
        """
        meeting, count = self.meetings[command["name"]], int(command["count"])
        for i in range(count) if self.rank == 1 else ():
            number = meeting.numbers[i % len(meeting.numbers)]
            meeting.worker.send(number, OTHERS + i, bytes(PAYLOAD)).wait(TIMEOUT)
        for (
            number
        ) in meeting.numbers:  # in order: the last one of each endpoint tells that all came
            if self.rank == 1:
                meeting.worker.send(number, ACK, bytes(PAYLOAD)).wait(TIMEOUT)
            else:
                meeting.worker.receive(number, ACK, bytearray(PAYLOAD)).wait(TIMEOUT)
        return {"ok": True}

    def receive(self, command: dict[str, Any]) -> dict[str, Any]:
        """Receives by exact tag, of `count` messages that have arrived already."""
        meeting, count = self.meetings[command["name"]], int(command["count"])
        reqs = [meeting.request(read=self.rank == 0, index=i) for i in range(count)]
        last = meeting.request(read=self.rank == 0, index=count)
        if self.rank == 1:
            for req in reqs:
                meeting.send(req)
            meeting.send(last, ACK)
            meeting.wait([*reqs, last])
            return {"us": 0.0}
        meeting.receive(last, ACK)
        meeting.wait([last])
        begin = time.perf_counter()
        for req in reqs:
            meeting.receive(req)
        took = time.perf_counter() - begin
        meeting.wait(reqs)
        return {"us": took / count * 1e6}

    def wake(self, command: dict[str, Any]) -> dict[str, Any]:
        """A message wakes a thread that sleeps, whose answer wakes this one: half of that."""
        meeting = self.meetings[command["name"]]
        out, into = meeting.request(read=False), meeting.request(read=True)
        took, count = 0.0, int(command["count"])
        for _ in repeat(None, count):
            if self.rank == 0:
                time.sleep(ASLEEP)
                begin = time.perf_counter()
                meeting.send(out)
                meeting.receive(into)
                meeting.wait([into], spin=0)
                took += time.perf_counter() - begin
                meeting.wait([out])
            else:
                meeting.receive(into)
                meeting.wait([into], spin=0)
                meeting.send(out)
                meeting.wait([out])
        return {"us": took / count / 2 * 1e6}

    def pingpong(self, command: dict[str, Any]) -> dict[str, Any]:
        """One message at a time, there and back: half of a round trip, in us."""
        size, count = int(command["size"]), int(command["count"])
        make = self._by_channel if command["name"] == "channel" else self._by_worker
        first, second = make(size) if self.rank == 0 else reversed(make(size))
        begin = time.perf_counter()
        for _ in repeat(None, count):
            first()
            second()
        return {"us": (time.perf_counter() - begin) / count / 2 * 1e6}

    def _by_channel(self, size: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
        channel, out, into = self.channels[0], bytearray(size), bytearray(size)
        return lambda: channel.write(out), lambda: channel.read(into)

    def _by_worker(self, size: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
        meeting = self.meetings["few"]
        meeting.worker.bring_segment(meeting.numbers[0], size)
        out, into = (meeting.request(read=read, size=size) for read in (False, True))

        def send() -> None:
            meeting.send(out)
            meeting.wait([out])

        def receive() -> None:
            meeting.receive(into)
            meeting.wait([into])

        return send, receive

    def measure(self, command: dict[str, Any]) -> dict[str, Any]:
        """What this process holds now: memory and shared memory in KiB, and descriptors."""
        del command
        gc.collect()
        return {"rss": memory()["rss"], "memfd": shared_memory(), "descriptors": descriptors()}


def shared_memory() -> float | None:
    """Pages in KiB of all mapped memfds, whichever process touched them. None: we may not know."""
    blocks: dict[int, int] = {}
    with open("/proc/self/maps", encoding="utf-8") as file:
        ranges = [line.split()[0] for line in file if "/memfd:" in line]
    try:
        for each in ranges:
            status = os.stat(f"/proc/self/map_files/{each}")
            blocks[status.st_ino] = status.st_blocks
    except OSError:  # without privileges the kernel does not tell
        return None
    return sum(blocks.values()) / 2


def _dialled(path: str, count: int) -> Iterator[socket.socket]:
    for _ in range(count):
        yield _dial(path)


def _dial(path: str) -> socket.socket:
    """Connect as soon as the other side listens."""
    end = time.monotonic() + TIMEOUT
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            sock.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.001)
        else:
            return sock


def main(argv: list[str]) -> int:
    rank, control = int(argv[1]), argv[2]
    os.close(int(argv[3]))
    line = Line.dial(control)
    line.send({"rank": rank, "pid": os.getpid(), **build.describe()})
    side = Side(rank)
    names = ("open", "settle", "poll", "window", "strand", "receive", "wake", "pingpong", "measure")
    return serve(line, {name: getattr(side, name) for name in names})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
