# SPDX-License-Identifier: BSD-3-Clause
"""A peer that copies slowly, or stops and goes on. Needs the test build."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from adma.testing import Endpoint
from adma.testing.calls import messages
from adma.testing.limits import HANG
from adma.testing.payload import pattern

from . import faults


@contextlib.contextmanager
def slowly(seconds: float) -> Iterator[None]:
    """Every chunk that this process copies is delayed."""
    faults.arm(None, faults.CHUNK, "slow", int(seconds * 1e6))
    try:
        yield
    finally:
        faults.arm(None, faults.CHUNK, "none")


def read_slowly(endpoint: Endpoint, sizes: list[int], seconds: float) -> None:
    """Read what `write_all` sends, with a delay before each chunk. All reads are posted first."""
    buffers = [bytearray(nbytes) for nbytes in sizes]
    requests = [endpoint.channel.iread(buffer) for buffer in buffers]
    endpoint.say("posted")
    with slowly(seconds):
        for request in requests:
            request.wait(timeout=HANG)
    for seed, buffer in enumerate(buffers):
        assert buffer == pattern(len(buffer), seed)


def write_slowly(endpoint: Endpoint, sizes: list[int], seconds: float) -> None:
    """What `write_all` sends, with a delay before each chunk."""
    endpoint.say("writing")
    with slowly(seconds):
        messages.write_all(endpoint, sizes)


def receive(endpoint: Endpoint) -> list[Any]:
    """Receive a label and buffers, and say so before."""
    endpoint.say("receiving")
    label, *parts = endpoint.channel.recv(timeout=HANG)
    return [label, *map(bytes, parts)]


def read_at_once(endpoint: Endpoint, nbytes: int) -> None:
    """Read what is there, without a time to wait."""
    endpoint.channel.probe(timeout=HANG)
    buffer = bytearray(nbytes)
    assert endpoint.channel.read(buffer, timeout=0) == nbytes
    assert buffer == pattern(nbytes)


def probe_and_read(endpoint: Endpoint, sizes: list[int]) -> None:
    """Read what `write_all` sends: wait until there is a message, and then only try to read it."""
    for seed, nbytes in enumerate(sizes):
        buffer = bytearray(nbytes)
        while True:
            assert endpoint.channel.probe(timeout=HANG).nbytes == nbytes
            with contextlib.suppress(TimeoutError):  # its writer may have taken it back
                assert endpoint.channel.read(buffer, timeout=0) == nbytes
                break
        assert buffer == pattern(nbytes, seed)
