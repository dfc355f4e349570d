# SPDX-License-Identifier: BSD-3-Clause
"""A message that the kernel does not copy from process to process travels by another mechanism.

Memory of some kinds is accessible to its own process only, as memory of drivers may be. Here it
comes from memfd_secret(2). To the process itself it is memory like any other.
"""

from __future__ import annotations

import contextlib
import errno
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import adma
from adma.messages.worker import Worker
from adma.testing import Endpoint, Peer, pool
from adma.testing.calls import messages
from adma.testing.limits import CELL, EAGER, HANG, LARGE, MIB
from adma.testing.payload import difference, pattern
from adma.testing.peer import PeerGone
from support.calls import computing, confined, faults, unreachable
from support.workers import connect

needs_secret = pytest.mark.skipif(
    not unreachable.is_there_secret_memory(), reason="no memfd_secret(2) here"
)

SIZES = [EAGER + 1, CELL, MIB + 1, LARGE]
KINDS = [("secret", "ordinary"), ("ordinary", "secret"), ("secret", "secret")]


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    faults.disarm_all()


@pytest.fixture
def lopsided(monkeypatch: pytest.MonkeyPatch, peer: Peer) -> Iterator[adma.Channel]:
    """A channel of which only the end that reads copies: what it cannot copy, nobody can."""
    monkeypatch.setenv("ADMA_COPIERS", "reader")
    peer.call(computing.set_copiers, "reader")
    yield peer.connect()
    peer.call(computing.set_copiers, "both")


def redone(channel: adma.Channel, peer: Peer) -> tuple[int, int]:
    return channel.stats()["redone"], peer.call(messages.stats)["redone"]


# It arrives


@needs_secret
@pytest.mark.parametrize("nbytes", SIZES)
@pytest.mark.parametrize(("from_", "to"), KINDS)
def test_while_both_wait(peer: Peer, from_: str, to: str, nbytes: int) -> None:
    """Both ends in blocking calls, in both directions."""
    end = Endpoint.of(peer.connect())
    for _ in range(2):
        reading = peer.begin(unreachable.read_each, to, nbytes, 5)
        unreachable.write_each(end, from_, nbytes, 5)
        reading.result()
        writing = peer.begin(unreachable.write_each, from_, nbytes, 5)
        unreachable.read_each(end, to, nbytes, 5)
        writing.result()


@needs_secret
@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize(("from_", "to"), KINDS)
def test_while_one_computes(peer: Peer, from_: str, to: str, reads: bool) -> None:
    """The progress thread does all of it at that end."""
    end = Endpoint.of(peer.connect())
    for seed in range(3):
        if reads:
            unreachable.iread(end, "it", to, LARGE)
            peer.call(unreachable.iwrite, "it", from_, LARGE, seed)
        else:
            unreachable.iwrite(end, "it", from_, LARGE, seed)
            peer.call(unreachable.iread, "it", to, LARGE)
        computing.compute_until_done(end, "it")
        peer.call(unreachable.finish, "it", None if reads else seed)
        unreachable.finish(end, "it", seed if reads else None)


@needs_secret
@pytest.mark.parametrize("nbytes", [MIB, 16 * MIB])
def test_nobody_could_copy_it(lopsided: adma.Channel, peer: Peer, nbytes: int) -> None:
    """Only the end whose copy is refused may copy: nothing would come without a second life."""
    end = Endpoint.of(lopsided)
    for count in (1, 2, 3):
        unreachable.iwrite(end, "it", "secret", nbytes, count)
        peer.call(unreachable.iread, "it", "ordinary", nbytes)
        peer.call(unreachable.finish, "it", count)
        unreachable.finish(end, "it")
        assert redone(lopsided, peer) == (count, count)
    assert lopsided.stats()["mechanism:shared"] == 3


