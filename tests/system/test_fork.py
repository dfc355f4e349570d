# SPDX-License-Identifier: BSD-3-Clause
"""A fork after connect: the child's copy of a channel is closed, and the channel goes on."""

from __future__ import annotations

import pytest

import adma
from adma.testing import Peer
from adma.testing.calls import death, messages
from adma.testing.limits import CELL, HANG, LARGE
from adma.testing.payload import pattern
from support.calls import forks


def still_works(peer: Peer, channel: adma.Channel, nbytes: int = LARGE) -> None:
    task = peer.begin(messages.echo, nbytes, 1)
    channel.write(pattern(nbytes, 1), timeout=HANG)
    buffer = bytearray(nbytes)
    assert channel.read(buffer, timeout=HANG) == nbytes
    assert buffer == pattern(nbytes, 1)
    task.result()


def test_the_childs_copy_says_so(peer: Peer) -> None:
    """Every use is a ChannelClosed that names fork; nothing of the channel stays open there."""
    channel = peer.connect()
    for name, text in peer.call(forks.use_in_child).items():
        assert text.startswith("ChannelClosed:"), (name, text)
        assert "fork" in text, (name, text)
    still_works(peer, channel)


def test_no_descriptor_of_it_stays_in_the_child(peer: Peer) -> None:
    channel = peer.connect()
    assert peer.call(forks.sockets_in_child) == []
    still_works(peer, channel)


def test_what_was_pending_goes_on_in_the_parent(peer: Peer) -> None:
    channel = peer.connect()
    peer.call(messages.iread, "read", LARGE)
    peer.call(messages.iwrite, "write", LARGE, 2)
    assert peer.call(forks.drop_in_child, "read") == 0
    waiting = peer.begin(messages.wait_named, ["read", "write"])
    buffer = bytearray(LARGE)
    requests = [channel.iwrite(pattern(LARGE, 3)), channel.iread(buffer)]
    adma.wait_all(requests, timeout=HANG)
    waiting.result()
    assert buffer == pattern(LARGE, 2)
    assert peer.call(messages.content, "read") == pattern(LARGE, 3)


def test_an_exiting_child_closes_nothing(peer: Peer) -> None:
    """The end of its interpreter, which collects everything, closes nothing of the parent's."""
    channel = peer.connect()
    assert peer.call(forks.exit_child) == 0
    still_works(peer, channel)


def test_the_death_of_the_parent_is_seen_though_the_child_lives(peer: Peer) -> None:
    channel = peer.connect()
    child = peer.call(forks.leave_child)
    peer.kill()
    with pytest.raises(adma.PeerDied):
        channel.read(bytearray(CELL), timeout=HANG)
    death.end_holder(child)


def test_the_child_connects_anew(peer: Peer) -> None:
    """Its copies of channels are closed, but it can make channels of its own."""
    channel = peer.connect()
    assert peer.call(forks.talk_in_child, LARGE) == 0
    still_works(peer, channel)
