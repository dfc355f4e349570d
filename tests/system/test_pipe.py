# SPDX-License-Identifier: BSD-3-Clause
"""Pipes: who owns an end, what is kept until there is a channel, and how ends end."""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import os
import pickle
import random
import resource
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy
import pytest

import adma
from adma._core import faults
from adma._core._native import lib
from adma.connect.line import Line, Put, What
from adma.testing.limits import HANG, LARGE
from adma.testing.payload import pattern
from adma.testing.peer import search_path
from support.orphans import buried


@pytest.fixture
def ends() -> Iterator[tuple[adma.PipeEnd, adma.PipeEnd]]:
    one, other = adma.pipe()
    yield one, other
    one.close(timeout=0)
    other.close(timeout=0)


class Child:
    """A forked child that runs a function, and lives until `end` or its function returns."""

    def __init__(self, run: Callable[[], Any]) -> None:
        self._out, into = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            signal.alarm(int(HANG))
            try:
                said: Any = run()
            except BaseException as error:
                if not isinstance(error, adma.ChannelEnded):
                    traceback.print_exc()
                said = f"{type(error).__name__}: {error}"
            os.write(into, pickle.dumps(said))
            os._exit(0)
        os.close(into)

    def said(self) -> Any:
        """What its function returned, or raised, as text."""
        with open(self._out, "rb") as out:
            data = out.read()
        os.waitpid(self.pid, 0)
        return pickle.loads(data)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._out)


def through(one: adma.PipeEnd, other: adma.PipeEnd) -> None:
    """Talk until both are plain channels."""
    while {type(one).__name__, type(other).__name__} != {"PipedChannel"}:
        one.send(1)
        assert other.recv(timeout=HANG) == 1
        other.send(2)
        assert one.recv(timeout=HANG) == 2


# Order, and the switch from the line to the channel


@pytest.mark.parametrize("seed", range(20))
def test_messages_keep_their_order_across_the_switch(
    ends: tuple[adma.PipeEnd, adma.PipeEnd], seed: int
) -> None:
    """One thread, both ends, any order of calls: nothing is lost, or passes something else."""
    chance = random.Random(seed)
    under_way: list[deque[Any]] = [deque(), deque()]  # from one, from the other
    for number in range(120):
        at = chance.randrange(2)
        mine, theirs = under_way[at], under_way[1 - at]
        end = ends[at]
        if chance.random() < 0.5 and len(mine) < 20:
            if chance.random() < 0.5:
                mine.append(number)
                end.send(number, timeout=HANG)
            else:
                mine.append(pattern(chance.randrange(2000), number))
                end.write(mine[-1], timeout=HANG)
        elif theirs:
            assert end.poll(HANG)
            expected = theirs.popleft()
            if isinstance(expected, int):
                assert end.iprobe().kind == "object"
                assert end.recv(timeout=HANG) == expected
            else:
                assert end.iprobe() == adma.Message("bytes", len(expected))
                assert end.read_bytes(timeout=HANG) == expected
        else:
            assert not end.poll(0)
            assert end.iprobe() is None
    for end, theirs in zip(ends, reversed(under_way), strict=True):
        for expected in theirs:
            got = end.recv(timeout=HANG) if isinstance(expected, int) else end.read_bytes()
            assert got == expected
    lines = [end.stats()["line_out"] for end in ends]
    assert [end.stats()["line_in"] for end in reversed(ends)] == lines
    assert all(0 < count < 120 for count in lines)


@pytest.mark.parametrize("way", ["read", "select", "poll"])
def test_two_threads_of_two_processes(way: str) -> None:
    """Each process reads in one thread and writes in another while the ends meet."""
    chance = random.Random(way)
    for _ in range(8):
        one, other = adma.pipe()
        out, come = ([chance.choice((0, 2000, 300_000)) for _ in range(8)] for _ in range(2))
        child = Child(partial(talk, other, one, come, out, way))
        assert talk(one, other, out, come, way) == come
        assert child.said() == out


def talk(
    end: adma.PipeEnd, unused: adma.PipeEnd, out: list[int], come: list[int], way: str
) -> list[int]:
    """Write messages of these lengths in a thread, and read meanwhile; the lengths that came."""
    unused.close()

    def write() -> None:
        for nbytes in out:
            end.write(bytes(nbytes), timeout=HANG)

    writer = threading.Thread(target=write)
    writer.start()
    lengths: list[int] = []
    while len(lengths) < len(come):
        if way == "select":
            assert select.select([end], [], [], HANG)[0]
        elif way == "poll":
            assert end.poll(HANG)
        try:
            lengths.append(len(end.read_bytes(timeout=0 if way == "select" else HANG)))
        except TimeoutError:
            assert way == "select"
    writer.join()
    end.close()
    return lengths


