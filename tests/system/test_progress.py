# SPDX-License-Identifier: BSD-3-Clause
"""Progress between processes: a matched message is copied, even while no thread is in a call.

A process that "computes" here makes no call of the library from its post until its request
is done.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import threading

import pytest

import adma
from adma.testing import Peer
from adma.testing.calls import death, messages, traffic
from adma.testing.limits import CELL, GIB, HANG, KIB, LARGE, MIB, SHORT
from adma.testing.observe import until, until_asleep, until_stopped
from adma.testing.payload import Repeated, difference, pattern
from support import engine
from support.calls import computing, faults, forks
from support.endpoints import InThread
from support.mechanisms import FORCED
from support.quick import QUICK

MECHANISMS = [name for name in ("mapped:cma", "shared", "loopback:tcp") if name in FORCED]
pytestmark = pytest.mark.alone  # both cores are needed, and the load of the machine is looked at
IDLE_S = 4 if QUICK else 10
TRIES = 5


def total(reader: Peer, writer: Peer) -> int:
    """Chunks that either end copied, each of which the mechanism counts for itself."""
    return int(reader.call(computing.chunks)["copied"] + writer.call(computing.chunks)["copied"])


def arrived(reader: Peer, nbytes: int, seed: int) -> None:
    assert not difference(reader.call(messages.content, "read"), pattern(nbytes, seed))


# Processes that compute


@pytest.mark.parametrize("first", ["reader", "writer"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_both_compute(two_peers: tuple[Peer, Peer], mechanism: str, first: str) -> None:
    """The progress threads of both fill and drain a stream; one of them makes a single copy."""
    reader, writer = two_peers
    reader.connect_to(writer, mechanism)
    posts = [(reader, messages.iread, "read", LARGE), (writer, messages.iwrite, "write", LARGE, 1)]
    tasks = []
    for peer, post, name, *rest in posts if first == "reader" else reversed(posts):
        peer.call(post, name, *rest)
        tasks.append(peer.begin(computing.compute_until_done, name))
    for task in tasks:
        task.result()
    arrived(reader, LARGE, 1)
    counts = [peer.call(computing.chunks) for peer in two_peers]
    # No thread was in the library but for the post, which copies nothing.
    assert all(count["mover"] + count["queues"] == count["copied"] for count in counts)
    if mechanism == "mapped:cma":
        assert sum(count["copied"] for count in counts) == sum(count["peer"] for count in counts)
        assert sum(count["copied"] for count in counts) == 16
    else:
        assert all(count["copied"] == counts[0]["copied"] > 0 for count in counts)


def test_queues_help_while_both_compute(two_peers: tuple[Peer, Peer]) -> None:
    """Idle copy worker threads assist the progress thread with a large message."""
    reader, writer = two_peers
    for each in two_peers:
        each.call(computing.set_engine, "thread", 2)
    reader.connect_to(writer, "mapped:cma")
    number = 0

    def helped() -> bool:
        nonlocal number
        number += 1
        reader.call(messages.iread, "read", LARGE)
        writer.call(messages.iwrite, "write", LARGE, number)
        tasks = [
            peer.begin(computing.compute_until_done, name)
            for peer, name in ((reader, "read"), (writer, "write"))
        ]
        for task in tasks:
            task.result()
        arrived(reader, LARGE, number)
        assert total(reader, writer) == 16 * number
        return any(peer.call(computing.chunks)["queues"] for peer in two_peers)

    until("a queue copied a chunk", helped)


@pytest.mark.parametrize("engine_and_schedule", [("caller", "adaptive"), ("thread", "round-robin")])
def test_only_the_progress_thread_copies(
    two_peers: tuple[Peer, Peer], engine_and_schedule: tuple[str, str]
) -> None:
    """There are no copy workers, or their schedule is the paper's, which is for copies alone."""
    reader, writer = two_peers
    name, schedule = engine_and_schedule
    for each in two_peers:
        each.call(computing.set_engine, name, 2, schedule)
    reader.connect_to(writer, "mapped:cma")
    reader.call(messages.iread, "read", LARGE)
    writer.call(messages.iwrite, "write", LARGE, 1)
    task = writer.begin(computing.compute_until_done, "write")
    reader.call(computing.compute_until_done, "read")
    task.result()
    arrived(reader, LARGE, 1)
    assert not any(peer.call(computing.chunks)["queues"] for peer in two_peers)


