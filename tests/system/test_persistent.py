# SPDX-License-Identifier: BSD-3-Clause
"""Persistent requests: prepared once, started again and again."""

from __future__ import annotations

import asyncio
import gc
import os
import select
import threading
from collections.abc import Iterator

import pytest

import adma
from adma.testing import Peer
from adma.testing.calls import messages, objects
from adma.testing.limits import EAGER, HANG, INLINE, LARGE, SHORT
from adma.testing.payload import pattern
from support import mechanisms
from support.endpoints import InThread, own_channels

SIZES = (0, 8, INLINE, EAGER, EAGER + 1, LARGE)


@pytest.fixture
def ends() -> Iterator[tuple[adma.Channel, adma.Channel]]:
    """Both ends of a channel."""
    ours, theirs = own_channels()
    yield ours, theirs
    ours.close(timeout=0)
    theirs.close(timeout=0)


@pytest.mark.parametrize("nbytes", SIZES)
@pytest.mark.parametrize("mechanism", mechanisms.NAMES)
def test_a_round_trip_that_is_started_again(peer: Peer, mechanism: str, nbytes: int) -> None:
    channel = peer.connect(mechanism)
    out, into = bytearray(nbytes), bytearray(nbytes + 5)
    write, read = channel.write_init(out), channel.read_init(into)
    task = peer.begin(messages.echo, nbytes, 5)
    for seed in range(5):
        out[:] = pattern(nbytes, seed)
        read.start()
        write.start()
        assert write.wait(HANG) == nbytes
        assert read.wait(HANG) == nbytes
        assert read.wait() == nbytes
        assert into[:nbytes] == out
    task.result()


def test_it_does_nothing_before_it_is_started(ends: tuple[adma.Channel, adma.Channel]) -> None:
    ours, theirs = ends
    requests = [ours.write_init(b"x"), ours.read_init(bytearray(1)), ours.send_init(1)]
    for request in requests:
        assert "not started" in repr(request)
        for call in (request.wait, request.check):
            with pytest.raises(ValueError, match="not started: call start"):
                call()
        assert not request.cancel()
    assert not theirs.poll(SHORT)


@pytest.mark.parametrize("nbytes", [8, LARGE])
def test_it_is_not_started_twice(ends: tuple[adma.Channel, adma.Channel], nbytes: int) -> None:
    ours, theirs = ends
    read = theirs.read_init(bytearray(nbytes))
    read.start()
    with pytest.raises(RuntimeError, match="pending"):
        read.start()
    ours.write(pattern(nbytes), timeout=HANG)
    assert read.wait(HANG) == nbytes
    write = ours.write_init(pattern(LARGE))
    write.start()
    with pytest.raises(RuntimeError, match="pending"):
        write.start()
    send = ours.send_init([bytearray(LARGE)])
    send.start()
    with pytest.raises(RuntimeError, match="pending"):
        send.start()
    assert theirs.read_bytes(timeout=HANG) == pattern(LARGE)
    assert len(theirs.recv(timeout=HANG)[0]) == LARGE
    adma.wait_all([write, send], timeout=HANG)


def test_an_object_is_pickled_as_it_is_at_each_start(peer: Peer) -> None:
    channel = peer.connect()
    thing: list[object] = [0, bytearray(LARGE)]
    send = channel.send_init(thing)
    task = peer.begin(objects.echo, 3)
    for number in range(3):
        thing[0] = number
        send.start()
        assert channel.recv(timeout=HANG) == thing
        assert send.wait(HANG) > LARGE
    task.result()
    thing.append(threading.Lock())
    with pytest.raises(TypeError):
        send.start()
    thing.pop()
    send.start()
    assert peer.call(messages.recv) == thing


# A read that is started is posted, as far as anybody can see


def test_reads_are_matched_in_the_order_of_their_starts(
    ends: tuple[adma.Channel, adma.Channel],
) -> None:
    ours, theirs = ends
    first, second, third = bytearray(1), bytearray(1), bytearray(1)
    requests = [theirs.read_init(first), theirs.read_init(second)]
    for request in requests:
        request.start()
    posted = theirs.iread(third)
    for letter in (b"1", b"2", b"3", b"4"):
        ours.write(letter)
    assert theirs.read_bytes(timeout=HANG) == b"4"
    assert adma.wait_all([posted, *requests], timeout=HANG) == [1, 1, 1]
    assert first + second + third == b"123"


CALLS = {
    "read": lambda channel: channel.read(bytearray(1), timeout=HANG),
    "read_bytes": lambda channel: channel.read_bytes(timeout=HANG),
    "iread": lambda channel: channel.iread(bytearray(1)).wait(HANG),
    "probe": lambda channel: channel.probe(timeout=HANG) and channel.read_bytes(),
    "skip": lambda channel: channel.skip(timeout=HANG),
    "wait": lambda channel: adma.wait([channel], HANG)[0].read_bytes(),
    "fileno": lambda channel: select.select([channel], [], [], HANG)[0][0].read_bytes(),
}


@pytest.mark.parametrize("call", CALLS)
def test_other_calls_get_what_comes_after_it(
    ends: tuple[adma.Channel, adma.Channel], call: str
) -> None:
    ours, theirs = ends
    buffer = bytearray(1)
    read = theirs.read_init(buffer)
    for _ in range(2):  # the second time the descriptors of the first one are there
        read.start()
        ours.write(b"1")
        ours.write(b"2")
        CALLS[call](theirs)
        assert read.wait(timeout=0) == 1
        assert buffer == b"1"