@needs_secret
def test_many_at_once_arrive_in_order(lopsided: adma.Channel, peer: Peer) -> None:
    """More than are looked at one by one, every other one of which is refused."""
    end = Endpoint.of(lopsided)
    names = [str(number) for number in range(24)]
    for number, name in enumerate(names):
        kind = "secret" if number % 2 else "ordinary"
        unreachable.iwrite(end, name, kind, MIB, number)
    for name in names:
        peer.call(unreachable.iread, name, "ordinary", MIB)
    for number, name in enumerate(names):
        peer.call(unreachable.finish, name, number)
        unreachable.finish(end, name)
    ours, theirs = redone(lopsided, peer)
    assert (
        0 < ours == theirs <= 12
    )  # while both wait, `auto` may choose a mechanism that refuses nothing


@needs_secret
def test_buffers_of_objects(lopsided: adma.Channel, peer: Peer) -> None:
    receiving = peer.begin(unreachable.recv_expected, 32 * MIB)
    unreachable.send(Endpoint.of(lopsided), "secret", 32 * MIB)
    receiving.result()
    ours, theirs = redone(lopsided, peer)
    assert 0 < ours == theirs <= 2
    messages.write(Endpoint.of(lopsided), 3)
    assert peer.call(messages.read, 3) == pattern(3)


@needs_secret
@pytest.mark.parametrize(("from_", "to"), KINDS)
def test_messages_with_tags(from_: str, to: str) -> None:
    with Worker() as one, Worker() as other:
        number, _ = connect(one, other)
        sent = [unreachable.memory(from_, MIB, seed) for seed in range(8)]
        came = [unreachable.memory(to, MIB) for _ in range(8)]
        sends = [one.send(number, tag, area) for tag, area in enumerate(sent)]
        receives = [other.receive(0, tag, came[tag]) for tag in reversed(range(8))]
        for request in (*sends, *receives):
            computing.compute(lambda request=request: request.done)
            assert request.wait(HANG) == MIB
        for seed, area in enumerate(came):
            assert not difference(area[:], pattern(MIB, seed))
        for area in (*sent, *came):
            area.close()


# Permissions


@pytest.mark.faults
@pytest.mark.parametrize("number", [errno.EFAULT, errno.EPERM, errno.EACCES, errno.ENOSYS])
def test_an_error_in_mid_transfer(peer: Peer, lopsided: adma.Channel, number: int) -> None:
    """Whatever the reason: the message arrives, and both ends know by what."""
    end = Endpoint.of(lopsided)
    peer.call(faults.arm, faults.CHUNK, "fail", number, 2)
    messages.iwrite(end, "it", LARGE, 1)
    peer.call(messages.read_expected, LARGE, 1)
    assert messages.wait(end, "it") == LARGE
    assert redone(lopsided, peer) == (1, 1)
    for seed in range(3):
        peer.call(messages.iread, "it", LARGE)
        messages.write(end, LARGE, seed)
        assert peer.call(messages.content, "it") == pattern(LARGE, seed)
        peer.call(messages.wait, "it")
    assert redone(lopsided, peer) == (1, 1)


@pytest.mark.root
@pytest.mark.parametrize("computes", ["reader", "writer"])
def test_a_change_of_user_after_connecting(fresh_peers: tuple[Peer, Peer], computes: str) -> None:
    """It takes the right to copy from one end: no message is lost, not even the first large one."""
    first, second = fresh_peers
    first.connect_to(second)
    first.call(confined.become_user)
    for seed, (writer, reader) in enumerate(2 * [(first, second), (second, first)]):
        if computes == "reader":
            reader.call(messages.iread, "it", LARGE)
            writer.call(messages.write, LARGE, seed)
            reader.call(messages.wait, "it")
            assert reader.call(messages.content, "it") == pattern(LARGE, seed)
        else:
            writer.call(messages.iwrite, "it", LARGE, seed)
            reader.call(messages.read_expected, LARGE, seed)
            writer.call(messages.wait, "it")


# What remains an error


