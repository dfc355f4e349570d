# SPDX-License-Identifier: BSD-3-Clause
"""Messages that are received whole: `read_bytes`, `irecv`, and `poll`, which looks for them."""

from __future__ import annotations

import asyncio
import gc
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import adma
from adma.messages import incoming
from adma.testing import Peer
from adma.testing.calls import messages, objects
from adma.testing.limits import EAGER, HANG, INLINE, LARGE, SHORT
from adma.testing.payload import pattern
from support import mechanisms
from support.calls import faults
from support.calls import whole as calls
from support.endpoints import own_channels

SIZES = (0, 1, INLINE, INLINE + 1, EAGER, EAGER + 1, LARGE)


@pytest.fixture
def ends() -> Iterator[tuple[adma.Channel, adma.Channel]]:
    """Both ends of a channel."""
    ours, theirs = own_channels()
    yield ours, theirs
    ours.close(timeout=0)
    theirs.close(timeout=0)


def until(is_so: Callable[[], bool]) -> None:
    """Wait in Python, without a call of adma, until something is so."""
    end = time.monotonic() + HANG
    while not is_so():
        assert time.monotonic() < end, "it never came to be so"
        time.sleep(0.001)


# read_bytes


@pytest.mark.parametrize("mechanism", mechanisms.NAMES)
def test_bytes_of_any_size(peer: Peer, mechanism: str) -> None:
    channel = peer.connect(mechanism)
    task = peer.begin(messages.write_all, list(SIZES))
    for seed, nbytes in enumerate(SIZES):
        found = channel.read_bytes(timeout=HANG)
        assert type(found) is bytes
        assert found == pattern(nbytes, seed)
    task.result()


def test_an_empty_message_that_is_waited_for(ends: tuple[adma.Channel, adma.Channel]) -> None:
    """It fits into no space at all, and so a look for it takes it."""
    ours, theirs = ends
    rounds = 200

    def answer() -> None:
        for _ in range(rounds):
            theirs.write(theirs.read_bytes(timeout=HANG), timeout=HANG)

    thread = threading.Thread(target=answer)
    thread.start()
    for _ in range(rounds):
        ours.write(b"", timeout=HANG)
        assert ours.read_bytes(timeout=HANG) == b""
    thread.join()


@pytest.mark.parametrize("nbytes", [10, EAGER, LARGE])
def test_bytes_that_are_longer_than_allowed_stay(peer: Peer, nbytes: int) -> None:
    channel = peer.connect()
    task = peer.begin(messages.write, nbytes)
    channel.probe(timeout=HANG)
    for _ in range(2):
        with pytest.raises(adma.MessageTooLong, match="stays") as caught:
            channel.read_bytes(nbytes - 1, timeout=HANG)
        assert caught.value.needed == nbytes
    assert channel.read_bytes(nbytes, timeout=0) == pattern(nbytes)
    task.result()


def test_an_object_is_no_bytes(peer: Peer) -> None:
    channel = peer.connect()
    peer.call(messages.send, {"a": 1})
    with pytest.raises(adma.WrongKind):
        channel.read_bytes(timeout=HANG)
    assert channel.recv(timeout=HANG) == {"a": 1}


def test_bytes_that_do_not_come_in_time(peer: Peer) -> None:
    channel = peer.connect()
    for timeout in (0, SHORT):
        with pytest.raises(TimeoutError):
            channel.read_bytes(timeout=timeout)
    peer.call(messages.write, 5)
    assert channel.read_bytes(timeout=HANG) == pattern(5)


@pytest.mark.parametrize("limit", [-1, 1.5, "x"])
def test_a_limit_that_is_none(peer: Peer, limit: Any) -> None:
    channel = peer.connect()
    with pytest.raises((ValueError, TypeError), match="max_bytes"):
        channel.read_bytes(limit, timeout=0)


