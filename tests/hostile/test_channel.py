# SPDX-License-Identifier: BSD-3-Clause
"""A peer that spoils the shared memory: only its own messages suffer.

Here this process is the hostile one, and the peer its victim: an end that crashes must
not take the tests with it. The victim answers with an error, in time, its other channel works
on, and it keeps nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import random
import time
from collections.abc import Iterator

import pytest

import adma
from adma.messages.explanation import Learnt
from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import HANG, LARGE
from adma.testing.observe import until
from support.calls import faults, hostile
from support.mechanisms import FORCED
from support.segment import (
    AGAIN,
    BOUNCE,
    BUFFER,
    BUFFERED,
    BUFFERS,
    CANCELLED,
    DONE,
    EAGER,
    LOST,
    MATCHED,
    OBJECT,
    PART,
    POSTED,
    RESERVED,
    SLOT,
    SLOTS_MAX,
    Segment,
    Slot,
    Spoiler,
    mapped,
    word,
)
from support.victim import watched

HUGE = 2**63
CHUNK = 256 * 1024


@pytest.fixture
def spoiler(peer: Peer) -> Iterator[Spoiler]:
    """The memory of the channel that the victim joined last. The victim is watched meanwhile."""
    with watched(peer):
        before = {id_of(segment) for segment in mapped()}
        bad = peer.connect()
        bad.write(b"!", timeout=HANG)
        assert peer.call(messages.read, 1) == b"!"
        yield Spoiler([segment for segment in mapped() if id_of(segment) not in before])
        peer.call(hostile.close_spoilt)
        with contextlib.suppress(Exception):
            bad.close(timeout=0)


def id_of(segment: Segment) -> int:
    return ctypes.addressof(segment)


@pytest.mark.parametrize(
    "fields",
    [
        {"seq": 3},
        {"seq": HUGE},
        {"seq": 0},
        {"kind": 0},
        {"kind": 4},
        {"kind": 65535},
        {"carry": 0},
        {"carry": 5},
        {"carry": 65535},
        {"length": 33, "total": 33},
        {"length": HUGE, "total": HUGE},
        {"total": 0},
        {"total": 2},
        {"parts": 1},
        {"carry": EAGER, "length": 8, "total": 8},
        {"carry": EAGER, "length": 8193, "total": 8193},
        {"carry": EAGER, "length": 100, "total": 100, "first": 64},
        {"carry": EAGER, "length": 100, "total": 100, "first": BOUNCE},
        {"carry": EAGER, "length": 100, "total": 100, "second": 0xFFFFFFFF},
        {"carry": BUFFERED, "length": 8192, "total": 8192},
        {"carry": BUFFERED, "length": BUFFER + 1, "total": BUFFER + 1},
        {"carry": BUFFERED, "length": BUFFER, "total": BUFFER, "first": BUFFERS},
        {"carry": BUFFERED, "length": BUFFER, "total": BUFFER, "first": 0xFFFFFFFF},
        {"carry": BUFFERED, "length": BUFFER, "total": BUFFER, "kind": OBJECT},
        {"carry": BUFFERED, "length": BUFFER, "total": BUFFER + 1},
        {"carry": SLOT, "first": 64},
        {"carry": SLOT, "first": SLOTS_MAX - 1},
        {"carry": SLOT, "first": SLOTS_MAX},
        {"carry": SLOT, "first": 0xFFFFFFFF},
        {"carry": SLOT, "first": 0, "second": 7},
        {"carry": SLOT, "length": HUGE, "total": HUGE},
    ],
    ids=str,
)
@pytest.mark.parametrize("call", ["read", "probe"])
def test_an_impossible_descriptor(
    peer: Peer, spoiler: Spoiler, fields: dict[str, int], call: str
) -> None:
    spoiler.forge(**fields)
    # Without its sequence nothing was published yet.
    expected = TimeoutError if fields == {"seq": 0} else adma.ProtocolError
    function = messages.read if call == "read" else messages.probe
    arguments = (100, 0.2) if call == "read" else (0.2,)
    with pytest.raises(expected):
        peer.call(function, *arguments)


@pytest.mark.parametrize(
    "fields",
    [
        {"length": 4000, "total": 4000},  # inline, from memory behind the descriptor
        {"carry": EAGER, "length": 100_000, "total": 100_000},
        {"carry": SLOT, "first": 0xFFFF_FF00, "length": 100_000, "total": 100_000},
        {"carry": SLOT, "first": SLOTS_MAX, "length": 100_000, "total": 100_000},
        {"kind": PART},
        {"seq": HUGE},
    ],
    ids=str,
)
@pytest.mark.parametrize("call", ["read", "probe", "iread"])
def test_an_impossible_descriptor_behind_a_close(
    peer: Peer, spoiler: Spoiler, fields: dict[str, int], call: str
) -> None:
    """What came before a close is delivered, but only if it is sound."""
    spoiler.local.closed = 1
    with pytest.raises(adma.ChannelClosed):
        peer.call(messages.probe, 1.0)  # it takes note of the close
    spoiler.forge(**fields)
    with pytest.raises((adma.ProtocolError, adma.ChannelClosed)):
        if call == "read":
            peer.call(messages.read, 200_000, 1.0)
        elif call == "probe":
            peer.call(messages.probe, 1.0)
        else:
            peer.call(messages.iread, "posted", 200_000)
            peer.call(messages.wait, "posted", 1.0)


@pytest.mark.parametrize("posted_at", [0, 1, -1, HUGE - 1, -HUGE])
def test_a_bounce_buffer_that_was_never_touched(
    peer: Peer, spoiler: Spoiler, posted_at: int
) -> None:
    """Its pages are a hole, and its time is no sample: the message is as its writer left it."""
    before = {way.mechanism: way.samples for way in _learnt(peer)}
    reading = peer.begin(messages.read, BUFFER)
    spoiler.forge(
        carry=BUFFERED, length=BUFFER, total=BUFFER, first=BUFFERS - 1, posted_at=posted_at
    )
    assert reading.result() == bytes(BUFFER)
    assert {way.mechanism: way.samples for way in _learnt(peer)} == before


def _learnt(peer: Peer) -> list[Learnt]:
    found: list[Learnt] = peer.call(messages.learnt, BUFFER)
    return [way for way in found if way.mechanism in ("eager", "rendezvous")]


def test_a_part_without_its_object(peer: Peer, spoiler: Spoiler) -> None:
    """No call reads the part, and no call gets past it: each fails or times out."""
    spoiler.forge(kind=PART)
    for function in (messages.read, messages.recv):
        arguments = (100, 0.2) if function is messages.read else (0.2,)
        with pytest.raises((adma.ProtocolError, adma.WrongKind, TimeoutError)):
            peer.call(function, *arguments)


@pytest.mark.parametrize(
    "fields",
    [
        {"length": 99_999},
        {"length": HUGE},
        {"state": word(2, POSTED)},
        {"state": word(1, 0)},
        {"state": word(1, MATCHED)},
        {"state": word(1, DONE)},
        {"state": word(1, RESERVED)},
        {"state": word(1, 99)},
        {"generation": 2},
        {"cursor": word(2, 0)},
        {"cursor": word(1, 1_000_000)},
        {"done": word(2, 0)},
        {"done": word(1, 1_000_000)},
        {"source": 0},
        {"source": 0xFFFF_FFFF_FFFF_F000},
        {"offered": 0},
        {"offered": 0xFFFF_FFFF},
    ],
    ids=str,
)
def test_an_impossible_slot(peer: Peer, spoiler: Spoiler, fields: dict[str, int]) -> None:
    """A protocol error, or a copy that fails; never a crash. Its own message may be lost."""
    spoiler.forge_slot(**fields)
    with pytest.raises((adma.ProtocolError, adma.MechanismUnavailable, OSError)) as caught:
        peer.call(messages.read, 200_000, 1.0)
    if isinstance(caught.value, TimeoutError):
        # A transfer whose writer brings nothing stays pending: it could be a slow peer.
        assert "source" in fields or "offered" in fields or "cursor" in fields, fields


def test_a_withdrawn_slot_is_passed_over(peer: Peer, spoiler: Spoiler) -> None:
    spoiler.forge_slot(state=word(1, CANCELLED))
    with pytest.raises(TimeoutError):
        peer.call(messages.read, 200_000, 0.1)


def test_a_lost_message_without_a_close(peer: Peer, spoiler: Spoiler) -> None:
    """Nothing after it is read. The error comes with the close, whatever the counts say."""
    spoiler.forge_slot(state=word(1, LOST))
    with pytest.raises(TimeoutError):
        peer.call(messages.read, 200_000, 0.1)
    spoiler.local.posted, spoiler.local.withdrawn = 1, HUGE
    spoiler.local.closed = 1
    for _ in range(2):
        with pytest.raises(adma.MessagesLost):
            peer.call(messages.read, 200_000, HANG)


def test_counts_of_losses_that_lie(peer: Peer, spoiler: Spoiler) -> None:
    spoiler.local.posted, spoiler.local.withdrawn = HUGE, 2**64 - 1
    spoiler.local.closed = 1
    with pytest.raises(adma.MessagesLost) as caught:
        peer.call(messages.read, 1, HANG)
    assert (caught.value.posted, caught.value.withdrawn) == (HUGE, 2**64 - 1)


def test_an_end_without_a_close(peer: Peer, spoiler: Spoiler) -> None:
    """The victim's writes fail, and so does what it had posted."""
    peer.call(messages.iwrite, "large", LARGE)
    spoiler.local.ending = 1
    for nbytes in (1, LARGE):
        with pytest.raises(adma.ChannelClosed):
            peer.call(messages.write, nbytes)
    with pytest.raises(adma.ChannelClosed):
        peer.call(messages.wait, "large", HANG)
    with pytest.raises(TimeoutError):
        peer.call(messages.read, 100, 0.05)


