# SPDX-License-Identifier: BSD-3-Clause
"""The free choice: what carries a large message depends on who waits, and for how much.

That is so without experience; test_learning.py has what is learnt.
"""

from __future__ import annotations

import pytest

import adma
from adma.messages.selection import SINGLE_COPY_FROM, SINGLE_COPY_FROM_WAITING
from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import HANG, LARGE
from adma.testing.observe import until
from adma.testing.payload import pattern
from support.calls import computing
from support.mechanisms import FORCED

pytestmark = [
    pytest.mark.alone,  # the choice depends on the load of the machine
    pytest.mark.skipif(
        not {"shared", "mapped:cma"} <= set(FORCED),
        reason="needs shared and mapped:cma to choose from",
    ),
]


@pytest.fixture(autouse=True)
def without_experience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMA_LEARN", "0")


def carried(channel: adma.Channel) -> tuple[int, int]:
    """How many messages went by `shared`, and by `mapped:cma`."""
    stats = channel.stats()
    return stats["mechanism:shared"], stats["mechanism:mapped:cma"]


def both_wait(peer: Peer, channel: adma.Channel, nbytes: int, seed: int) -> None:
    reading = peer.begin(messages.read_expected, nbytes, seed)
    channel.write(pattern(nbytes, seed), timeout=HANG)
    reading.result()


def until_by_shared(peer: Peer, channel: adma.Channel) -> int:
    """How many messages that took: the reader may come late, the machine be busy."""
    number = 0

    def went() -> bool:
        nonlocal number
        number += 1
        both_wait(peer, channel, LARGE, number)
        return carried(channel)[0] > 0

    until("both ends waited, and cores were free", went)
    return number


def test_two_copies_while_both_wait(peer: Peer) -> None:
    channel = peer.connect()
    number = until_by_shared(peer, channel)
    assert sum(carried(channel)) == number


def test_one_copy_when_one_computes(peer: Peer) -> None:
    """Also where the segment for two copies is there."""
    channel = peer.connect()
    until_by_shared(peer, channel)
    before = carried(channel)

    request = channel.iwrite(pattern(LARGE, 1))
    peer.call(messages.read_expected, LARGE, 1)
    assert request.wait(HANG) == LARGE
    assert carried(channel) == (before[0], before[1] + 1)

    peer.call(messages.iread, "read", LARGE)
    channel.write(pattern(LARGE, 2), timeout=HANG)
    peer.call(computing.compute_until_done, "read")
    assert carried(channel) == (before[0], before[1] + 2)


def test_one_copy_of_what_is_huge(peer: Peer) -> None:
    channel = peer.connect()
    until_by_shared(peer, channel)
    before = carried(channel)
    both_wait(peer, channel, SINGLE_COPY_FROM_WAITING, 1)
    assert carried(channel) == (before[0], before[1] + 1)


def test_it_is_explained(peer: Peer) -> None:
    channel = peer.connect()
    computes = channel.explain(SINGLE_COPY_FROM)
    assert computes.mechanism == "mapped:cma"
    assert "while the peer waits" in computes.others["shared"]
    assert channel.explain(SINGLE_COPY_FROM - 1).mechanism == "shared"
    assert channel.explain(SINGLE_COPY_FROM_WAITING).mechanism == "mapped:cma"

    reading = peer.begin(messages.read_expected, 1, 0)

    waiting: list[adma.Explanation] = []

    def waits() -> bool:
        waiting.append(channel.explain(LARGE))
        return waiting[-1].mechanism == "shared"

    until("the peer waits, and cores are free", waits)
    assert "both ends wait" in waiting[-1].why
    assert "both ends wait" in waiting[-1].others["mapped:cma"]
    channel.write(pattern(1, 0), timeout=HANG)
    reading.result()
