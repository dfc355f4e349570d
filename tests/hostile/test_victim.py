# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of this folder look at: they would notice if a victim suffered."""

from __future__ import annotations

import pytest

from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import KIB, MIB, SLOWNESS
from support.calls import victim as calls
from support.memory import KEPT_FREED, OVERHEAD
from support.victim import Bounds, Victim, usage, watched

SMALL = Bounds(late=0.2, memory=8 * MIB, kept=4 * MIB, descriptors=4, cpu=0.2)
MUCH = 16 * MIB * OVERHEAD + KEPT_FREED


def test_nothing_happens(peer: Peer) -> None:
    with watched(peer) as victim:
        victim.call(messages.nothing)
        assert victim.idle() < 0.2
        assert victim.swap() < 2.0 * SLOWNESS
        victim.look()


def test_its_other_channel_works_while_it_is_in_a_call(peer: Peer) -> None:
    with watched(peer) as victim:
        bad = peer.connect()
        reading = peer.begin(messages.read, 100)
        victim.swap()
        bad.write(b"!")
        assert reading.result() == b"!"
        peer.call(messages.close_channel)
        bad.close()


def test_a_call_that_is_late(peer: Peer) -> None:
    with watched(peer, SMALL) as victim:
        victim.call(calls.linger, 0.3, waits=0.3)
        with pytest.raises(AssertionError, match="linger took"):
            victim.call(calls.linger, 0.3 * SLOWNESS)


def test_memory_that_is_kept(peer: Peer) -> None:
    with pytest.raises(AssertionError, match="MiB"), watched(peer, SMALL):
        peer.call(calls.keep_memory, MUCH)
    peer.call(calls.let_go)


def test_memory_that_is_used_for_a_moment() -> None:
    """A process that has freed as much before may use that memory again."""
    refused = pytest.raises(AssertionError, match="at the peak")
    with Peer() as peer, refused, watched(peer, SMALL):
        peer.call(calls.use_memory, MUCH)


def test_descriptors(peer: Peer) -> None:
    with watched(peer, SMALL) as victim:
        peer.call(calls.keep_descriptors, 5)
        with pytest.raises(AssertionError, match="5 descriptors more"):
            victim.look()
        peer.call(calls.let_go)


def look_idle(victim: Victim) -> None:
    """More than once, since a busy machine may not run a busy process for a while."""
    for _ in range(10):
        victim.idle(0.3)


def test_a_busy_process(peer: Peer) -> None:
    with watched(peer, SMALL) as victim:
        peer.call(calls.spin, 0.5)
        with pytest.raises(AssertionError, match="of a core"):
            look_idle(victim)


def test_a_victim_that_died(fresh_peers: tuple[Peer, Peer]) -> None:
    peer, _ = fresh_peers
    with pytest.raises(AssertionError, match="has died"), watched(peer) as victim:
        peer.kill()
        victim.look()


def test_usage_is_that_of_a_process(peer: Peer) -> None:
    now = usage(peer.pid)
    assert now.descriptors > 2
    assert now.memory > KIB
    assert now.peak >= now.resident >= now.memory
