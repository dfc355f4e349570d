# SPDX-License-Identifier: BSD-3-Clause
"""Blocking calls whose time is over when the message is matched: they go on while bytes move."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import adma
from adma.testing import Peer
from adma.testing.calls import messages, objects
from adma.testing.limits import HANG, LARGE, MIB, SHORT
from adma.testing.observe import until_asleep, until_stopped
from adma.testing.payload import pattern
from support.calls import faults, stalling
from support.endpoints import InThread
from support.mechanisms import NAMES

pytestmark = pytest.mark.faults

#: With the others the kernel copies, also for a process that is stopped.
COPIED_HERE = [name for name in NAMES if name not in ("dma", "mapped:helper")]
CALLS = ["read", "write", "recv", "send"]
NBYTES = 16 * MIB
SLOW = 0.03  # seconds for each chunk of loopback:tcp: some MB in a second


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    """Disarm the fault points that a test armed in this process."""
    yield
    faults.disarm_all()


def again(call: Callable[[], Any]) -> Any:
    """Try again while the message is not matched in time."""
    deadline = time.monotonic() + HANG
    while True:
        try:
            return call()
        except adma.Stalled:
            raise
        except TimeoutError:
            assert time.monotonic() < deadline


class Blocked:
    """A call whose time is over soon, and what the peer does at the other end of it."""

    def __init__(self, peer: Peer, channel: adma.Channel, call: str) -> None:
        self.channel, self.name = channel, call
        self.buffer = bytearray(NBYTES) if call in ("read", "recv") else bytearray(pattern(NBYTES))
        if call == "read":
            self.task = peer.begin(messages.write, NBYTES)
        elif call == "recv":
            self.task = peer.begin(objects.send_buffers, [NBYTES])
        elif call == "write":
            self.task = peer.begin(messages.read_expected, NBYTES)
        else:
            self.task = peer.begin(stalling.receive)
        if call in ("read", "recv"):
            channel.probe(timeout=HANG)

    def call(self, timeout: float | None = 0) -> Any:
        """Returns or raises as the call does, once the message is matched."""
        if self.name == "read":
            return self.channel.read(self.buffer, timeout=timeout)
        if self.name == "recv":
            return self.channel.recv(timeout=timeout)
        if self.name == "write":
            return again(lambda: self.channel.write(self.buffer, timeout=timeout))
        things = ["buffers", pickle.PickleBuffer(self.buffer)]
        return again(lambda: self.channel.send(things, timeout=timeout))

    def check(self, result: Any) -> None:
        """Did the message come whole? `result`: of a recv."""
        if self.name == "read":
            assert self.buffer == pattern(NBYTES)
        if self.name == "recv":
            assert bytes(result[1]) == pattern(NBYTES)
        received = self.task.result()
        if self.name == "send":
            assert received == ["buffers", pattern(NBYTES)]


def stopped_in_a_chunk(peer: Peer, channel: adma.Channel, call: str) -> Blocked:
    """The peer will stop in the first chunk that it copies."""
    peer.call(faults.arm, faults.CHUNK, "stop")
    return Blocked(peer, channel, call)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("mechanism", COPIED_HERE)
def test_a_stopped_peer_holds_no_call(peer: Peer, mechanism: str, call: str) -> None:
    """`Stalled` comes after a second without bytes, and its request completes when it goes on."""
    blocked = stopped_in_a_chunk(peer, peer.connect(mechanism), call)
    began = time.monotonic()
    # Where either end may copy, the peer has the time for it.
    with stalling.slowly(SLOW), pytest.raises(adma.Stalled) as caught:
        blocked.call()
    assert time.monotonic() - began >= 1
    request = caught.value.request
    del caught  # its traceback holds the frames, and they the buffer
    until_stopped(peer.pid)
    assert not request.check()
    assert not request.cancel()
    with pytest.raises(TimeoutError) as late:
        request.wait(timeout=SHORT)
    assert type(late.value) is TimeoutError
    del late
    if call != "recv":
        with pytest.raises(BufferError):
            blocked.buffer.append(0)
    peer.resume()
    request.wait(timeout=HANG)
    blocked.check(blocked.channel.recv(timeout=0) if call == "recv" else None)
    if call != "recv":
        blocked.buffer.clear()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("mechanism", COPIED_HERE)
def test_a_stopped_peer_is_killed(peer: Peer, mechanism: str, call: str) -> None:
    """The call that waits for it after its time is told."""
    channel = peer.connect(mechanism)
    blocked = stopped_in_a_chunk(peer, channel, call)
    with stalling.slowly(SLOW):
        calling = InThread(blocked.call)
        until_stopped(peer.pid)
        peer.kill()
        with pytest.raises(adma.PeerDied):
            calling.result()
    channel.close(timeout=HANG)


@pytest.mark.parametrize("call", CALLS)
def test_without_a_timeout_a_call_waits(peer: Peer, call: str) -> None:
    blocked = stopped_in_a_chunk(peer, peer.connect("shared"), call)
    calling = InThread(lambda: blocked.call(None))
    until_stopped(peer.pid)
    time.sleep(2.5)  # longer than a call may be stalled that has a timeout
    peer.resume()
    blocked.check(calling.result())


def test_an_object_that_stalls_goes_on_without_its_request(peer: Peer) -> None:
    """The next recv() has it, and stalls as well while the peer is stopped."""
    channel = peer.connect("shared")
    blocked = stopped_in_a_chunk(peer, channel, "recv")
    for _ in range(2):
        with pytest.raises(adma.Stalled):
            channel.recv(timeout=0)
    peer.resume()
    assert channel.probe(timeout=0).kind == "object"
    blocked.check(channel.recv(timeout=HANG))


@pytest.mark.parametrize("role", ["writer", "reader"])
@pytest.mark.parametrize(("mechanism", "delay"), [("loopback:tcp", 0.6), ("shared", 0.1)])
def test_a_trickling_peer_holds_no_call(
    peer: Peer, mechanism: str, delay: float, role: str
) -> None:
    """Some bytes come in each second, or what we have sent fills the system's buffers."""
    channel = peer.connect(mechanism)
    act = stalling.write_slowly if role == "writer" else stalling.read_slowly
    task = peer.begin(act, [NBYTES], delay)
    peer.heard()
    with pytest.raises(adma.Stalled):
        if role == "writer":
            channel.probe(timeout=HANG)
            channel.read(bytearray(NBYTES), timeout=0)
        else:
            again(lambda: channel.write(bytearray(NBYTES), timeout=0))
    channel.close(timeout=0)
    with pytest.raises((adma.AdmaError, OSError)):
        task.result()


