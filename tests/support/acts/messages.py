# SPDX-License-Identifier: BSD-3-Clause
"""Writing, reading and looking, on the channel that the peer joined last."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import adma
from support.limits import HANG
from support.payload import difference, pattern
from support.peer_main import End


@dataclass
class Posted:
    """A request of the peer's and the buffer it works on, under a name of the test's."""

    request: adma.Request
    buffer: bytearray | bytes


def write(end: End, nbytes: int, seed: int = 0, timeout: float | None = HANG) -> None:
    end.channel.write(pattern(nbytes, seed), timeout=timeout)


def write_all(end: End, sizes: list[int]) -> None:
    """One message per size; the seed is its place in the list."""
    for seed, nbytes in enumerate(sizes):
        write(end, nbytes, seed)


def read(end: End, room: int, timeout: float | None = HANG) -> bytes:
    """The next message, read into a buffer of `room` bytes."""
    buffer = bytearray(room)
    return bytes(buffer[: end.channel.read(buffer, timeout=timeout)])


def read_expected(end: End, nbytes: int, seed: int = 0, room: int | None = None) -> None:
    """Read one message, and check that it is what `write` sends."""
    buffer = bytearray(nbytes if room is None else room)
    got = end.channel.read(buffer, timeout=HANG)
    wrong = difference(memoryview(buffer)[:got], pattern(nbytes, seed))
    assert not wrong, f"message {seed} of {nbytes} bytes: {wrong}"


def read_all(end: End, sizes: list[int], room: int | None = None) -> None:
    """Read what `write_all` sends."""
    for seed, nbytes in enumerate(sizes):
        read_expected(end, nbytes, seed, room)


def read_until_closed(end: End, room: int) -> list[bytes]:
    """All that comes until the channel is closed in order."""
    messages = []
    with contextlib.suppress(adma.ChannelClosed):
        while True:
            messages.append(read(end, room))
    return messages


def iwrite(end: End, name: str, nbytes: int, seed: int = 0) -> None:
    payload = pattern(nbytes, seed)
    end.kept[name] = Posted(end.channel.iwrite(payload), payload)


def iread(end: End, name: str, room: int) -> None:
    buffer = bytearray(room)
    end.kept[name] = Posted(end.channel.iread(buffer), buffer)


def check(end: End, name: str) -> bool:
    return bool(end.kept[name].request.check())


def cancel(end: End, name: str) -> bool:
    return bool(end.kept[name].request.cancel())


def wait(end: End, name: str, timeout: float | None = HANG) -> int:
    return int(end.kept[name].request.wait(timeout=timeout))


def wait_named(end: End, names: list[str], timeout: float | None = HANG) -> list[int]:
    return adma.wait_all([end.kept[name].request for name in names], timeout=timeout)


def content(end: End, name: str) -> bytes:
    return bytes(end.kept[name].buffer)


def drop(end: End, name: str) -> None:
    del end.kept[name]


def probe(end: End, timeout: float | None = HANG) -> tuple[str, int]:
    message = end.channel.probe(timeout=timeout)
    return message.kind, message.nbytes


def iprobe(end: End) -> tuple[str, int] | None:
    message = end.channel.iprobe()
    return None if message is None else (message.kind, message.nbytes)


def send(end: End, thing: Any) -> None:
    end.channel.send(thing, timeout=HANG)


def recv(end: End, timeout: float | None = HANG) -> Any:
    return end.channel.recv(timeout=timeout)


def echo(end: End, room: int, count: int) -> None:
    """Read `count` messages and write each back."""
    buffer = bytearray(room)
    for _ in range(count):
        got = end.channel.read(buffer, timeout=HANG)
        end.channel.write(memoryview(buffer)[:got], timeout=HANG)


def close_channel(end: End, timeout: float = HANG) -> None:
    end.channels.pop().close(timeout=timeout)


def stats(end: End) -> Any:
    return end.channel.stats()


def explain(end: End, nbytes: int) -> str:
    return str(end.channel.explain(nbytes))


def nothing(end: End) -> None:
    """An order to see that the peer lives."""
    del end
