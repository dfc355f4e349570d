# SPDX-License-Identifier: BSD-3-Clause
"""Systems that refuse something: a channel works, or both ends are told why, and nobody is lost."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

import adma
from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import HANG, KIB, LARGE
from adma.testing.peer import search_path
from support.calls import confined
from support.memory import IS_SANITIZED

REFUSALS = [errno.EPERM, errno.ENOSYS]
#: What a profile may refuse, one by one. All of it has another way.
REFUSED = {
    "pidfd_open": ("pidfd_open",),
    "pidfd_send_signal": ("pidfd_send_signal",),
    "all pidfds": ("pidfd_open", "pidfd_send_signal"),
    "memfd_create": ("memfd_create",),
    "fallocate": ("fallocate",),
    "eventfd2": ("eventfd2",),
    "epoll_create1": ("epoll_create1",),
    "timerfd_create": ("timerfd_create",),
    "everything": (
        "pidfd_open",
        "memfd_create",
        "fallocate",
        "eventfd2",
        "epoll_create1",
        "timerfd_create",
    ),
}
ENDS = [(what, where) for what in REFUSED for where in ("one", "other")] + [("everything", "both")]


def exchange(first: Peer, second: Peer, nbytes: int = LARGE) -> None:
    """A message each way."""
    for writer, reader in ((first, second), (second, first)):
        reading = reader.begin(messages.read_expected, nbytes, 1)
        writer.call(messages.write, nbytes, 1)
        reading.result()


# System calls that a profile refuses


@pytest.mark.parametrize(("what", "where"), ENDS)
@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: errno.errorcode[error])
def test_a_refused_call_has_another_way(
    fresh_peers: tuple[Peer, Peer], what: str, error: int, where: str
) -> None:
    """The two meet, over each mechanism, and part in order."""
    first, second = fresh_peers
    confined_ones = {"one": (first,), "other": (second,), "both": fresh_peers}[where]
    for peer in confined_ones:
        peer.call(confined.forbid, REFUSED[what], error)
    for mechanism in ("auto", "shared", "mapped:cma", "loopback:tcp"):
        first.connect_to(second, mechanism)
        exchange(first, second)
    waiting = second.begin(messages.read, 5)
    first.call(messages.close_channel)
    with pytest.raises(adma.ChannelClosed):
        waiting.result()


@pytest.mark.parametrize("mechanism", ["shared", "mapped:cma", "loopback:tcp"])
def test_a_death_is_seen_without_pidfds(fresh_peers: tuple[Peer, Peer], mechanism: str) -> None:
    first, second = fresh_peers
    for peer in fresh_peers:
        peer.call(confined.forbid, ("pidfd_open", "pidfd_send_signal"), errno.EPERM)
    first.connect_to(second, mechanism)
    waiting = second.begin(messages.read, LARGE)
    first.kill()
    with pytest.raises(adma.PeerDied, match="gone"):
        waiting.result()


@pytest.mark.parametrize(
    "what", [("epoll_create1",), ("clone", "clone3")], ids=lambda what: what[0]
)
@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: errno.errorcode[error])
def test_no_progress_thread_is_said_once(
    fresh_peers: tuple[Peer, Peer], what: tuple[str, ...], error: int
) -> None:
    """Requests are served in calls, and a warning tells cause and cure."""
    peer, other = fresh_peers
    peer.call(confined.forbid, what, error)
    peer.connect_to(other)
    task = peer.begin(confined.count_warnings, LARGE)
    for _ in range(3):
        assert peer.heard() == "posted"
        other.call(messages.write, LARGE, 1)
    (said,) = task.result()
    assert "no progress thread" in said
    assert what[0] in said
    assert "cure: " in said


@pytest.mark.root
@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: errno.errorcode[error])
def test_two_users_without_memfds(fresh_peers: tuple[Peer, Peer], error: int) -> None:
    """Unsealed memory is for one user. Both ends are told so."""
    first, second = fresh_peers
    first.call(confined.become_user)
    first.call(confined.forbid, ("memfd_create",), error)
    for task in first.begin_connect_to(second, "auto"):
        with pytest.raises((PermissionError, adma.ProtocolError), match="memfd_create"):
            task.result()


# Files and limits


@pytest.mark.root
@pytest.mark.parametrize(
    ("place", "options"), [("/dev", "mode=755"), ("/dev/shm", "mode=755")], ids=["none", "closed"]
)
def test_no_dev_shm(fresh_peers: tuple[Peer, Peer], place: str, options: str) -> None:
    """Memory without a name does as well."""
    for peer in fresh_peers:
        peer.call(confined.hide_shm, place, options)
    for mechanism in ("auto", "shared"):
        fresh_peers[0].connect_to(fresh_peers[1], mechanism)
        exchange(*fresh_peers)


@pytest.mark.parametrize("limited", [0, 1])
def test_a_limit_on_files(fresh_peers: tuple[Peer, Peer], limited: int) -> None:
    """It holds for shared memory, too. Both ends are told the limit by its name."""
    fresh_peers[limited].call(confined.limit_files, 16 * KIB)
    for task in fresh_peers[0].begin_connect_to(fresh_peers[1], "auto"):
        with pytest.raises(OSError, match="ulimit -f") as caught:
            task.result()
        assert caught.value.errno == errno.EFBIG


def test_a_limit_on_files_in_mid_life(fresh_peers: tuple[Peer, Peer]) -> None:
    """No bulk segment can be made any more: another mechanism carries the message."""
    first, second = fresh_peers
    first.connect_to(second)
    first.call(confined.limit_files, 16 * KIB)
    exchange(first, second)


# /proc, users, Python


def run(kind: str, *around: str) -> str:
    """Run the program of support/sandboxed.py; what it printed."""
    program = [*around, sys.executable, "-W", "ignore", "-m", "support.sandboxed", kind]
    found = subprocess.run(
        program,
        env={**os.environ, "PYTHONPATH": search_path()},
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


UNSHARE = ("unshare", "--pid", "--fork", "--kill-child")
HIDE = "mount -t proc -o hidepid=2 proc /proc"
COVER = "mount -t tmpfs none /proc"


def mounting(what: str) -> tuple[str, ...]:
    """Run a program after this mount, which only it sees."""
    return ("sh", "-c", f'{what} && exec "$@"', "sh")


@pytest.mark.root
@pytest.mark.parametrize(
    ("kind", "around"),
    [
        ("nothing", UNSHARE),
        ("be_user", (*UNSHARE, "--mount", *mounting(HIDE))),
        ("nothing", ("unshare", "--mount", *mounting(COVER))),
        ("fake_root", ()),
    ],
    ids=["proc of another namespace", "hidepid", "no proc", "fakeroot"],
)
def test_odd_systems(kind: str, around: tuple[str, ...]) -> None:
    if kind == "nothing" and IS_SANITIZED:
        pytest.skip("AddressSanitizer reads its options from /proc, and its leak checker needs it")
    assert run(kind, *around).startswith("fine")


@pytest.mark.parametrize("kind", ["landlock", "aged", "interrupt"])
def test_odd_processes(kind: str) -> None:
    """/proc closed by Landlock; a Python built on an old system; signals all the time."""
    assert run(kind).startswith("fine")
