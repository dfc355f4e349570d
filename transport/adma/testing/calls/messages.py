# SPDX-License-Identifier: BSD-3-Clause
"""Write, read and probe, on the channel that the peer joined last."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import adma

from ...messages.explanation import Learnt
from ..endpoint import Endpoint
from ..limits import HANG
from ..payload import difference, pattern


@dataclass
class Posted:
    """A request of the peer's and its buffer, which are kept under a name that the test gives."""

    request: adma.Request
    buffer: bytearray | bytes


def write(endpoint: Endpoint, nbytes: int, seed: int = 0, timeout: float | None = HANG) -> None:
    endpoint.channel.write(pattern(nbytes, seed), timeout=timeout)


def write_all(endpoint: Endpoint, sizes: list[int]) -> None:
    """One message per size; the seed is its place in the list."""
    for seed, nbytes in enumerate(sizes):
        write(endpoint, nbytes, seed)


def read(endpoint: Endpoint, room: int, timeout: float | None = HANG) -> bytes:
    """The next message, read into a buffer of `room` bytes."""
    buffer = bytearray(room)
    return bytes(buffer[: endpoint.channel.read(buffer, timeout=timeout)])


def read_expected(endpoint: Endpoint, nbytes: int, seed: int = 0, room: int | None = None) -> None:
    """Read one message, and check that it is what `write` sends."""
    buffer = bytearray(nbytes if room is None else room)
    got = endpoint.channel.read(buffer, timeout=HANG)
    wrong = difference(memoryview(buffer)[:got], pattern(nbytes, seed))
    assert not wrong, f"message {seed} of {nbytes} bytes: {wrong}"


def read_all(endpoint: Endpoint, sizes: list[int], room: int | None = None) -> None:
    """Read what `write_all` sends."""
    for seed, nbytes in enumerate(sizes):
        read_expected(endpoint, nbytes, seed, room)


def read_until_closed(endpoint: Endpoint, room: int) -> list[bytes]:
    """All messages that come before the channel is closed in order."""
    messages = []
    with contextlib.suppress(adma.ChannelClosed):
        while True:
            messages.append(read(endpoint, room))
    return messages


def read_until_lost(endpoint: Endpoint, room: int) -> tuple[list[bytes], int, int]:
    """All messages that come before a lost one; then what the error says: posted, withdrawn."""
    messages = []
    try:
        while True:
            messages.append(read(endpoint, room))
    except adma.MessagesLost as error:
        return messages, error.posted, error.withdrawn


def read_until_ended(endpoint: Endpoint, room: int) -> tuple[list[bytes], str, int]:
    """All messages that come; then how it ended, and how many messages were lost."""
    messages = []
    try:
        while True:
            messages.append(read(endpoint, room))
    except adma.ChannelEnded as error:
        return messages, type(error).__name__, getattr(error, "withdrawn", 0)


def read_any(endpoint: Endpoint) -> int:
    """The length of the next message, whatever is in it."""
    return endpoint.channel.read(bytearray(1), timeout=HANG)


def write_then_read_until_closed(endpoint: Endpoint, nbytes: int) -> list[bytes]:
    """A write that the close of the other end breaks off, and then reads."""
    with contextlib.suppress(adma.ChannelClosed):
        write(endpoint, nbytes)
        raise AssertionError("nobody reads this")
    return read_until_closed(endpoint, nbytes)


def iwrite(endpoint: Endpoint, name: str, nbytes: int, seed: int = 0) -> None:
    payload = pattern(nbytes, seed)
    endpoint.kept[name] = Posted(endpoint.channel.iwrite(payload), payload)


def iread(endpoint: Endpoint, name: str, room: int) -> None:
    buffer = bytearray(room)
    endpoint.kept[name] = Posted(endpoint.channel.iread(buffer), buffer)


def check(endpoint: Endpoint, name: str) -> bool:
    return bool(endpoint.kept[name].request.check())


def cancel(endpoint: Endpoint, name: str) -> bool:
    return bool(endpoint.kept[name].request.cancel())


def wait(endpoint: Endpoint, name: str, timeout: float | None = HANG) -> int:
    return int(endpoint.kept[name].request.wait(timeout=timeout))


def wait_named(endpoint: Endpoint, names: list[str], timeout: float | None = HANG) -> list[int]:
    return adma.wait_all([endpoint.kept[name].request for name in names], timeout=timeout)


def content(endpoint: Endpoint, name: str) -> bytes:
    return bytes(endpoint.kept[name].buffer)


def drop(endpoint: Endpoint, name: str) -> None:
    del endpoint.kept[name]


def probe(endpoint: Endpoint, timeout: float | None = HANG) -> tuple[str, int]:
    message = endpoint.channel.probe(timeout=timeout)
    return message.kind, message.nbytes


def iprobe(endpoint: Endpoint) -> tuple[str, int] | None:
    message = endpoint.channel.iprobe()
    return None if message is None else (message.kind, message.nbytes)


def skip(endpoint: Endpoint, timeout: float | None = HANG) -> None:
    endpoint.channel.skip(timeout=timeout)


def send(endpoint: Endpoint, thing: Any) -> None:
    endpoint.channel.send(thing, timeout=HANG)


def recv(endpoint: Endpoint, timeout: float | None = HANG) -> Any:
    return endpoint.channel.recv(timeout=timeout)


def echo(endpoint: Endpoint, room: int, count: int) -> None:
    """Read `count` messages and write each back."""
    buffer = bytearray(room)
    for _ in range(count):
        got = endpoint.channel.read(buffer, timeout=HANG)
        endpoint.channel.write(memoryview(buffer)[:got], timeout=HANG)


def close_channel(endpoint: Endpoint, timeout: float = HANG) -> None:
    endpoint.channels.pop().close(timeout=timeout)


def stats(endpoint: Endpoint) -> Any:
    return endpoint.channel.stats()


def explain(endpoint: Endpoint, nbytes: int) -> str:
    return str(endpoint.channel.explain(nbytes))


def learnt(endpoint: Endpoint, nbytes: int) -> list[Learnt]:
    """What the process has learnt of messages of this size."""
    return list(endpoint.channel.explain(nbytes).learnt)


def nothing(endpoint: Endpoint) -> None:
    """Do nothing: the answer shows that the peer lives."""
    del endpoint
