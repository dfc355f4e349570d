# SPDX-License-Identifier: BSD-3-Clause
"""What another user puts where this library looks for names: it stops no call, and delays none.

The victim and the attacker are forked children with uids of their own. They have a /dev/shm and a
/tmp to themselves.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import resource
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import adma
from adma.connect import place
from adma.connect.identity import start_time
from adma.mechanisms import segment
from adma.testing.limits import HANG, LARGE, SLOWNESS
from support import confine, places
from support.endpoints import InChild, InThread, become

VICTIM, ATTACKER = 4321, 4322
SHM = "/dev/shm"
MANY = 20_000
BOUND = 5.0 * SLOWNESS  # seconds; a call that is not held up takes a hundredth of it

pytestmark = pytest.mark.root

_libc = ctypes.CDLL(None, use_errno=True)


def as_user(uid: int, function: Callable[[], Any]) -> Any:
    """Run it in a forked child of that user."""

    def run() -> Any:
        become(uid)
        return function()

    return InChild(run).result()


def own_world(hide_processes: bool = False) -> None:
    """An empty /dev/shm and /tmp, for this process and its children, and no directory but these."""
    for directory in (SHM, "/tmp"):
        confine.mount_over(directory, "mode=1777")
    if hide_processes and _libc.mount(b"proc", b"/proc", b"proc", 0, b"hidepid=2"):
        raise OSError(ctypes.get_errno(), "this system does not hide processes")
    for variable in ("XDG_RUNTIME_DIR", "TMPDIR"):
        os.environ.pop(variable, None)
    tempfile.tempdir = None


def in_own_world(attack: Callable[[], Any], use: Callable[[], Any], hide: bool = False) -> Any:
    """Let the attacker act, then the victim; what the victim returns."""

    def run() -> Any:
        own_world(hide)
        as_user(ATTACKER, attack)
        return as_user(VICTIM, use)

    return InChild(run).result()


def talk(name: str = "squatted") -> tuple[str, float]:
    """Listen, connect, and pass a large message; where, and how long it took."""
    began = time.monotonic()
    with adma.listen(name) as server:
        connecting = InThread(lambda: adma.connect(name, mechanism="shared", timeout=HANG))
        with server.accept(timeout=HANG) as here, connecting.result() as there:
            sending = InThread(lambda: there.write(bytes(LARGE), timeout=HANG))
            assert here.read(bytearray(LARGE), timeout=HANG) == LARGE
            sending.result()
        return str(server.address), time.monotonic() - began


def put(*names: str) -> None:
    for name in names:
        os.close(os.open(f"{SHM}/{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


# Names in /dev/shm


def fill() -> None:
    """As many names as a short test can make, of all forms that a segment has or had."""
    for number in range(MANY // 2):
        put(f"adma-{VICTIM}-{number + 2}-{number:032x}", f"adma-{VICTIM}-{number + 2}-7-{number}")


def test_names_without_number_hold_up_nobody() -> None:
    _, took = in_own_world(fill, talk)
    assert took < BOUND


def test_a_sweep_looks_at_so_many_entries_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted where they come from: a bound on time alone would let each call take that long."""
    looked = []
    scandir = os.scandir

    @contextlib.contextmanager
    def counted(path: str) -> Any:
        with scandir(path) as entries:
            yield (looked.append(entry.name) or entry for entry in entries)

    def use() -> int:
        monkeypatch.setattr(os, "scandir", counted)
        assert segment.sweep() == 0
        return len(looked)

    assert 0 < in_own_world(fill, use) <= 256


NOT_NUMBERS = ("9" * 40, "9" * 200, "0", "1", str(2**31), str(2**64))


@pytest.mark.parametrize("hide", [False, True], ids=["", "hidepid"])
def test_no_name_ends_a_call(hide: bool) -> None:
    """Numbers that are no pids; files of other kinds; /proc that tells of no other process."""

    def attack() -> None:
        names = (f"adma-{VICTIM}-{pid}-" for pid in NOT_NUMBERS)
        put(*(name + end for name in names for end in ("7-1", f"{7:032x}")))
        os.symlink("/etc/passwd", f"{SHM}/adma-{VICTIM}-2-{1:032x}")
        os.symlink(f"adma-{VICTIM}-2-{2:032x}", f"{SHM}/adma-{VICTIM}-2-{2:032x}")
        os.mkfifo(f"{SHM}/adma-{VICTIM}-2-{3:032x}")
        os.mkdir(f"{SHM}/adma-{VICTIM}-2-{4:032x}", 0o000)
        os.link(f"{SHM}/adma-{VICTIM}-1-7-1", f"{SHM}/adma-{VICTIM}-2-{5:032x}")

    _, took = in_own_world(attack, talk, hide)
    assert took < BOUND


def test_the_name_of_a_segment_cannot_be_taken_beforehand() -> None:
    """The attacker knows the victim's pid and start time; the segment is a POSIX one still."""

    def run() -> Any:
        own_world()
        out, into = os.pipe()

        def use() -> str:
            become(VICTIM)
            os.read(out, 1)
            fd = segment.make(same_user=True)
            try:
                return os.readlink(f"/proc/self/fd/{fd}")
            finally:
                os.close(fd)

        victim = InChild(use)
        started = start_time(victim.pid)
        names = [f"adma-{VICTIM}-{victim.pid}-{started}-{number}" for number in range(100)]
        as_user(ATTACKER, lambda: put(*names))
        os.write(into, b"!")
        return victim.result()

    found = InChild(run).result()
    assert found.startswith(f"{SHM}/adma-{VICTIM}-")
    assert found.endswith(" (deleted)")