@needs_secret
@pytest.mark.parametrize("mechanism", ["mapped:cma"])
def test_a_forced_mechanism_is_not_replaced(
    monkeypatch: pytest.MonkeyPatch, peer: Peer, mechanism: str
) -> None:
    """Each end is told whose memory it is, which mechanism, and the cure."""
    monkeypatch.setenv("ADMA_COPIERS", "reader")
    peer.call(computing.set_copiers, "reader")
    end = Endpoint.of(peer.connect(mechanism))
    peer.call(computing.set_copiers, "both")
    unreachable.iwrite(end, "it", "secret", LARGE)
    with pytest.raises(OSError, match="peer's") as told:
        peer.call(messages.read, LARGE)
    with pytest.raises(OSError, match="this call") as caught:
        unreachable.finish(end, "it")
    for error in (told.value, caught.value):
        assert error.errno == errno.EFAULT
        assert mechanism in str(error)
        assert "auto" in str(error)
    del caught, told
    messages.iwrite(end, "it", LARGE, 1)
    peer.call(messages.read_expected, LARGE, 1)
    messages.wait(end, "it")


@pytest.mark.parametrize("left", [0, CELL, 3 * MIB])
@pytest.mark.parametrize("mechanism", ["auto", "mapped:cma"])
@pytest.mark.parametrize("verb", ["read", "write"])
def test_a_page_that_is_gone(peer: Peer, verb: str, mechanism: str, left: int) -> None:
    """An error at both ends, and never a signal; the channel goes on."""
    end = Endpoint.of(peer.connect(mechanism))
    other = "write" if verb == "read" else "read"
    unreachable.vanishing(end, verb, "it", LARGE, left)
    peer.call(unreachable.vanishing, other, "it", LARGE, LARGE)
    theirs = peer.begin(unreachable.vanished, "it")
    number, text = unreachable.vanished(end, "it")
    assert (number, text.split(" cannot")[0]) == (
        errno.EFAULT,
        "[Errno 14] the buffer of this call",
    )
    number, text = theirs.result()
    assert number == errno.EFAULT
    assert "the buffer of the peer's call" in text
    assert ("read" if verb == "write" else "written") in text
    for seed in range(2):
        messages.iwrite(end, "next", LARGE, seed)
        peer.call(messages.read_expected, LARGE, seed)
        messages.wait(end, "next")


# Ends


@needs_secret
@pytest.mark.faults
@pytest.mark.parametrize("nth", [1, 2, 9, 40])
@pytest.mark.parametrize("point", [faults.CHUNK, faults.COPIED, faults.COMPLETE])
@pytest.mark.parametrize("role", ["writer", "reader"])
def test_killed_meanwhile(role: str, point: str, nth: int) -> None:
    """The survivor learns of it, has its buffer back, and read no message that is not whole."""
    other = "reader" if role == "writer" else "writer"
    with pool.borrowed() as peer:
        channel = peer.connect()
        peer.call(faults.arm, point, "die", 0, nth)
        task = peer.begin(unreachable.until_over, role, "secret", LARGE)
        unreachable.until_over(Endpoint.of(channel), other, "secret", LARGE)
        with pytest.raises(PeerGone):
            task.result()
        peer.expect_end(-signal.SIGKILL)
        channel.close(timeout=HANG)


@needs_secret
@pytest.mark.parametrize("closer", ["here", "peer"])
@pytest.mark.parametrize("role", ["writer", "reader"])
def test_closed_meanwhile(peer: Peer, role: str, closer: str) -> None:
    """Done, or closed, at both ends; and no buffer is kept."""
    for _ in range(10):
        channel = peer.connect()
        end = Endpoint.of(channel)
        post = unreachable.iwrite if role == "writer" else unreachable.iread
        posted = unreachable.iread if role == "writer" else unreachable.iwrite
        peer.call(posted, "it", "secret", MIB)
        post(end, "it", "secret", MIB)
        if closer == "here":
            channel.close(timeout=HANG)
        else:
            peer.call(messages.close_channel)
        for finish in (unreachable.finish, peer_finish(peer)):
            with contextlib.suppress(adma.ChannelClosed, adma.PeerDied):
                finish(end, "it")
        if closer == "peer":
            channel.close(timeout=HANG)
        else:
            peer.call(messages.close_channel)


def peer_finish(peer: Peer) -> Callable[[Any, str], Any]:
    return lambda _, name: peer.call(unreachable.finish, name)
