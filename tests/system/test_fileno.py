# SPDX-License-Identifier: BSD-3-Clause
"""`fileno()`: readable while a message waits, or the peer is gone. `fileno("completions")`:
readable while a request is done that nobody has looked at."""

from __future__ import annotations

import asyncio
import os
import select
import selectors
import socket
from collections.abc import Callable

import pytest

import adma
from adma.testing import Peer
from adma.testing.calls import messages, objects
from adma.testing.limits import CELL, EAGER, HANG, LARGE
from adma.testing.observe import until
from adma.testing.payload import pattern
from support.calls import many
from support.endpoints import InThread, pair
from support.mechanisms import NAMES


def readable(channel: adma.Channel, timeout: float = 0) -> bool:
    return bool(select.select([channel.fileno()], [], [], timeout)[0])


def done(channel: adma.Channel, timeout: float = 0) -> bool:
    return bool(select.select([channel.fileno("completions")], [], [], timeout)[0])


@pytest.mark.parametrize("mechanism", NAMES)
def test_a_message_waits(peer: Peer, mechanism: str) -> None:
    channel = peer.connect(mechanism)
    assert not readable(channel)
    peer.call(messages.iwrite, "one", 10)
    assert readable(channel, HANG)
    assert channel.iprobe() is not None
    assert readable(channel)
    writing = peer.begin(messages.wait, "one")
    assert channel.read(bytearray(10), timeout=HANG) == 10
    writing.result()
    assert not readable(channel)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET])
def test_one_look_reads_all_wake_ups(kind: socket.SocketKind) -> None:
    """Also where each of them is a packet of its own, which one read does not go beyond."""
    ours, theirs = pair(kind)
    with theirs.dup() as also:
        other = InThread(lambda: adma.from_socket(theirs, timeout=HANG))
        with adma.from_socket(ours, timeout=HANG) as channel, other.result():
            number = channel.fileno()  # which is a call that looks, too
            assert not select.select([number], [], [], 0)[0]
            for _ in range(8):
                also.send(b"w")
            assert select.select([number], [], [], HANG)[0]
            assert channel.iprobe() is None
            assert not select.select([number], [], [], 0)[0]


def test_a_poller_for_edges_is_told_each_time(peer: Peer) -> None:
    """The message is there before the request is posted: so no byte on the socket tells of it."""
    channel = peer.connect()
    with select.epoll() as poller:
        poller.register(channel.fileno("completions"), select.EPOLLIN | select.EPOLLET)
        for _ in range(3):
            peer.call(messages.write, 10)
            request = channel.iread(bytearray(10))
            assert poller.poll(0)
            assert not poller.poll(0)
            assert request.check()
            assert not done(channel)


@pytest.mark.parametrize("mechanism", NAMES)
def test_a_completion_is_unobserved(peer: Peer, mechanism: str) -> None:
    """The event loop's case: it waits in select, and calls `check` when told."""
    channel = peer.connect(mechanism)
    buffer = bytearray(LARGE)
    request = channel.iread(buffer)
    assert not done(channel)
    writing = peer.begin(messages.write, LARGE)
    turns = 0
    while not request.check():
        assert done(channel, HANG), "nothing to do, but not done"
        turns += 1
        assert turns < 1_000_000
    writing.result()
    assert not done(channel)
    assert not readable(channel)


def test_a_small_completion_stays_until_it_is_seen(peer: Peer) -> None:
    channel = peer.connect()
    request = channel.iread(bytearray(10))
    assert not done(channel)
    peer.call(messages.write, 10)
    assert done(channel, HANG)
    assert channel.iprobe() is None  # makes progress; looks at no request
    assert done(channel)
    assert not readable(channel)
    assert request.check()
    assert not done(channel)


@pytest.mark.parametrize("mechanism", NAMES)
def test_a_message_is_no_completion(peer: Peer, mechanism: str) -> None:
    """Who waits for a write is not woken again and again by a message, nor who has no request."""
    channel = peer.connect(mechanism)
    assert not done(channel)
    peer.call(messages.iwrite, "early", 10)
    assert readable(channel, HANG)
    assert not done(channel)
    request = channel.iwrite(pattern(LARGE, 0))
    for _ in range(20):  # a byte of the peer's may still be unread
        if not done(channel):
            break
        assert not request.check()
    assert not done(channel)
    assert readable(channel)
    reading = peer.begin(messages.read_expected, LARGE)
    while not request.check():
        assert done(channel, HANG)
    reading.result()
    assert not done(channel)
    assert channel.read(bytearray(10), timeout=HANG) == 10
    peer.call(messages.wait, "early")