def test_large_messages_and_a_child_that_comes_late(
    ends: tuple[adma.PipeEnd, adma.PipeEnd],
) -> None:
    one, other = ends
    with pytest.raises(TimeoutError):
        one.write(bytes(LARGE), timeout=0.01)
    assert other.poll()  # it was announced, and taken back
    child = Child(lambda: [len(other.read_bytes(timeout=HANG)), other.recv(timeout=HANG)])
    one.write(bytes(LARGE), timeout=HANG)
    one.send("after it", timeout=HANG)
    assert child.said() == [LARGE, "after it"]
    assert one.stats()["line_out"] == 0


def test_what_does_not_fit_stays(ends: tuple[adma.PipeEnd, adma.PipeEnd]) -> None:
    one, other = ends
    one.write(b"abc")
    with pytest.raises(adma.MessageTooLong) as caught:
        other.read(bytearray(2))
    assert caught.value.needed == 3
    with pytest.raises(adma.MessageTooLong):
        other.read_bytes(max_bytes=2)
    with pytest.raises(adma.WrongKind):
        other.recv()
    with pytest.raises(BufferError, match="read-only"):
        other.read(b"abc")  # type: ignore[arg-type]
    parts = [bytearray(1), bytearray(4)]
    assert other.read(parts) == 3
    assert parts == [b"a", b"bc\0\0"]
    array = numpy.arange(6.0)
    one.send(array)
    with pytest.raises(ValueError, match="shape"):
        other.recv(into=numpy.empty(5))
    assert (other.recv(into=numpy.empty(6)) == array).all()
    one.write([b"de", b"f"])
    assert other.skip() == adma.Message("bytes", 3)
    one.write(b"")
    assert other.read(bytearray()) == 0
    one.write(b"g")
    assert other.read([bytearray(), parts[0]]) == 1
    assert parts[0] == b"g"
    with pytest.raises(TimeoutError):
        other.read(bytearray(1), timeout=0)
    with pytest.raises(BufferError, match="contiguous"):
        one.write(numpy.zeros((4, 4))[:, 1])


def test_requests(ends: tuple[adma.PipeEnd, adma.PipeEnd]) -> None:
    """Posts over the line are done at once; later ones are the channel's."""
    one, other = ends
    assert one.iwrite(b"abc").wait() == 3
    one.isend([1])
    buffer = bytearray(3)
    read = other.iread(buffer)
    assert read.wait() == 3
    assert buffer == b"abc"
    assert "done" in repr(read)
    assert other.irecv().wait() == [1]
    through(one, other)
    reads = [other.iread(bytearray(1)) for _ in range(2)]
    writes = [one.iwrite(b"x") for _ in range(2)]
    assert adma.wait_all(reads + writes, timeout=HANG) == [1, 1, 1, 1]


# Who owns an end


def test_looking_does_not_claim(ends: tuple[adma.PipeEnd, adma.PipeEnd]) -> None:
    one, other = ends
    one.send("for the child")
    assert other.poll()
    assert other.probe(timeout=HANG).kind == "object"
    assert select.select([other], [], [], HANG)[0] == [other]
    assert not other.closed
    assert Child(lambda: other.recv(timeout=HANG)).said() == "for the child"
    for use in (other.poll, other.iprobe, other.fileno, lambda: other.send(1)):
        with pytest.raises(adma.ChannelClosed, match="another process has claimed"):
            use()
    assert other.closed


def test_one_process_of_many_claims_an_end(ends: tuple[adma.PipeEnd, adma.PipeEnd]) -> None:
    one, other = ends
    go_out, go_into = os.pipe()

    def race() -> str:
        select.select([go_out], [], [])
        other.send(os.getpid(), timeout=HANG)
        return "claimed"

    children = [Child(race) for _ in range(6)]
    os.write(go_into, b"!")
    said = [child.said() for child in children]
    os.close(go_out)
    os.close(go_into)
    assert said.count("claimed") == 1
    assert sum("another process has claimed" in text for text in said) == 5
    assert one.recv(timeout=HANG) == children[said.index("claimed")].pid


def test_a_forked_copy_of_a_claimed_end_says_so(ends: tuple[adma.PipeEnd, adma.PipeEnd]) -> None:
    one, other = ends
    one.send(1)
    assert "forked child" in Child(lambda: one.send(2)).said()
    assert other.recv() == 1
    through(one, other)
    assert "forked child" in Child(lambda: one.send(2)).said()
    one.send(3)
    assert other.recv(timeout=HANG) == 3


def test_a_claimed_end_is_not_passed_on(ends: tuple[adma.PipeEnd, adma.PipeEnd]) -> None:
    one, other = ends
    one.send(1)
    here, there = socket.socketpair()
    with here, there:
        for _ in range(2):
            with pytest.raises(ValueError, match="pass it before it is used"):
                pickle.dumps(one)
            with pytest.raises(ValueError, match="pass it before it is used"):
                adma.PipeEnd.pass_over(one, here)
            other.recv()
            through(one, other)
            one.send(1)


