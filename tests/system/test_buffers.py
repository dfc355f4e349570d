# SPDX-License-Identifier: BSD-3-Clause
"""Which buffers may be posted, and who holds them for how long."""

from __future__ import annotations

import array
import gc
import mmap
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import adma
from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import CELL, HANG, LARGE
from adma.testing.payload import pattern

# Here, and not in the test: it starts threads of its own.
numpy = pytest.importorskip("numpy")

WRITERS: list[Callable[[adma.Channel, Any], object]] = [
    lambda channel, buffer: channel.write(buffer, timeout=HANG),
    lambda channel, buffer: channel.iwrite(buffer),
]
READERS: list[Callable[[adma.Channel, Any], object]] = [
    lambda channel, buffer: channel.read(buffer, timeout=HANG),
    lambda channel, buffer: channel.iread(buffer),
]


class Tracked(bytearray):
    """A bytearray whose end can be observed."""


@pytest.fixture
def channel(peer: Peer) -> adma.Channel:
    return peer.connect()


def still_works(peer: Peer, channel: adma.Channel) -> None:
    reading = peer.begin(messages.read, 5)
    channel.write(b"still", timeout=HANG)
    assert reading.result() == b"still"


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("nbytes", [10, LARGE])
def test_a_read_only_destination(
    peer: Peer, channel: adma.Channel, read: Callable[..., object], nbytes: int
) -> None:
    with pytest.raises((BufferError, TypeError, ValueError), match=r"buf\b.*(read-only|writable)"):
        read(channel, bytes(nbytes))
    with pytest.raises((BufferError, TypeError, ValueError), match=r"buf\b.*(read-only|writable)"):
        read(channel, memoryview(bytearray(nbytes)).toreadonly())
    still_works(peer, channel)


@pytest.mark.parametrize("call", [*WRITERS, *READERS])
def test_a_buffer_with_gaps(peer: Peer, channel: adma.Channel, call: Callable[..., object]) -> None:
    gaps = memoryview(bytearray(100))[::2]
    with pytest.raises((BufferError, ValueError), match=r"buf\b.*contiguous"):
        call(channel, gaps)
    still_works(peer, channel)


@pytest.mark.parametrize("call", [*WRITERS, *READERS])
@pytest.mark.parametrize("dtype", ["f8", "M8[s]"])
def test_an_array_in_fortran_order(
    peer: Peer, channel: adma.Channel, call: Callable[..., object], dtype: str
) -> None:
    """Its bytes would be a message, and not in the order of its elements."""
    with pytest.raises(BufferError, match=r"buf is not C-contiguous"):
        call(channel, numpy.zeros((4, 3), dtype, order="F"))
    still_works(peer, channel)


@pytest.mark.parametrize("call", [*WRITERS, *READERS])
@pytest.mark.parametrize("thing", [None, 7, "text", [1, 2]])
def test_no_buffer_at_all(
    peer: Peer, channel: adma.Channel, call: Callable[..., object], thing: object
) -> None:
    with pytest.raises(TypeError, match=r"buf\b"):
        call(channel, thing)
    still_works(peer, channel)


@pytest.mark.parametrize("nbytes", [1, CELL, LARGE])
def test_resizing_under_a_read(peer: Peer, channel: adma.Channel, nbytes: int) -> None:
    """A posted buffer is held until completion, then it is the caller's again."""
    buffer = bytearray(nbytes)
    request = channel.iread(buffer)
    with pytest.raises(BufferError):
        buffer.append(1)
    writing = peer.begin(messages.write, nbytes, 1)
    assert request.wait(timeout=HANG) == nbytes
    buffer.append(1)
    assert buffer[:-1] == pattern(nbytes, 1)
    writing.result()


def test_resizing_under_a_write(peer: Peer, channel: adma.Channel) -> None:
    buffer = bytearray(pattern(LARGE, 2))
    request = channel.iwrite(buffer)
    with pytest.raises(BufferError):
        buffer.clear()
    reading = peer.begin(messages.read_expected, LARGE, 2)
    assert request.wait(timeout=HANG) == LARGE
    buffer.clear()
    reading.result()