def test_a_descriptor_is_not_readable_for_its_message(
    ends: tuple[adma.Channel, adma.Channel],
) -> None:
    ours, theirs = ends
    fd, done = theirs.fileno(), theirs.fileno("completions")
    read = theirs.read_init(bytearray(1))
    read.start()
    ours.write(b"1")
    assert select.select([done], [], [], HANG)[0] == [done]
    assert read.wait(timeout=0) == 1
    assert select.select([fd, done], [], [], 0)[0] == []


def test_waits_know_it(ends: tuple[adma.Channel, adma.Channel]) -> None:
    ours, theirs = ends
    read, never = theirs.read_init(bytearray(1)), theirs.read_init(bytearray(1))
    read.start()
    assert not adma.test_all([read])
    ours.write(b"1")
    never.start()
    assert adma.wait_any([never, read], timeout=HANG) == 1
    assert adma.wait([never, read], timeout=HANG) == [read]
    assert read.check()
    assert not never.check()
    assert never.cancel()
    with pytest.raises(adma.Cancelled):
        never.wait()


def test_it_is_awaited(ends: tuple[adma.Channel, adma.Channel]) -> None:
    ours, theirs = ends
    read, write = theirs.read_init(bytearray(8)), ours.write_init(bytes(8))

    async def rounds() -> None:
        for _ in range(3):
            read.start()
            timer = threading.Timer(SHORT, write.start)
            timer.start()
            assert await read == 8
            await asyncio.to_thread(timer.join)

    asyncio.run(asyncio.wait_for(rounds(), HANG))


def test_one_that_was_dropped_has_its_message(ends: tuple[adma.Channel, adma.Channel]) -> None:
    ours, theirs = ends
    buffer = bytearray(1)
    read = theirs.read_init(buffer)
    read.start()
    with pytest.raises(BufferError):
        buffer.append(0)
    del read
    gc.collect()
    ours.write(b"1")
    ours.write(b"2")
    assert theirs.read_bytes(timeout=HANG) == b"2"
    assert buffer == b"1"
    buffer.append(0)


def test_threads_that_wait_for_one(ends: tuple[adma.Channel, adma.Channel]) -> None:
    ours, theirs = ends
    read = theirs.read_init(bytearray(8))
    for _ in range(20):
        read.start()
        waiters = [InThread(lambda: read.wait(HANG)) for _ in range(2)]
        ours.write(bytes(8))
        assert [waiter.result() for waiter in waiters] == [8, 8]
    assert not theirs.poll()


# Failures


@pytest.mark.parametrize("there", [True, False])
def test_a_message_that_is_too_long_stays(
    ends: tuple[adma.Channel, adma.Channel], there: bool
) -> None:
    ours, theirs = ends
    buffer = bytearray(8)
    read = theirs.read_init(buffer)
    if there:
        ours.write(bytes(9))
    read.start()
    if not there:
        ours.write(bytes(9))
    with pytest.raises(adma.MessageTooLong) as caught:
        read.wait(HANG)
    assert caught.value.needed == 9
    with pytest.raises(ValueError, match="not started"):
        read.wait(HANG)
    read.start()  # it is told of an error once: by a start, if no wait was there for it
    with pytest.raises(adma.MessageTooLong):
        read.start()
    assert theirs.read_bytes(timeout=HANG) == bytes(9)
    read.start()
    ours.write(b"12345678")
    assert read.wait(HANG) == 8


def test_the_end_of_the_channel(peer: Peer) -> None:
    channel = peer.connect()
    read, write = channel.read_init(bytearray(1)), channel.write_init(b"x")
    read.start()
    peer.kill()
    with pytest.raises(adma.PeerDied):
        read.wait(HANG)
    for request in (read, write):
        with pytest.raises(adma.PeerDied):
            request.start()
            request.wait(HANG)
    channel.close()
    with pytest.raises(adma.ChannelClosed):
        read.start()
        read.wait(HANG)


def test_a_close_ends_it(peer: Peer) -> None:
    channel = peer.connect()
    read = channel.read_init(bytearray(1))
    read.start()
    channel.close()
    with pytest.raises(adma.ChannelClosed):
        read.wait(HANG)


def test_a_timeout_leaves_it_pending(ends: tuple[adma.Channel, adma.Channel]) -> None:
    ours, theirs = ends
    read = theirs.read_init(bytearray(8))
    read.start()
    for timeout in (0, SHORT):
        with pytest.raises(TimeoutError, match="stays pending"):
            read.wait(timeout)
    ours.write(bytes(8))
    assert read.wait(HANG) == 8


def test_a_forked_child_cannot_use_it(ends: tuple[adma.Channel, adma.Channel]) -> None:
    ours, theirs = ends
    read = theirs.read_init(bytearray(8))
    read.start()
    pid = os.fork()
    if pid == 0:
        try:
            read.wait(0)
        except adma.ChannelClosed:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    ours.write(bytes(8))
    assert read.wait(HANG) == 8


@pytest.mark.parametrize("buf", [b"read-only", memoryview(bytearray(8))[::2]])
def test_buffers_that_cannot_be_filled(peer: Peer, buf: bytes) -> None:
    with pytest.raises(BufferError, match=r"read_init\(buf\)"):
        peer.connect().read_init(buf)
