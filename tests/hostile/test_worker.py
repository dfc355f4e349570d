# SPDX-License-Identifier: BSD-3-Clause
"""One peer of a worker spoils what it shares with the worker: the other peers notice nothing.

As in test_channel.py, this process is the hostile one, and the victim is a process of its own.
This process has an honest worker, too, whose messages have to come through to the victim and
back, all the time and in order.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

import adma
from adma._core._native import lib
from adma.messages.worker import Worker
from adma.testing import Peer
from adma.testing.limits import HANG, KIB, LARGE, MIB, SLOWNESS
from adma.testing.observe import until
from adma.testing.payload import difference, pattern
from support.calls import faults
from support.calls import held_worker as held
from support.calls import hostile_worker as calls
from support.memory import KEPT_FREED, OVERHEAD
from support.segment import (
    ABORTED,
    BOUNCE,
    BUFFER,
    BUFFERED,
    BUFFERS,
    BYTES,
    CANCELLED,
    CELLS,
    DONE,
    EAGER,
    MATCHED,
    POSTED,
    RESERVED,
    SLOT,
    SLOTS_MAX,
    HostileRing,
    Segment,
    Slot,
    Spoiler,
    copy_of,
    mapped,
    word,
)

HUGE: Final = 2**63
SIZES: Final = [0, 1, 100, 5000, 8192, 100_000] * 4
FEW, MANY = 1, 6  # honest endpoints: the victim looks at few directly, and at many by its summary
BOUNDED: Final = 2.0 * SLOWNESS  # seconds for a message there and back, whatever somebody else does
PAUSE_US: Final = 100_000  # for which a thread is delayed at a fault point
EAGER_LIMIT: Final = MIB  # what eager messages of a peer may cost
SLOTS_OF_OTHERS: Final = 4096  # rendezvous messages of a peer of another user


class Scene:
    """A victim, an honest worker, and a hostile one that is still well-behaved."""

    def __init__(self, victim: Peer, place: Path, honest: int, *, same_user: bool) -> None:
        self.victim = victim
        self._path = str(place / "w")
        victim.call(calls.start, self._path)
        self.good, self.bad = Worker(), Worker()
        self.honest: list[tuple[int, int]] = []  # the numbers here and there
        for _ in range(honest):
            self.honest.append(self.join(self.good, True))
        before = {ctypes.addressof(segment) for segment in mapped()}
        self.here, self.number = self.join(self.bad, same_user)
        self.bad.send(self.here, calls.FIRST, b"!").wait(HANG)
        assert victim.call(calls.receive, self.number, calls.FIRST, 1, HANG) == b"!"
        self.bad.progress()
        self.good.progress()
        self.swap()
        self.bad.progress()
        spoiler = Spoiler([each for each in mapped() if ctypes.addressof(each) not in before])
        self.local, self.remote = spoiler.local, spoiler.remote
        self.ring = HostileRing(self.local, self.kick)
        os.set_blocking(self.sock, False)

    def join(self, worker: Worker, same_user: bool) -> tuple[int, int]:
        """Another endpoint to the victim: its numbers here and there."""
        task = self.victim.begin(calls.join, same_user)
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(self._path)
        here = worker.connect(sock, HANG)
        return here, task.result()

    @property
    def sock(self) -> int:
        """The socket of the hostile endpoint."""
        link = self.bad.links[self.here]
        assert link is not None
        return int(link.sock)

    def kick(self) -> None:
        """Have the victim look."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            os.write(self.sock, b"w")

    def swap(self, which: int = 0, sizes: list[int] = SIZES) -> float:
        """Honest messages come through, and come back; the longest took so many seconds."""
        here, there = self.honest[which]
        task = self.victim.begin(calls.swap, there, sizes)
        longest = 0.0
        for seed, nbytes in enumerate(sizes):
            begun = time.monotonic()
            self.good.send(here, calls.HONEST, pattern(nbytes, seed)).wait(HANG)
            buffer = bytearray(nbytes)
            self.good.receive(here, calls.HONEST, buffer).wait(HANG)
            assert not difference(memoryview(buffer), pattern(nbytes, seed))
            longest = max(longest, time.monotonic() - begun)
        task.result()
        return longest

    def unharmed(self) -> None:
        """All honest endpoints work, in bounded time."""
        for which in range(len(self.honest)):
            assert self.swap(which) < BOUNDED
        for _, there in self.honest:
            assert self.victim.call(calls.health, there) == ""

    def over(self) -> str:
        """How the hostile endpoint ended, over there."""
        self.kick()
        found: str = self.victim.call(calls.progress_until_over, self.number)
        return found

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.bad.close(timeout=0)
        self.good.close()
        self.victim.call(calls.stop)