def test_one_buffer_written_twice(peer: Peer, channel: adma.Channel) -> None:
    buffer = bytearray(pattern(LARGE, 0))
    requests = [channel.iwrite(buffer), channel.iwrite(buffer)]
    for _ in requests:
        reading = peer.begin(messages.read_expected, LARGE)
        while not reading.done:
            for request in requests:
                request.check()
        reading.result()
    assert adma.wait_all(requests, timeout=HANG) == [LARGE, LARGE]
    buffer.clear()


def test_one_buffer_posted_for_two_reads(peer: Peer, channel: adma.Channel) -> None:
    """Allowed, and each message is in it when its read is complete, if the caller orders them."""
    buffer = bytearray(CELL)
    first, second = channel.iread(buffer), channel.iread(buffer)
    writing = peer.begin(messages.write, CELL, 1)
    assert first.wait(timeout=HANG) == CELL
    assert buffer == pattern(CELL, 1)
    writing.result()
    with pytest.raises(BufferError):
        buffer.clear()
    writing = peer.begin(messages.write, CELL, 2)
    assert second.wait(timeout=HANG) == CELL
    assert buffer == pattern(CELL, 2)
    writing.result()
    buffer.clear()


def test_one_buffer_read_and_written_at_once(peer: Peer, channel: adma.Channel) -> None:
    """Whatever the bytes are then, both messages go through."""
    buffer = bytearray(LARGE)
    requests = [channel.iread(buffer), channel.iwrite(buffer)]
    peer.call(messages.iwrite, "out", LARGE, 1)
    peer.call(messages.iread, "in", LARGE)
    waiting = peer.begin(messages.wait_named, ["out", "in"])
    assert adma.wait_all(requests, timeout=HANG) == [LARGE, LARGE]
    assert waiting.result() == [LARGE, LARGE]


def test_a_dropped_request_keeps_its_buffer(peer: Peer, channel: adma.Channel) -> None:
    """Nobody holds the request or the buffer, and the copy goes on; later both are freed."""
    source, target = Tracked(pattern(LARGE, 3)), Tracked(LARGE)
    alive = [weakref.ref(source), weakref.ref(target)]
    channel.iwrite(source)
    channel.iread(target)
    del source, target
    gc.collect()
    assert all(reference() is not None for reference in alive)
    peer.call(messages.iwrite, "out", LARGE, 4)
    peer.call(messages.iread, "in", LARGE)
    waiting = peer.begin(messages.wait_named, ["out", "in"])
    while not waiting.done:
        channel.iprobe()
    waiting.result()
    assert peer.call(messages.content, "in") == pattern(LARGE, 3)
    # Nobody asks for these two any more: they are let go at some later post.
    for _ in range(200):
        reading = peer.begin(messages.read, 1)
        channel.iwrite(b"x").wait(timeout=HANG)
        reading.result()
    gc.collect()
    assert all(reference() is None for reference in alive)


def test_a_dropped_request_is_let_go_by_close(peer: Peer, channel: adma.Channel) -> None:
    target = Tracked(100)
    alive = weakref.ref(target)
    channel.iread(target)
    del target
    channel.close(timeout=HANG)
    gc.collect()
    assert alive() is None
    peer.call(messages.nothing)


@pytest.mark.parametrize(
    "make",
    [
        lambda: bytearray(CELL),
        lambda: memoryview(bytearray(CELL)),
        lambda: array.array("d", bytes(CELL)),
        lambda: mmap.mmap(-1, CELL),
        lambda: numpy.zeros((CELL // 64, 8)),
        lambda: numpy.zeros(CELL // 8, "M8[s]"),
    ],
)
def test_anything_contiguous(peer: Peer, channel: adma.Channel, make: Callable[[], Any]) -> None:
    """Lengths are bytes, whatever the items are."""
    buffer = make()
    writing = peer.begin(messages.write, CELL, 6)
    assert channel.read(buffer, timeout=HANG) == CELL
    writing.result()
    reading = peer.begin(messages.read_expected, CELL, 6)
    channel.write(buffer, timeout=HANG)
    reading.result()
