# SPDX-License-Identifier: BSD-3-Clause
"""Lists of buffers: each is one message, however either end divides it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import adma
from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import EAGER, HANG, INLINE, LARGE
from adma.testing.payload import pattern
from support import mechanisms
from support.endpoints import own_channels

SIZES = (0, 1, INLINE, EAGER, EAGER + 1, LARGE)


@pytest.fixture
def ends() -> Iterator[tuple[adma.Channel, adma.Channel]]:
    """Both ends of a channel."""
    ours, theirs = own_channels()
    yield ours, theirs
    ours.close(timeout=0)
    theirs.close(timeout=0)


def divided(data: bytes, pieces: int) -> list[bytearray]:
    """The same bytes in so many buffers, the first of which is empty."""
    step = len(data) // pieces + 1
    return [bytearray(), *(bytearray(data[at : at + step]) for at in range(0, len(data), step))]


def blanks(nbytes: int, pieces: int) -> list[bytearray]:
    return [bytearray(len(piece)) for piece in divided(bytes(nbytes), pieces)]


@pytest.mark.parametrize("mechanism", mechanisms.NAMES)
def test_a_list_is_one_message(peer: Peer, mechanism: str) -> None:
    channel = peer.connect(mechanism)
    task = peer.begin(messages.read_all, list(SIZES))
    for seed, nbytes in enumerate(SIZES):
        channel.write(divided(pattern(nbytes, seed), 3), timeout=HANG)
    task.result()
    task = peer.begin(messages.write_all, list(SIZES))
    for seed, nbytes in enumerate(SIZES):
        pieces = blanks(nbytes, 5)
        assert channel.read(pieces, timeout=HANG) == nbytes
        assert b"".join(pieces) == pattern(nbytes, seed)
    task.result()


@pytest.mark.parametrize("nbytes", SIZES)
def test_ends_divide_it_as_they_like(ends: tuple[adma.Channel, adma.Channel], nbytes: int) -> None:
    ours, theirs = ends
    pieces = blanks(nbytes + 10, 7)
    requests = [theirs.iread(pieces), ours.iwrite(tuple(divided(pattern(nbytes), 2)))]
    assert adma.wait_all(requests, timeout=HANG) == [nbytes, nbytes]
    assert b"".join(pieces) == pattern(nbytes) + bytes(len(b"".join(pieces)) - nbytes)


def test_what_is_written_is_free_at_once(ends: tuple[adma.Channel, adma.Channel]) -> None:
    ours, theirs = ends
    pieces = divided(pattern(LARGE), 2)
    request = ours.iwrite(pieces)
    for piece in pieces:
        piece[:] = b""
    assert theirs.read_bytes(timeout=HANG) == pattern(LARGE)
    request.wait(HANG)


@pytest.mark.parametrize("nbytes", [10, LARGE])
def test_what_is_read_is_held_until_it_is_done(
    ends: tuple[adma.Channel, adma.Channel], nbytes: int
) -> None:
    ours, theirs = ends
    pieces = blanks(nbytes, 2)
    request = theirs.iread(pieces)
    for piece in pieces:
        with pytest.raises(BufferError):
            piece.append(1)
    ours.write(pattern(nbytes), timeout=HANG)
    request.wait(HANG)
    assert b"".join(pieces) == pattern(nbytes)
    for piece in pieces:
        piece.append(1)


def test_a_request_that_was_dropped_is_read(ends: tuple[adma.Channel, adma.Channel]) -> None:
    ours, theirs = ends
    pieces = blanks(LARGE, 2)
    theirs.iread(pieces)
    gc.collect()
    ours.write(pattern(LARGE), timeout=HANG)
    ours.write(b"next", timeout=HANG)
    assert theirs.read_bytes(timeout=HANG) == b"next"
    assert b"".join(pieces) == pattern(LARGE)


@pytest.mark.parametrize("nbytes", [20, LARGE])
def test_a_message_that_is_too_long_stays(
    ends: tuple[adma.Channel, adma.Channel], nbytes: int
) -> None:
    ours, theirs = ends
    request = ours.iwrite(pattern(nbytes))
    pieces = [bytearray(b"abc"), bytearray(b"de")]
    for read in (lambda: theirs.read(pieces, timeout=HANG), lambda: theirs.iread(pieces).wait()):
        with pytest.raises(adma.MessageTooLong) as caught:
            read()
        assert caught.value.needed == nbytes
        del caught
    assert b"".join(pieces) == b"abcde"
    for piece in pieces:
        piece.append(1)
    assert theirs.read_bytes(timeout=HANG) == pattern(nbytes)
    request.wait(HANG)


def test_a_read_that_was_withdrawn_fills_nothing(
    ends: tuple[adma.Channel, adma.Channel],
) -> None:
    _, theirs = ends
    pieces = [bytearray(b"abc"), bytearray(b"de")]
    with pytest.raises(TimeoutError):
        theirs.read(pieces, timeout=0.01)
    request = theirs.iread(pieces)
    assert request.cancel()
    assert b"".join(pieces) == b"abcde"
    for piece in pieces:
        piece.append(1)


def _overlapping() -> list[memoryview]:
    view = memoryview(bytearray(10))
    return [view[:4], view[8:], view[3:6]]


BAD: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "read-only": (lambda: [bytearray(1), b"x"], BufferError, r"buf\[1\] is read-only"),
    "overlapping": (_overlapping, ValueError, r"buf\[0\] and buf\[2\] overlap"),
    "the same twice": (lambda: [bytearray(1)] * 2, ValueError, "overlap"),
    "no buffer": (lambda: [bytearray(1), 3], TypeError, r"buf\[1\] must be"),
    "a list": (lambda: [[bytearray(1)]], TypeError, r"buf\[0\] must be"),
    "not contiguous": (lambda: [memoryview(bytearray(9))[::2]], BufferError, "not C-contiguous"),
}


@pytest.mark.parametrize("bad", BAD)
def test_lists_that_cannot_be_filled(peer: Peer, bad: str) -> None:
    make, error, words = BAD[bad]
    channel = peer.connect()
    buffers = make()
    for read in (lambda: channel.read(buffers, timeout=0), lambda: channel.iread(buffers)):
        with pytest.raises(error, match=words):
            read()
    for each in buffers:
        if isinstance(each, bytearray):
            each.append(1)  # it is not held any more
    peer.call(messages.write, 3)
    assert channel.read([bytearray(1), bytearray(0), bytearray(5)], timeout=HANG) == 3


def test_lists_that_cannot_be_written(peer: Peer) -> None:
    channel = peer.connect()
    buffers = [bytearray(1), "text"]
    for write in (channel.write, channel.iwrite):
        with pytest.raises(TypeError, match=r"buf\[1\] must be.*encode it first"):
            write(buffers)
    shared = bytearray(b"ab")
    channel.write([shared, b"", memoryview(shared)[1:], shared], timeout=HANG)
    assert peer.call(messages.read, 10) == b"abbab"
    channel.write([], timeout=HANG)
    assert peer.call(messages.read, 10) == b""


def test_a_message_without_bytes_fills_none(ends: tuple[adma.Channel, adma.Channel]) -> None:
    ours, theirs = ends
    ours.write(b"")
    assert theirs.read([], timeout=HANG) == 0
    ours.write(b"")
    assert theirs.read([bytearray(2)], timeout=HANG) == 0
    ours.write(b"1")
    with pytest.raises(adma.MessageTooLong):
        theirs.read([], timeout=HANG)
