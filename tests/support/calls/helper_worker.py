# SPDX-License-Identifier: BSD-3-Clause
"""A worker in a peer, with one endpoint: what it sends to a test, and what it sends back."""

from __future__ import annotations

import socket

from adma.messages.worker import ANY_SOURCE, Worker
from adma.testing import Endpoint
from adma.testing.limits import HANG
from adma.testing.payload import pattern


def join(endpoint: Endpoint, path: str, mechanism: str) -> None:
    """Make a worker, and connect it to who listens there."""
    worker = endpoint.kept["worker"] = Worker()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        endpoint.kept["number"] = worker.connect(sock, HANG, mechanism)


def post(endpoint: Endpoint, tag: int, nbytes: int) -> None:
    """Post a send that stays."""
    kept = endpoint.kept
    kept[f"send {tag}"] = kept["worker"].send(kept["number"], tag, pattern(nbytes, tag))


def send(endpoint: Endpoint, tag: int, nbytes: int) -> None:
    """Send, and wait until it is sent. Says so before it waits."""
    kept = endpoint.kept
    request = kept["worker"].send(kept["number"], tag, pattern(nbytes, tag))
    endpoint.say("sent")
    assert request.wait(HANG) == nbytes


def echo(endpoint: Endpoint, nbytes: int, count: int) -> None:
    """Send back what comes, with the tag that it has."""
    worker, number = endpoint.kept["worker"], endpoint.kept["number"]
    buffer = bytearray(nbytes)
    for _ in range(count):
        request = worker.receive(ANY_SOURCE, 0, buffer, mask=0)
        assert request.wait(HANG) == nbytes
        assert worker.send(number, request.tag, buffer).wait(HANG) == nbytes


def stop(endpoint: Endpoint) -> None:
    """Close the worker."""
    endpoint.kept.pop("worker").close(HANG)
    endpoint.kept.clear()
