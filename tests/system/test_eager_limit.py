# SPDX-License-Identifier: BSD-3-Clause
"""Messages of 8 to 32 KiB that their reader asks to be sent eagerly, through bounce buffers."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

import pytest

import adma
from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import HANG, KIB
from adma.testing.observe import until
from adma.testing.payload import pattern
from support.calls import confined, faults
from support.calls import eager as calls
from support.segment import BUFFER, BUFFERS
from support.spoilt import Spoilt, spoilt

NBYTES = 16 * KIB
KIB_16 = 4  # its size class
ROUNDS = 64
EACH = 2**32 - 1  # messages of every size are to be eager


@pytest.fixture
def end(peer: Peer) -> Iterator[Spoilt]:
    """A channel whose peer asks for all that may be eager: as if it had learnt that."""
    with spoilt(peer) as found:
        found.local.buffered = EACH
        yield found


def eager(channel: adma.Channel) -> int:
    """How many messages were written eagerly, the first one of the channel aside."""
    return channel.stats()["eager"]


@pytest.fixture
def strangers() -> Iterator[tuple[Peer, Peer]]:
    """Two processes of which no test has made use: what one has learnt, it keeps."""
    with Peer() as one, Peer() as other:
        yield one, other


@pytest.mark.alone  # what sleeps is no sample
def test_a_reader_learns_and_says_so(strangers: tuple[Peer, Peer]) -> None:
    reader, writer = strangers
    reader.call(calls.know_mechanism, KIB_16)
    reader.connect_to(writer)
    found: list[Any] = []

    def learnt() -> bool:
        echoing = writer.begin(messages.echo, NBYTES, ROUNDS)
        found[:] = reader.call(calls.exchange, NBYTES, ROUNDS)
        echoing.result()
        return min(way.samples for way in found) >= 3

    until("both ways were tried while this end was looking", learnt, 3 * HANG)
    assert {way.mechanism for way in found} == {"eager", "rendezvous"}
    assert sum(way.chosen for way in found) == 1
    assert all(way.seconds for way in found)
    assert writer.call(messages.stats)["eager"] >= 3


def test_what_is_asked_for_is_eager(peer: Peer, end: Spoilt) -> None:
    """It is complete before anybody reads it, and the order is that of the writes."""
    sizes = [8 * KIB + 1, BUFFER, 100, 8 * KIB]
    for seed, nbytes in enumerate(sizes):
        assert end.channel.explain(nbytes).carry == "eager"
        end.channel.write(pattern(nbytes, seed), timeout=HANG)
    assert eager(end.channel) == len(sizes)
    for seed, nbytes in enumerate(sizes):
        assert peer.call(messages.read, BUFFER) == pattern(nbytes, seed)
    assert end.channel.explain(BUFFER + 1).carry == "rendezvous"
    assert "asks for it" in end.channel.explain(BUFFER).why


def test_full_buffers_fall_back(peer: Peer, end: Spoilt) -> None:
    """A third message waits in its place, and short ones behind it: all come in order."""
    for seed in range(BUFFERS):
        end.channel.write(pattern(NBYTES, seed), timeout=HANG)
    waiting = end.channel.iwrite(pattern(NBYTES, BUFFERS))
    behind = [end.channel.iwrite(pattern(nbytes, 9)) for nbytes in (10, NBYTES, 1000)]
    assert not waiting.check()
    assert eager(end.channel) == BUFFERS + 1  # and the last one, which has room in the ring
    for seed in range(BUFFERS + 1):
        assert peer.call(messages.read, NBYTES) == pattern(NBYTES, seed)
    for nbytes in (10, NBYTES, 1000):
        assert peer.call(messages.read, NBYTES) == pattern(nbytes, 9)
    adma.wait_all([waiting, *behind], timeout=HANG)
    assert end.channel.stats()["rendezvous"] == 2
    # The buffers are free again.
    end.channel.write(pattern(NBYTES, 5), timeout=HANG)
    assert end.channel.iwrite(pattern(NBYTES, 6)).check()
    assert [peer.call(messages.read, NBYTES) for _ in range(2)] == [
        pattern(NBYTES, 5),
        pattern(NBYTES, 6),
    ]


def test_what_found_no_buffer_can_be_taken_back(peer: Peer, end: Spoilt) -> None:
    for seed in range(BUFFERS):
        end.channel.write(pattern(NBYTES, seed), timeout=HANG)
    with pytest.raises(TimeoutError):
        end.channel.write(pattern(NBYTES, 7), timeout=0.05)
    assert end.channel.iwrite(pattern(NBYTES, 8)).cancel()
    end.channel.write(b"last", timeout=HANG)
    for seed in range(BUFFERS):
        assert peer.call(messages.read, NBYTES) == pattern(NBYTES, seed)
    assert peer.call(messages.read, NBYTES) == b"last"


@pytest.mark.parametrize("call", ["read", "iread", "skip"])
def test_too_short_a_read_leaves_it(peer: Peer, end: Spoilt, call: str) -> None:
    end.channel.write(pattern(NBYTES, 1), timeout=HANG)
    end.channel.write(pattern(NBYTES, 2), timeout=HANG)
    if call == "skip":
        peer.call(messages.skip)
        assert peer.call(messages.read, NBYTES) == pattern(NBYTES, 2)
        return
    with pytest.raises(adma.MessageTooLong) as caught:
        if call == "read":
            peer.call(messages.read, NBYTES - 1)
        else:
            peer.call(messages.iread, "short", NBYTES - 1)
            peer.call(messages.wait, "short")
    assert caught.value.needed == NBYTES
    for seed in (1, 2):
        peer.call(messages.iread, f"{seed}", NBYTES)
        assert peer.call(messages.wait, f"{seed}") == NBYTES
        assert peer.call(messages.content, f"{seed}") == pattern(NBYTES, seed)


def test_a_close_loses_none(peer: Peer, end: Spoilt) -> None:
    for seed in range(BUFFERS):
        end.channel.write(pattern(NBYTES, seed), timeout=HANG)
    end.channel.close(timeout=0)
    for seed in range(BUFFERS):
        assert peer.call(messages.read, NBYTES) == pattern(NBYTES, seed)
    with pytest.raises(adma.ChannelClosed):
        peer.call(messages.read, NBYTES)


def test_a_reader_that_dies(peer: Peer, end: Spoilt) -> None:
    """What was eager is complete. The next one finds out."""
    end.channel.write(pattern(NBYTES, 0), timeout=HANG)
    writing = [end.channel.iwrite(pattern(NBYTES, seed)) for seed in range(BUFFERS)]
    peer.kill()
    end.closed_there = True
    assert writing[0].wait(timeout=HANG) == NBYTES
    with pytest.raises(adma.PeerDied):
        writing[1].wait(timeout=HANG)
    with pytest.raises(adma.PeerDied):
        end.channel.write(pattern(NBYTES, 9), timeout=HANG)


@pytest.mark.faults
def test_without_memory_they_are_not_eager(peer: Peer, end: Spoilt) -> None:
    faults.arm(None, faults.GROW, "fail", errno.ENOMEM)
    try:
        for seed in range(2):
            request = end.channel.iwrite(pattern(NBYTES, seed))
            assert peer.call(messages.read, NBYTES) == pattern(NBYTES, seed)
            request.wait(timeout=HANG)
        assert faults.passes(None, faults.GROW) == 1  # it is not tried again
    finally:
        faults.arm(None, faults.GROW, "none")
    assert not eager(end.channel)


@pytest.mark.parametrize("refused", [False, True])
def test_a_sandbox_refuses_the_reader_their_pages(
    strangers: tuple[Peer, Peer], refused: bool
) -> None:
    """It does not ask for what it cannot read."""
    reader, writer = strangers
    reader.call(calls.know_eager, KIB_16)
    if refused:
        reader.call(confined.forbid, ("madvise",), errno.EPERM)
    reader.connect_to(writer)
    echoing = writer.begin(messages.echo, NBYTES, ROUNDS)
    reader.call(calls.exchange, NBYTES, ROUNDS)
    echoing.result()
    assert (writer.call(messages.stats)["eager"] > 0) is not refused


@pytest.mark.parametrize("how", ["ADMA_LEARN", "shared"])
def test_who_does_not_learn_does_not_listen(
    peer: Peer, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "ADMA_LEARN":
        monkeypatch.setenv(how, "0")
    with spoilt(peer, "auto" if how == "ADMA_LEARN" else how) as end:
        end.local.buffered = EACH
        assert end.channel.explain(NBYTES).carry == "rendezvous"
        assert end.channel.explain(NBYTES).learnt == ()
        request = end.channel.iwrite(pattern(NBYTES, 1))
        assert not request.check()
        assert peer.call(messages.read, NBYTES) == pattern(NBYTES, 1)
        request.wait(timeout=HANG)
        assert not eager(end.channel)
