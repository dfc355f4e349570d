# SPDX-License-Identifier: BSD-3-Clause
"""What goes wrong at named places of the core, and what the other side makes of it."""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
from collections.abc import Iterator

import pytest

import adma
from adma.testing import Endpoint, pool
from adma.testing.calls import messages
from adma.testing.limits import CELL, EAGER, HANG, LARGE, MIB, SHORT
from adma.testing.observe import state, until_stopped
from adma.testing.payload import pattern
from adma.testing.peer import Peer, PeerGone
from support.calls import computing, faults
from support.mechanisms import NAMES

pytestmark = pytest.mark.faults

SIZES = [0, EAGER, LARGE]
STREAMS = [name for name in NAMES if name not in ("auto", "mapped:cma")]


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    """Disarm the fault points that a test armed in this process."""
    yield
    faults.disarm_all()


def read_or_write(channel: adma.Channel, role: str, nbytes: int, seed: int) -> None:
    """What this side does while the peer does its part as `role`."""
    end = Endpoint.of(channel)
    if role == "writer":
        messages.read_expected(end, nbytes, seed)
    else:
        messages.write(end, nbytes, seed)


# kill -9


@pytest.mark.parametrize("role", ["writer", "reader"])
@pytest.mark.parametrize("point", faults.POINTS)
@pytest.mark.parametrize("mechanism", NAMES)
def test_killed_anywhere(mechanism: str, point: str, role: str) -> None:
    """Wherever the peer dies, each message comes whole or not at all, and its death is reported."""
    for nbytes in SIZES:
        with pool.borrowed() as peer:
            channel = peer.connect(mechanism)
            peer.call(faults.arm, point, "die")
            work = faults.write_then_close if role == "writer" else faults.read_then_close
            task = peer.begin(work, nbytes, 2)
            ending = await_end(channel, role, nbytes)
            try:
                task.result()  # the peer never passed that point
                assert ending is adma.ChannelClosed
            except PeerGone:
                peer.expect_end(-signal.SIGKILL)
                # It was killed after it had closed, while it woke us: the close was in order.
                assert ending is adma.PeerDied or point == faults.WAKE
            with pytest.raises(ending):
                channel.write(bytearray(LARGE))
            with pytest.raises(ending):
                channel.probe()
            channel.close(timeout=HANG)


def await_end(channel: adma.Channel, role: str, nbytes: int) -> type[Exception]:
    """Exchange messages until the channel is over; the error that said so."""
    with contextlib.suppress(adma.PeerDied, adma.ChannelClosed):
        for seed in range(10):
            read_or_write(channel, role, nbytes, seed)
    # A small write is complete when it is published: only a read finds out that the peer is gone.
    # And a peer that died while it closed may have said before that it reads no more.
    with pytest.raises((adma.PeerDied, adma.ChannelClosed)) as caught:
        channel.probe(timeout=HANG)
    return caught.type


@pytest.mark.parametrize("nth", [1, 2, 7])
@pytest.mark.parametrize("point", [faults.CHUNK, faults.COPIED])
@pytest.mark.parametrize("mechanism", NAMES)
def test_killed_in_a_later_chunk(mechanism: str, point: str, nth: int) -> None:
    with pool.borrowed() as peer:
        channel = peer.connect(mechanism)
        peer.call(faults.arm, point, "die", 0, nth)
        peer.begin(faults.write_until_closed, LARGE)
        buffer = bytearray(LARGE)
        with pytest.raises(adma.PeerDied):
            while True:
                assert channel.read(buffer, timeout=HANG) == LARGE
                assert buffer == pattern(LARGE)
        peer.expect_end(-signal.SIGKILL)
        channel.close(timeout=HANG)
        buffer.clear()


def test_killed_in_the_handshake(peer: Peer) -> None:
    peer.call(faults.arm, faults.HANDSHAKE, "die")
    ours, theirs = socket.socketpair()
    peer.begin_join(theirs, "auto")
    with ours, pytest.raises((adma.AdmaError, OSError)) as caught:
        adma.from_socket(ours, timeout=HANG)
    assert not isinstance(caught.value, TimeoutError)
    peer.expect_end(-signal.SIGKILL)


# Stopped


