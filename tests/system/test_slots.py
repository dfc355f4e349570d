# SPDX-License-Identifier: BSD-3-Clause
"""Slots of large messages: there come to be more, and the news about them."""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Callable, Iterator

import pytest

import adma
from adma._core.constants import PENDING_MAX
from adma._core.handshake import make_segment, unmap_segment
from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import HANG, KIB
from adma.testing.payload import pattern
from support.calls import faults
from support.mechanisms import NAMES
from support.segment import BLOCK, CELLS, SLOTS_FIRST, Segment, mapped

NBYTES = 20_000  # takes a slot
ALL_BITS = 2**64 - 1
PAGE = os.sysconf("SC_PAGESIZE")


def segments_since(before: list[Segment]) -> tuple[Segment, Segment]:
    """The two segments of a channel that came last and has carried one message from here."""
    known = {ctypes.addressof(segment) for segment in before}
    new = [segment for segment in mapped() if ctypes.addressof(segment) not in known]
    assert len(new) == 2
    new.sort(key=lambda segment: segment.cells[0].seq, reverse=True)
    return new[0], new[1]


def connected(peer: Peer, mechanism: str = "auto") -> tuple[adma.Channel, Segment, Segment]:
    before = mapped()
    channel = peer.connect(mechanism)
    channel.iwrite(b"!")
    reading = peer.begin(messages.read, 1)
    assert reading.result() == b"!"
    local, remote = segments_since(before)
    return channel, local, remote


def read_all(peer: Peer, writes: list[adma.Request]) -> None:
    """The peer reads what was written with the seeds 0, 1, ...; in order."""
    for seed in range(len(writes)):
        assert peer.call(messages.read, NBYTES) == pattern(NBYTES, seed), seed
    adma.wait_all(writes, timeout=HANG)


def grown(segment: Segment) -> bool:
    """Was a slot used that was not there at the handshake?"""
    return any(segment.slot(SLOTS_FIRST + i).state for i in range(SLOTS_FIRST))


@pytest.fixture
def no_growth() -> Iterator[None]:
    faults.arm(None, faults.GROW, "fail", errno.ENOMEM)
    yield
    assert faults.passes(None, faults.GROW) == 1  # it is not tried again
    faults.arm(None, faults.GROW, "none")


@pytest.mark.parametrize("mechanism", NAMES)
def test_as_many_are_posted_as_the_ring_holds(peer: Peer, mechanism: str) -> None:
    channel, local, _ = connected(peer, mechanism)
    writes = [channel.iwrite(pattern(NBYTES, seed)) for seed in range(CELLS)]
    if mechanism not in ("dma", "mapped:helper"):
        assert all(local.cells[i].seq > 1 for i in range(1, CELLS))
        assert grown(local)
    read_all(peer, writes)


@pytest.mark.faults
def test_without_memory_it_goes_on_with_what_there_is(peer: Peer, no_growth: None) -> None:
    del no_growth
    channel, local, _ = connected(peer)
    writes = [channel.iwrite(pattern(NBYTES, seed)) for seed in range(CELLS)]
    assert not grown(local)
    read_all(peer, writes)


def test_as_many_as_may_be_outstanding(peer: Peer) -> None:
    """All reads are posted first, so that all writes can be under way at once."""
    channel, *_ = connected(peer, "mapped:cma" if "mapped:cma" in NAMES else "auto")
    names = [str(i) for i in range(PENDING_MAX)]
    for name in names:
        peer.call(messages.iread, name, 100)
    writes = [channel.iwrite(pattern(100, seed)) for seed in range(PENDING_MAX)]
    assert peer.call(messages.wait_named, names) == [100] * PENDING_MAX
    adma.wait_all(writes, timeout=HANG)
    for seed in (0, 1, 500, PENDING_MAX - 1):
        assert peer.call(messages.content, names[seed]) == pattern(100, seed)


def set_all_bits(*segments: Segment) -> None:
    for segment in segments:
        for top in (segment.top_for_maker, segment.top_for_reader):
            for i in range(len(top)):
                top[i] = ALL_BITS
        for block in segment.blocks[: 2 * SLOTS_FIRST // BLOCK]:
            block.news_for_maker.bits = ALL_BITS
            block.news_for_reader.bits = ALL_BITS


def clear_all_bits(*segments: Segment) -> None:
    for segment in segments:
        for top in (segment.top_for_maker, segment.top_for_reader):
            top[0] = 0


class Meddling:
    """A thread that does this over and over."""

    def __init__(self, what: Callable[[], None]) -> None:
        self._what = what
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._what()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_news_of_everything_is_harmless(peer: Peer) -> None:
    """Both endpoints look at all slots again and again, and find what there is."""
    channel, local, remote = connected(peer)
    for seed in range(3):
        peer.call(messages.iwrite, str(seed), NBYTES, seed)
    writes = [channel.iwrite(pattern(NBYTES, seed)) for seed in range(40)]
    with Meddling(lambda: set_all_bits(local, remote)):
        read_all(peer, writes)
        for seed in range(3):
            buffer = bytearray(NBYTES)
            assert channel.read(buffer, timeout=HANG) == NBYTES
            assert buffer == pattern(NBYTES, seed)


def test_news_that_never_comes(peer: Peer) -> None:
    """What a peer hides from us holds up its own messages; a close ends them."""
    channel, local, remote = connected(peer)
    names = [str(i) for i in range(20)]
    for name in names:
        peer.call(messages.iwrite, name, NBYTES)
    reads = [channel.iread(bytearray(NBYTES)) for _ in names[:10]]  # held: they may be matched
    with Meddling(lambda: clear_all_bits(local, remote)):
        for name in names:
            try:
                peer.call(messages.wait, name, 0.02)
            except TimeoutError:
                continue
    channel.close(timeout=HANG)
    ended = 0
    for name in names:
        try:
            peer.call(messages.wait, name, HANG)
        except adma.ChannelClosed:
            ended += 1
    assert ended >= len(names) - len(reads)


def test_a_fresh_segment_takes_little_memory() -> None:
    """The slots beyond the first are within its size, and are not allocated."""
    fd, segment = make_segment()
    try:
        status = os.fstat(fd)
        assert status.st_size == -(-ctypes.sizeof(Segment) // PAGE) * PAGE
        assert 48 * KIB < status.st_blocks * 512 <= 64 * KIB
    finally:
        unmap_segment(segment)
        os.close(fd)