LOOKS: dict[str, Callable[[adma.Channel, adma.Request], object]] = {
    "check": lambda channel, request: request.check(),
    "wait": lambda channel, request: request.wait(HANG),
    "wait_all": lambda channel, request: adma.wait_all([request]),
    "wait_any": lambda channel, request: adma.wait_any([request]),
    "wait_some": lambda channel, request: adma.wait_some([request]),
    "adma.wait": lambda channel, request: adma.wait([request], 0),
    "adma.wait with the channel": lambda channel, request: adma.wait([channel, request], 0),
    "cancel": lambda channel, request: request.cancel(),
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_ends_it(peer: Peer, look: str) -> None:
    channel = peer.connect()
    request = channel.iread(bytearray(10))
    peer.call(messages.write, 10)
    assert done(channel, HANG)
    LOOKS[look](channel, request)
    assert not done(channel)
    assert request.wait() == 10


def test_a_dropped_request_ends_it(peer: Peer) -> None:
    channel = peer.connect()
    request = channel.iread(bytearray(10))
    peer.call(messages.write, 10)
    assert done(channel, HANG)
    del request
    assert not done(channel)


def test_wait_all_looks_at_those_after_a_failed_one(peer: Peer) -> None:
    channel = peer.connect()
    requests = [channel.iread(bytearray(1)), channel.iread(bytearray(10))]
    peer.call(messages.write, 10)
    assert done(channel, HANG)
    with pytest.raises(adma.MessageTooLong):
        adma.wait_all(requests, timeout=HANG)
    assert not done(channel)


def test_an_object_that_arrives_in_parts(peer: Peer) -> None:
    """What a call that timed out goes on to receive is a message, and no request of anybody's."""
    channel = peer.connect()
    sending = peer.begin(objects.send_buffers, [LARGE] * 3)
    while True:
        assert readable(channel, HANG)
        try:
            channel.recv(timeout=0)
        except TimeoutError:
            # At times a chunk waits to be copied, which the progress thread does as well.
            until("there is no completion", lambda: not done(channel))
            continue
        break
    sending.result()
    assert not readable(channel)
    assert not done(channel)


def test_both_ends_of_it_are_told(peer: Peer) -> None:
    channel = peer.connect()
    request = channel.iread(bytearray(LARGE))
    assert not readable(channel)
    assert not done(channel)
    peer.kill()
    assert done(channel, HANG)
    with pytest.raises(adma.PeerDied):
        while not request.check():
            assert done(channel, HANG)
    assert not done(channel)  # nobody has a request to look at
    assert readable(channel, HANG)


def test_the_peer_dies(peer: Peer) -> None:
    channel = peer.connect()
    assert not readable(channel)
    peer.kill()
    assert readable(channel, HANG)
    with pytest.raises(adma.PeerDied):
        channel.iprobe()
    assert readable(channel)


def test_the_peer_closes(peer: Peer) -> None:
    channel = peer.connect()
    peer.call(messages.close_channel)
    assert readable(channel, HANG)
    with pytest.raises(adma.ChannelClosed):
        channel.read(bytearray(1), timeout=HANG)


def test_it_is_one_and_stays(peer: Peer) -> None:
    channel = peer.connect()
    number = channel.fileno()
    assert channel.fileno() == number
    assert not os.get_inheritable(number)
    assert channel.fileno("completions") == channel.fileno("completions") != number
    with pytest.raises(ValueError, match="completions"):
        channel.fileno("both")  # type: ignore[arg-type]
    channel.close(timeout=HANG)
    assert channel.fileno() == channel.fileno("completions") == -1
    peer.call(messages.nothing)


def test_it_is_made_when_it_is_asked_for(peer: Peer) -> None:
    channel = peer.connect()
    before = len(os.listdir("/proc/self/fd"))
    channel.fileno()
    assert len(os.listdir("/proc/self/fd")) == before + 1
    channel.fileno("completions")
    assert len(os.listdir("/proc/self/fd")) == before + 2


def test_a_closed_channel_is_unregistered(peer: Peer) -> None:
    """As a closed socket is, from a selector and from an event loop."""
    channel = peer.connect()

    async def watch() -> bool:
        loop = asyncio.get_running_loop()
        loop.add_reader(channel, lambda: None)
        with selectors.DefaultSelector() as selector:
            selector.register(channel, selectors.EVENT_READ)
            channel.close(timeout=HANG)
            selector.unregister(channel)
            assert not selector.get_map()
        return loop.remove_reader(channel)

    assert asyncio.run(watch())


@pytest.mark.parametrize("nbytes", [8, EAGER, CELL + 8])
def test_no_wake_up_is_lost(peer: Peer, nbytes: int) -> None:
    """An epoll loop that reads what is there, then sleeps: two thousand times."""
    channel, count = peer.connect(), 2000 if nbytes < CELL else 300
    task = peer.begin(many.write_stream, count, nbytes)
    expected = 0
    buffer = bytearray(nbytes)
    with selectors.EpollSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        while expected < count:
            assert selector.select(HANG), f"asleep though message {expected} was written"
            while expected < count and channel.iprobe() is not None:
                assert many.read_numbered(channel, buffer) == expected
                expected += 1
    task.result()


def test_ping_pong_over_epoll(peer: Peer) -> None:
    """Each side sleeps before every message: every single wake-up matters."""
    channel, rounds = peer.connect(), 500
    task = peer.begin(messages.echo, 100, rounds)
    with selectors.EpollSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        for seed in range(rounds):
            channel.write(pattern(100, seed), timeout=HANG)
            while channel.iprobe() is None:
                assert selector.select(HANG), f"the answer {seed} never woke us"
            buffer = bytearray(100)
            assert channel.read(buffer, timeout=HANG) == 100
            assert buffer == pattern(100, seed)
    task.result()


def test_several_channels_in_one_poll(two_peers: tuple[Peer, Peer]) -> None:
    channels = [peer.connect() for peer in two_peers]
    with selectors.EpollSelector() as selector:
        for channel in channels:
            selector.register(channel, selectors.EVENT_READ)
        for index in (1, 0, 1):
            two_peers[index].call(messages.write, 4, index)
            events = selector.select(HANG)
            assert [key.fileobj for key, _ in events] == [channels[index]]
            assert channels[index].read(bytearray(4), timeout=HANG) == 4
