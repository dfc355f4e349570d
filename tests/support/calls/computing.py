# SPDX-License-Identifier: BSD-3-Clause
"""A process that computes while its requests are pending: it calls nothing of the library.

It learns that one is done from the memory of the request, where the core stores it.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import adma
from adma._core._native import ffi, lib
from adma.testing import Endpoint
from adma.testing.calls import messages
from adma.testing.limits import HANG, LARGE
from adma.testing.payload import Repeated, difference, pattern


def compute(until: Callable[[], bool], limit: float = HANG) -> bool:
    """Burn this core until something is so; False when it was not in time."""
    deadline = time.monotonic() + limit
    value = 1
    while not until():
        for _ in range(1000):
            value = value * 6364136223846793005 % (1 << 64)
        if time.monotonic() > deadline:
            return False
    return True


def is_done(request: adma.Request) -> bool:
    """A look at memory, no call."""
    return all(operation.done for operation in request._operations)


def until_done(request: adma.Request, limit: float = HANG) -> bool:
    return compute(lambda: is_done(request), limit)


def until_moved(request: adma.Request) -> bool:
    """Until some of its bytes were seen to be copied by whoever makes progress."""
    return compute(lambda: request._operations[0].req.done_bytes > 0)


def compute_until_done(endpoint: Endpoint, *names: str) -> None:
    """The requests of these names complete while this process computes."""
    requests = [endpoint.kept[name].request for name in names]
    assert compute(lambda: all(map(is_done, requests))), f"pending after {HANG} s: {requests}"


def compute_until_told(endpoint: Endpoint) -> None:
    endpoint.say("computing")
    assert compute(endpoint._pipe.poll), "the test said nothing"
    endpoint.hear()


def compute_deaf(endpoint: Endpoint, name: str) -> None:
    """Compute in long steps, during which no other thread can have the interpreter."""
    request = endpoint.kept[name].request
    deadline = time.monotonic() + HANG
    while not is_done(request):
        sum(range(3_000_000))
        assert time.monotonic() < deadline, request


def wait_in_vain(endpoint: Endpoint, name: str, seconds: float) -> None:
    """Then compute: what came too late for the wait completes all the same."""
    request = endpoint.kept[name].request
    try:
        request.wait(timeout=seconds)
        raise AssertionError(f"{request} is done")
    except TimeoutError:
        compute_until_told(endpoint)
        assert until_done(request)


def ask_in_vain(endpoint: Endpoint, name: str, times: int) -> None:
    """`check` again and again, then compute."""
    request = endpoint.kept[name].request
    assert not any(request.check() for _ in range(times))
    compute_until_told(endpoint)
    assert until_done(request)


def wait_interrupted(endpoint: Endpoint, name: str) -> None:
    """A wait that a signal ends with an exception, then compute."""
    request = endpoint.kept[name].request
    try:
        endpoint.say("waiting")
        request.wait()
        raise AssertionError(f"{request} is done")
    except KeyboardInterrupt:
        compute_until_told(endpoint)
        assert until_done(request)


def wait_for_first(endpoint: Endpoint, first: str, others: list[str]) -> None:
    """`wait_any` of several, which returns with one of them; the others complete meanwhile."""
    requests = [endpoint.kept[name].request for name in (first, *others)]
    assert adma.wait_any(requests, timeout=HANG) == 0
    assert compute(lambda: all(map(is_done, requests)))


def iread_each(endpoint: Endpoint, count: int, nbytes: int) -> None:
    """One read on each of the channels that were joined last."""
    for number, channel in enumerate(endpoint.channels[-count:]):
        buffer = bytearray(nbytes)
        endpoint.kept[f"{number}"] = messages.Posted(channel.iread(buffer), buffer)


def iwrite_each(endpoint: Endpoint, count: int, nbytes: int) -> None:
    for number, channel in enumerate(endpoint.channels[-count:]):
        payload = pattern(nbytes, number)
        endpoint.kept[f"{number}"] = messages.Posted(channel.iwrite(payload), payload)


def contents(endpoint: Endpoint, count: int, nbytes: int) -> None:
    for number in range(count):
        wrong = difference(endpoint.kept[f"{number}"].buffer, pattern(nbytes, number))
        assert not wrong, f"channel {number}: {wrong}"


def hurry(endpoint: Endpoint, rounds: int, nbytes: int, role: str, seed: int) -> None:
    """Post one after the other, and look after each in a way that chance chooses."""
    chance = random.Random(seed)
    for number in range(rounds):
        buffer = bytearray(pattern(nbytes, number) if role == "writer" else bytes(nbytes))
        post = endpoint.channel.iwrite if role == "writer" else endpoint.channel.iread
        request = post(buffer)
        while not is_done(request):
            way = chance.randrange(4)
            if way == 0:
                with contextlib.suppress(TimeoutError):
                    request.wait(timeout=chance.choice([0, 1e-5, 1e-4, 1e-3]))
            elif way == 1:
                request.check()
            else:
                until_done(request, chance.choice([1e-5, 1e-4, 1e-3]))
        assert request.wait() == nbytes
        wrong = difference(buffer, pattern(nbytes, number))
        assert not wrong, f"message {number}: {wrong}"


def copy_repeated(endpoint: Endpoint, nbytes: int, window: int, role: str) -> None:
    """Post one huge message, compute until it is done, and leave its bytes unchecked."""
    with Repeated(nbytes, window=window) as buffer:
        post = endpoint.channel.iwrite if role == "writer" else endpoint.channel.iread
        request = post(buffer.view)
        endpoint.say("posted")
        assert until_done(request)
        with contextlib.suppress(adma.ChannelClosed):
            request.check()
        del request


def small_traffic(endpoint: Endpoint, count: int, role: str) -> None:
    """Messages that need no progress thread: blocking, and posted before or after they come."""
    channel, buffer = endpoint.channel, bytearray(100)
    for number in range(count):
        if role == "writer":
            channel.write(buffer, timeout=HANG)
            channel.read(buffer, timeout=HANG)
            channel.iwrite(buffer).wait(timeout=HANG)
        else:
            channel.read(buffer, timeout=HANG)
            channel.write(buffer, timeout=HANG)
            channel.iread(buffer).wait(timeout=HANG)
        del number


def chunks(endpoint: Endpoint) -> dict[str, int]:
    """Chunks of the last channel: this end's, of these its thread's and workers', the peer's."""
    stats = endpoint.channel.stats()
    return {name: stats[f"chunks_{name}"] for name in ("copied", "mover", "queues", "peer")}


def fork_while_configured(endpoint: Endpoint, forks: int) -> int:
    """Fork while worker threads start, stop and assist with large messages; how many children."""
    over = threading.Event()
    buffer = bytearray(LARGE)

    def configure() -> None:
        queues = 1
        while not over.is_set():
            queues = 3 - queues
            adma.configure(engine="thread", queues=queues)

    def receive() -> None:
        while not over.is_set():
            request = endpoint.channel.iread(buffer)
            assert until_done(request)
            request.check()

    with ThreadPoolExecutor(2) as threads:
        tasks = [threads.submit(work) for work in (configure, receive)]
        born = 0
        for _ in range(forks):
            child = os.fork()
            if not child:
                os._exit(0)
            born += os.waitpid(child, 0)[1] == 0
        over.set()
        for task in tasks:
            task.result()
    endpoint.channel.close(timeout=HANG)
    return born


def write_until_closed(endpoint: Endpoint, nbytes: int) -> None:
    """Posted, and computing until it is done."""
    buffer = bytearray(nbytes)
    with contextlib.suppress(adma.ChannelClosed):
        while True:
            request = endpoint.channel.iwrite(buffer)
            assert until_done(request)
            request.check()


def set_engine(endpoint: Endpoint, name: str, queues: int, schedule: str = "adaptive") -> None:
    """The copy engine of this process, from now on."""
    del endpoint
    adma.configure(engine=name, queues=queues, schedule=schedule)


def set_copiers(endpoint: Endpoint, word: str) -> None:
    """For the channels joined from now on."""
    del endpoint
    os.environ["ADMA_COPIERS"] = word


def tried_again(endpoint: Endpoint) -> bool:
    """Post a read and cancel it; was a progress thread started for it?"""
    request = endpoint.channel.iread(bytearray(100_000))
    running = progress_stats()["running"] == 1
    assert request.cancel()
    return running


def progress_stats(endpoint: Endpoint | None = None) -> dict[str, int]:
    """What the core says of the progress thread of this process."""
    del endpoint
    stats = ffi.new("struct adma_progress_stats *")
    lib.adma_get_progress_stats(stats)
    return {
        name: int(getattr(stats, name))
        for name, _ in ffi.typeof("struct adma_progress_stats").fields
    }


def progress_threads(pid: int) -> list[int]:
    """The thread ids of a process's progress thread, as the kernel sees them."""
    found = []
    for entry in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(FileNotFoundError):
            if Path(f"/proc/{pid}/task/{entry}/comm").read_text().strip() == "adma-progress":
                found.append(int(entry))
    return found


def status(pid: int, tid: int) -> dict[str, str]:
    """The kernel's words on a thread."""
    lines = Path(f"/proc/{pid}/task/{tid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def switches(pid: int, tid: int) -> int:
    """How often a thread has gone to sleep."""
    return int(status(pid, tid)["voluntary_ctxt_switches"])


def cpu_ns(pid: int) -> int:
    """The CPU time of all threads of a process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def probe_in_vain(endpoint: Endpoint, seconds: float) -> None:
    """Wait for a message that does not come."""
    with contextlib.suppress(TimeoutError):
        endpoint.channel.probe(timeout=seconds)