@pytest.mark.parametrize("role", ["writer", "reader"])
def test_a_slow_peer_is_waited_for(peer: Peer, role: str) -> None:
    """Some MB move in each second, so the call goes on, for longer than a stalled one."""
    channel = peer.connect("loopback:tcp")
    act = stalling.write_slowly if role == "writer" else stalling.read_slowly
    task = peer.begin(act, [NBYTES], SLOW)
    peer.heard()
    if role == "writer":
        channel.probe(timeout=HANG)
        buffer = bytearray(NBYTES)
        assert channel.read(buffer, timeout=0) == NBYTES
        assert buffer == pattern(NBYTES)
    else:
        again(lambda: channel.write(pattern(NBYTES), timeout=0))
    task.result()


def test_a_message_behind_a_slow_one_is_not_stalled(peer: Peer) -> None:
    """It is matched, and none of its bytes move before its turn has come."""
    channel = peer.connect("loopback:tcp")
    task = peer.begin(stalling.read_slowly, [NBYTES, MIB], SLOW)
    assert peer.heard() == "posted"
    request = channel.iwrite(pattern(NBYTES, 0))
    again(lambda: channel.write(pattern(MIB, 1), timeout=0))
    assert request.wait(timeout=HANG) == NBYTES
    task.result()


def test_a_caller_that_was_stopped_judges_nobody(peer: Peer) -> None:
    """Nothing moved while it did not run. Then it waits on: the other end is ready."""
    nbytes = 8 * MIB
    channel = peer.connect("shared")
    request = channel.iwrite(pattern(nbytes))
    peer.call(faults.arm, faults.CHUNK, "stop", 0, 3)
    task = peer.begin(stalling.read_at_once, nbytes)
    with stalling.slowly(0.004):
        until_stopped(peer.pid)
        time.sleep(2.5)  # longer than a transfer may stand still
        peer.resume()
        assert request.wait(timeout=HANG) == nbytes
    task.result()