@pytest.fixture(params=[FEW, MANY], ids=["few", "many"])
def scene(request: pytest.FixtureRequest, peer: Peer, tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(peer, tmp_path, request.param, same_user=True)
    yield scene
    if peer in Peer.alive:
        scene.unharmed()
    scene.close()


@pytest.fixture
def many(peer: Peer, tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(peer, tmp_path, MANY, same_user=True)
    yield scene
    scene.unharmed()
    scene.close()


@pytest.fixture
def strange(peer: Peer, tmp_path: Path) -> Iterator[Scene]:
    """The hostile peer counts as one of another user."""
    scene = Scene(peer, tmp_path, MANY, same_user=False)
    yield scene
    scene.unharmed()
    scene.close()


@contextlib.contextmanager
def meanwhile(step: Callable[[], object]) -> Iterator[None]:
    """Somebody does this again and again."""
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            step()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(HANG)


# Descriptors


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": 0},
        {"kind": 1},
        {"kind": 2},
        {"kind": 3},
        {"kind": 5},
        {"kind": 65535},
        {"parts": 1},
        {"carry": 0},
        {"carry": 4},
        {"carry": 5},
        {"carry": 65535},
        {"length": 33},
        {"length": HUGE},
        {"carry": EAGER, "length": 8},
        {"carry": EAGER, "length": 8193},
        {"carry": EAGER, "length": 100, "first": 64},
        {"carry": EAGER, "length": 100, "first": BOUNCE},
        {"carry": EAGER, "length": 100, "second": 0xFFFFFFFF},
        {"carry": BUFFERED, "length": 8192},
        {"carry": BUFFERED, "length": BUFFER, "first": BUFFERS},
        {"carry": SLOT, "first": SLOTS_MAX},
        {"carry": SLOT, "first": 0xFFFFFFFF},
        {"carry": SLOT, "first": SLOTS_MAX - 1, "length": 100_000},  # a life that never was
        {"carry": SLOT, "first": 0, "second": 7, "length": 100_000},
        {"carry": SLOT, "length": HUGE},
    ],
    ids=str,
)
def test_an_impossible_descriptor(scene: Scene, fields: dict[str, int]) -> None:
    assert scene.ring.put(**fields)
    assert scene.over() == "ProtocolError"
    with pytest.raises((adma.ProtocolError, adma.ChannelClosed)):
        scene.victim.call(calls.receive, scene.number, 0, 100, HANG)


@pytest.mark.parametrize("seq", [3, HUGE, 2**64 - 1])
def test_an_impossible_sequence(scene: Scene, seq: int) -> None:
    scene.local.cells[1].seq = seq
    assert scene.over() == "ProtocolError"


def test_a_receive_that_waits_is_told(scene: Scene) -> None:
    """It was posted, and its thread sleeps, before the peer breaks the protocol."""
    task = scene.victim.begin(calls.receive, scene.number, 5, 100, HANG)
    time.sleep(0.1)
    scene.ring.put(kind=BYTES)
    scene.kick()
    with pytest.raises(adma.ProtocolError):
        task.result()


# Slots


@pytest.mark.parametrize("posted", [False, True], ids=["unexpected", "expected"])
@pytest.mark.parametrize(
    "fields",
    [
        {"length": 99_999},
        {"length": HUGE},
        {"state": word(2, POSTED)},
        {"state": word(1, 0)},
        {"state": word(1, MATCHED)},
        {"state": word(1, RESERVED)},
        {"state": word(1, DONE)},
        {"state": word(1, 99)},
        {"cursor": word(2, 0)},
        {"cursor": word(1, 1_000_000)},
        {"done": word(2, 0)},
        {"done": word(1, 1_000_000)},
        {"source": 0},
        {"source": 0xFFFF_FFFF_FFFF_F000},
        {"offered": 0},
    ],
    ids=str,
)
def test_an_impossible_slot(scene: Scene, fields: dict[str, int], posted: bool) -> None:
    """A protocol error, or a copy that fails. Nothing else, and nobody else."""
    task = None
    if posted:
        task = scene.victim.begin(calls.receive, scene.number, 9, 200_000, 1.0)
        time.sleep(0.02)
    scene.ring.post_slot(3)
    scene.local.slot(3).set(**fields)
    assert scene.ring.put(100_000, 9, carry=SLOT, first=3, second=1)
    scene.kick()
    task = task or scene.victim.begin(calls.receive, scene.number, 9, 200_000, 1.0)
    with pytest.raises((adma.ProtocolError, adma.MechanismUnavailable, OSError)) as caught:
        task.result()
    if isinstance(caught.value, TimeoutError):
        assert "source" in fields or "offered" in fields or "cursor" in fields, fields