@pytest.mark.parametrize("point", [faults.POST, faults.PUBLISH, faults.MATCH, faults.COMPLETE])
@pytest.mark.parametrize("mechanism", NAMES)
def test_stopped_and_continued(peer: Peer, mechanism: str, point: str) -> None:
    """A stopped peer costs time-outs and nothing else."""
    channel = peer.connect(mechanism)
    peer.call(faults.arm, point, "stop")
    task = peer.begin(messages.echo, LARGE, 2)
    stops = 0
    for seed in (1, 2):
        buffer = bytearray(LARGE)
        requests = [channel.iwrite(pattern(LARGE, seed)), channel.iread(buffer)]
        while sum(not request.check() for request in requests):
            if state(peer.pid) == "T":
                until_stopped(peer.pid)
                stops += 1
                with pytest.raises(TimeoutError):
                    channel.probe(timeout=SHORT)
                peer.resume()
        assert buffer == pattern(LARGE, seed)
    task.result()
    assert stops <= 1


def stop_in_a_chunk(peer: Peer, channel: adma.Channel, point: str, nbytes: int) -> bytearray:
    """Read what the peer writes until it stops in a chunk; the buffer it is held with."""
    peer.call(faults.arm, point, "stop")
    peer.begin(faults.write_until_closed, nbytes)
    while True:
        buffer = bytearray(nbytes)
        request = channel.iread(buffer)
        while not request.check():
            if state(peer.pid) == "T":
                until_stopped(peer.pid)
                return buffer


@pytest.mark.parametrize("point", [faults.CHUNK, faults.COPIED])
def test_a_peer_stopped_in_a_chunk_keeps_the_buffer(peer: Peer, point: str) -> None:
    """`close` gives up after its time-out, says what is quarantined, and later nothing breaks."""
    channel = peer.connect("mapped:cma")
    buffer = stop_in_a_chunk(peer, channel, point, 16 * MIB)
    with pytest.raises(TimeoutError, match="quarantine"):
        channel.close(timeout=SHORT)
    with pytest.raises(BufferError):
        buffer.clear()
    peer.resume()
    assert peer_works(peer)
    assert channel.closed
    # The core keeps it for ever on purpose; the test frees it, now that the peer is done with it.
    from adma._core import _messages

    _messages.end_quarantine()


def peer_works(peer: Peer) -> bool:
    """The write that was stopped fails with its channel; a new channel works."""
    peer.pump(HANG)
    channel = peer.connect()
    reading = peer.begin(messages.read, 2)
    channel.write(b"ok", timeout=HANG)
    return bool(reading.result() == b"ok")


@pytest.mark.parametrize("mechanism", STREAMS)
def test_a_stopped_peer_of_a_stream_holds_nothing(peer: Peer, mechanism: str) -> None:
    """Each end touches its own buffer only: there is nothing to wait for."""
    channel = peer.connect(mechanism)
    buffer = stop_in_a_chunk(peer, channel, faults.CHUNK, 16 * MIB)
    channel.close(timeout=SHORT)
    buffer.clear()
    peer.resume()
    assert peer_works(peer)


# System calls that fail


def test_a_post_that_fails_leaves_nothing(peer: Peer) -> None:
    channel = peer.connect()
    for post in (channel.iwrite, channel.iread):
        buffer = bytearray(LARGE)
        faults.arm(None, faults.POST, "fail", errno.ENOMEM)
        with pytest.raises(OSError) as caught:  # noqa: PT011
            post(buffer)
        assert caught.value.errno == errno.ENOMEM
        del caught  # its traceback holds the frames, and they the buffer
        buffer.clear()
    exchange(peer, channel)