def test_bytes_end_with_the_channel(peer: Peer) -> None:
    channel = peer.connect()
    peer.call(messages.write, 5)
    peer.call(messages.close_channel)
    assert channel.read_bytes(timeout=HANG) == pattern(5)
    with pytest.raises(adma.ChannelClosed):
        channel.read_bytes(timeout=HANG)


def test_bytes_for_which_a_signal_interrupts_the_wait(peer: Peer) -> None:
    channel = peer.connect()
    killer = threading.Timer(SHORT, signal.raise_signal, (signal.SIGINT,))
    killer.start()
    with pytest.raises(KeyboardInterrupt):
        channel.read_bytes(timeout=HANG)
    killer.join()
    peer.call(messages.write, 5)
    assert channel.read_bytes(timeout=HANG) == pattern(5)


@pytest.mark.faults
def test_bytes_that_stall_are_the_requests(peer: Peer) -> None:
    """The peer stops in the first chunk that it copies."""
    channel = peer.connect("loopback:tcp")
    peer.call(faults.arm, faults.CHUNK, "stop")
    task = peer.begin(messages.write, 4 * LARGE)
    channel.probe(timeout=HANG)
    with pytest.raises(adma.Stalled) as caught:
        channel.read_bytes(timeout=0)
    request = caught.value.request
    peer.resume()
    assert request.wait(HANG) == pattern(4 * LARGE)  # type: ignore[comparison-overlap]
    task.result()


# irecv and isend


@pytest.mark.parametrize("mechanism", mechanisms.NAMES)
def test_objects_are_received_in_post_order(peer: Peer, mechanism: str) -> None:
    channel = peer.connect(mechanism)
    sizes = [[10], [LARGE, 10, LARGE], [], [LARGE]]
    requests = [channel.irecv() for _ in sizes]
    task = peer.begin(calls.send_each, sizes)
    for request, expected in zip(requests, sizes, strict=True):
        found = request.wait(HANG)
        assert [len(part) for part in found[1:]] == expected
        for seed, part in enumerate(found[1:]):
            assert part == pattern(len(part), seed)
        assert request.wait() is found
    task.result()


@pytest.mark.parametrize("mechanism", mechanisms.NAMES)
def test_objects_are_sent_in_post_order(peer: Peer, mechanism: str) -> None:
    channel = peer.connect(mechanism)
    things = [pattern(10), [bytearray(pattern(LARGE, 1)), 2], "three", {}]
    task = peer.begin(objects.echo, len(things))
    requests: list[adma.Request] = [channel.isend(thing) for thing in things]
    for thing in things:
        assert channel.recv(timeout=HANG) == thing
    adma.wait_all(requests, timeout=HANG)
    task.result()


def test_an_object_that_nobody_waits_for_holds_up_no_other(
    ends: tuple[adma.Channel, adma.Channel],
) -> None:
    """The main thread takes memory for it, and reads its parts, without any call."""
    ours, theirs = ends
    first = ours.irecv()
    sent = [theirs.isend([bytearray(LARGE), index]) for index in range(2)]
    until(lambda: sent[0]._done)
    assert not sent[1]._done
    assert ours.recv(timeout=HANG)[1] == 1
    assert first.wait(timeout=0)[1] == 0


def test_a_call_goes_on_with_the_objects_before_its_own(peer: Peer) -> None:
    channel = peer.connect()
    first = channel.irecv()
    task = peer.begin(calls.send_each, [[LARGE], [LARGE]])
    assert channel.recv(timeout=HANG)[0] == 1
    assert first.wait(HANG)[0] == 0
    task.result()


def test_an_object_whose_request_was_dropped_is_forgotten(peer: Peer) -> None:
    channel = peer.connect()
    channel.irecv()
    gc.collect()
    task = peer.begin(calls.send_each, [[LARGE], []])
    assert channel.recv(timeout=HANG)[0] == 1
    task.result()
    assert channel.stats()["pending_reads"] == 0


