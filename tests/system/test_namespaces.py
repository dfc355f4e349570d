# SPDX-License-Identifier: BSD-3-Clause
"""Two processes in PID, user and network namespaces of their own, as in two containers.

Neither may look into the other, so one copy by `mapped:cma` is out; the kernel helper
asks for no such rights (where ADMA_EXPECT_HELPER=1 promises that there is one).
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import adma
from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import LARGE
from support import places
from support.calls import meeting, namespaces
from support.calls.namespaces import Walls
from support.confine import USER

OTHER = 23456  # a uid that no file and no process has
CMA = "mapped:cma"
HELPER = ("dma", "mapped:helper")
NEEDS_NO_RIGHTS = ("auto", "shared", "loopback:tcp")

# One user, seen from outside, in all of these.
KINDS = [
    pytest.param(Walls(pid=True), id="pid"),
    pytest.param(Walls(user=True), id="user"),
    pytest.param(Walls(pid=True, user=True), id="pid+user"),
]

pytestmark = pytest.mark.root

expects_helper = pytest.mark.skipif(
    os.environ.get("ADMA_EXPECT_HELPER") != "1",
    reason="no kernel helper is promised here (ADMA_EXPECT_HELPER=1)",
)


def walled(peers: tuple[Peer, Peer], first: Walls, second: Walls) -> tuple[Peer, Peer]:
    for peer, walls in zip(peers, (first, second), strict=True):
        try:
            peer.call(namespaces.enter, walls)
        except OSError as error:
            if error.errno in (errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.ENOSPC):
                pytest.skip(f"no such namespaces here: {error}")
            raise
    return peers


def exchange(first: Peer, second: Peer) -> None:
    """A large message each way."""
    for writer, reader in ((first, second), (second, first)):
        reading = reader.begin(messages.read_expected, LARGE, 1)
        writer.call(messages.write, LARGE, 1)
        reading.result()


def all_work(first: Peer, second: Peer, mechanisms: tuple[str, ...]) -> None:
    for mechanism in mechanisms:
        first.connect_to(second, mechanism)
        exchange(first, second)


def refusals(first: Peer, second: Peer, mechanism: str) -> list[adma.MechanismUnavailable]:
    """What each end is told when a mechanism is forced that does not work between the two."""
    errors = []
    for task in first.begin_connect_to(second, mechanism):
        with pytest.raises(adma.MechanismUnavailable) as caught:
            task.result()
        errors.append(caught.value)
    return errors


@pytest.fixture
def helper_for_all() -> Iterator[None]:
    """Everybody may open the device: who may is an administrator's matter, and not tried here."""
    device = "/dev/adma"
    mode = os.stat(device).st_mode
    os.chmod(device, 0o666)
    yield
    os.chmod(device, mode & 0o7777)


# One user


@pytest.mark.parametrize("walls", KINDS)
def test_what_needs_no_rights(fresh_peers: tuple[Peer, Peer], walls: Walls) -> None:
    first, second = walled(fresh_peers, walls, walls)
    all_work(first, second, NEEDS_NO_RIGHTS)


@pytest.mark.parametrize(
    ("walls", "cause", "cure"),
    [
        pytest.param(Walls(pid=True), "PID namespace", "one PID namespace", id="pid"),
        pytest.param(Walls(user=True), "another user namespace", "one user namespace", id="user"),
        pytest.param(Walls(pid=True, user=True), "PID namespace", "--pid", id="pid+user"),
    ],
)
def test_why_mapped_cma_is_refused(
    fresh_peers: tuple[Peer, Peer], walls: Walls, cause: str, cure: str
) -> None:
    first, second = walled(fresh_peers, walls, walls)
    for error in refusals(first, second, CMA):
        assert cause in error.cause
        assert cure in error.cure
        assert error.errno == (errno.ESRCH if walls.pid else errno.EPERM)
    first.connect_to(second)
    exchange(first, second)
    assert cause in first.call(messages.explain, LARGE)