@pytest.mark.parametrize(
    "state", [0, word(1, MATCHED), word(1, DONE), word(1, 99), word(2, POSTED), word(1, RESERVED)]
)
def test_a_message_that_changes_while_it_waits(scene: Scene, state: int) -> None:
    """It arrived, its receive comes later, and in between its slot is spoilt."""
    scene.ring.post_slot(3)
    assert scene.ring.put(100_000, 9, carry=SLOT, first=3, second=1)
    scene.victim.call(calls.progress_for, 0.02)
    assert scene.victim.call(calls.health, scene.number) == ""
    scene.local.slot(3).state = state
    if state == word(1, RESERVED):  # as if the victim had reserved it
        scene.local.slot(3).source = 0
    with pytest.raises((adma.ProtocolError, OSError)):
        scene.victim.call(calls.receive, scene.number, 9, 200_000, 1.0)


@pytest.mark.parametrize("state", [0, POSTED, MATCHED, CANCELLED, ABORTED, DONE, 99])
@pytest.mark.parametrize("by", ["probe", "receive"])
def test_a_message_that_was_taken_and_changes(scene: Scene, by: str, state: int) -> None:
    """Once it is reserved, its sender can neither cancel it nor post it again."""
    if by == "receive":
        scene.victim.call(calls.post_whole, scene.number, 9)
    scene.ring.post_slot(3)
    assert scene.ring.put(100_000, 9, carry=SLOT, first=3, second=1)
    if by == "receive":
        assert scene.victim.call(calls.await_whole, HANG) == 100_000
    else:
        assert scene.victim.call(calls.take, scene.number, 9)
    assert scene.local.slot(3).state == word(1, RESERVED)
    scene.local.slot(3).set(source=0, state=word(1, state))
    with pytest.raises((adma.ProtocolError, OSError)) as caught:
        scene.victim.call(calls.receive_taken, 200_000, 1.0)
    if state != POSTED:  # posted is what it was before
        assert isinstance(caught.value, adma.ProtocolError)
        assert scene.over() == "ProtocolError"


def test_one_slot_in_many_descriptors(scene: Scene) -> None:
    """The first receive matches it; the second one finds that the peer broke the protocol."""
    scene.ring.post_slot(3)
    scene.local.slot(3).source = 0
    for _ in range(3):
        assert scene.ring.put(100_000, 9, carry=SLOT, first=3, second=1)
    for _ in range(2):
        with pytest.raises((adma.ProtocolError, OSError)):
            scene.victim.call(calls.receive, scene.number, 9, 200_000, 1.0)
    assert scene.over() == "ProtocolError"


def test_one_slot_in_many_descriptors_that_are_taken_whole(scene: Scene) -> None:
    """The first receive reserves it; the second one finds that the peer broke the protocol."""
    for _ in range(2):
        scene.victim.call(calls.post_whole, scene.number, 9)
    scene.ring.post_slot(3)
    for _ in range(2):
        assert scene.ring.put(100_000, 9, carry=SLOT, first=3, second=1)
    assert scene.victim.call(calls.await_whole, HANG) == 100_000
    for call in (calls.await_whole, calls.receive_taken):
        arguments = (HANG,) if call is calls.await_whole else (200_000, HANG)
        with pytest.raises(adma.ProtocolError):
            scene.victim.call(call, *arguments)
    assert scene.over() == "ProtocolError"


def test_a_slot_that_is_posted_again_while_it_is_copied(scene: Scene) -> None:
    """The same life twice: the first copy may fail, and what the slot tells is not believed."""
    scene.ring.post_slot(3)
    assert scene.ring.put(100_000, 9, carry=SLOT, first=3, second=1)
    scene.victim.call(calls.progress_for, 0.02)
    ended = threading.Event()

    def repost() -> None:
        slot = scene.local.slot(3)
        while not ended.is_set():
            slot.state = word(1, POSTED)
            slot.cursor = word(1, 0)
            slot.done = word(1, 0)
            scene.ring.put(100_000, 9, carry=SLOT, first=3, second=1)

    thread = threading.Thread(target=repost)
    thread.start()
    try:
        for _ in range(20):
            with contextlib.suppress(adma.AdmaError, OSError):
                scene.victim.call(calls.receive, scene.number, 9, 200_000, 0.05)
        scene.unharmed()
    finally:
        ended.set()
        thread.join(HANG)