def test_waits_know_objects(ends: tuple[adma.Channel, adma.Channel]) -> None:
    ours, theirs = ends
    late, early = ours.irecv(), theirs.irecv()
    assert adma.test_any([late, early]) is None
    assert not adma.test_all([late, early])
    sent = ours.isend(["early", bytearray(LARGE)])
    assert adma.wait_any([late, early], timeout=HANG) == 1
    assert adma.wait([late, sent], timeout=HANG) == [sent]
    theirs.send("late", timeout=HANG)
    assert adma.wait_all([late, early], timeout=HANG) == ["late", ["early", bytearray(LARGE)]]
    assert adma.test_all([late, early, sent])
    assert adma.test_any([late]) == 0


def test_tests_of_none() -> None:
    assert adma.test_all([])
    with pytest.raises(ValueError, match="no requests"):
        adma.test_any([])
    with pytest.raises(TypeError, match="test_all"):
        adma.test_all([1])  # type: ignore[list-item]


def test_objects_are_awaited(ends: tuple[adma.Channel, adma.Channel]) -> None:
    ours, theirs = ends

    async def receive() -> list[Any]:
        requests = [ours.irecv() for _ in range(3)]
        sender = threading.Thread(target=lambda: [theirs.send(x, timeout=HANG) for x in things])
        sender.start()
        found = [await request for request in requests]
        await asyncio.to_thread(sender.join)
        return found

    things = [1, [bytearray(pattern(LARGE))], "x" * LARGE]
    assert asyncio.run(asyncio.wait_for(receive(), HANG)) == things


def test_the_descriptor_of_completions_tells_of_objects(
    ends: tuple[adma.Channel, adma.Channel],
) -> None:
    ours, theirs = ends
    request = ours.irecv()
    fd = ours.fileno("completions")
    assert select.select([fd], [], [], 0)[0] == []
    sent = theirs.isend([bytearray(LARGE)])
    end = time.monotonic() + HANG
    while not request.check():
        assert time.monotonic() < end
        assert select.select([fd], [], [], HANG)[0] == [fd]
    assert len(request.wait()[0]) == LARGE
    sent.wait(HANG)
    until(lambda: select.select([fd], [], [], 0)[0] == [])


def test_an_object_that_was_withdrawn_from_its_request(peer: Peer) -> None:
    channel = peer.connect()
    request = channel.irecv()
    with pytest.raises(TimeoutError):
        request.wait(SHORT)
    assert request.cancel()
    assert request.cancel()
    with pytest.raises(adma.Cancelled, match="recv was cancelled"):
        request.wait()
    peer.call(messages.send, 7)
    assert channel.recv(timeout=HANG) == 7


@pytest.mark.parametrize("nbytes", [100, LARGE])
def test_an_object_that_is_longer_than_its_request_allows(peer: Peer, nbytes: int) -> None:
    channel = peer.connect()
    request = channel.irecv(max_bytes=50)
    task = peer.begin(calls.send_each, [[nbytes]])
    with pytest.raises(adma.MessageTooLong) as caught:
        request.wait(HANG)
    assert caught.value.needed > nbytes
    assert channel.recv(timeout=HANG)[1] == pattern(nbytes)
    task.result()


def test_bytes_are_no_object(peer: Peer) -> None:
    channel = peer.connect()
    request = channel.irecv()
    peer.call(messages.write, 3)
    for _ in range(2):
        with pytest.raises(adma.WrongKind):
            request.wait(HANG)
    assert channel.read_bytes(timeout=HANG) == pattern(3)


def test_an_object_that_cannot_be_unpickled(peer: Peer) -> None:
    channel = peer.connect()
    request = channel.irecv()
    peer.call(calls.send_spoilt)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            request.wait(HANG)
    peer.call(messages.send, 1)
    assert channel.recv(timeout=HANG) == 1


def test_an_object_of_a_peer_that_dies(peer: Peer) -> None:
    channel = peer.connect()
    request = channel.irecv()
    peer.kill()
    with pytest.raises(adma.PeerDied):
        request.wait(HANG)
    with pytest.raises(adma.PeerDied):
        channel.irecv().wait(HANG)


