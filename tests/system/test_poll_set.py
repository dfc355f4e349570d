# SPDX-License-Identifier: BSD-3-Clause
"""`adma.wait` between real processes: many channels, threads, signals, deaths, descriptors."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing.connection
import os
import platform
import resource
import signal
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

import adma
import adma.connection
from adma._core import operation
from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import CELL, EAGER, HANG, LARGE, MIB, SHORT
from adma.testing.observe import until, until_asleep
from adma.testing.payload import pattern
from support.calls import interrupts, many, polling
from support.endpoints import InThread
from support.mechanisms import NAMES

MANY = 200
MOST = 1000
MOST_FILES = 6 * MOST


def polled() -> int:
    """How many descriptors this process has to wait with."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found += "eventpoll" in os.readlink(f"/proc/self/fd/{name}")
    return found


def until_thread_asleep(thread: InThread) -> None:
    """Until it sleeps in poll(2) or epoll_pwait(2), and not in a lock."""
    path = f"/proc/self/task/{thread._thread.native_id}/syscall"
    calls = {"x86_64": ("7", "271", "281"), "aarch64": ("73", "22")}[platform.machine()]

    def asleep() -> bool:
        with open(path) as file:
            return file.read().split()[0] in calls

    until("the thread sleeps", asleep)