@pytest.mark.parametrize(
    "fields",
    [
        {"mechanism": 77},
        {"mechanism": 0xFFFF_FFFF},
        {"chunk": 1},
        {"chunk": HUGE},
        {"destination": 0},
        {"state": word(9, MATCHED)},
        {"state": word(1, 99)},
        {"state": 0},
        {"state": word(1, CANCELLED)},
        {"cursor": word(9, 0)},
        {"done": word(1, 1_000_000)},
        {"error": word(1, 1_000_000)},
    ],
    ids=str,
)
def test_an_impossible_match(scene: Scene, fields: dict[str, int]) -> None:
    """The victim sends to the hostile peer, which answers with nonsense."""
    scene.victim.call(calls.post_send, "large", scene.number, LARGE)
    slot, generation = posted(scene)
    slot.set(**{"mechanism": 2, "chunk": 256 * KIB, "destination": 0x1000, **fields})
    if "state" not in fields:
        slot.state = word(generation, MATCHED)
    with pytest.raises((adma.ProtocolError, OSError)):
        scene.victim.call(calls.wait, "large", 1.0)


def posted(scene: Scene) -> tuple[Slot, int]:
    cell = next(cell for cell in scene.remote.cells if cell.carry == SLOT and cell.seq)
    return scene.remote.slot(cell.first), cell.second


def test_reserved_for_ever(scene: Scene) -> None:
    """A message that its reader has reserved and never receives is given up with the endpoint."""
    scene.victim.call(calls.post_send, "large", scene.number, LARGE)
    slot, generation = posted(scene)
    slot.state = word(generation, RESERVED)
    with pytest.raises(TimeoutError):
        scene.victim.call(calls.wait, "large", 0.1)
    begun = time.monotonic()
    scene.victim.call(calls.drop, scene.number)
    assert time.monotonic() - begun < BOUNDED


def test_noise_everywhere(scene: Scene) -> None:
    """All of both segments are overwritten, while the victim uses all its endpoints."""
    chance = random.Random(scene.number)
    for segment in (scene.local, scene.remote):
        for cell in segment.cells:
            cell.set(length=chance.getrandbits(64), kind=4, carry=chance.getrandbits(2))
            cell.seq = chance.choice([0, 1, 2, 3, chance.getrandbits(64)])
        for slot in segment.first_slots():
            for name in ("source", "length", "destination", "chunk", "base"):
                slot.set(**{name: chance.choice([0, 1, chance.getrandbits(64)])})
            for name in ("state", "cursor", "done", "error", "seen"):
                setattr(slot, name, word(chance.randrange(3), chance.randrange(7)))
        segment.set(head=chance.getrandbits(8), bounce_head=chance.getrandbits(16))
        segment.set(bit=chance.getrandbits(32), summing=chance.getrandbits(32))
        segment.set(eager_off=chance.getrandbits(32), drains=chance.getrandbits(32))
        for index in range(len(segment.top_for_maker)):
            segment.top_for_maker[index] = segment.top_for_reader[index] = 2**64 - 1
        segment.blocks[0].news_for_maker.bits = segment.blocks[0].news_for_reader.bits = 2**64 - 1
    with contextlib.suppress(adma.AdmaError, OSError):
        scene.victim.call(calls.post_send, "some", scene.number, 5000, 3)
    scene.kick()
    assert scene.over() == "ProtocolError"


# Floods


@pytest.mark.parametrize("nbytes", [8192, BUFFER])
def test_more_eager_messages_than_are_allowed(scene: Scene, nbytes: int) -> None:
    """The victim says when to stop. A peer that goes on is terminated before it costs more."""
    before = scene.victim.call(calls.memory)
    task = scene.victim.begin(calls.progress_until_over, scene.number)
    sent = 0
    while not task.done:
        if nbytes == BUFFER:
            sent += scene.ring.put(nbytes, 1, carry=BUFFERED, first=sent % BUFFERS)
        else:
            sent += scene.ring.put_eager(nbytes, 1)
    assert task.result() == "ProtocolError"
    # What the ring still holds is not taken: of messages in buffers that is a whole ring.
    assert (sent - CELLS) * nbytes < EAGER_LIMIT + 2 * BOUNCE
    assert scene.victim.call(calls.memory) - before < 2 * EAGER_LIMIT * OVERHEAD