def test_an_end_is_passed_over_a_socket(ends: tuple[adma.PipeEnd, adma.PipeEnd]) -> None:
    one, other = ends
    here, there = socket.socketpair()
    with here, there:

        def answer() -> None:
            with adma.take_end(there, timeout=HANG) as end:
                end.send(end.recv(timeout=HANG) + 1, timeout=HANG)

        child = Child(answer)
        other.pass_over(here)
        one.send(1)
        assert one.recv(timeout=HANG) == 2
        assert child.said() is None
        with pytest.raises(TimeoutError):
            adma.take_end(here, timeout=0)
        there.send(b"no end")
        with pytest.raises(adma.ProtocolError):
            adma.take_end(here, timeout=HANG)
        there.close()
        with pytest.raises(adma.PeerDied):
            adma.take_end(here, timeout=HANG)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_ends_travel_by_multiprocessing(method: str) -> None:
    """As arguments of children, pickled twice, and through the queue of a pool."""
    with buried():
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "support.piped", method],
            capture_output=True,
            text=True,
            timeout=HANG,
            env=os.environ | {"PYTHONPATH": search_path()},
        )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_what_another_user_puts_is_not_unpickled(
    ends: tuple[adma.PipeEnd, adma.PipeEnd],
) -> None:
    """A child that gives up its rights keeps its copy of an end, and may send what it likes."""
    one, other = ends

    def attack() -> None:
        os.setresuid(1234, 1234, 1234)
        other.send([1])

    Child(attack).said()
    for read in (one.recv, one.read_bytes, one.poll, one.recv):
        with pytest.raises(PermissionError, match="another user"):
            read()


# How ends end


