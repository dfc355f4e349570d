# SPDX-License-Identifier: BSD-3-Clause
"""Pairs of concurrent operations on one channel that once went wrong."""

from __future__ import annotations

import ctypes
import errno
import mmap
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

import adma
from adma.testing.limits import HANG, KIB, LARGE
from adma.testing.payload import pattern
from support.calls import faults
from support.endpoints import InThread, pair

Ends = tuple[adma.Channel, adma.Channel]
ENDED = (adma.ChannelClosed, adma.PeerDied, adma.Cancelled)


@pytest.fixture
def joined() -> Iterator[Callable[[str], Ends]]:
    """Connects two ends in this process."""
    with ExitStack() as stack:

        def join(mechanism: str) -> Ends:
            one, other = pair()
            joining = InThread(lambda: adma.from_socket(other, mechanism=mechanism))
            near = stack.enter_context(adma.from_socket(one, mechanism=mechanism))
            return near, stack.enter_context(joining.result())

        yield join


@pytest.mark.parametrize("mechanism", ["mapped:cma", "shared", "loopback:tcp"])
def test_close_while_the_peer_matches(joined: Callable[[str], Ends], mechanism: str) -> None:
    """Each write is withdrawn or matched, never forgotten in between."""
    for _ in range(40):
        near, far = joined(mechanism)
        writes = [near.iwrite(bytes(16 * KIB)) for _ in range(16)]

        def read_all(channel: adma.Channel = far) -> None:
            with suppress(*ENDED):
                while True:
                    channel.read(bytearray(16 * KIB), timeout=HANG)

        reading = InThread(read_all)
        near.close(timeout=HANG)
        for write in writes:
            with suppress(*ENDED):
                assert write.check()
        assert near.stats()["pending_writes"] == 0
        reading.result()


def test_a_message_wakes_who_probes_while_another_thread_writes(
    joined: Callable[[str], Ends],
) -> None:
    """The writer may be the one that reads the wake-up."""
    near, far = joined("auto")

    def probe_all() -> None:
        for _ in range(300):
            near.probe(timeout=HANG)
            near.read(bytearray(1), timeout=HANG)

    probing = InThread(probe_all)
    writing = InThread(lambda: near.write(bytes(LARGE), timeout=HANG))
    for _ in range(300):
        far.write(b"x", timeout=HANG)
    probing.result()
    far.read(bytearray(LARGE), timeout=HANG)
    writing.result()


def test_a_read_that_another_thread_matched(joined: Callable[[str], Ends]) -> None:
    """Its bytes come by a socket on which the sleeping reader did not wait yet."""
    near, far = joined("loopback:tcp")
    count = 300

    def read_all() -> None:
        for seed in range(count):
            buffer = bytearray(4 * KIB)
            near.read(buffer, timeout=HANG)
            assert buffer == pattern(4 * KIB, seed)

    def write_all() -> None:
        for seed in range(count):
            far.write(pattern(4 * KIB, seed), timeout=HANG)

    reading, writing = InThread(read_all), InThread(write_all)
    while reading._thread.is_alive():
        near.iprobe()
    writing.result()
    reading.result()


@pytest.mark.faults
def test_a_broken_byte_stream_takes_along_what_was_behind(
    joined: Callable[[str], Ends],
) -> None:
    near, far = joined("loopback:tcp")
    writes = [far.iwrite(pattern(LARGE, seed)) for seed in (1, 2)]
    faults.arm(None, faults.CHUNK, "fail", errno.EIO, 3)  # before the progress thread can copy
    reads = [near.iread(bytearray(LARGE)) for _ in range(2)]
    try:
        for request in (*writes, *reads):
            with pytest.raises(OSError) as caught:  # noqa: PT011
                adma.wait_all([request, *reads, *writes], timeout=HANG)
            assert caught.value.errno == errno.EIO
    finally:
        faults.disarm_all()


def test_a_wait_over_channels_of_which_one_is_closed(joined: Callable[[str], Ends]) -> None:
    near, far = joined("auto")
    other, _ = joined("auto")
    gone, comes = other.iread(bytearray(1)), near.iread(bytearray(1))
    waiting = InThread(lambda: adma.wait_any([comes], timeout=HANG))
    every = InThread(lambda: adma.wait_all([gone, comes], timeout=HANG))
    other.close()
    far.write(b"x")
    assert waiting.result() == 0
    with pytest.raises(adma.ChannelClosed):
        every.result()


@pytest.mark.parametrize("distance", [1, 16, 31, 32, 4095])
def test_buffers_that_alias(joined: Callable[[str], Ends], distance: int) -> None:
    """A few bytes apart modulo a page they go another way, in either direction."""
    near, far = joined("mapped:cma")
    with mmap.mmap(-1, LARGE + 8 * KIB) as one, mmap.mmap(-1, LARGE + 8 * KIB) as other:
        source = (ctypes.c_char * LARGE).from_buffer(one, 64)
        target = (ctypes.c_char * LARGE).from_buffer(other, 64 + distance)
        source.raw = pattern(LARGE, distance)
        for _ in range(4):
            ctypes.memset(target, 0, LARGE)
            adma.wait_all([near.iwrite(source), far.iread(target)], timeout=HANG)
            assert target.raw == source.raw
        del source, target