def test_more_small_messages_than_are_allowed(scene: Scene) -> None:
    """Messages without bytes cost something, too."""
    before = scene.victim.call(calls.memory)
    task = scene.victim.begin(calls.progress_until_over, scene.number)
    while not task.done:
        scene.ring.put(0, scene.ring.tail)
    assert task.result() == "ProtocolError"
    assert (
        scene.victim.call(calls.memory) - before < 3 * EAGER_LIMIT * OVERHEAD
    )  # and the hash table


def flood_of_slots(scene: Scene) -> tuple[int, int]:
    """One slot in descriptors without end: how many it took, and the victim's memory."""
    before = scene.victim.call(calls.memory)
    scene.ring.post_slot(3)
    # It takes some ten seconds, and more on a busy machine.
    task = scene.victim.begin(calls.progress_until_over, scene.number, 4 * HANG)
    sent = 0
    while not task.done and sent < 2 * SLOTS_MAX:
        sent += scene.ring.put(100_000, 1, carry=SLOT, first=3, second=1)
    assert task.result() == "ProtocolError"
    return sent, scene.victim.call(calls.memory) - before


def test_more_rendezvous_messages_than_a_stranger_may_have(strange: Scene) -> None:
    sent, grown = flood_of_slots(strange)
    assert sent <= SLOTS_OF_OTHERS + 2 * 128
    assert grown < 2 * MIB * OVERHEAD


def test_more_rendezvous_messages_than_there_are_slots(scene: Scene) -> None:
    sent, grown = flood_of_slots(scene)
    assert sent <= SLOTS_MAX + 2 * 128
    assert grown < SLOTS_MAX * 256 * OVERHEAD


def test_a_stranger_that_cancels_and_posts_at_its_limit(strange: Scene) -> None:
    """Each message makes the victim look for cancelled ones: that may not hold up the others."""
    for index in range(64):
        strange.ring.post_slot(index)
    sent = 0
    while sent < SLOTS_OF_OTHERS:
        task = strange.victim.begin(calls.progress_for, 0.2)
        while not task.done and sent < SLOTS_OF_OTHERS:
            sent += strange.ring.put(100_000, 1, carry=SLOT, first=sent % 64, second=1)
        task.result()
        assert strange.victim.call(calls.health, strange.number) == ""

    def churn() -> None:
        slot = strange.local.slot(0)
        slot.state = word(1, CANCELLED)
        slot.state = word(1, POSTED)
        strange.ring.put(100_000, 1, carry=SLOT, first=1, second=1)

    with meanwhile(churn):
        assert strange.swap() < BOUNDED


def test_withdrawn_messages_without_end(scene: Scene) -> None:
    """They cost the peer nothing, and the victim passes over them: others have their turn."""
    scene.local.slot(3).state = word(1, CANCELLED)
    with meanwhile(lambda: scene.ring.put(100_000, 1, carry=SLOT, first=3, second=1)):
        for which in range(len(scene.honest)):
            assert scene.swap(which) < BOUNDED


def test_a_ring_that_is_never_drained(scene: Scene) -> None:
    """The victim sends more than the rings hold. Its sends wait; all else goes on."""
    before = scene.victim.call(calls.memory)
    for nbytes in (1, 5000, 100_000):
        scene.victim.call(calls.post_send, f"of {nbytes}", scene.number, nbytes, 300)
    scene.unharmed()
    begun = time.monotonic()
    scene.victim.call(calls.drop, scene.number)
    assert time.monotonic() - begun < BOUNDED
    for nbytes in (5000, 100_000):
        with pytest.raises(adma.ChannelClosed):
            scene.victim.call(calls.wait, f"of {nbytes}", 1.0)
    assert scene.victim.call(calls.memory) - before < 64 * MIB * OVERHEAD + KEPT_FREED


# Hints


HAMMER = """
import mmap, os, signal, sys, struct
signal.setitimer(signal.ITIMER_REAL, 60)
memory = mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 0)
print("ready", flush=True)
zeros, ones = bytes(512), b"\\xff" * 512
while True:
    {step}
"""


@contextlib.contextmanager
def hammer(path: str, step: str) -> Iterator[None]:
    """A process that writes into memory, again and again."""
    command = [sys.executable, "-c", HAMMER.format(step=step), path]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.kill()


def summary_of(pid: int) -> str:
    """The path of a worker's summary, which any of its peers of one user has."""
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            if "memfd:adma-summary" in os.readlink(f"/proc/{pid}/fd/{name}"):
                return f"/proc/{pid}/fd/{name}"
    raise AssertionError("no summary")


