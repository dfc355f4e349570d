# SPDX-License-Identifier: BSD-3-Clause
"""A worker that has a hostile peer among its peers: what the process of the worker does."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import select
import socket
import threading
import time
from pathlib import Path
from typing import Final

import adma
from adma._core import worker as core
from adma._core._native import ffi, lib
from adma.connect import access
from adma.handshake.handshake import Terms, shake
from adma.messages import selection
from adma.messages.worker import ALL_BITS, ANY_SOURCE, TagRequest, WholeReceive, Worker
from adma.testing import Endpoint
from adma.testing.limits import HANG, MIB
from adma.testing.payload import difference, pattern

HONEST: Final = 0x600D  # the tag of messages that have to come through
FIRST: Final = 0xBAD  # the tag of what the hostile peer sends before it is hostile
_USED: Final = (1, 5000, 2 * MIB)  # bytes of the messages of `use`


def start(endpoint: Endpoint, path: str) -> None:
    """Make the worker, and the socket on which its peers come."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    endpoint.kept.update(worker=Worker(), server=server)


def worker_of(endpoint: Endpoint) -> Worker:
    found: Worker = endpoint.kept["worker"]
    return found


def join(endpoint: Endpoint, same_user: bool = True) -> int:
    """The next peer; the number of its endpoint. It may count as one of another user."""
    worker = worker_of(endpoint)
    sock, _ = endpoint.kept["server"].accept()
    if same_user:
        return worker.connect(sock, HANG)
    link = shake(sock, Terms("worker", client=False, admit=access.anybody), HANG)
    config = dataclasses.replace(selection.configuration(link), same_user=False)
    number = core.connect(worker.handle, config)
    worker.links[number] = link
    return number


def stop(endpoint: Endpoint) -> None:
    """Close everything, in whatever state it is."""
    server = endpoint.kept.pop("server", None)
    worker = endpoint.kept.pop("worker", None)
    endpoint.kept.clear()
    if server is not None:
        server.close()
    if worker is not None:
        with contextlib.suppress(TimeoutError):
            worker.close(timeout=0.2)


def drop(endpoint: Endpoint, number: int, timeout: float = 0.2) -> None:
    """Close one endpoint, whatever it holds."""
    with contextlib.suppress(TimeoutError):
        worker_of(endpoint).drop(number, timeout)


def health(endpoint: Endpoint, number: int) -> str:
    """The name of the error with which an endpoint ended, or ""."""
    try:
        worker_of(endpoint).health(number)
    except (adma.AdmaError, OSError) as error:
        return type(error).__name__
    return ""


def receive(
    endpoint: Endpoint, number: int, tag: int, room: int, timeout: float, mask: int = ALL_BITS
) -> bytes:
    """One message."""
    buffer = bytearray(room)
    request = worker_of(endpoint).receive(number, tag, buffer, mask=mask)
    try:
        return bytes(buffer[: request.wait(timeout)])
    except TimeoutError:
        request.cancel()  # or else it goes on until its endpoint is closed
        raise


def take(endpoint: Endpoint, number: int, tag: int) -> bool:
    """Take a message out of the queue, to be received by `receive_taken`."""
    worker = worker_of(endpoint)
    deadline = time.monotonic() + HANG
    while not (message := worker.take(number, tag)):
        assert time.monotonic() < deadline, "no message to take"
    endpoint.kept["taken"] = message
    return True


def post_whole(endpoint: Endpoint, number: int, tag: int) -> None:
    """Post a receive that takes its message whole, to be looked at by `await_whole`."""
    endpoint.kept.setdefault("whole", []).append(worker_of(endpoint).receive_whole(number, tag))


def await_whole(endpoint: Endpoint, timeout: float) -> int:
    """The oldest of these has met its message, which `receive_taken` receives: its length."""
    request: WholeReceive = endpoint.kept["whole"].pop(0)
    nbytes = request.wait(timeout)
    endpoint.kept["taken"] = request.message()
    return nbytes


def receive_taken(endpoint: Endpoint, room: int, timeout: float) -> bytes:
    buffer = bytearray(room)
    request = worker_of(endpoint).receive_taken(endpoint.kept.pop("taken"), buffer)
    return bytes(buffer[: request.wait(timeout)])


def post_send(endpoint: Endpoint, name: str, number: int, nbytes: int, count: int = 1) -> None:
    """Sends that are kept under a name."""
    worker = worker_of(endpoint)
    endpoint.kept[name] = [worker.send(number, 1, pattern(nbytes, 0)) for _ in range(count)]


def wait(endpoint: Endpoint, name: str, timeout: float) -> None:
    requests: list[TagRequest] = endpoint.kept.pop(name)
    for request in requests:
        request.wait(timeout)


def swap(endpoint: Endpoint, number: int, sizes: list[int]) -> float:
    """Receive messages of an honest peer, each of which is sent back; the longest took so long."""
    worker = worker_of(endpoint)
    longest = 0.0
    for seed, nbytes in enumerate(sizes):
        begun = time.monotonic()
        buffer = bytearray(nbytes)
        worker.receive(number, HONEST, buffer).wait(HANG)
        wrong = difference(memoryview(buffer), pattern(nbytes, seed))
        assert not wrong, f"message {seed} of {nbytes} bytes: {wrong}"
        worker.send(number, HONEST, buffer).wait(HANG)
        longest = max(longest, time.monotonic() - begun)
    return longest


