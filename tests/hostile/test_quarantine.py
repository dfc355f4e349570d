# SPDX-License-Identifier: BSD-3-Clause
"""A buffer is kept for ever only if the peer, or the kernel, may still touch it.

A peer that spoils the words of a slot cannot be asked when it stops copying. But where each end
copies for itself, it never touches the buffer of the other one, and nothing is kept for it.
"""

from __future__ import annotations

import contextlib

import pytest

import adma
from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import LARGE
from support.calls import hostile
from support.segment import MATCHED, RESERVED, word
from support.spoilt import CHUNKS, SHUT, spoilt

STREAMS = ("shared", "loopback:tcp")


def fails(peer: Peer, name: str) -> None:
    with pytest.raises((adma.ProtocolError, adma.ChannelClosed)):
        peer.call(messages.wait, name, 1.0)


@pytest.mark.parametrize("mechanism", STREAMS)
@pytest.mark.parametrize(
    "fields",
    [
        {"state": word(9, MATCHED)},
        {"state": word(1, 99)},
        {"mechanism": 77},
        {"mechanism": 2},
        {"chunk": 1},
    ],
    ids=str,
)
def test_a_write_that_is_matched_wrongly(
    peer: Peer, mechanism: str, fields: dict[str, int]
) -> None:
    with spoilt(peer, mechanism) as end:
        peer.call(hostile.iwrite_own, "it", LARGE)
        slot, generation = end.posted()
        slot.set(**{"mechanism": 1, "chunk": CHUNKS["shared"], **fields})
        slot.state = fields.get("state", word(generation, MATCHED))
        fails(peer, "it")
        assert not peer.call(hostile.is_kept, "it")


@pytest.mark.parametrize("mechanism", STREAMS)
@pytest.mark.parametrize("field", ["cursor", "done", "error"])
def test_a_write_whose_words_are_spoilt(peer: Peer, mechanism: str, field: str) -> None:
    with spoilt(peer, mechanism) as end:
        peer.call(hostile.iwrite_own, "it", LARGE)
        slot, _ = end.match(mechanism)
        setattr(slot, field, word(9, 0))
        fails(peer, "it")
        assert not peer.call(hostile.is_kept, "it")


@pytest.mark.parametrize("mechanism", STREAMS)
@pytest.mark.parametrize("field", ["cursor", "done", "error"])
def test_a_read_whose_words_are_spoilt(peer: Peer, mechanism: str, field: str) -> None:
    with spoilt(peer, mechanism) as end:
        peer.call(messages.iread, "it", LARGE)
        slot = end.post(LARGE, mechanism)
        end.until_matched("it")
        setattr(slot, field, word(9, 0))
        fails(peer, "it")
        assert not peer.call(hostile.is_kept, "it")


@pytest.mark.parametrize("mechanism", STREAMS)
def test_a_message_that_nobody_can_carry(peer: Peer, mechanism: str) -> None:
    """It has no mechanism, so nobody copies, whatever its words say."""
    with spoilt(peer, mechanism) as end:
        peer.call(hostile.iwrite_own, "it", LARGE)
        slot, generation = end.posted()
        slot.set(mechanism=0, chunk=0, cursor=word(generation, 5))
        slot.state = word(generation, MATCHED)
        with pytest.raises((adma.ProtocolError, OSError)):
            peer.call(messages.wait, "it", 1.0)
        assert not peer.call(hostile.is_kept, "it")


@pytest.mark.parametrize("mechanism", STREAMS)
def test_a_close_with_a_message_that_stays_reserved(peer: Peer, mechanism: str) -> None:
    with spoilt(peer, mechanism) as end:
        peer.call(hostile.iwrite_own, "it", LARGE)
        slot, generation = end.posted()
        slot.state = word(generation, RESERVED)
        assert not peer.call(hostile.close_and_look, "it")
        end.closed_there = True


@pytest.mark.parametrize("mechanism", STREAMS)
def test_a_close_while_a_stream_stands_still(peer: Peer, mechanism: str) -> None:
    with spoilt(peer, mechanism) as end:
        peer.call(hostile.iwrite_own, "it", LARGE)
        end.match(mechanism)
        assert not peer.call(messages.check, "it")
        assert not peer.call(hostile.close_and_look, "it")
        end.closed_there = True


@pytest.mark.parametrize("spoil", ["match", "words", "reserve"])
def test_a_peer_that_may_copy_itself(peer: Peer, spoil: str) -> None:
    """Of the same user, it was told the address: the buffer stays, as long as it may be read."""
    with spoilt(peer) as end:
        peer.call(hostile.iwrite_own, "it", LARGE)
        if spoil == "words":
            slot, generation = end.match("mapped:cma", cursor=1)
            assert not peer.call(messages.check, "it")
            slot.done = word(9, 0)
        else:
            slot, generation = end.posted()
            slot.state = word(9, MATCHED) if spoil == "match" else word(generation, RESERVED)
        if spoil == "reserve":
            assert peer.call(hostile.close_and_look, "it")
            end.closed_there = True
            return
        with contextlib.suppress(adma.AdmaError, OSError):
            peer.call(messages.wait, "it", 1.0)
        assert peer.call(hostile.is_kept, "it")


def test_the_second_life_of_a_message(peer: Peer) -> None:
    """Its first mechanism was that by which the peer may copy; the second one is a stream."""
    with spoilt(peer) as end:
        peer.call(hostile.iwrite_own, "it", LARGE)
        slot, generation = end.match("mapped:cma", cursor=SHUT, error=14)
        slot.state = word(generation, 8)  # AGAIN
        for _ in range(1000):
            if peer.call(messages.check, "it") or slot.state == word(generation + 1, 1):
                break
        assert slot.source == 0
        slot.state = word(99, MATCHED)
        fails(peer, "it")
        assert not peer.call(hostile.is_kept, "it")