SET = "memory[128:640] = ones; memory[0:8] = ones[:8]"
CLEAR = "memory[0:8] = zeros[:8]; memory[128:640] = zeros"
HINT = "memory[64:68] = ones[:4]; memory[64:68] = zeros[:4]"


@pytest.mark.parametrize("step", [SET, CLEAR, f"{SET}; {CLEAR}", HINT])
def test_a_summary_that_lies(many: Scene, step: str) -> None:
    """Bits of all endpoints are set, or cleared, all the time."""
    assert many.victim.call(calls.counts)[1] < MANY  # or else the summary is not used
    with hammer(summary_of(many.victim.pid), step):
        for which in range(MANY):
            assert many.swap(which) < BOUNDED


def test_bits_that_are_cleared_while_somebody_is_busy(many: Scene) -> None:
    """A peer that always has something for the victim, and takes all others' bits away."""
    assert many.victim.call(calls.counts)[1] < MANY
    many.local.slot(3).state = word(1, CANCELLED)
    with (
        hammer(summary_of(many.victim.pid), CLEAR),
        meanwhile(lambda: many.ring.put(100_000, 1, carry=SLOT, first=3, second=1)),
    ):
        for which in range(MANY):
            assert many.swap(which) < BOUNDED


def test_a_peer_that_never_sets_its_bit(many: Scene) -> None:
    """It promised to set it. Its messages are found all the same, before the victim sleeps."""
    task = many.victim.begin(calls.receive, many.number, 5, 100, HANG)
    many.ring.put(1, 5)
    assert len(task.result()) == 1


def passes_of(scene: Scene, fds: list[int], byte: bytes = b"y") -> None:
    with socket.socket(fileno=os.dup(scene.sock)) as sock:
        socket.send_fds(sock, [byte], fds)


def memfd(nbytes: int, seals: int) -> int:
    fd = os.memfd_create("adma-summary", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.truncate(fd, nbytes)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


SEALED: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def no_summaries() -> list[tuple[str, Callable[[], int]]]:
    return [
        ("a directory", lambda: os.open("/", os.O_RDONLY)),
        ("a file", lambda: os.open("/dev/zero", os.O_RDWR)),
        ("unsealed", lambda: memfd(4096, 0)),
        ("may shrink", lambda: memfd(4096, SEALED & ~fcntl.F_SEAL_SHRINK)),
        ("empty", lambda: memfd(0, SEALED)),
        ("too large", lambda: memfd(8192, SEALED)),
        ("read only", lambda: memfd(4096, SEALED | fcntl.F_SEAL_WRITE)),
        ("future", lambda: memfd(4096, SEALED | 0x10)),
    ]


@pytest.mark.parametrize(("what", "make"), no_summaries(), ids=[name for name, _ in no_summaries()])
def test_a_summary_that_is_none(scene: Scene, what: str, make: Callable[[], int]) -> None:
    """It is not mapped, and not kept."""
    del what
    before = scene.victim.call(calls.maps, "adma-summary")
    held = scene.victim.call(calls.descriptors)
    fd = make()
    for _ in range(3):
        passes_of(scene, [fd])
    os.close(fd)
    scene.victim.call(calls.progress_for, 0.05)
    scene.kick()
    scene.victim.call(calls.progress_for, 0.05)
    assert scene.victim.call(calls.maps, "adma-summary") == before
    assert scene.victim.call(calls.descriptors) == held
    assert scene.victim.call(calls.health, scene.number) == ""


def test_summaries_without_end(scene: Scene) -> None:
    """The first one is mapped, and it goes with the endpoint."""
    before = scene.victim.call(calls.maps, "adma-summary")
    held = scene.victim.call(calls.descriptors)
    fd = memfd(4096, SEALED)
    for _ in range(50):
        passes_of(scene, [fd])
    os.close(fd)
    scene.victim.call(calls.progress_for, 0.1)
    assert scene.victim.call(calls.maps, "adma-summary") == before + 1
    assert scene.victim.call(calls.descriptors) == held
    scene.victim.call(calls.drop, scene.number)
    assert scene.victim.call(calls.maps, "adma-summary") == before


def test_a_summary_from_a_stranger(strange: Scene) -> None:
    before = strange.victim.call(calls.maps, "adma-summary")
    fd = memfd(4096, SEALED)
    passes_of(strange, [fd])
    os.close(fd)
    strange.victim.call(calls.progress_for, 0.1)
    assert strange.victim.call(calls.maps, "adma-summary") == before


def test_a_stranger_gets_no_summary(strange: Scene) -> None:
    """And it cannot claim that it sets bits: its ring is looked at directly."""
    assert strange.victim.call(calls.counts) == (MANY + 1, 1)
    strange.local.summing = 1
    strange.victim.call(calls.progress_for, 0.05)
    assert strange.victim.call(calls.counts) == (MANY + 1, 1)


# Wake-ups


@contextlib.contextmanager
def in_child(step: Callable[[Segment, int], object], scene: Scene) -> Iterator[None]:
    """A process does this again and again with the victim's segment and a socket."""
    address, sock = copy_of(scene.remote), os.dup(scene.sock)
    pid = os.fork()
    if pid == 0:
        try:
            segment = Segment.from_address(address)
            os.set_blocking(sock, True)
            end = time.monotonic() + HANG
            while time.monotonic() < end:
                for _ in range(100):
                    step(segment, sock)
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(sock)
        libc = ctypes.CDLL(None)
        libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(lib.adma_segment_size()))


