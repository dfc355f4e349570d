# SPDX-License-Identifier: BSD-3-Clause
"""`fileno()`: readable while a message waits, a completion is unobserved, or the peer is gone."""

from __future__ import annotations

import os
import select
import selectors

import pytest

import adma
from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import CELL, EAGER, HANG, LARGE
from adma.testing.payload import pattern
from support.calls import many
from support.mechanisms import NAMES


def readable(channel: adma.Channel, timeout: float = 0) -> bool:
    return bool(select.select([channel.fileno()], [], [], timeout)[0])


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


@pytest.mark.parametrize("mechanism", NAMES)
def test_a_completion_is_unobserved(peer: Peer, mechanism: str) -> None:
    """The event loop's case: it waits in select, and calls `check` when told."""
    channel = peer.connect(mechanism)
    buffer = bytearray(LARGE)
    request = channel.iread(buffer)
    assert not readable(channel)
    writing = peer.begin(messages.write, LARGE)
    deadline = 0
    while not request.check():
        assert readable(channel, HANG), "nothing to do, but not done"
        deadline += 1
        assert deadline < 1_000_000
    writing.result()
    assert not readable(channel)


def test_a_small_completion_stays_until_it_is_seen(peer: Peer) -> None:
    channel = peer.connect()
    request = channel.iread(bytearray(10))
    peer.call(messages.write, 10)
    assert readable(channel, HANG)
    assert channel.iprobe() is None  # makes progress; looks at no request
    assert readable(channel)
    assert request.check()
    assert not readable(channel)


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
    channel.close(timeout=HANG)
    with pytest.raises((adma.ChannelClosed, ValueError)):
        channel.fileno()
    peer.call(messages.nothing)


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