def test_the_engine_is_configured_while_queues_help(peer: Peer) -> None:
    """Copy worker threads start and stop meanwhile, and no part of the message is lost."""
    channel = peer.connect("mapped:cma")
    with Repeated(GIB, window=MIB) as ours:
        copying = peer.begin(computing.copy_repeated, GIB, MIB, "writer")
        assert peer.heard() == "posted"
        request = channel.iread(ours.view)
        queues = 1
        while not computing.is_done(request):
            queues = 3 - queues
            adma.configure(engine="thread", queues=queues)
        assert request.wait(HANG) == GIB
        copying.result()
        del request


@pytest.mark.parametrize("waits", ["before", "after"])
@pytest.mark.parametrize("computes", ["reader", "writer"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_one_computes(
    two_peers: tuple[Peer, Peer], mechanism: str, computes: str, waits: str
) -> None:
    """The other one is in a blocking call, which began before the post or after it.

    The thread that waits copies first. It has 10 ms to begin, in which a busy machine may not run
    it: so it has several tries.
    """
    reader, writer = two_peers
    busy, idle = (reader, writer) if computes == "reader" else (writer, reader)
    for _ in range(TRIES):
        reader.connect_to(writer, mechanism)
        carry_beside_computing(busy, idle, reads=computes == "reader", first=waits == "before")
        if computes == "reader":
            arrived(reader, LARGE, 1)
        its, other = busy.call(computing.chunks), idle.call(computing.chunks)
        assert other["mover"] == 0  # it had a thread in the call
        assert its["mover"] + its["queues"] == its["copied"]
        if mechanism != "mapped:cma":
            return
        assert its["copied"] + other["copied"] == 16  # no chunk was copied twice
        if other["copied"] == 16:
            return
    pytest.fail("the thread that waits never copied first")


def carry_beside_computing(busy: Peer, idle: Peer, *, reads: bool, first: bool) -> None:
    """`busy` posts and computes; the other one is in a blocking call, `first` or after that."""
    if reads:
        post, name, rest = messages.iread, "read", (LARGE,)
        call, arguments = messages.write, (LARGE, 1)
    else:
        post, name, rest = messages.iwrite, "write", (LARGE, 1)
        call, arguments = messages.read_expected, (LARGE, 1)
    if not first:
        busy.call(post, name, *rest)
        computation = busy.begin(computing.compute_until_done, name)
    calling = idle.begin(call, *arguments)
    if first:
        until_asleep(idle.pid)
        busy.call(post, name, *rest)
        computation = busy.begin(computing.compute_until_done, name)
    calling.result()
    computation.result()


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_both_wait(two_peers: tuple[Peer, Peer], mechanism: str) -> None:
    """When all calls block, no progress thread is started."""
    reader, writer = two_peers
    reader.connect_to(writer, mechanism)
    before = [peer.call(computing.progress_stats)["starts"] for peer in two_peers]
    reading = reader.begin(messages.read_expected, LARGE, 1)
    writer.call(messages.write, LARGE, 1)
    reading.result()
    assert [peer.call(computing.progress_stats)["starts"] for peer in two_peers] == before
    for peer in two_peers:
        assert peer.call(computing.chunks)["mover"] == 0


@pytest.mark.parametrize("role", ["reader", "writer"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_interpreter_is_not_needed(
    two_peers: tuple[Peer, Peer], mechanism: str, role: str
) -> None:
    """The process computes in steps during which no other Python thread can run."""
    reader, writer = two_peers
    reader.connect_to(writer, mechanism)
    reader.call(messages.iread, "read", LARGE)
    writer.call(messages.iwrite, "write", LARGE, 2)
    deaf, other = (reader, writer) if role == "reader" else (writer, reader)
    name, other_name = ("read", "write") if role == "reader" else ("write", "read")
    task = deaf.begin(computing.compute_deaf, name)
    other.call(computing.compute_until_done, other_name)
    task.result()
    arrived(reader, LARGE, 2)


def test_a_backlog_goes_out(two_peers: tuple[Peer, Peer]) -> None:
    """There are more messages than the ring holds: the rest follows when the reader makes room."""
    reader, writer = two_peers
    reader.connect_to(writer)
    count = 300
    for number in range(count):
        writer.call(messages.iwrite, f"{number}", 4000, number)
    task = writer.begin(computing.compute_until_done, *map(str, range(count)))
    reader.call(messages.read_all, [4000] * count)
    task.result()


# The way from a call to the thread, and back


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("leaves", ["timeout", "check", "interrupt"])
def test_a_call_ends_without_the_request(
    two_peers: tuple[Peer, Peer], mechanism: str, leaves: str
) -> None:
    """From then on the progress thread owns the request, and a later message wakes it."""
    reader, writer = two_peers
    reader.connect_to(writer, mechanism)
    reader.call(messages.iread, "read", LARGE)
    if leaves == "timeout":
        task = reader.begin(computing.wait_in_vain, "read", SHORT)
    elif leaves == "check":
        task = reader.begin(computing.ask_in_vain, "read", 100)
    else:
        task = reader.begin(computing.wait_interrupted, "read")
        assert reader.heard() == "waiting"
        until_asleep(reader.pid)
        reader.signal(signal.SIGINT)
    assert reader.heard() == "computing"
    writer.call(messages.iwrite, "write", LARGE, 3)
    writing = writer.begin(computing.compute_until_done, "write")
    reader.say()
    task.result()
    writing.result()
    arrived(reader, LARGE, 3)


def test_wait_any_returns_with_one(two_peers: tuple[Peer, Peer]) -> None:
    reader, writer = two_peers
    reader.connect_to(writer, "mapped:cma")
    for name in ("first", "second", "third"):
        reader.call(messages.iread, name, LARGE)
    task = reader.begin(computing.wait_for_first, "first", ["second", "third"])
    names = []
    for seed in range(3):
        names.append(f"{seed}")
        writer.call(messages.iwrite, names[-1], LARGE, seed)
    writer.call(computing.compute_until_done, *names)
    task.result()


@pytest.mark.parametrize("nbytes", [20_000, MIB])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_to_and_fro(two_peers: tuple[Peer, Peer], mechanism: str, nbytes: int) -> None:
    """Both ends time out, check and compute in random order: no wake-up is lost."""
    reader, writer = two_peers
    reader.connect_to(writer, mechanism)
    rounds = 300 if nbytes < MIB else 60
    task = reader.begin(computing.hurry, rounds, nbytes, "reader", 1)
    writer.call(computing.hurry, rounds, nbytes, "writer", 2)
    task.result()


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_another_thread_sleeps_on_the_channel(peer: Peer, mechanism: str) -> None:
    """It owns the channel's progress: the thread that posted computes, and the sleeper copies."""
    channel = peer.connect(mechanism)
    buffer = bytearray(LARGE)
    sleeper = threading.Thread(target=lambda: channel.probe(timeout=HANG))
    request = channel.iread(buffer)
    sleeper.start()
    peer.call(messages.iwrite, "write", LARGE, 4)
    writing = peer.begin(computing.compute_until_done, "write")
    assert computing.until_done(request)
    writing.result()
    assert not difference(buffer, pattern(LARGE, 4))
    peer.call(messages.iwrite, "another", 1)
    sleeper.join(HANG)
    assert not sleeper.is_alive()


def test_an_event_loop_hears_of_it(peer: Peer) -> None:
    """The loop sleeps on the descriptor only, and is woken by what the other side completed."""
    channel = peer.connect("mapped:cma")
    buffer = bytearray(LARGE)
    request = channel.iread(buffer)
    number = channel.fileno("completions")
    peer.call(messages.iwrite, "write", LARGE, 5)
    writing = peer.begin(computing.compute_until_done, "write")
    assert computing.until_done(request)
    assert select.select([number], [], [], HANG)[0]
    assert request.check()
    assert not select.select([number], [], [], 0)[0]
    writing.result()


# Sleep


def test_few_wake_ups_while_nothing_happens(two_peers: tuple[Peer, Peer]) -> None:
    """For seconds, with channels that were used, and one with requests that meet nothing.

    Counted by the core, and by the kernel. Once a second the progress thread looks whether its
    descriptors are still its own.
    """
    reader, writer = two_peers
    for mechanism in MECHANISMS:
        reader.connect_to(writer, mechanism)
        reader.call(messages.iread, "read", LARGE)
        writer.call(messages.iwrite, "write", LARGE, 1)
        task = reader.begin(computing.compute_until_done, "read")
        writer.call(computing.compute_until_done, "write")
        task.result()
    reader.connect_to(writer)
    reader.call(messages.iread, "unmet", LARGE)
    writer.call(messages.iread, "unmet", LARGE)
    reader.connect_to(writer)
    reader.call(messages.iwrite, "unread", LARGE)
    asleep = {}
    for peer in two_peers:
        (tid,) = computing.progress_threads(peer.pid)
        assert peer.call(computing.progress_stats)["channels"] >= 4
        asleep[peer] = tid

    def counts() -> list[int]:
        return [
            count
            for peer, tid in asleep.items()
            for count in (
                peer.call(computing.progress_stats)["looks"],
                computing.switches(peer.pid, tid),
            )
        ]

    select.select([], [], [], 0.2)  # it may still be awake for the traffic before
    woken = [peer.call(computing.progress_stats)["wakeups"] for peer in two_peers]
    settled = counts()
    select.select([], [], [], IDLE_S)  # the time itself is what the test is about
    for before, after in zip(settled, counts(), strict=True):
        assert IDLE_S - 2 <= after - before <= IDLE_S + 2
    assert [peer.call(computing.progress_stats)["wakeups"] for peer in two_peers] == woken


def test_an_idle_wait_takes_no_time(two_peers: tuple[Peer, Peer]) -> None:
    """Seconds in a call cost next to no CPU time: the bar is 5 ms in ten, and a loop is found."""
    reader, writer = two_peers
    reader.connect_to(writer)
    waiting = [peer.begin(computing.probe_in_vain, IDLE_S + 1) for peer in two_peers]
    for peer in two_peers:
        until_asleep(peer.pid)
    before = sum(computing.cpu_ns(peer.pid) for peer in two_peers)
    select.select([], [], [], IDLE_S)  # the time itself is what the test is about
    spent = sum(computing.cpu_ns(peer.pid) for peer in two_peers) - before
    for task in waiting:
        task.result()
    assert spent < IDLE_S * 5_000_000


def test_small_traffic_does_not_wake_it(two_peers: tuple[Peer, Peer]) -> None:
    """The progress thread is there, but for another channel."""
    reader, writer = two_peers
    for peer in two_peers:
        reader.connect_to(writer)
        peer.call(messages.iread, "unmet", LARGE)
    reader.connect_to(writer)
    before = [peer.call(computing.progress_stats)["wakeups"] for peer in two_peers]
    task = reader.begin(computing.small_traffic, 300, "reader")
    writer.call(computing.small_traffic, 300, "writer")
    task.result()
    assert [peer.call(computing.progress_stats)["wakeups"] for peer in two_peers] == before
    for peer in two_peers:
        assert peer.call(messages.cancel, "unmet")


def test_a_window_of_posts_does_not_wake_it(peer: Peer) -> None:
    channel = peer.connect("mapped:cma")
    before = computing.progress_stats()["wakeups"]
    requests = [channel.iread(bytearray(CELL)) for _ in range(64)]
    assert computing.progress_stats()["wakeups"] == before
    assert computing.progress_stats()["channels"] == 1
    assert all(request.cancel() for request in requests)


@pytest.mark.faults
def test_wait_any_returns_with_a_copy(peer: Peer) -> None:
    """From then on the progress thread owns the message, as after a wait for it alone."""
    channel = peer.connect("shared")
    buffer = bytearray(MIB)
    request = channel.iread(buffer)
    with engine.held(MIB) as (copy, _):
        waiting = InThread(lambda: adma.wait_any([request, copy], timeout=HANG))
        until("it sleeps", lambda: channel.stats()["sleeps"] > 0)
        engine.release()
        assert waiting.result() == 1
    writing = peer.begin(messages.write, MIB)
    until("it is copied", lambda: request._operations[0].done)
    writing.result()
    assert request.wait(timeout=HANG) == MIB
    assert not difference(buffer, pattern(MIB, 0))


def test_more_short_reads_than_the_ring_holds(peer: Peer) -> None:
    """The ring has room for each of them but not for all, and their reader computes."""
    channel = peer.connect()
    sizes = [8192] * 12
    peer.call(traffic.post_reads, sizes)
    requests = [channel.iwrite(pattern(nbytes, seed)) for seed, nbytes in enumerate(sizes)]
    assert adma.wait_all(requests, timeout=HANG) == sizes
    peer.call(traffic.finish_reads, sizes)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_again_and_again_while_both_compute(two_peers: tuple[Peer, Peer], mechanism: str) -> None:
    """Messages come at any moment of the time it stays awake; none is left to the next call."""
    reader, writer = two_peers
    reader.connect_to(writer, mechanism)
    for seed in range(100):
        reader.call(messages.iread, "read", 128 * KIB)
        writer.call(messages.iwrite, "write", 128 * KIB, seed)
        tasks = [
            reader.begin(computing.compute_until_done, "read"),
            writer.begin(computing.compute_until_done, "write"),
        ]
        for task in tasks:
            task.result()
        arrived(reader, 128 * KIB, seed)


# The thread


def test_one_thread_for_two_hundred_channels(two_peers: tuple[Peer, Peer]) -> None:
    reader, writer = two_peers
    count, nbytes = 200, CELL
    for _ in range(count):
        reader.connect_to(writer)
    reader.call(computing.iread_each, count, nbytes)
    assert len(computing.progress_threads(reader.pid)) == 1
    names = [f"{number}" for number in range(count)]
    reading = reader.begin(computing.compute_until_done, *names)
    writer.call(computing.iwrite_each, count, nbytes)
    assert len(computing.progress_threads(writer.pid)) == 1
    writer.call(computing.compute_until_done, *names)
    reading.result()
    reader.call(computing.contents, count, nbytes)
    assert reader.call(computing.progress_stats)["channels"] == count


def test_it_ends_with_the_last_channel(peer: Peer) -> None:
    channels = [peer.connect(), peer.connect()]
    for channel in channels:
        channel.iread(bytearray(LARGE))
    (tid,) = computing.progress_threads(os.getpid())
    blocked = int(computing.status(os.getpid(), tid)["SigBlk"], 16)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGUSR1):
        assert blocked >> (number - 1) & 1
    channels[0].close(timeout=HANG)
    assert computing.progress_stats()["running"] == 1
    channels[1].close(timeout=HANG)
    assert computing.progress_stats()["running"] == 0
    assert not computing.progress_threads(os.getpid())
    again = peer.connect()
    again.iread(bytearray(LARGE))
    assert computing.progress_stats()["running"] == 1
    peer.call(messages.nothing)


@pytest.mark.faults
def test_it_cannot_be_started(fresh_peers: tuple[Peer, Peer]) -> None:
    """The failure is counted; progress is made in calls, as it would be without the thread."""
    reader, writer = fresh_peers  # it is not tried again for a while
    reader.connect_to(writer, "mapped:cma")
    reader.call(faults.arm, faults.PROGRESS_THREAD, "fail", errno.EAGAIN)
    with pytest.raises(RuntimeWarning, match="no progress thread"):  # it is an error here
        reader.call(messages.iread, "read", LARGE)
    reader.call(messages.iread, "read", LARGE)  # the first one was taken back
    stats = reader.call(computing.progress_stats)
    assert (stats["failures"], stats["error"], stats["running"]) == (1, errno.EAGAIN, 0)
    writing = writer.begin(messages.write, LARGE, 6)
    assert reader.call(messages.wait, "read") == LARGE
    writing.result()
    arrived(reader, LARGE, 6)
    # Later it is there.
    until("it is tried again", lambda: reader.call(computing.tried_again))


# Ends of all kinds


def test_fork_while_queues_come_and_go(two_peers: tuple[Peer, Peer]) -> None:
    """The thread that stops workers waits for them, a worker takes the progress thread's lock, and
    a fork takes all locks: they do not wait for each other.
    """
    reader, writer = two_peers
    reader.connect_to(writer, "mapped:cma")
    writing = writer.begin(computing.write_until_closed, LARGE)
    assert reader.call(computing.fork_while_configured, 200) == 200
    writing.result()


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_fork_while_pending(two_peers: tuple[Peer, Peer], mechanism: str) -> None:
    """The child has no progress thread; the parent's goes on."""
    reader, writer = two_peers
    reader.connect_to(writer, mechanism)
    reader.call(messages.iread, "read", LARGE)
    child = reader.call(forks.leave_child)
    try:
        assert not computing.progress_threads(child)
        task = reader.begin(computing.compute_until_done, "read")
        writer.call(messages.iwrite, "write", LARGE, 7)
        writer.call(computing.compute_until_done, "write")
        task.result()
    finally:
        reader.call(forks.end_child, child)
    arrived(reader, LARGE, 7)


def test_the_child_of_a_fork_has_one_of_its_own(peer: Peer) -> None:
    peer.connect()
    peer.call(messages.iread, "unmet", LARGE)
    assert peer.call(forks.talk_posted_in_child, LARGE) == 0
    assert len(computing.progress_threads(peer.pid)) == 1


@pytest.mark.parametrize("role", ["reader", "writer"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_close_while_it_copies(peer: Peer, mechanism: str, role: str) -> None:
    """What is being copied is copied to its end."""
    channel = peer.connect(mechanism)
    with Repeated(GIB, window=MIB) as ours:
        theirs = "writer" if role == "reader" else "reader"
        copying = peer.begin(computing.copy_repeated, GIB, MIB, theirs)
        assert peer.heard() == "posted"
        request = (channel.iread if role == "reader" else channel.iwrite)(ours.view)
        assert computing.until_moved(request)
        assert not computing.is_done(request)
        channel.close(timeout=HANG)
        assert computing.is_done(request)
        assert not computing.progress_threads(os.getpid())
        assert request.wait(timeout=0) == GIB
        copying.result()
        del request


def test_close_at_once_while_only_it_copies(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The close needs no time: the peer holds nothing, and no buffer is kept."""
    monkeypatch.setenv("ADMA_COPIERS", "reader")
    peer.call(computing.set_copiers, "reader")
    channel = peer.connect("mapped:cma")
    peer.call(computing.set_copiers, "both")
    with Repeated(GIB, window=MIB) as ours:
        copying = peer.begin(computing.copy_repeated, GIB, MIB, "writer")
        assert peer.heard() == "posted"
        request = channel.iread(ours.view)
        assert computing.until_moved(request)
        channel.close(timeout=0)
        with pytest.raises(adma.ChannelClosed):
            request.check()
        copying.result()
        del request


@pytest.mark.parametrize("role", ["reader", "writer"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_kill_while_it_copies(peer: Peer, mechanism: str, role: str) -> None:
    """The survivor goes on computing, and then finds that the request failed."""
    channel = peer.connect(mechanism)
    with Repeated(GIB, window=MIB) as ours:
        theirs = "writer" if role == "reader" else "reader"
        peer.begin(computing.copy_repeated, GIB, MIB, theirs)
        assert peer.heard() == "posted"
        request = (channel.iread if role == "reader" else channel.iwrite)(ours.view)
        assert computing.until_moved(request)
        peer.kill()
        assert computing.until_done(request)
        with pytest.raises(adma.PeerDied):
            request.check()
        channel.close(timeout=HANG)
        del request


def test_death_while_a_child_holds_the_socket(peer: Peer) -> None:
    """The peer's pidfd tells, also a process that only computes."""
    channel = peer.connect()
    request = channel.iread(bytearray(LARGE))
    child = peer.call(death.fork_a_holder)
    try:
        peer.kill()
        assert computing.until_done(request)
        with pytest.raises(adma.PeerDied):
            request.check()
    finally:
        death.end_holder(child)


@pytest.mark.faults
def test_a_peer_that_is_stopped_in_the_middle(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stopped peer has claimed a chunk that nobody else may copy: the close gives up on it."""
    monkeypatch.setenv("ADMA_COPIERS", "writer")
    channel = peer.connect("mapped:cma")
    peer.call(faults.arm, faults.CHUNK, "stop")
    peer.call(messages.iwrite, "write", LARGE)
    peer.begin(computing.compute_until_done, "write")
    request = channel.iread(bytearray(LARGE))
    until_stopped(peer.pid)
    assert not computing.is_done(request)
    with pytest.raises(TimeoutError, match="quarantine"):
        channel.close(timeout=SHORT)
    assert computing.is_done(request)
    until("the thread ends", lambda: not computing.progress_threads(os.getpid()))
    peer.kill()


def test_who_waits_cannot_copy(two_peers: tuple[Peer, Peer]) -> None:
    """Only the writer may copy here, and it computes: its thread stops waiting for the reader."""
    reader, writer = two_peers
    for peer in two_peers:
        peer.call(computing.set_copiers, "writer")
    try:
        reader.connect_to(writer, "mapped:cma")
        reading = reader.begin(messages.read_expected, LARGE, 8)
        writer.call(messages.iwrite, "write", LARGE, 8)
        writer.call(computing.compute_until_done, "write")
        reading.result()
        counts = writer.call(computing.chunks)
        assert counts["mover"] + counts["queues"] == 16
    finally:
        for peer in two_peers:
            peer.call(computing.set_copiers, "both")