def progress_until_over(endpoint: Endpoint, number: int, seconds: float = HANG) -> str:
    """Make progress until an endpoint has ended; the name of its error."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if name := health(endpoint, number):
            return name
        worker_of(endpoint).progress()
    return ""


def progress_for(endpoint: Endpoint, seconds: float) -> None:
    """Make progress, again and again."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        worker_of(endpoint).progress()


def sleep_for(endpoint: Endpoint, seconds: float) -> float:
    """Wait for a message that does not come; the CPU seconds that took."""
    before = time.process_time()
    buffer = bytearray(1)
    request = worker_of(endpoint).receive(ANY_SOURCE, 77, buffer)
    with contextlib.suppress(TimeoutError):
        request.wait(seconds)
    request.cancel()
    return time.process_time() - before


def memory(endpoint: Endpoint) -> int:
    """Bytes of private memory of this process."""
    del endpoint
    text = Path("/proc/self/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+) kB", text)
    assert found
    return int(found[1]) * 1024


def counts(endpoint: Endpoint) -> tuple[int, int]:
    """Endpoints, and how many of them are looked at directly."""
    return core.counts(worker_of(endpoint).handle)


def maps(endpoint: Endpoint, name: str) -> int:
    """How often something is mapped here."""
    del endpoint
    return Path("/proc/self/maps").read_text().count(name)


def descriptors(endpoint: Endpoint) -> int:
    del endpoint
    return len(os.listdir("/proc/self/fd"))


def close_in_child(endpoint: Endpoint) -> int:
    """Fork, and close the copy of the worker in the child: its wait status."""
    pid = os.fork()
    if pid == 0:
        worker_of(endpoint).close()
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def poll_for_message(endpoint: Endpoint, number: int, count: int) -> float:
    """Wait for messages with poll(2) alone; the longest took so many seconds."""
    worker = worker_of(endpoint)
    poll = select.poll()
    poll.register(core.fileno(worker.handle), select.POLLIN)
    longest = 0.0
    for _ in range(count):
        endpoint.say("polls")
        begun = time.monotonic()
        while not worker.probe(number, HONEST):
            assert poll.poll(HANG * 1000), "nothing made the descriptor readable"
        longest = max(longest, time.monotonic() - begun)
        worker.receive(number, HONEST, bytearray(1)).wait(HANG)
    return longest


def close_begins(endpoint: Endpoint, number: int) -> bool:
    """Begin to close an endpoint. True when the close has to wait."""
    return bool(core.drop(worker_of(endpoint).handle, number, 0))


def probe_any(endpoint: Endpoint) -> core.Found | None:
    return worker_of(endpoint).probe(ANY_SOURCE, 0, 0)


def enter(endpoint: Endpoint, path: str) -> None:
    """Another worker here becomes a peer of the victim's."""
    worker = Worker()
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    endpoint.kept.update(worker=worker, number=worker.connect(sock, HANG))


def use(endpoint: Endpoint, what: str) -> None:
    """Send, receive, or close while both go on: the victim does the opposite."""
    worker, number = worker_of(endpoint), endpoint.kept["number"]
    if what == "send":
        _send_all(worker, number)
    elif what == "receive":
        _receive_all(worker, number)
    else:
        for nbytes in _USED:
            worker.receive(number, 2, bytearray(nbytes))
            worker.send(number, 2, pattern(nbytes, 0))
    worker.close(timeout=1)


def _send_all(worker: Worker, number: int) -> None:
    requests = [worker.send(number, 2, pattern(nbytes, 0)) for nbytes in _USED]
    for request in requests:
        request.wait(HANG)


def _receive_all(worker: Worker, number: int) -> None:
    requests = [worker.receive(number, 2, bytearray(nbytes)) for nbytes in _USED]
    for request in requests:
        request.wait(HANG)


def use_with(endpoint: Endpoint, number: int, honest: int, what: str, sizes: list[int]) -> str:
    """With one peer do the opposite of what it does, and with another one swap messages."""
    worker, error = worker_of(endpoint), ""
    requests: list[TagRequest] = []
    with contextlib.suppress(adma.PeerDied, adma.ChannelClosed):
        if what != "receive":
            requests += [worker.receive(number, 2, bytearray(n)) for n in _USED]
        if what != "send":
            requests += [worker.send(number, 2, pattern(n, 0)) for n in _USED]
    swap(endpoint, honest, sizes)
    for request in requests:
        try:
            request.wait(HANG)
        except (adma.PeerDied, adma.ChannelClosed) as caught:
            error = type(caught).__name__
    return error


def spin_while_dropping(endpoint: Endpoint, seconds: float) -> int:
    """One thread waits for a message, while endpoints come and go; how many did."""
    del endpoint
    ended = threading.Event()
    with Worker() as worker:
        number = worker.connect_self()
        request = worker.receive(number, 1, bytearray(1))

        def spin() -> None:
            reqs = ffi.new("struct adma_req *[]", [request.operation.req])
            while not ended.is_set():
                lib.adma_worker_drive(worker.handle, reqs, 1, 1, 20_000, 5_000_000)

        threads = [threading.Thread(target=spin) for _ in range(2)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + seconds
        gone = 0
        while time.monotonic() < deadline:
            core.drop(worker.handle, core.connect_self(worker.handle), 1_000_000_000)
            gone += 1
        ended.set()
        for thread in threads:
            thread.join(HANG)
        request.cancel()
    return gone
