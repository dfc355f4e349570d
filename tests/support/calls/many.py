# SPDX-License-Identifier: BSD-3-Clause
"""Many messages with numbers in them, many channels, many threads."""

from __future__ import annotations

import threading

import adma
from adma.testing import Endpoint
from adma.testing.limits import HANG
from adma.testing.payload import difference, pattern


def numbered(number: int, nbytes: int) -> bytes:
    """A message whose first four bytes are its number."""
    return number.to_bytes(4, "little") + pattern(nbytes - 4, number)


def read_numbered(channel: adma.Channel, buffer: bytearray) -> int | None:
    """The number of the next message, checked; None when it is empty."""
    got = channel.read(buffer, timeout=HANG)
    if got == 0:
        return None
    number = int.from_bytes(buffer[:4], "little")
    wrong = difference(memoryview(buffer)[:got], numbered(number, got))
    assert not wrong, f"message {number}: {wrong}"
    return number


def write_numbered(endpoint: Endpoint, count: int, nbytes: int) -> None:
    """`count` messages, then one empty one for each of two readers."""
    for number in range(count):
        endpoint.channel.write(numbered(number, nbytes), timeout=HANG)
    for _ in range(2):
        endpoint.channel.write(b"", timeout=HANG)
        # Only when it was answered: one reader must not take both.
        endpoint.channel.read(bytearray(), timeout=HANG)


def write_stream(endpoint: Endpoint, count: int, nbytes: int) -> None:
    """`count` messages, as fast as they go."""
    for number in range(count):
        endpoint.channel.write(numbered(number, nbytes), timeout=HANG)


def read_count(endpoint: Endpoint, count: int, nbytes: int) -> list[int | None]:
    buffer = bytearray(nbytes)
    return [read_numbered(endpoint.channel, buffer) for _ in range(count)]


def echo_on_each(endpoint: Endpoint, count: int, nbytes: int) -> None:
    """One message on each of the channels, and back."""
    channels = endpoint.channels[-count:]
    buffers = [bytearray(nbytes) for _ in channels]
    reads = [channel.iread(buffer) for channel, buffer in zip(channels, buffers, strict=True)]
    assert adma.wait_all(reads, timeout=HANG) == [nbytes] * count
    writes = [channel.iwrite(buffer) for channel, buffer in zip(channels, buffers, strict=True)]
    assert adma.wait_all(writes, timeout=HANG) == [nbytes] * count


def echo_in_threads(endpoint: Endpoint, count: int, rounds: int, room: int) -> None:
    failures: list[BaseException] = []

    def echo(channel: adma.Channel) -> None:
        buffer = bytearray(room)
        try:
            for _ in range(rounds):
                got = channel.read(buffer, timeout=HANG)
                channel.write(memoryview(buffer)[:got], timeout=HANG)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=echo, args=(one,)) for one in endpoint.channels[-count:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)
    if failures:
        raise failures[0]