@pytest.mark.parametrize(
    "fields",
    [
        {"mechanism": 77},
        {"mechanism": 0xFFFF_FFFF},
        {"chunk": 0},
        {"chunk": 1},
        {"chunk": HUGE},
        {"manner": 2},
        {"mechanism": 1, "chunk": 16 * 1024, "manner": 1},
        {"destination": 0},
        {"destination": 0xFFFF_FFFF_FFFF_F000},
        {"state": word(9, MATCHED)},
        {"state": word(1, 99)},
        {"state": 0},
        {"cursor": word(9, 0)},
        {"done": word(1, 1_000_000)},
        {"error": word(1, 1_000_000)},
    ],
    ids=str,
)
def test_an_impossible_match(peer: Peer, spoiler: Spoiler, fields: dict[str, int]) -> None:
    """The victim writes; its reader answers with nonsense in the slot."""
    peer.call(messages.iwrite, "large", LARGE)
    slot, generation = spoiler.posted()
    slot.set(**{"mechanism": 2, "chunk": CHUNK, "destination": 0x1000, **fields})
    if "state" not in fields:
        slot.state = word(generation, MATCHED)
    with pytest.raises((adma.ProtocolError, OSError)):
        peer.call(messages.wait, "large", 1.0)


@pytest.mark.parametrize("name", ["head", "bounce_head"])
@pytest.mark.parametrize("value", [HUGE, 2**64 - 1, 10_000])
def test_an_impossible_position(peer: Peer, spoiler: Spoiler, name: str, value: int) -> None:
    """The victim detects the lie, or takes its ring for full, as with any slow reader."""
    setattr(spoiler.remote, name, value)
    plausible = (name, value) == ("bounce_head", 10_000)
    with pytest.raises(TimeoutError if plausible else adma.ProtocolError):
        peer.call(hostile.write_until_error, 8000 if name == "bounce_head" else 1)