# Before the match


def shortest(call: Callable[[], Any], tries: int = 10) -> float:
    """Seconds that a call needs which always times out: the least of some tries."""
    times = []
    for _ in range(tries):
        began = time.monotonic()
        with pytest.raises(TimeoutError) as caught:
            call()
        times.append(time.monotonic() - began)
        assert type(caught.value) is TimeoutError
    return min(times)


@pytest.mark.parametrize("call", ["write", "send"])
@pytest.mark.parametrize("mechanism", COPIED_HERE)
def test_a_posted_read_gives_a_write_a_moment(peer: Peer, mechanism: str, call: str) -> None:
    """A write without any time waits 20 ms for a reader that has a read posted, and no longer."""
    channel = peer.connect(mechanism)
    content = bytearray(pattern(LARGE))
    things = ["thing", pickle.PickleBuffer(content)]
    calls: dict[str, Callable[[], None]] = {
        "write": lambda: channel.write(content, timeout=0),
        "send": lambda: channel.send(things, timeout=0),
    }
    assert shortest(calls[call]) < 0.02
    if call == "write":
        task = peer.begin(messages.read_expected, LARGE)
    else:
        task = peer.begin(stalling.receive)
        assert peer.heard() == "receiving"
    until_asleep(peer.pid)
    peer.stop()
    assert 0.02 <= shortest(calls[call]) < 1
    peer.resume()
    again(calls[call])
    task.result()
    assert shortest(calls[call]) < 0.02


def test_looking_at_a_message_gives_its_writer_a_moment(peer: Peer) -> None:
    """As a posted read does: while a thread waits in probe(), and until the message is read."""
    channel = peer.connect()
    small, large = b"small", pattern(LARGE)
    for _ in range(2):
        assert shortest(lambda: channel.write(large, timeout=0)) < 0.02
        task = peer.begin(messages.probe)
        until_asleep(peer.pid)
        peer.stop()
        assert 0.02 <= shortest(lambda: channel.write(large, timeout=0)) < 1
        channel.write(small, timeout=HANG)
        peer.resume()
        assert task.result() == ("bytes", len(small))
        assert 0.02 <= shortest(lambda: channel.write(large, timeout=0)) < 1
        assert peer.call(messages.read, len(small)) == small
    assert shortest(lambda: channel.write(large, timeout=0)) < 0.02
    channel.write(small, timeout=HANG)
    assert peer.call(messages.iprobe) == ("bytes", len(small))
    peer.call(messages.iread, "in", LARGE)
    assert peer.call(messages.wait, "in") == len(small)
    assert shortest(lambda: channel.write(large, timeout=0)) < 0.02


@pytest.mark.parametrize("read", [messages.read_all, stalling.probe_and_read])
def test_a_waiting_reader_gets_what_is_written_without_a_timeout(
    peer: Peer, read: Callable[..., Any]
) -> None:
    """Each message needs few tries, though the reader has to wake before it can match."""
    channel, sizes = peer.connect(), [LARGE] * 10
    tries = 0

    def write(content: bytes) -> None:
        nonlocal tries
        tries += 1
        channel.write(content, timeout=0)

    task = peer.begin(read, sizes)
    for seed, nbytes in enumerate(sizes):
        content = pattern(nbytes, seed)
        until_asleep(peer.pid)  # its read is posted
        again(lambda: write(content))  # noqa: B023
    task.result()
    assert tries < 3 * len(sizes)


def test_objects_that_never_got_into_the_ring(peer: Peer) -> None:
    """What is withdrawn before it was published takes its parts with it."""
    channel = peer.connect("mapped:cma")
    thing = [0, pickle.PickleBuffer(bytearray(LARGE))]
    peer.stop()
    for _ in range(150):  # more than the ring holds, withdrawn or not
        with pytest.raises(TimeoutError):
            channel.send(thing, timeout=0)
    peer.resume()
    receiving = peer.begin(stalling.receive)
    assert peer.heard() == "receiving"
    channel.send(thing, timeout=HANG)
    assert receiving.result() == [0, bytes(LARGE)]