def test_what_was_written_outlives_its_writer(ends: tuple[adma.PipeEnd, adma.PipeEnd]) -> None:
    one, other = ends

    def write() -> None:
        one.close()
        with other:
            for number in range(3):
                other.send(number)

    Child(write).said()
    other.close()
    assert [one.recv(timeout=HANG) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(adma.ChannelClosed):
        one.recv(timeout=HANG)
    with pytest.raises(adma.ChannelClosed):
        one.send(1, timeout=HANG)


def test_the_last_copy_of_an_unclaimed_end(ends: tuple[adma.PipeEnd, adma.PipeEnd]) -> None:
    """A child that dies before it claims counts as long as somebody else has a copy."""
    one, other = ends
    out, into = os.pipe()

    def hold() -> None:
        one.close()
        os.write(into, b"!")
        signal.pause()

    child = Child(hold)
    os.read(out, 1)
    os.close(out)
    os.close(into)
    other.close()
    with pytest.raises(TimeoutError):
        one.recv(timeout=0.05)
    assert not one.poll()
    child.kill()
    assert one.poll(HANG)
    with pytest.raises(adma.ChannelClosed):
        one.recv(timeout=HANG)


@pytest.mark.parametrize("messages", [1, 20], ids=["before the channel", "over the channel"])
def test_the_death_of_the_owner_is_seen_though_others_have_copies(
    ends: tuple[adma.PipeEnd, adma.PipeEnd], messages: int
) -> None:
    one, other = ends
    stop_out, stop_into = os.pipe()
    holder = Child(lambda: select.select([stop_out], [], [])[0] and None)

    def answer() -> None:
        for number in range(messages):
            other.send(number, timeout=HANG)
            if messages > 1:
                other.recv(timeout=HANG)
        signal.pause()

    owner = Child(answer)
    for number in range(messages):
        assert one.recv(timeout=HANG) == number
        one.send(number, timeout=HANG)
    threading.Thread(target=owner.kill).start()
    with pytest.raises(adma.PeerDied):
        one.recv(timeout=HANG)
    with pytest.raises(adma.PeerDied):
        one.write(bytes(LARGE), timeout=HANG)
    os.write(stop_into, b"!")
    assert holder.said() is None
    os.close(stop_out)
    os.close(stop_into)


def test_an_owner_that_is_gone_before_anybody_looks(
    ends: tuple[adma.PipeEnd, adma.PipeEnd],
) -> None:
    """What it wrote is there, and its death is told, though this process has a copy of its end."""
    one, other = ends
    Child(lambda: other.send("the last words")).said()
    assert one.recv(timeout=HANG) == "the last words"
    with pytest.raises(adma.PeerDied):
        one.recv(timeout=HANG)


@pytest.mark.skipif(not faults.BUILT, reason="needs a build with fault points")
@pytest.mark.parametrize("elsewhere", [True, False], ids=["a copy elsewhere", "the last copy"])
@pytest.mark.parametrize("way", ["recv", "write", "late", "loser"])
def test_a_process_that_is_killed_between_claim_and_hello(
    ends: tuple[adma.PipeEnd, adma.PipeEnd], elsewhere: bool, way: str
) -> None:
    """Nobody can claim its end any more, and the other end hears of the death."""
    one, other = ends

    def claim() -> None:
        one.close()
        lib.adma_fault_arm(lib.ADMA_FAULT_HANDSHAKE, lib.ADMA_FAULT_DIE, 0, 1)
        other.send("never", timeout=HANG)

    if way != "late":
        one.send("claimed")
    if way == "loser":  # about to claim the end, too, in a process that lives on
        other._early._handles.notes.claim()
    child = Child(claim)
    if way == "late":
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    if way == "loser":  # it has heard of the death before
        with pytest.raises(TimeoutError):
            one.recv(timeout=0.05)
        other._early._handles.notes.lose()
    if not elsewhere:
        other.close()
    with pytest.raises(adma.PeerDied):
        if way == "write":
            one.write(bytes(LARGE), timeout=HANG)
        else:
            one.recv(timeout=HANG)
    with pytest.raises(adma.PeerDied):
        one.send(1, timeout=HANG)
    child.kill()
    if elsewhere:
        with pytest.raises(adma.ChannelClosed, match="another process has claimed"):
            other.send(1)


def test_a_signal_handler_uses_the_end(ends: tuple[adma.PipeEnd, adma.PipeEnd]) -> None:
    """Its calls may come in the middle of any other, and so of a step of the handshake."""
    one, other = ends
    seen: list[bool] = []

    def look(*_: object) -> None:
        seen.append(one.poll(0))
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0001)  # not before: a slow one is not in itself

    before = signal.signal(signal.SIGVTALRM, look)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.0001)
    try:
        through(one, other)
        while len(seen) < 20:
            one.send(1)
            assert other.recv(timeout=HANG) == 1
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_signal_interrupts_a_write(
    ends: tuple[adma.PipeEnd, adma.PipeEnd], monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Right before its message is on the line, or right after: then it is read, in order."""
    one, other = ends
    put = Line.put

    def interrupted(line: Line, what: What, *rest: Any) -> Put:
        if what is What.MESSAGE:
            if when == "after":
                put(line, what, *rest)
            raise KeyboardInterrupt
        return put(line, what, *rest)

    one.send(1)
    with monkeypatch.context() as patch:
        patch.setattr(Line, "put", interrupted)
        with pytest.raises(KeyboardInterrupt):
            one.send(2)
    other.poll()
    other.send("hello")
    assert one.recv(timeout=HANG) == "hello"
    while type(one) is adma.PipeEnd:
        assert other.iprobe() is not None
        one.poll()
    one.send(3, timeout=HANG)
    expected = [1, 2, 3] if when == "after" else [1, 3]
    assert [other.recv(timeout=HANG) for _ in expected] == expected
    through(one, other)


@pytest.mark.parametrize("claims", [False, True])
def test_a_close_wakes_who_waits(ends: tuple[adma.PipeEnd, adma.PipeEnd], claims: bool) -> None:
    one, _ = ends
    said: list[str] = []

    def wait() -> None:
        try:
            if claims:
                one.recv(timeout=HANG)
            else:
                one.poll(HANG)
        except adma.ChannelClosed as error:
            said.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    while claims and "unclaimed" in repr(one):
        pass
    one.close()
    thread.join(HANG)
    assert said == ["the channel was closed on this side"]


# Event loops


def test_one_descriptor_serves_before_and_after_the_switch(
    ends: tuple[adma.PipeEnd, adma.PipeEnd],
) -> None:
    one, other = ends
    with selectors.EpollSelector() as selector:
        selector.register(other, selectors.EVENT_READ)
        assert selector.select(0) == []
        for number in range(20):
            one.send(number)
            assert selector.select(HANG)
            assert multiprocessing.connection.wait([other], HANG) == [other]
            assert adma.wait([one, other], HANG) == [other]
            assert other.recv() == number
            other.send(None)
            one.recv()
            assert adma.wait([one, other], 0) == []
            if number % 5 == 0:
                while selector.select(0):  # it may be readable for a moment in vain
                    assert other.iprobe() is None
        assert type(other).__name__ == "PipedChannel"
        one.close()
        assert selector.select(HANG)
        with contextlib.suppress(KeyError):
            selector.unregister(other)
    assert other.poll()


def test_too_few_descriptors() -> None:
    """Whatever is missing, the error says so, tells the cure, and leaves none open."""

    def run() -> list[str]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
        taken = []
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        told = []
        for _ in range(10):
            with pytest.raises(OSError, match=r"cure: .*ulimit -n") as caught:
                adma.pipe()
            told.append(str(caught.value))
            os.close(taken.pop())
        return told

    assert len(set(Child(run).said())) == 1