def test_an_impossible_stream_position(peer: Peer, spoiler: Spoiler) -> None:
    """Of `shared`: the copy fails or does not end; it stays inside its segment."""
    spoiler.local.filled = spoiler.remote.drained = HUGE
    peer.call(messages.iwrite, "large", LARGE)
    slot, generation = spoiler.posted()
    slot.set(mechanism=1, chunk=64 * 1024, destination=0x1000)
    slot.state = word(generation, MATCHED)
    with pytest.raises((adma.ProtocolError, OSError)):
        peer.call(messages.wait, "large", 1.0)


def test_a_message_that_stays_reserved(peer: Peer, spoiler: Spoiler) -> None:
    """It cannot be cancelled while the reader is there, and fails when the reader has closed."""
    peer.call(messages.iwrite, "large", LARGE)
    slot, generation = spoiler.posted()
    slot.state = word(generation, RESERVED)
    assert not peer.call(messages.cancel, "large")
    with pytest.raises(TimeoutError):
        peer.call(messages.wait, "large", 0.05)
    spoiler.local.closed = 1
    with pytest.raises(adma.ChannelClosed):
        peer.call(messages.wait, "large", HANG)


def test_a_message_that_is_reserved_in_a_blocking_write(peer: Peer, spoiler: Spoiler) -> None:
    """It cannot be taken back, and does not hold the write."""
    writing = peer.begin(messages.write, LARGE, 0, 0.5)
    until("it is posted", lambda: any(cell.carry == SLOT for cell in spoiler.remote.cells))
    slot, generation = spoiler.posted()
    slot.state = word(generation, RESERVED)
    with pytest.raises(adma.Stalled):
        writing.result()