@pytest.mark.parametrize("mechanism", NAMES)
@pytest.mark.parametrize("point", [faults.PUBLISH, faults.MATCH, faults.CHUNK])
def test_one_message_fails_and_the_next_goes_on(
    monkeypatch: pytest.MonkeyPatch, peer: Peer, mechanism: str, point: str
) -> None:
    """Both ends get the errno if it was matched; the mechanism of a broken stream is withdrawn."""
    if point == faults.CHUNK:
        monkeypatch.setenv("ADMA_COPIERS", "reader")  # or the peer may copy all
    channel = peer.connect(mechanism)
    faults.arm(None, point, "fail", errno.EIO)
    buffer = bytearray(LARGE)
    writing = peer.begin(messages.write, LARGE) if point != faults.PUBLISH else None
    with pytest.raises(OSError) as caught:  # noqa: PT011
        if writing:
            channel.read(buffer, timeout=HANG)
        else:
            channel.write(buffer, timeout=HANG)
    assert caught.value.errno == errno.EIO
    del caught
    buffer.clear()
    if writing:
        with pytest.raises(OSError) as caught:  # noqa: PT011
            writing.result()
        assert caught.value.errno == errno.EIO
    if mechanism == "loopback:tcp" and point == faults.CHUNK:  # in mid-stream
        with pytest.raises(adma.MechanismUnavailable):
            channel.write(bytearray(LARGE), timeout=HANG)
        return
    exchange(peer, channel)


def test_permission_lost_in_mid_life(monkeypatch: pytest.MonkeyPatch, peer: Peer) -> None:
    """EPERM withdraws the mechanism: `auto` carries this message, and all after it, by another."""
    monkeypatch.setenv("ADMA_COPIERS", "writer")  # this end reads: the peer is the first to copy
    channel = peer.connect()
    peer.call(faults.arm, faults.CHUNK, "fail", errno.EPERM)
    # The reader computes: while both wait, `auto` may choose a mechanism without permissions.
    buffer = bytearray(LARGE)
    request = channel.iread(buffer)
    peer.call(messages.write, LARGE, 1)
    assert computing.until_done(request)
    assert request.check()
    assert buffer == pattern(LARGE, 1)
    assert channel.stats()["redone"] == 1
    exchange(peer, channel)
    assert "EPERM" in str(channel.explain(LARGE)) or "permitted" in str(channel.explain(LARGE))


def test_the_last_mechanism_lost(peer: Peer) -> None:
    """A forced mechanism is the only one: once it is lost, a later write says that none is left."""
    channel = peer.connect("mapped:cma")
    # Either end may be the first to claim a chunk.
    faults.arm(None, faults.CHUNK, "fail", errno.EPERM)
    peer.call(faults.arm, faults.CHUNK, "fail", errno.EPERM)
    writing = peer.begin(messages.write, LARGE)
    with pytest.raises(PermissionError):
        channel.read(bytearray(LARGE), timeout=HANG)
    with pytest.raises(PermissionError):
        writing.result()
    with pytest.raises(adma.MechanismUnavailable):
        channel.write(bytearray(LARGE), timeout=HANG)


def test_a_handshake_that_fails(peer: Peer) -> None:
    """Both ends are told, and another try works."""
    faults.arm(None, faults.HANDSHAKE, "fail", errno.ENOMEM)
    ours, theirs = socket.socketpair()
    joining = peer.begin_join(theirs, "auto")
    with ours, pytest.raises(OSError) as caught:  # noqa: PT011
        adma.from_socket(ours, timeout=HANG)
    assert caught.value.errno == errno.ENOMEM
    with pytest.raises((adma.AdmaError, OSError)) as told:
        joining.result()
    assert not isinstance(told.value, TimeoutError)
    exchange(peer, peer.connect())


# Delays


@pytest.mark.parametrize("point", faults.POINTS)
@pytest.mark.parametrize("mechanism", NAMES)
def test_a_delay_anywhere_changes_nothing(peer: Peer, mechanism: str, point: str) -> None:
    channel = peer.connect(mechanism)
    for nth in (1, 2):
        faults.arm(None, point, "delay", 20_000, nth)
        peer.call(faults.arm, point, "delay", 20_000, 3 - nth)
        for nbytes in (10, CELL, LARGE):
            exchange(peer, channel, nbytes)
    closing = peer.begin(messages.close_channel)
    channel.close(timeout=HANG)
    closing.result()


def exchange(peer: Peer, channel: adma.Channel, nbytes: int = LARGE) -> None:
    """One message there and back."""
    task = peer.begin(messages.echo, nbytes, 1)
    channel.write(pattern(nbytes, 7), timeout=HANG)
    buffer = bytearray(nbytes)
    assert channel.read(buffer, timeout=HANG) == nbytes
    assert buffer == pattern(nbytes, 7)
    task.result()