def never_rests() -> Callable[[Segment, int], object]:
    """A step that changes the event count a thousand times in one system call."""
    values = b"".join(struct.pack("<Q", 2 * number) for number in range(1000))

    def step(segment: Segment, sock: int) -> None:
        del sock
        fd = memfd(0, 0)
        os.write(fd, values)
        at = ctypes.addressof(segment) + Segment.event_count.offset
        word = memoryview((ctypes.c_char * 8).from_address(at))
        for _ in range(1000):
            os.preadv(fd, [word] * 1000, 0)
        os.close(fd)

    return step


def test_an_event_count_that_never_rests(scene: Scene) -> None:
    with in_child(never_rests(), scene):
        scene.unharmed()


def test_an_event_count_that_is_always_armed(scene: Scene) -> None:
    def step(segment: Segment, sock: int) -> None:
        del sock
        segment.event_count = 1

    with in_child(step, scene):
        scene.unharmed()


def test_bytes_without_end(scene: Scene) -> None:
    def step(segment: Segment, sock: int) -> None:
        del segment
        os.write(sock, b"wwwwwwwwwwwwwwwwwwwwwsssyyyssyw")

    with in_child(step, scene):
        scene.unharmed()


def test_the_descriptor_tells_of_others(many: Scene) -> None:
    """While an event count never rests, a message of somebody else makes fileno() readable."""
    with in_child(never_rests(), many):
        for which in range(MANY):
            here, there = many.honest[which]
            task = many.victim.begin(calls.poll_for_message, there, 20)
            for _ in range(20):
                assert many.victim.heard() == "polls"
                time.sleep(0.005)
                many.good.send(here, calls.HONEST, b"?").wait(HANG)
            assert task.result() < BOUNDED


# The end


def test_a_peer_that_closes_its_socket(scene: Scene) -> None:
    """And keeps writing into the ring."""
    scene.ring.post_slot(3)
    scene.ring.put(100_000, 9, carry=SLOT, first=3, second=1)
    with socket.socket(fileno=os.dup(scene.sock)) as sock:
        sock.shutdown(socket.SHUT_RDWR)
    scene.ring.put(kind=BYTES)
    scene.kick()
    assert scene.over() in ("PeerDied", "ProtocolError")
    assert scene.victim.call(calls.sleep_for, 0.5) < 0.25


def test_a_peer_that_says_it_closed_and_goes_on(scene: Scene) -> None:
    """Nothing that comes after the end is taken for a message."""
    scene.local.closed = 1
    scene.ring.put(1, 9)
    scene.ring.put(1, 9, kind=BYTES)
    scene.ring.put(1, 9)
    assert scene.over() in ("ChannelClosed", "ProtocolError")
    assert len(scene.victim.call(calls.receive, scene.number, 9, 10, 1.0)) == 1
    with pytest.raises((adma.ChannelClosed, adma.ProtocolError)):
        scene.victim.call(calls.receive, scene.number, 9, 10, 1.0)


#: The fault points that a peer passes in what it does. It may miss those in ELSEWHERE: the other
#: side may copy all chunks, and may be awake.
PASSED: Final = [
    *(("send", point) for point in faults.POINTS if point != faults.MATCH),
    *(("receive", point) for point in faults.POINTS if point != faults.PUBLISH),
    *(("close", point) for point in faults.POINTS),
]
ELSEWHERE: Final = (faults.CHUNK, faults.COPIED, faults.WAKE)