@pytest.mark.parametrize("reads", [1, 0xFFFF_FFFF])
def test_reads_that_are_not_there(peer: Peer, spoiler: Spoiler, reads: int) -> None:
    """They delay a write whose time is over, and that for a moment only."""
    spoiler.local.reads = reads
    for function, arguments in ((messages.write, (LARGE, 0, 0)), (hostile.send, (LARGE, 0))):
        began = time.monotonic()
        with pytest.raises(TimeoutError) as caught:
            peer.call(function, *arguments)
        assert 0.02 <= time.monotonic() - began < 1
        assert type(caught.value) is TimeoutError


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"state": word(2, CANCELLED)}, adma.MessagesLost),
        ({"state": word(2, LOST)}, adma.MessagesLost),
        ({"state": word(2, MATCHED)}, adma.ProtocolError),
        ({"state": word(2, AGAIN)}, adma.ProtocolError),
        ({"state": word(3, POSTED)}, adma.ProtocolError),
        ({"state": 0}, adma.ProtocolError),
        ({"length": 99_999}, adma.ProtocolError),
        ({"length": HUGE}, adma.ProtocolError),
        ({"offered": 0}, OSError),
        ({"offered": 1 << 2}, OSError),
    ],
    ids=str,
)
def test_an_impossible_second_life(
    peer: Peer, spoiler: Spoiler, fields: dict[str, int], expected: type[Exception]
) -> None:
    """The victim reads; nobody could copy the message; its writer then posts nonsense."""
    slot = spoiler.local.slot(3)
    spoiler.forge_slot(source=0, offered=1 << 2)
    peer.call(messages.iread, "large", 200_000)
    until(
        "it waits for a second life",
        lambda: not peer.call(messages.check, "large") and slot.state == word(1, AGAIN),
    )
    slot.set(cursor=word(2, 0), done=word(2, 0), error=word(2, 0))
    slot.set(**{"state": word(2, POSTED), **fields})
    with pytest.raises(expected):
        peer.call(messages.wait, "large", HANG)


@pytest.mark.parametrize("mechanism", [2, 3, 77])
def test_a_second_life_by_a_mechanism_that_is_not_offered(
    peer: Peer, spoiler: Spoiler, mechanism: int
) -> None:
    """The victim writes; its reader says that the copy failed, and then chooses wrongly."""
    slot, generation = refuse(peer, spoiler)
    until("it is posted again", lambda: posted_again(peer, slot, generation))
    slot.set(mechanism=mechanism, chunk=CHUNK, destination=0x1000)
    slot.state = word(generation + 1, MATCHED)
    with pytest.raises(adma.ProtocolError):
        peer.call(messages.wait, "large", HANG)


def test_there_is_no_third_life(peer: Peer, spoiler: Spoiler) -> None:
    """A reader that always asks for another one does not keep its writer busy."""
    slot, generation = refuse(peer, spoiler)
    until("it is posted again", lambda: posted_again(peer, slot, generation))
    slot.set(mechanism=1, chunk=16 * 1024, base=0, cursor=word(generation + 1, 1 << 31))
    slot.error = word(generation + 1, errno.EFAULT)
    slot.state = word(generation + 1, AGAIN)
    with pytest.raises(OSError, match="a page of the peer's buffer"):
        peer.call(messages.wait, "large", HANG)


def refuse(peer: Peer, spoiler: Spoiler) -> tuple[Slot, int]:
    """The victim posts a write; the reader says that its copy by `mapped:cma` failed."""
    peer.call(messages.iwrite, "large", LARGE)
    slot, generation = spoiler.posted()
    slot.set(mechanism=2, chunk=CHUNK, destination=0x1000, cursor=word(generation, 1 << 31))
    slot.error = word(generation, errno.EFAULT)
    slot.state = word(generation, AGAIN)
    return slot, generation