def test_a_full_directory_takes_away_no_mechanism() -> None:
    def run() -> Any:
        own_world()
        confine.mount_over(SHM, "mode=1777,size=64k")

        def attack() -> None:
            with contextlib.suppress(OSError):
                Path(f"{SHM}/all").write_bytes(bytes(1 << 20))

        as_user(ATTACKER, attack)
        return as_user(VICTIM, talk)

    _, took = InChild(run).result()
    assert took < BOUND


def test_a_sweep_removes_only_what_is_the_users_own() -> None:
    """And only what has the name of a segment; no link leads it elsewhere."""

    def attack() -> None:
        put(f"adma-{VICTIM}-2-{1:032x}")
        os.utime(f"{SHM}/adma-{VICTIM}-2-{1:032x}", (0, 0))
        os.symlink("mine", f"{SHM}/adma-{VICTIM}-2-{2:032x}")

    def use() -> tuple[int, list[str]]:
        put("mine", f"adma-{VICTIM}-2-{3:032x}")
        for name in ("mine", f"adma-{VICTIM}-2-{3:032x}"):
            os.utime(f"{SHM}/{name}", (0, 0))
        return segment.sweep(), sorted(os.listdir(SHM))

    left = [f"adma-{VICTIM}-2-{1:032x}", f"adma-{VICTIM}-2-{2:032x}", "mine"]
    assert in_own_world(attack, use) == (1, left)


# The directory of a user's names


@pytest.fixture
def at_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home for the victim, which has none otherwise."""
    home = places.public()
    os.chown(home, VICTIM, VICTIM)
    monkeypatch.setattr(place, "_home_of", lambda uid: str(home) if uid == VICTIM else "")
    yield home
    shutil.rmtree(home)


SQUATS: dict[str, Callable[[str], None]] = {
    "directory": os.mkdir,
    "file": lambda path: Path(path).touch(),
    "link": lambda path: os.symlink("/etc", path),
    "fifo": os.mkfifo,
}


@pytest.mark.parametrize("kind", SQUATS)
def test_a_directory_of_the_victims_name(at_home: Path, kind: str) -> None:
    def attack() -> None:
        SQUATS[kind](f"/tmp/adma-{VICTIM}")

    address, took = in_own_world(attack, talk)
    assert address == str(at_home / ".adma" / "squatted.sock")
    assert took < BOUND


def test_a_client_finds_the_home_when_the_squatter_has_left(at_home: Path) -> None:
    """The listener began while the name was taken."""

    def run() -> Any:
        own_world()
        os.mkdir(f"/tmp/adma-{VICTIM}")

        def use() -> bytes:
            become(VICTIM)
            with adma.listen("squatted") as server:
                os.write(into, b"!")
                with server.accept(timeout=HANG) as here:
                    return bytes(here.recv(timeout=HANG))

        def call() -> None:
            with adma.connect("squatted", timeout=HANG) as there:
                there.send(b"found")

        out, into = os.pipe()
        victim = InChild(use)
        os.read(out, 1)
        os.rmdir(f"/tmp/adma-{VICTIM}")
        as_user(VICTIM, call)
        return victim.result()

    assert InChild(run).result() == b"found"


def test_without_a_home_the_error_names_the_cure() -> None:
    def attack() -> None:
        os.mkdir(f"/tmp/adma-{VICTIM}")

    with pytest.raises(PermissionError, match=rf"uid {ATTACKER}.*cure.*XDG_RUNTIME_DIR"):
        in_own_world(attack, talk)


def test_a_socket_of_somebody_else_at_a_path() -> None:
    """Nobody listens at it, but in /tmp the victim cannot remove it."""

    def attack() -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind("/tmp/wanted.sock")
            os.chmod("/tmp/wanted.sock", 0o777)

    def use() -> None:
        adma.listen("/tmp/wanted.sock").close()

    with pytest.raises(OSError, match=rf"uid {ATTACKER}.*cure") as caught:
        in_own_world(attack, use)
    assert caught.value.errno == errno.EADDRINUSE


def test_a_lock_that_somebody_else_keeps_on_a_directory() -> None:
    """Everybody may open /tmp, and lock it."""

    def run() -> Any:
        own_world()
        done, end = os.pipe()
        locked, tell = os.pipe()

        def attack() -> None:
            become(ATTACKER)
            os.close(end)
            fcntl.flock(os.open("/tmp", os.O_RDONLY), fcntl.LOCK_EX)
            os.write(tell, b"!")
            os.read(done, 1)

        attacker = InChild(attack)
        os.read(locked, 1)
        talked = as_user(VICTIM, lambda: (*talk("/tmp/wanted.sock"), os.listdir("/tmp")))
        os.close(end)
        attacker.result()
        return talked

    address, took, left = InChild(run).result()
    assert address == "/tmp/wanted.sock"
    assert took < BOUND
    assert left == []


def test_many_sockets_of_others_hold_up_no_listener() -> None:
    """The list of all sockets is long; only its beginning is read."""
    socks = []

    def run() -> Any:
        own_world()
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        os.setegid(ATTACKER)
        for number in range(min(MANY, hard - 100)):
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(f"\0{number}-{'x' * 90}")
            socks.append(sock)
        os.setegid(0)
        return as_user(VICTIM, talk)

    _, took = InChild(run).result()
    assert took < BOUND