def test_an_object_that_there_is_no_memory_for(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays, and so does the request: the next call for it tries again."""
    channel = peer.connect()
    task = peer.begin(calls.send_each, [[LARGE]])
    channel.probe(timeout=HANG)

    def none(nbytes: int) -> bytes:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(incoming, "empty", none)
        request = channel.irecv()
        for _ in range(2):
            with pytest.raises(MemoryError, match="stays first in line"):
                request.wait(HANG)
    assert request.wait(HANG)[1] == pattern(LARGE)
    task.result()


def test_what_an_interrupted_call_left_is_the_requests(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`irecv` goes on with the object whose head a call has taken."""
    channel = peer.connect()
    task = peer.begin(calls.send_each, [[LARGE], []])

    def none(nbytes: int, *, read_only: bool) -> bytes:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(incoming, "blank", none)
        with pytest.raises(MemoryError):
            channel.recv(timeout=HANG)
    request = channel.irecv()
    assert channel.recv(timeout=HANG) == [1]
    assert request.wait(HANG) == [0, pattern(LARGE)]
    task.result()


# Limits


def test_a_limit_of_what_is_outstanding(peer: Peer) -> None:
    channel = peer.connect()
    assert channel.max_outstanding == 1024
    channel.max_outstanding = 2
    assert channel.max_outstanding == 2
    first, _ = channel.irecv(), channel.iread(bytearray(1))
    for post in (channel.irecv, lambda: channel.iread(bytearray(1))):
        with pytest.raises(BlockingIOError):
            post()
    channel.isend(1).wait(HANG)  # the other direction has a limit of its own
    first.cancel()
    channel.irecv()
    channel.max_outstanding = 2000
    requests = [channel.iread(bytearray(1)) for _ in range(1998)]
    with pytest.raises(BlockingIOError):
        channel.irecv()
    requests[0].cancel()
    channel.max_outstanding = 1
    with pytest.raises(BlockingIOError):
        channel.irecv()


def test_an_object_counts_once(peer: Peer) -> None:
    channel = peer.connect()
    channel.max_outstanding = 1
    task = peer.begin(objects.echo, 1)
    request = channel.isend([bytearray(pattern(LARGE, seed)) for seed in range(5)])
    assert len(channel.recv(timeout=HANG)) == 5
    request.wait(HANG)
    task.result()


@pytest.mark.parametrize("limit", [0, -1, 1 << 21, 1.5, None, "1"])
def test_a_limit_of_nonsense(peer: Peer, limit: Any) -> None:
    channel = peer.connect()
    with pytest.raises((ValueError, TypeError), match="max_outstanding"):
        channel.max_outstanding = limit
    assert channel.max_outstanding == 1024
    channel.close()
    with pytest.raises(adma.ChannelClosed):
        channel.max_outstanding = 5


# poll


def test_poll(peer: Peer) -> None:
    channel = peer.connect()
    assert not channel.poll()
    assert not channel.poll(SHORT)
    task = peer.begin(messages.write, 10)
    assert channel.poll(HANG)
    assert channel.poll()
    assert channel.poll(None)
    assert channel.read_bytes() == pattern(10)
    assert not channel.poll()
    task.result()
    with pytest.raises(ValueError, match="poll"):
        channel.poll(-1)


@pytest.mark.parametrize("ends_by", ["close", "kill"])
def test_poll_is_true_at_the_end(peer: Peer, ends_by: str) -> None:
    channel = peer.connect()
    if ends_by == "close":
        peer.call(messages.close_channel)
    else:
        peer.kill()
    assert channel.poll(HANG)
    assert channel.poll()
    with pytest.raises(adma.ChannelEnded):
        channel.read_bytes()
    channel.close()
    with pytest.raises(adma.ChannelClosed):
        channel.poll()
