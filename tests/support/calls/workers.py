# SPDX-License-Identifier: BSD-3-Clause
"""A peer with a worker of its own, which is connected over a socket file."""

from __future__ import annotations

import itertools
import socket

from adma.messages.worker import ANY_SOURCE, TagRequest, Worker
from adma.testing import Endpoint
from adma.testing.limits import HANG
from adma.testing.payload import pattern


def join(endpoint: Endpoint, path: str) -> None:
    """Make a worker with one endpoint, to whoever listens there."""
    worker = Worker()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        endpoint.kept["number"] = worker.connect(sock, HANG)
    endpoint.kept["worker"] = worker
    endpoint.kept["sends"] = []


def send(endpoint: Endpoint, tag: int, nbytes: int) -> None:
    """Post a send, and keep it."""
    worker: Worker = endpoint.kept["worker"]
    sends: list[TagRequest] = endpoint.kept["sends"]
    sends.append(worker.send(endpoint.kept["number"], tag, pattern(nbytes, tag)))


def await_sends(endpoint: Endpoint) -> None:
    worker: Worker = endpoint.kept["worker"]
    assert worker.wait(endpoint.kept["sends"], HANG)
    for request in endpoint.kept["sends"]:
        request.result()


def send_without_end(endpoint: Endpoint, tag: int, nbytes: int) -> None:
    """Send one message after the other, until this process is killed."""
    worker: Worker = endpoint.kept["worker"]
    for number in itertools.count():
        worker.send(endpoint.kept["number"], tag, pattern(nbytes, tag)).wait(HANG)
        if number == 0:
            endpoint.say("begun")


def echo(endpoint: Endpoint, count: int, nbytes: int) -> None:
    worker: Worker = endpoint.kept["worker"]
    buffer = bytearray(nbytes)
    for _ in range(count):
        request = worker.receive(ANY_SOURCE, 0, buffer, mask=0)
        n = request.wait(HANG)
        worker.send(endpoint.kept["number"], request.tag, buffer[:n]).wait(HANG)


def close(endpoint: Endpoint) -> None:
    worker: Worker = endpoint.kept.pop("worker")
    worker.close(HANG)
    endpoint.kept.clear()