@pytest.fixture
def many_files() -> Iterator[None]:
    """Many channels need more descriptors than a process has by default."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


# Many channels


def test_two_busy_ones_of_many(many_files: None) -> None:
    with Peer() as peer:  # it inherits the limit
        channels = [peer.connect() for _ in range(MANY)]
        assert adma.wait(channels, timeout=0) == []
        busy, count = [7, 190], 400
        task = peer.begin(polling.write_in_turn, busy, count, 100)
        buffer, numbers = bytearray(100), []
        while len(numbers) < count:
            ready = adma.wait(channels, timeout=HANG)
            assert ready
            for channel in ready:
                assert channels.index(channel) in busy
                numbers.append(many.read_numbered(channel, buffer))
        task.result()
        assert Counter(numbers) == Counter(range(count))
        assert adma.wait(channels, timeout=0) == []


def test_all_of_many_at_once_and_in_order(many_files: None) -> None:
    with Peer() as peer:
        channels = [peer.connect() for _ in range(MANY)]
        peer.call(polling.write_on, list(range(MANY)), 10)
        for order in (channels, channels[::-1], channels[::3]):
            assert adma.wait(order, timeout=HANG) == order
        for channel in channels:
            channel.read(bytearray(10), timeout=HANG)
        assert adma.wait(channels, timeout=SHORT) == []
        peer.call(polling.write_on, [MANY - 1, 0], 10)
        assert adma.wait(channels, timeout=HANG) == [channels[0], channels[-1]]


@pytest.mark.thorough
@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[1] < MOST_FILES,
    reason=f"a thousand channels need `ulimit -Hn {MOST_FILES}`",
)
def test_a_thousand(many_files: None) -> None:
    """Each of them takes three descriptors, and one more once its `fileno()` was asked for."""
    with Peer() as peer:
        channels = [peer.connect() for _ in range(MOST)]
        ends: list[Any] = [*channels, *adma.connection.Pipe()]
        before = len(os.listdir("/proc/self/fd"))
        assert before < MOST_FILES * 3 // 4
        assert adma.wait(channels, timeout=0) == []
        assert adma.connection.wait(ends, 0) == []
        assert multiprocessing.connection.wait(ends, 0) == []
        assert len(os.listdir("/proc/self/fd")) < MOST_FILES
        waits = [
            InThread(lambda: adma.wait(channels, timeout=HANG)),
            InThread(lambda: adma.connection.wait(ends, HANG)),
            InThread(lambda: multiprocessing.connection.wait(ends, HANG)),
        ]
        for wait in waits:
            until_thread_asleep(wait)
        busy = [MOST - 1]
        peer.call(polling.write_on, busy, 10)
        for wait in waits:
            assert wait.result() == [channels[-1]]
        channels[-1].read(bytearray(10), timeout=HANG)
        peer.call(polling.write_on, list(range(MOST)), 10)
        assert adma.wait(channels, timeout=HANG) == channels
        assert adma.connection.wait(ends, HANG) == channels
        ends[-1].close()
        ends[-2].close()


@pytest.mark.parametrize("polls", [False, True])
@pytest.mark.parametrize("nbytes", [8, EAGER, CELL + 8])
def test_no_wake_up_is_lost(two_peers: tuple[Peer, Peer], nbytes: int, polls: bool) -> None:
    """Two peers write as fast as they can. `polls`: fileno() is open as well."""
    channels, count = [peer.connect() for peer in two_peers], 1000 if nbytes < CELL else 200
    if polls:
        assert all(channel.fileno() >= 0 for channel in channels)
    tasks = [peer.begin(many.write_stream, count, nbytes) for peer in two_peers]
    expected, buffer = dict.fromkeys(channels, 0), bytearray(nbytes)
    while sum(expected.values()) < 2 * count:
        ready = adma.wait(channels, timeout=HANG)
        assert ready, f"asleep, after {list(expected.values())} messages"
        for channel in ready:
            assert many.read_numbered(channel, buffer) == expected[channel]
            expected[channel] += 1
    for task in tasks:
        task.result()


def test_ping_pong_with_a_server_of_many(peer: Peer) -> None:
    """The server sleeps before every message: each wake-up matters."""
    channels, rounds = [peer.connect() for _ in range(10)], 300
    task = peer.begin(polling.serve, len(channels), 100)
    buffer = bytearray(100)
    for seed in range(rounds):
        channel = channels[seed * seed % len(channels)]
        channel.write(pattern(100, seed), timeout=HANG)
        assert channel.read(buffer, timeout=HANG) == 100
        assert buffer == pattern(100, seed)
        if seed % 10 == 0:
            until_asleep(peer.pid)
    for channel in channels:
        channel.close(timeout=HANG)
    assert task.result() == rounds


# Requests


@pytest.mark.parametrize("mechanism", NAMES)
def test_an_unobserved_completion_is_no_message(peer: Peer, mechanism: str) -> None:
    """It neither makes the channel ready, nor keeps the waiter awake."""
    channel = peer.connect(mechanism)
    request = channel.iread(bytearray(10))
    peer.call(messages.iwrite, "one", 10)
    assert adma.wait([request], timeout=HANG) == [request]
    assert channel.fileno() >= 0
    began, used = time.monotonic(), time.thread_time()
    assert adma.wait([channel], timeout=10 * SHORT) == []
    assert time.thread_time() - used < (time.monotonic() - began) / 2
    assert adma.wait([channel, request], timeout=HANG) == [request]
    assert request.check()
    assert peer.call(messages.wait, "one") == 10


@pytest.mark.parametrize("callers", [False, True])
def test_copies_messages_and_channels(peer: Peer, callers: bool) -> None:
    """`callers`: no thread of the library copies, so the thread that waits has to."""
    channels = [peer.connect() for _ in range(2)]
    if callers:
        adma.configure(queues=0)
    source, target = bytes(64 * MIB), bytearray(64 * MIB)
    reading = channels[1].iread(bytearray(LARGE))
    copying = adma.icopy(target, source)
    found: list[Any] = []
    while copying not in found:
        found = adma.wait([channels[0], reading, copying], timeout=HANG)
        assert found == [copying]
    peer.call(messages.write, LARGE)
    assert adma.wait([copying, channels[0], reading], timeout=HANG)[0] is copying
    assert adma.wait([channels[0], reading], timeout=HANG) == [reading]
    peer.call(polling.write_on, [0], 10)
    assert adma.wait([reading, copying, *channels], timeout=HANG) == [reading, copying, channels[0]]
    copying.wait()


def test_a_message_ends_a_wait_for_requests(peer: Peer) -> None:
    channels = [peer.connect() for _ in range(2)]
    pending = channels[0].iread(bytearray(10))
    task = InThread(lambda: adma.wait([pending, channels[1]], timeout=HANG))
    peer.call(messages.write, 10)
    assert task.result() == [channels[1]]
    assert pending.cancel()


def test_the_end_of_a_copy_ends_a_wait_for_channels(peer: Peer) -> None:
    channel = peer.connect()
    source, target = bytes(16 * MIB), bytearray(16 * MIB)
    for _ in range(20):
        copying = adma.icopy(target, source)
        assert adma.wait([channel, copying], timeout=HANG) == [copying]


def test_a_large_transfer_is_copied_meanwhile(peer: Peer) -> None:
    """A waiter for messages leaves requests to the progress thread."""
    channels = [peer.connect() for _ in range(2)]
    buffer = bytearray(LARGE)
    request = channels[0].iread(buffer)
    task = peer.begin(polling.write_on, [0, 1], LARGE)
    assert adma.wait([channels[1]], timeout=HANG) == [channels[1]]
    assert request.wait(timeout=HANG) == LARGE
    assert buffer == pattern(LARGE, 0)
    assert channels[1].read(buffer, timeout=HANG) == LARGE
    task.result()


def test_the_end_of_a_request_leaves_the_waiter_armed(peer: Peer) -> None:
    """The progress thread has nothing left to do on the channel on which the waiter sleeps."""
    channel = peer.connect()
    request: Any = channel.iwrite(pattern(LARGE))
    wait = InThread(lambda: adma.wait([channel], timeout=HANG))
    until_thread_asleep(wait)
    # Not by Request.cancel(), which looks at the channel once more.
    assert operation.cancel(channel._endpoint.chan, request._operations[0].req)
    peer.call(messages.write, 10)
    assert wait.result() == [channel]
    assert request.cancel()


def test_a_wake_up_that_another_thread_takes(peer: Peer) -> None:
    """It reads the byte from the socket and leaves the message, for which the waiter sleeps."""
    channel = peer.connect()
    for _ in range(20):
        wait = InThread(lambda: adma.wait([channel], timeout=HANG))
        until_thread_asleep(wait)
        writing = peer.begin(messages.write, 10)
        assert adma.wait([channel], timeout=HANG) == [channel]
        assert wait.result() == [channel]
        writing.result()
        channel.read(bytearray(10), timeout=HANG)


# Threads


def test_threads_wait_for_the_same_channels(peer: Peer) -> None:
    channels = [peer.connect() for _ in range(3)]
    waits = [InThread(lambda: adma.wait(channels, timeout=HANG)) for _ in range(4)]
    peer.call(messages.write, 10)
    for wait in waits:
        assert wait.result() == [channels[2]]
    channels[2].read(bytearray(10), timeout=HANG)


@pytest.mark.parametrize("nbytes", [8, CELL])
def test_threads_share_the_messages(peer: Peer, nbytes: int) -> None:
    """Each waits and then tries to read: whoever is first gets the message, and none is lost."""
    channel, count = peer.connect(), 500

    def take() -> list[int]:
        numbers, buffer = [], bytearray(nbytes)
        while True:
            assert adma.wait([channel], timeout=HANG) == [channel]
            try:
                got = channel.read(buffer, timeout=0)
            except TimeoutError:
                continue
            if not got:
                return numbers
            numbers.append(int.from_bytes(buffer[:4], "little"))

    threads = [InThread(take) for _ in range(3)]
    task = peer.begin(polling.write_for, len(threads), count, nbytes)
    numbers = [number for thread in threads for number in thread.result()]
    task.result()
    assert sorted(numbers) == list(range(count))


def test_a_blocking_reader_beside_a_waiter(peer: Peer) -> None:
    """A thread that reads all messages of a channel does not hide those of another channel."""
    channels, count = [peer.connect() for _ in range(2)], 400
    task = peer.begin(polling.write_in_turn, [0, 1], count, 100)
    reader = InThread(
        lambda: [many.read_numbered(channels[0], bytearray(100)) for _ in range(count // 2)]
    )
    numbers, buffer = [], bytearray(100)
    while len(numbers) < count // 2:
        if channels[1] in adma.wait(channels, timeout=HANG):
            numbers.append(many.read_numbered(channels[1], buffer))
    assert numbers == list(range(1, count, 2))
    assert reader.result() == list(range(0, count, 2))
    task.result()


@pytest.mark.parametrize("with_request", [False, True])
def test_close_ends_the_wait(peer: Peer, with_request: bool) -> None:
    for turn in range(20):
        channels = [peer.connect() for _ in range(2)]
        things: list[Any] = list(channels)
        if with_request:
            things.append(channels[0].iread(bytearray(10)))
        began = time.monotonic()
        wait = InThread(lambda things=things: adma.wait(things, timeout=HANG))
        if turn % 2:
            until("it waits", lambda: polled() > 0)
        channels[1].close(timeout=HANG)
        with pytest.raises(adma.ChannelClosed, match=r"objects\[1\].*closed on this side"):
            wait.result()
        assert time.monotonic() - began < HANG / 2
        channels[0].close(timeout=HANG)


@pytest.mark.parametrize("with_channel", [False, True])
def test_cancel_ends_the_wait(peer: Peer, with_channel: bool) -> None:
    channel, other = peer.connect(), peer.connect()
    for _ in range(20):
        request = channel.iread(bytearray(10))
        things = [other, request] if with_channel else [request]
        wait = InThread(lambda things=things: adma.wait(things, timeout=HANG))
        assert request.cancel()
        assert wait.result() == [request]


# Deaths, forks, signals


def test_one_of_several_peers_is_killed(two_peers: tuple[Peer, Peer]) -> None:
    channels = [peer.connect() for peer in two_peers]
    assert adma.wait(channels, timeout=0) == []
    wait = InThread(lambda: adma.wait(channels, timeout=HANG))
    two_peers[1].kill()
    assert wait.result() == [channels[1]]
    with pytest.raises(adma.PeerDied):
        channels[1].iprobe()
    two_peers[0].call(messages.write, 10)
    assert adma.wait(channels, timeout=HANG)[-1] is channels[1]
    assert adma.wait(channels, timeout=HANG) == channels


def test_a_forked_child(peer: Peer) -> None:
    channels = [peer.connect() for _ in range(3)]
    found = peer.call(polling.wait_in_child)
    assert "objects[0]" in found["inherited"]
    assert "fork" in found["inherited"]
    assert found["status"] == 0
    assert found["polled"] == []
    assert found["before"] == found["after"] == 0
    channels[1].write(b"x", timeout=HANG)
    assert peer.call(polling.wait_in_child)["after"] == 1


@pytest.mark.parametrize("threads", [0, 1])
@pytest.mark.parametrize("call", ["poll", "poll_mixed"])
def test_ctrl_c_asleep(peer: Peer, call: str, threads: int) -> None:
    channel = peer.connect()
    peer.call(messages.iread, "posted", 10)
    if threads:
        peer.call(interrupts.start_thread)
    try:
        for _ in range(5):
            task = peer.begin(interrupts.block, call, LARGE)
            assert peer.heard() == "blocking"
            until_asleep(peer.pid)
            peer.signal(signal.SIGINT)
            assert task.result() == "interrupted"
    finally:
        if threads:
            peer.call(interrupts.end_thread)
    assert peer.call(messages.cancel, "posted")
    reading = peer.begin(messages.read, 5)
    channel.write(b"after", timeout=HANG)
    assert reading.result() == b"after"


@pytest.mark.parametrize("call", ["poll", "poll_mixed"])
def test_ctrl_c_on_the_way_to_sleep(peer: Peer, call: str) -> None:
    channel = peer.connect()
    peer.call(messages.iread, "posted", 10)
    for _ in range(40):
        task = peer.begin(interrupts.block, call, LARGE)
        assert peer.heard() == "blocking"
        peer.signal(signal.SIGINT)
        assert task.result() == "interrupted"
    assert peer.call(messages.cancel, "posted")
    reading = peer.begin(messages.read, 5)
    channel.write(b"after", timeout=HANG)
    assert reading.result() == b"after"


def test_a_handler_that_waits_itself(peer: Peer) -> None:
    channels = [peer.connect() for _ in range(2)]
    task = peer.begin(polling.wait_under_handler)
    assert peer.heard() == "blocking"
    for count in range(1, 4):
        until_asleep(peer.pid)
        peer.signal(signal.SIGUSR2)
        assert peer.heard() == count
    channels[1].write(b"x", timeout=HANG)
    assert task.result() == (1, [[], [], []])


# What a wait holds


def test_a_channel_that_is_dropped_leaves(peer: Peer) -> None:
    """The poll set does not keep it alive, and goes on without it."""
    channels = [peer.connect() for _ in range(3)]
    kept = peer._channels.pop()  # the test's own reference
    assert kept is channels[2]
    del kept
    assert adma.wait(channels, timeout=0) == []
    gone = weakref.ref(channels[2])
    with pytest.warns(ResourceWarning, match="unclosed"):
        channels.pop()
    gc.collect()
    assert gone() is None
    assert adma.wait(channels, timeout=0) == []
    channels.append(peer.connect())
    assert adma.wait(channels, timeout=0) == []
    peer.call(messages.write, 10)
    assert adma.wait(channels, timeout=HANG) == [channels[2]]


def test_a_channel_whose_request_outlives_it(peer: Peer) -> None:
    """A new channel in the place of the old one in memory is told from it."""
    for _ in range(20):
        channel = peer.connect()
        peer._channels.remove(channel)
        adma.wait([channel], timeout=0)
        request = channel.iread(bytearray(10))
        place = id(channel)
        del channel
        other = peer.connect()
        peer.call(messages.write, 5)
        assert adma.wait([other], timeout=HANG) == [other]
        other.read(bytearray(5), timeout=HANG)
        assert request.cancel()
        request._endpoint.close(None)
        if id(other) == place:
            break


def test_descriptors_are_few_and_go(peer: Peer) -> None:
    channels = [peer.connect() for _ in range(4)]
    before = polled()
    for turn in range(50):
        chosen = [channel for place, channel in enumerate(channels) if (turn + 1) >> place & 1]
        adma.wait(chosen or channels, timeout=0)
        assert polled() == before + 1
    for _ in range(5):
        InThread(lambda: adma.wait(channels, timeout=0)).result()
    until("those of threads that ended are closed", lambda: polled() == before + 1)
    for channel in channels[1:]:
        channel.close(timeout=HANG)
    adma.wait(channels[:1], timeout=0)
    assert polled() == before + 1
    channels[0].close(timeout=HANG)
    assert polled() == before


def test_no_descriptor_is_left(peer: Peer) -> None:
    channel = peer.connect()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with pytest.raises(OSError, match=r"many channels cannot be waited for.*ulimit -n"):
            adma.wait([channel], timeout=HANG)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    peer.call(messages.write, 10)
    assert adma.wait([channel], timeout=HANG) == [channel]


# Arguments


def test_what_it_takes(peer: Peer) -> None:
    channel = peer.connect()
    peer.call(messages.write, 10)
    assert adma.wait(iter((channel, channel)), timeout=HANG) == [channel, channel]
    assert adma.wait({channel: 1}, timeout=HANG) == [channel]
    assert adma.wait((channel,), timeout=None) == [channel]


def test_what_it_refuses(peer: Peer) -> None:
    channel = peer.connect()
    adma.wait([channel], timeout=0)
    for wrong in ([channel, 7], [channel, None], [channel, channel.fileno()], [channel, [channel]]):
        with pytest.raises(TypeError, match=r"objects\[1\] is neither a channel nor a request"):
            adma.wait(wrong, timeout=0)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="pass a list"):
        adma.wait(channel, timeout=0)  # type: ignore[call-overload, arg-type, type-var]
    with pytest.raises(ValueError, match=r"wait\(timeout\)"):
        adma.wait([channel], timeout=-1)
    with pytest.raises(TypeError, match=r"wait\(timeout\)"):
        adma.wait([channel], timeout="1")  # type: ignore[arg-type]
    other = peer.connect()
    channel.close(timeout=HANG)
    for _ in range(2):
        with pytest.raises(adma.ChannelClosed, match=r"objects\[1\].*closed on this side"):
            adma.wait([other, channel], timeout=HANG)
    assert adma.wait([other], timeout=0) == []


def test_nothing_to_wait_for() -> None:
    assert adma.wait([], timeout=0) == []
    began = time.monotonic()
    assert adma.wait((), timeout=SHORT) == []
    assert time.monotonic() - began >= SHORT
    with pytest.raises(ValueError, match="no objects"):
        adma.wait([])
