# SPDX-License-Identifier: BSD-3-Clause
"""One process of the soak: traffic of one kind, until its input is closed.

    python traffic.py ROLE ADDRESS

Each line of its output is how many rounds it has made. It checks what comes, and fails if that is
not what was sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import numpy

import adma
import adma.aio
from adma.testing.payload import pattern

TIMEOUT: Final = 60.0  # seconds that no call of a round may take
SIZES: Final = (0, 8, 200, 3_000, 40_000, 300_000, 2_000_000)
WINDOW: Final = 24
CALLERS: Final = 6  # tasks of an event loop


class Rounds:
    """Counts them, and tells when to stop."""

    def __init__(self) -> None:
        self._count = 0
        self._told = 0.0
        self._lock = threading.Lock()

    def go_on(self) -> bool:
        """Is the run still on? Whoever started this process closes its input at the end."""
        return not select.select([sys.stdin], [], [], 0)[0]

    def add(self) -> None:
        """A round is over."""
        with self._lock:
            self._count += 1
            if time.monotonic() > self._told + 0.2:
                self._told = time.monotonic()
                with contextlib.suppress(BrokenPipeError):  # nobody is there to be told
                    os.write(sys.stdout.fileno(), b"%d\n" % self._count)


def echo(channel: adma.Channel) -> None:
    """Send back whatever comes, until the other end closes."""
    with channel, contextlib.suppress(adma.ChannelEnded):
        while True:
            if channel.probe(TIMEOUT).kind == "bytes":
                channel.write(channel.read_bytes(timeout=TIMEOUT), timeout=TIMEOUT)
            else:
                channel.send(channel.recv(TIMEOUT), timeout=TIMEOUT)


def serve(rounds: Rounds, address: str) -> None:
    """A server with a thread for each caller."""
    threads: list[threading.Thread] = []
    with adma.listen(address) as server:
        while rounds.go_on():
            with contextlib.suppress(TimeoutError):
                threads.append(threading.Thread(target=echo, args=(server.accept(timeout=0.2),)))
                threads[-1].start()
                rounds.add()
            threads = [thread for thread in threads if thread.is_alive()]
    for thread in threads:
        thread.join()


def call(rounds: Rounds, address: str) -> None:
    """A client that connects, does all there is to be done on a channel, and begins anew."""
    chance = random.Random(os.getpid())
    while rounds.go_on():
        try:
            channel = adma.connect(address, timeout=TIMEOUT)
        except (OSError, adma.ChannelEnded):
            if rounds.go_on():
                raise
            return
        with channel:
            for _ in range(chance.randrange(1, 30)):
                chance.choice((messages, objects, windows, cancels))(channel, chance)
                rounds.add()


def messages(channel: adma.Channel, chance: random.Random) -> None:
    """Blocking calls."""
    content = pattern(chance.choice(SIZES), chance.randrange(9))
    channel.write(content, timeout=TIMEOUT)
    assert channel.read_bytes(timeout=TIMEOUT) == content


def objects(channel: adma.Channel, chance: random.Random) -> None:
    """Objects, with and without large buffers."""
    numbers = numpy.arange(chance.choice((3, 1_000, 200_000)))
    channel.send({"numbers": numbers, "text": "t" * 50}, timeout=TIMEOUT)
    assert (channel.recv(TIMEOUT)["numbers"] == numbers).all()


def windows(channel: adma.Channel, chance: random.Random) -> None:
    """Many requests at once."""
    contents = [pattern(chance.choice(SIZES[:-1]), at) for at in range(WINDOW)]
    spaces = [bytearray(len(content)) for content in contents]
    reads = [channel.iread(space) for space in spaces]
    writes = [channel.iwrite(content) for content in contents]
    adma.wait_all(writes + reads, timeout=TIMEOUT)
    assert all(map(bytes.__eq__, map(bytes, spaces), contents))


def cancels(channel: adma.Channel, _chance: random.Random) -> None:
    """Requests that come to nothing, and one that is dropped."""
    for request in [channel.iread(bytearray(100_000)) for _ in range(4)]:
        assert request.cancel()
    channel.isend([1, 2, 3])
    assert channel.recv(TIMEOUT) == [1, 2, 3]
    assert adma.wait([channel], 0) == []


def pipes(rounds: Rounds, _address: str) -> None:
    """Pipes to children that answer, of which some are killed before they have met."""
    chance = random.Random(os.getpid())
    while rounds.go_on():
        ours, theirs = adma.pipe()
        early = ours.irecv()
        posted = ours.iwrite(pattern(chance.choice(SIZES), 1))
        child = os.fork()
        if not child:
            signal.alarm(int(2 * TIMEOUT))
            ours.close()
            theirs.send("here", timeout=TIMEOUT)
            echo(theirs)
            os._exit(0)
        theirs.close()
        if chance.random() < 0.3:
            os.kill(child, signal.SIGKILL)
            with contextlib.suppress(adma.ChannelEnded):
                assert early.wait(TIMEOUT) == "here"
        else:
            assert early.wait(TIMEOUT) == "here"
            assert ours.read_bytes(timeout=TIMEOUT) == pattern(posted.wait(TIMEOUT), 1)
            for _ in range(chance.randrange(6)):
                chance.choice((messages, objects, windows))(ours, chance)
        ours.close(timeout=0)
        os.waitpid(child, 0)
        rounds.add()


def serve_tasks(rounds: Rounds, address: str) -> None:
    """A server on asyncio."""

    async def answer(channel: adma.aio.Channel) -> None:
        async with channel:
            with contextlib.suppress(adma.ChannelEnded):
                while True:
                    await channel.send(await channel.recv())
                    rounds.add()

    async def main() -> None:
        async with adma.aio.listen(address) as server, asyncio.TaskGroup() as tasks:
            while rounds.go_on():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.2):
                        tasks.create_task(answer(await server.accept()))

    asyncio.run(main())


def call_tasks(rounds: Rounds, address: str) -> None:
    """Tasks of one loop, each of which connects, talks, and has some of its reads cancelled."""

    async def talk(chance: random.Random) -> None:
        while rounds.go_on():
            async with await adma.aio.connect(address) as channel:
                for _ in range(chance.randrange(1, 60)):
                    content = pattern(chance.choice(SIZES[:-1]), 2)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.0001 if chance.random() < 0.1 else 0):
                            await channel.recv()
                    await channel.send(content)
                    assert await channel.recv() == content
                    rounds.add()

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(CALLERS):
                tasks.create_task(talk(random.Random(number)))

    try:
        asyncio.run(main())
    except* (adma.ChannelEnded, OSError):  # at the end the server may be the first to leave
        if rounds.go_on():
            raise


ROLES: dict[str, Callable[[Rounds, str], Any]] = {
    "serve": serve,
    "call": call,
    "pipes": pipes,
    "serve_tasks": serve_tasks,
    "call_tasks": call_tasks,
}


if __name__ == "__main__":
    ROLES[sys.argv[1]](Rounds(), sys.argv[2])