def test_one_end_sees_the_other(fresh_peers: tuple[Peer, Peer]) -> None:
    """From the outer PID namespace one looks into the inner: that end copies, both ways."""
    first, second = walled(fresh_peers, Walls(), Walls(pid=True))
    assert second.call(namespaces.own_pid) == 1
    first.connect_to(second, CMA)
    exchange(first, second)


def test_networks_of_their_own(fresh_peers: tuple[Peer, Peer]) -> None:
    walls = Walls(pid=True, user=True, network=True)
    first, second = walled(fresh_peers, walls, walls)
    for error in refusals(first, second, "loopback:tcp"):
        assert "network" in error.cause or "interface" in error.cause
        assert error.cure
    first.connect_to(second, "shared")
    exchange(first, second)


@expects_helper
@pytest.mark.usefixtures("helper_for_all")
@pytest.mark.parametrize("walls", KINDS)
def test_the_helper_needs_no_rights(fresh_peers: tuple[Peer, Peer], walls: Walls) -> None:
    first, second = walled(fresh_peers, walls, walls)
    all_work(first, second, HELPER)


# Two users


def two_users(peers: tuple[Peer, Peer]) -> tuple[Peer, Peer]:
    return walled(peers, Walls(pid=True, user=True), Walls(pid=True, user=True, uid=OTHER))


def test_users_who_cannot_be_told(fresh_peers: tuple[Peer, Peer]) -> None:
    """Both are root in a namespace of their own, and see the other as 65534."""
    first, second = two_users(fresh_peers)
    all_work(first, second, NEEDS_NO_RIGHTS)
    sending = first.begin(messages.send, "anything")
    with pytest.raises(PermissionError, match="allow_pickle"):
        second.call(messages.recv)
    assert second.call(meeting.recv_trusting) == "anything"
    sending.result()
    for error in refusals(first, second, CMA):
        assert "different users" in error.cause


@expects_helper
@pytest.mark.usefixtures("helper_for_all")
def test_the_helper_serves_users_who_cannot_be_told(fresh_peers: tuple[Peer, Peer]) -> None:
    first, second = two_users(fresh_peers)
    all_work(first, second, HELPER)


# By path: a name's directory carries a uid, which differs from namespace to namespace


@pytest.fixture
def house() -> Iterator[Path]:
    """A directory of USER's, below directories that are root's alone."""
    made = places.below_root()
    os.chown(made, USER, USER)
    yield made
    shutil.rmtree(made)


def test_two_containers_of_one_user_meet(house: Path, fresh_peers: tuple[Peer, Peer]) -> None:
    walls = Walls(pid=True, user=True)
    server, client = walled(fresh_peers, walls, walls)
    door = str(house / "door")
    server.call(meeting.listen, door)
    accepting = server.begin(meeting.accept, door)
    client.call(meeting.connect, door)
    accepting.result()
    exchange(server, client)
    server.call(meeting.stop, door)


def test_a_caller_who_cannot_be_told(house: Path, fresh_peers: tuple[Peer, Peer]) -> None:
    """Seen from a container everybody outside is 65534, which may be anybody."""
    server, client = walled(fresh_peers, Walls(user=True), Walls(uid=OTHER))
    door = str(house / "door")
    server.call(meeting.listen, door, 0o666)
    accepting = server.begin(meeting.turn_away, door)
    with pytest.raises(PermissionError, match=r"does not let in an unknown user.*from_socket"):
        client.call(meeting.connect, door)
    accepting.result()
    server.call(meeting.stop, door)


def test_a_listener_who_cannot_be_told(house: Path, fresh_peers: tuple[Peer, Peer]) -> None:
    server, client = walled(fresh_peers, Walls(), Walls(user=True, uid=OTHER))
    door = str(house / "door")
    server.call(meeting.listen, door, 0o666)
    with pytest.raises(PermissionError, match=r"belongs to an unknown user.*from_socket"):
        client.call(meeting.connect, door)
    server.call(meeting.stop, door)
