# SPDX-License-Identifier: BSD-3-Clause
"""What a kernel, an administrator or a container may refuse, and what is told about it.

Root passes most of these checks: both processes become an ordinary user first.
"""

from __future__ import annotations

import re

import pytest

import adma
from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import CELL, HANG, KIB, LARGE
from adma.testing.payload import pattern
from support.calls import confined

CMA = "mapped:cma"


@pytest.fixture
def users(fresh_peers: tuple[Peer, Peer]) -> tuple[Peer, Peer]:
    """Two processes of one ordinary user."""
    for peer in fresh_peers:
        peer.call(confined.become_user)
    return fresh_peers


def exchange(first: Peer, second: Peer, nbytes: int = LARGE) -> None:
    """A message each way."""
    for writer, reader in ((first, second), (second, first)):
        reading = reader.begin(messages.read_expected, nbytes, 1)
        writer.call(messages.write, nbytes, 1)
        reading.result()


def refusal(first: Peer, second: Peer, mechanism: str) -> adma.MechanismUnavailable:
    """The error of forcing a mechanism that does not work between the two; both are told."""
    errors = []
    for task in first.begin_connect_to(second, mechanism):
        with pytest.raises(adma.MechanismUnavailable) as caught:
            task.result()
        errors.append(caught.value)
    error = errors[0]
    assert error.mechanism == mechanism
    assert error.cause
    assert error.cause in str(error)
    return error


@pytest.mark.root
def test_two_ordinary_processes_are_not_refused(users: tuple[Peer, Peer]) -> None:
    """Otherwise the tests below would show nothing."""
    users[0].connect_to(users[1], CMA)
    exchange(*users)


@pytest.mark.root
def test_one_end_that_is_not_dumpable(users: tuple[Peer, Peer]) -> None:
    """The other one copies, in both directions."""
    users[0].call(confined.set_dumpable, False)
    users[1].connect_to(users[0], "auto")
    exchange(*users)


@pytest.mark.root
def test_both_ends_are_not_dumpable(users: tuple[Peer, Peer]) -> None:
    for peer in users:
        peer.call(confined.set_dumpable, False)
    error = refusal(*users, CMA)
    assert "dumpable" in error.cause
    assert "PR_SET_DUMPABLE" in error.cure
    assert error.errno in (1, 13)
    users[0].connect_to(users[1])
    exchange(*users)
    assert re.search(r"mapped:cma.*dumpable", users[0].call(messages.explain, LARGE), re.DOTALL)


@pytest.mark.root
def test_a_seccomp_filter(users: tuple[Peer, Peer]) -> None:
    for peer in users:
        peer.call(confined.forbid_cma)
    error = refusal(*users, CMA)
    assert "seccomp" in error.cause
    assert error.cure
    users[0].connect_to(users[1])
    exchange(*users)
    assert "seccomp" in users[0].call(messages.explain, LARGE)


@pytest.mark.root
def test_a_seccomp_filter_in_mid_life(users: tuple[Peer, Peer]) -> None:
    """The transfer that meets it is made by another mechanism, as those after it are."""
    users[0].connect_to(users[1])
    exchange(*users)
    for peer in users:
        peer.call(confined.forbid_cma)
    # The reader computes: while both wait, `auto` may choose a mechanism that needs no rights.
    for seed in range(3):
        users[1].call(messages.iread, "read", LARGE)
        users[0].call(messages.write, LARGE, seed)
        users[1].call(messages.wait, "read")
        assert users[1].call(messages.content, "read") == pattern(LARGE, seed)
    assert [user.call(messages.stats)["redone"] for user in users] == [1, 1]
    exchange(*users)


def test_a_peer_replaced_by_another_program(peer: Peer) -> None:
    """Same pid, sockets open, other memory: nothing of it is taken for the message."""
    channel = peer.connect(CMA)
    peer.begin(confined.write_and_be_replaced, LARGE)
    assert peer.heard() == "replaced"
    buffer = bytearray(LARGE)
    with pytest.raises(adma.PeerDied):
        channel.read(buffer, timeout=HANG)
    assert not any(buffer)
    peer.kill()


@pytest.mark.root
@pytest.mark.parametrize("mechanism", ["auto", "shared"])
def test_dev_shm_too_small(fresh_peers: tuple[Peer, Peer], mechanism: str) -> None:
    """A memfd needs no room there. Any user can fill it."""
    peer = fresh_peers[0]
    peer.call(confined.shrink_shm, 64 * KIB)
    channel = peer.connect(mechanism)
    task = peer.begin(messages.echo, LARGE, 1)
    channel.write(bytearray(LARGE), timeout=HANG)
    assert channel.read(bytearray(LARGE), timeout=HANG) == LARGE
    task.result()


@pytest.mark.root
def test_dev_shm_full_in_mid_life(fresh_peers: tuple[Peer, Peer]) -> None:
    """It was large enough at the probe, and is full when the segment is wanted."""
    first, second = fresh_peers
    first.connect_to(second, "shared")
    first.call(confined.shrink_shm, 64 * KIB)
    exchange(first, second)
    exchange(first, second, CELL)
