# SPDX-License-Identifier: BSD-3-Clause
"""Processes that are bound to one core each, as launchers of parallel programs bind them.

That nobody spins on the core of its peer is tested without Python (tests/native/test_spin.c).
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import adma
from adma.testing import Peer
from adma.testing.limits import HANG
from adma.testing.observe import until
from support.calls import bound as bound_peer

CORES = sorted(os.sched_getaffinity(0))
BATCH = 100


@pytest.fixture
def bound() -> Iterator[int]:
    """The core that the thread of the test is bound to."""
    os.sched_setaffinity(0, {CORES[0]})
    try:
        yield CORES[0]
    finally:
        os.sched_setaffinity(0, CORES)


def sleeps(peer: Peer, channel: adma.Channel, core: int) -> int:
    """How often this end sleeps while it exchanges a batch of messages with a peer on a core."""
    echo = peer.begin(bound_peer.echo, core, BATCH)
    buffer = bytearray(1)
    before = channel.stats()["sleeps"]
    for _ in range(BATCH):
        channel.write(b"x", timeout=HANG)
        assert channel.read(buffer, timeout=HANG) == 1
    slept = channel.stats()["sleeps"] - before
    echo.result()
    return slept


@pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")
def test_a_reader_spins_for_a_peer_on_another_core(peer: Peer, bound: int) -> None:
    """Most answers come while it is awake. On a busy machine that may take a few batches."""
    channel = peer.connect()
    other = next(core for core in CORES if core != bound)
    until("answers came while the reader spun", lambda: sleeps(peer, channel, other) < BATCH / 2)