@pytest.mark.faults
@pytest.mark.parametrize(("what", "point"), PASSED)
def test_a_peer_that_dies_anywhere(
    two_peers: tuple[Peer, Peer], tmp_path: Path, point: str, what: str
) -> None:
    """Killed at each fault point, while it uses its endpoint; others have theirs on that worker."""
    victim, killed = two_peers
    victim.call(calls.start, str(tmp_path / "w"))
    joining = victim.begin(calls.join)
    killed.call(calls.enter, str(tmp_path / "w"))
    number = joining.result()
    with Worker() as good:
        joining = victim.begin(calls.join)
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(tmp_path / "w"))
        here, there = good.connect(sock, HANG), joining.result()
        killed.call(faults.arm, point, "die")
        using = killed.begin(calls.use, what)
        task = victim.begin(calls.use_with, number, there, what, SIZES)
        for seed, nbytes in enumerate(SIZES):
            good.send(here, calls.HONEST, pattern(nbytes, seed)).wait(HANG)
            buffer = bytearray(nbytes)
            good.receive(here, calls.HONEST, buffer).wait(HANG)
            assert not difference(memoryview(buffer), pattern(nbytes, seed))
        assert task.result() in ("", "PeerDied", "ChannelClosed")
        with contextlib.suppress(Exception):
            using.result()
        if killed.process.poll() is None:
            assert point in ELSEWHERE, "it was not killed"
            killed.call(calls.stop)
        else:
            # It may have died when it had closed the endpoint.
            ends = ("PeerDied", "ChannelClosed")
            until("it is dead", lambda: victim.call(calls.health, number) in ends)
        victim.call(calls.stop)
        with contextlib.suppress(adma.AdmaError):
            good.health(here)
    if killed.process.poll() is not None:
        killed.expect_end(-signal.SIGKILL)


# Lives


@pytest.mark.faults
@pytest.mark.parametrize("what", ["fork", "drop"])
def test_a_life_ends_while_somebody_is_anywhere(scene: Scene, what: str) -> None:
    """A thread of the victim is at a fault point; another one forks, or an endpoint is closed."""
    action = ("hold",) if what == "fork" else ("delay", PAUSE_US)
    for point in faults.POINTS:
        with Worker() as other:
            here, there = scene.join(other, True)
            theirs = held.Exchange(other, here)
            met = scene.victim.call(held.begin, there, point, *action, timeout=2 * HANG)
            assert met or point in ELSEWHERE, point
            if what == "fork":
                assert scene.victim.call(held.fork) == held.FORKED, point
            else:
                scene.victim.call(calls.drop, there)
            error = scene.victim.call(held.finish)
            assert scene.swap() < BOUNDED, point
            ours = theirs.finish()
            if what == "fork":
                assert (ours, error) == ("", ""), point


def test_a_fork_while_messages_wait(scene: Scene) -> None:
    """In the child the worker is closed, without touching what its endpoints shared."""
    here, there = scene.honest[0]
    kept = [scene.good.send(here, 3, bytes(8000)) for _ in range(150)]
    large = scene.good.send(here, 4, bytes(100_000))
    scene.victim.call(calls.progress_for, 0.1)
    assert scene.victim.call(calls.take, there, 4)
    assert scene.victim.call(calls.close_in_child) == 0
    assert len(scene.victim.call(calls.receive_taken, 100_000, HANG)) == 100_000
    large.wait(HANG)
    for request in kept:
        assert len(scene.victim.call(calls.receive, there, 3, 8000, HANG)) == 8000
        request.wait(HANG)


def test_messages_to_an_endpoint_that_is_closing(scene: Scene) -> None:
    """While its close waits, what arrives goes nowhere, and nothing of it stays in the queue."""
    scene.victim.call(calls.post_send, "large", scene.number, LARGE)
    slot, generation = posted(scene)
    slot.set(mechanism=2, chunk=256 * KIB, destination=0x1000)
    slot.set(cursor=word(generation, 1), state=word(generation, MATCHED))
    assert scene.victim.call(calls.close_begins, scene.number)
    for _ in range(5):
        assert scene.ring.put(1, 9)
    scene.victim.call(calls.progress_for, 0.02)
    assert scene.victim.call(calls.probe_any) is None
    scene.ring.put(1, 9)
    scene.victim.call(calls.drop, scene.number)
    assert scene.victim.call(calls.probe_any) is None


def test_endpoints_that_go_while_threads_spin(peer: Peer) -> None:
    """A thread may hold hints of an endpoint that another one is closing."""
    peer.call(calls.spin_while_dropping, 2.0, timeout=HANG + 10)