def posted_again(peer: Peer, slot: Slot, generation: int) -> bool:
    return not peer.call(messages.check, "large") and slot.state == word(generation + 1, POSTED)


def test_the_event_count_and_the_flags(peer: Peer, spoiler: Spoiler) -> None:
    """These words may hold any value: at worst the victim looks once too often."""
    for value in (0, 1, 2**64 - 1):
        spoiler.remote.event_count = value
        spoiler.local.event_count = value
        spoiler.local.blocked = value & 0xFFFF_FFFF
        with pytest.raises(TimeoutError):
            peer.call(messages.read, 100, 0.05)
    spoiler.local.closed = 77
    with pytest.raises((adma.ChannelClosed, adma.ProtocolError)):
        peer.call(messages.read, 100, 1.0)


def test_a_claimer_that_never_stops(peer: Peer, spoiler: Spoiler) -> None:
    """While the victim copies, the slot's words keep changing: its loop ends with an error."""
    peer.call(messages.iwrite, "large", LARGE)
    slot, generation = spoiler.posted()
    slot.set(mechanism=2, chunk=4096, destination=0x1000)
    slot.state = word(generation, MATCHED)
    waiting = peer.begin(messages.wait, "large", 1.0)
    chance = random.Random(1)
    deadline = time.monotonic() + HANG
    while not waiting.done and time.monotonic() < deadline:
        slot.cursor = word(chance.choice([generation, 5]), chance.getrandbits(32))
        slot.done = word(chance.choice([generation, 5]), chance.getrandbits(32))
        slot.error = chance.getrandbits(64)
    with pytest.raises((adma.AdmaError, OSError)):
        waiting.result()


@pytest.mark.faults
@pytest.mark.skipif("mapped:cma" not in FORCED, reason="needs mapped:cma")
def test_a_reader_that_has_it_copied_again_and_again(peer: Peer, spoiler: Spoiler) -> None:
    """Each chunk is claimed once: an endpoint that gets more than there are fails the transfer."""
    target = bytearray(LARGE)
    peer.call(faults.arm, faults.CHUNK, "hold", 0, LARGE // CHUNK)
    peer.call(messages.iwrite, "large", LARGE)
    slot, generation = spoiler.posted()
    address = ctypes.addressof(ctypes.c_char.from_buffer(target))
    slot.set(mechanism=2, chunk=CHUNK, destination=address)
    slot.state = word(generation, MATCHED)
    peer.call(messages.check, "large")  # and then its threads copy
    until(
        "it is at the last chunk", lambda: peer.call(faults.passes, faults.CHUNK) == LARGE // CHUNK
    )
    slot.cursor = word(generation, 1)  # the descriptor it is at, and none is consumed
    slot.done = word(generation, 0)
    peer.call(faults.arm, faults.CHUNK, "none")
    with pytest.raises(adma.ProtocolError):
        peer.call(messages.wait, "large")


@pytest.mark.parametrize("seed", range(8))
def test_noise_everywhere(peer: Peer, spoiler: Spoiler, seed: int) -> None:
    """All of both segments overwritten with random bytes, while the victim reads and writes."""
    task = peer.begin(hostile.use_until_error, 1.0)
    assert peer.heard() == "using"
    chance = random.Random(seed)
    for segment in (spoiler.local, spoiler.remote):
        for cell in segment.cells:
            kind, carry = chance.getrandbits(2), chance.getrandbits(2)
            cell.set(length=chance.getrandbits(64), kind=kind, carry=carry)
            cell.seq = chance.choice([0, 1, 2, 3, chance.getrandbits(64)])
        for slot in segment.first_slots():
            slot.set(
                **{
                    name: chance.choice([0, 1, chance.getrandbits(32), chance.getrandbits(64)])
                    for name in ("source", "length", "destination", "chunk", "base")
                }
            )
            for name in ("state", "cursor", "done", "error", "seen"):
                setattr(slot, name, word(chance.randrange(3), chance.randrange(6)))
        segment.set(head=chance.getrandbits(8), bounce_head=chance.getrandbits(16))
    assert task.result() in ("ProtocolError", "TimeoutError", "ChannelClosed", "OSError")
