# SPDX-License-Identifier: BSD-3-Clause
"""A reader learns how its messages are carried best, and tells its writer by the slot."""

from __future__ import annotations

import ctypes

import pytest

import adma
from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import HANG, LARGE
from adma.testing.observe import until
from adma.testing.payload import difference, pattern
from support.mechanisms import FORCED
from support.segment import MATCHED, word
from support.spoilt import spoilt

pytestmark = pytest.mark.skipif(
    not {"shared", "mapped:cma"} <= set(FORCED),
    reason="needs shared and mapped:cma to choose from",
)

NBYTES = 256 * 1024
CHUNKS = {("shared", 16 * 1024)} | {("mapped:cma", kib * 1024) for kib in (32, 128, 512)}


def read(peer: Peer, channel: adma.Channel, number: int) -> None:
    """A message between two ends that both wait."""
    writing = peer.begin(messages.write, NBYTES, number)
    into = bytearray(NBYTES)
    assert channel.read(into, timeout=HANG) == NBYTES
    writing.result()
    assert not difference(into, pattern(NBYTES, number))


@pytest.mark.alone  # on a busy machine nothing competes, and what sleeps is no sample
def test_what_was_learnt_is_explained(peer: Peer) -> None:
    channel = peer.connect()
    before = sum(way.samples for way in channel.explain(NBYTES).learnt)
    number = 0

    def learnt() -> bool:
        nonlocal number
        number += 1
        read(peer, channel, number)
        return sum(way.samples for way in channel.explain(NBYTES).learnt) >= before + 20

    until("both ends waited and cores were free, many times", learnt)
    found = channel.explain(NBYTES)
    plain = [way for way in found.learnt if not way.aliased]
    assert {(way.mechanism, way.chunk) for way in plain} == CHUNKS
    assert sum(way.chosen for way in plain) == 1
    assert all(way.seconds for way in plain if way.samples)
    assert "samples" in str(found)


WINDOW = 32


def read_window(peer: Peer, channel: adma.Channel) -> None:
    """Messages that are all posted before the first one is waited for."""
    for number in range(WINDOW):
        peer.call(messages.iwrite, f"window {number}", NBYTES, number)
    waiting = peer.begin(messages.wait_named, [f"window {number}" for number in range(WINDOW)])
    parts = [bytearray(NBYTES) for _ in range(WINDOW)]
    adma.wait_all([channel.iread(part) for part in parts], timeout=HANG)
    waiting.result()
    for number, part in enumerate(parts):
        assert not difference(part, pattern(NBYTES, number))


@pytest.mark.alone
def test_what_is_beside_others_is_learnt_of_apart(peer: Peer) -> None:
    channel = peer.connect()

    def samples(window: bool) -> int:
        found = channel.explain(NBYTES).learnt
        return sum(way.samples for way in found if way.window == window)

    before = samples(window=False)

    def learnt() -> bool:
        read_window(peer, channel)
        return samples(window=True) >= 3

    until("both ends waited for many messages at once, a few times", learnt)
    found = [way for way in channel.explain(NBYTES).learnt if way.window]
    assert {(way.mechanism, way.chunk) for way in found} <= CHUNKS
    assert "beside others" in str(channel.explain(NBYTES))
    assert samples(window=False) == before


@pytest.mark.parametrize("mechanism", ["shared", "mapped:cma", "loopback:tcp"])
def test_a_forced_mechanism_learns_nothing(peer: Peer, mechanism: str) -> None:
    channel = peer.connect(mechanism)
    for number in range(3):
        read(peer, channel, number)
    assert channel.explain(NBYTES).learnt == ()


def test_learning_can_be_switched_off(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert peer.connect().explain(NBYTES).learnt
    monkeypatch.setenv("ADMA_LEARN", "0")
    channel = peer.connect()
    read(peer, channel, 1)
    assert channel.explain(NBYTES).learnt == ()


def test_nothing_is_learnt_of_small_messages(peer: Peer) -> None:
    assert peer.connect().explain(100).learnt == ()


@pytest.mark.parametrize("kib", [32, 256, 512])
@pytest.mark.parametrize("detour", [0, 1])
def test_a_writer_copies_as_its_reader_says(peer: Peer, kib: int, detour: int) -> None:
    """Whatever it would have chosen itself: here a reader matches by hand, and copies nothing."""
    with spoilt(peer) as end:
        peer.call(messages.iwrite, "large", LARGE, 7)
        slot, generation = end.posted()
        into = bytearray(LARGE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(into))
        slot.set(mechanism=2, chunk=kib * 1024, manner=detour, base=0, destination=address)
        slot.state = word(generation, MATCHED)
        assert peer.call(messages.wait, "large") == LARGE
        assert slot.done == word(generation, LARGE // (kib * 1024))
        assert not difference(into, pattern(LARGE, 7))
