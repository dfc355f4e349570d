# SPDX-License-Identifier: BSD-3-Clause
"""Listeners that let other users in: which users get through, and none passes for another."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import shutil
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import adma
from adma.connect import access, address
from adma.connect.access import Guests, guests
from adma.connect.identity import OVERFLOW_UID
from adma.connect.place import PATH_MAX, to_call, to_listen
from adma.testing.limits import HANG
from support import places
from support.endpoints import InChild, InThread, become

ALICE, BOB, MALLORY = 4321, 4322, 4323  # uids that no file and no process has


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that every user can pass through; in it one for open names, as /tmp is."""
    base = places.crowded(monkeypatch)
    yield base
    shutil.rmtree(base)


def private_to(base: Path, uid: int, name: str = "", mode: int = 0o700) -> Path:
    """A directory of a user's own."""
    path = base / (name or f"run-{uid}")
    path.mkdir()
    os.chown(path, uid, uid)
    path.chmod(mode)
    return path


def as_user(uid: int, function: Callable[[], Any], *close_here: socket.socket) -> InChild:
    """A function that runs in a process of another user, in that one's private directory."""

    def run() -> Any:
        become(uid)
        runtime = Path(os.environ["ADMA_OPEN_DIR"]).parent / f"run-{uid}"
        os.environ["XDG_RUNTIME_DIR"] = str(runtime)
        return function()

    return InChild(run, *close_here)


def call(
    name: str | Path, mechanism: str = "auto", timeout: float = HANG
) -> Callable[[], dict[str, Any]]:
    """Connect, say hello, hear what comes back, and tell what the channel is like."""

    def run() -> dict[str, Any]:
        with adma.connect(name, timeout=timeout, mechanism=mechanism) as channel:
            channel.write(b"hello", timeout=HANG)
            buffer = bytearray(100)
            got = channel.read(buffer, timeout=HANG)
            return {"heard": bytes(buffer[:got]), "how": str(channel.explain(4 << 20))}

    return run


def answer(server: adma.Listener) -> adma.Channel:
    """The next caller, who said hello and is answered."""
    channel = server.accept(timeout=HANG)
    buffer = bytearray(5)
    assert channel.read(buffer, timeout=HANG) == 5
    assert buffer == b"hello"
    channel.write(b"well met", timeout=HANG)
    return channel


@contextlib.contextmanager
def in_vain(server: adma.Listener) -> Iterator[None]:
    """A thread waits in accept meanwhile, and no caller gets through to it."""
    waiting = InThread(lambda: server.accept(timeout=HANG))
    yield
    server.close()
    with pytest.raises(adma.ChannelClosed):
        waiting.result()


# Arguments


def test_no_guests_unless_told() -> None:
    assert guests(None, None) is access.PRIVATE
    assert guests(0o600, None) == Guests(0o600, None)
    assert guests(0o644, None) == Guests(0o644, None)
    for private in (guests(None, None), guests(0o600, None), guests(0o644, None)):
        assert not private.welcome
    assert guests(0o666, None) == Guests(0o666, None)
    assert guests(None, [5, 6, 5]) == Guests(0o666, frozenset({5, 6}))
    assert guests(0o660, iter([5])) == Guests(0o660, frozenset({5}))
    assert guests(None, ()) == Guests(0o666, frozenset())
    for opened in (guests(0o620, None), guests(0o602, None), guests(None, ())):
        assert opened.welcome


@pytest.mark.parametrize("mode", [-1, 0o1666, 0o4600, 1 << 40])
def test_a_mode_out_of_range(mode: int) -> None:
    with pytest.raises(ValueError, match="permissions are 0o600 to 0o777"):
        guests(mode, None)


@pytest.mark.parametrize("mode", [0, 0o066, 0o466, 0o266])
def test_a_mode_that_keeps_out_the_owner(mode: int) -> None:
    with pytest.raises(ValueError, match=f"own user; cure: mode={mode | 0o600:#o}"):
        guests(mode, None)


@pytest.mark.parametrize("mode", ["0666", 6.0, True, b"", [0o666]])
def test_a_mode_that_is_no_number(mode: int) -> None:
    with pytest.raises(TypeError, match="mode must be an int"):
        guests(mode, None)


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755])
def test_a_mode_that_lets_nobody_call(mode: int) -> None:
    with pytest.raises(ValueError, match=r"lets nobody call.*cure: mode=0o666"):
        guests(mode, [5])


@pytest.mark.parametrize("allow_uids", [5, "5", b"5", bytearray(b"5"), None.__class__])
def test_uids_that_are_no_iterable(allow_uids: Any) -> None:
    with pytest.raises(TypeError, match="allow_uids must be an iterable of uids, not"):
        guests(None, allow_uids)


@pytest.mark.parametrize("uid", ["5", 5.0, None, True])
def test_a_uid_that_is_no_number(uid: Any) -> None:
    with pytest.raises(TypeError, match="allow_uids must be ints"):
        guests(None, [5, uid])


@pytest.mark.parametrize("uid", [-1, 2**32 - 1, 2**32, 10**20])
def test_a_uid_out_of_range(uid: int) -> None:
    with pytest.raises(ValueError, match=f"{uid} is no uid; they go from 0 to {2**32 - 2}"):
        guests(None, [uid])


def test_the_uid_of_nobody_lets_in_nobody() -> None:
    with pytest.raises(ValueError, match=r"65534 stands for all users that cannot be told.*cure"):
        guests(None, [OVERFLOW_UID])
    for opened in (guests(0o666, None), guests(None, [5])):
        with pytest.raises(PermissionError, match="another user namespace, or nobody"):
            opened.judge(OVERFLOW_UID)
    for judge in (access.own_user, access.user(OVERFLOW_UID), access.at_path("/")):
        with pytest.raises(PermissionError, match="another user namespace, or nobody"):
            judge(OVERFLOW_UID)


def test_arguments_are_refused_before_anything_happens(base: Path) -> None:
    with pytest.raises(ValueError, match="permissions"):
        adma.listen("test", mode=0o7777)
    with pytest.raises(TypeError, match="positional"):
        adma.listen("test", 1, 0o666)  # type: ignore[misc]
    assert list((base / "open").iterdir()) == []


# Names


def test_an_open_name_is_a_file_in_a_directory_others_can_pass(base: Path) -> None:
    before = os.umask(0o077)
    try:
        server = adma.listen("test", mode=0o662)
    finally:
        os.umask(before)
    with server:
        path = Path(server.address)
        assert path == base / "open" / f"adma-{os.geteuid()}-open" / "test.sock"
        assert stat.S_IMODE(path.stat().st_mode) == 0o662
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o711
        assert repr(server) == f"<Listener 'test' listening at {path}, mode 0o662>"
    assert not path.exists()
    with adma.listen("test", allow_uids={7, 6}) as server:
        assert repr(server).endswith("test.sock, mode 0o666, uids 6, 7>")


def test_what_an_open_directory_allows_is_put_right(base: Path) -> None:
    mine = base / "open" / f"adma-{os.geteuid()}-open"
    mine.mkdir(mode=0o700)
    mine.chmod(0o777)
    adma.listen("test", mode=0o666).close()
    assert stat.S_IMODE(mine.stat().st_mode) == 0o711


@pytest.mark.parametrize("name", ["@", "x@", "@0"])
def test_half_a_name(name: str) -> None:
    for meaning in (to_call, to_listen):
        with pytest.raises(ValueError, match=r"name=.*NAME@USER"):
            meaning(name)


@pytest.mark.parametrize(
    "user", ["no such user", "4294967295", "-1", "1.5", "٣", "9" * 5000, "alice@b@c"]
)
def test_a_user_that_is_not_known(user: str) -> None:
    with pytest.raises(ValueError, match="there is no user"):
        to_call(f"x@{user}")


def test_nobody_is_not_called_by_name() -> None:
    with pytest.raises(ValueError, match="65534 stands for all users"):
        to_call(f"x@{OVERFLOW_UID}")


def test_a_user_by_name_and_by_number(base: Path) -> None:
    me = pwd.getpwuid(os.geteuid()).pw_name
    own = to_call("test")
    assert to_call(f"test@{me}").paths == to_call(f"test@{os.geteuid()}").paths == own.paths
    assert to_listen(f"test@{me}") == to_listen("test")
    assert to_call(f"x@{ALICE}").paths == (str(base / "open" / f"adma-{ALICE}-open" / "x.sock"),)


def test_a_path_may_have_any_sign(tmp_path: Path) -> None:
    assert to_call("./x@nobody").paths == (os.path.abspath("x@nobody"),)
    assert to_listen(tmp_path / "x@y").path == str(tmp_path / "x@y")


def test_nobody_listens_in_the_name_of_another_user() -> None:
    with pytest.raises(PermissionError, match=rf"uid {ALICE} listens there.*cure"):
        adma.listen(f"test@{ALICE}", mode=0o666)


def test_an_open_name_too_long_for_a_socket(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private = to_listen("x" * 20).path
    monkeypatch.setenv("ADMA_OPEN_DIR", str(base / ("d" * PATH_MAX)))
    (base / ("d" * PATH_MAX)).mkdir()
    with pytest.raises(OSError, match="holds 107") as info:
        to_listen("x" * 20, opened=True)
    assert info.value.errno == errno.ENAMETOOLONG
    assert to_call("x" * 20).paths == (private,)  # nothing can be listening there


def test_no_directory_for_open_names(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMA_OPEN_DIR", str(base / "none"))
    with pytest.raises(FileNotFoundError, match=r"no such directory; cure.*ADMA_OPEN_DIR"):
        adma.listen("test", mode=0o666)


def test_a_name_lives_in_one_place_only(base: Path) -> None:
    for first, second in ((None, 0o666), (0o666, None), (0o666, 0o622)):
        with adma.listen("test", mode=first):
            with pytest.raises(OSError, match="in use") as info:
                adma.listen("test", mode=second)
            assert info.value.errno == errno.EADDRINUSE


def test_stale_sockets_of_either_kind_are_reused(base: Path) -> None:
    for left, mode in ((None, 0o666), (0o666, None), (0o666, 0o666)):
        old = adma.listen("test", mode=left)
        path = old.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            old.close()
            sock.bind(path)  # a file without a listener
        with pytest.raises(ConnectionRefusedError, match="nobody listens"):
            adma.connect("test", timeout=0)
        with adma.listen("test", mode=mode) as server:
            calling = InThread(call("test"))
            answer(server).close()
            assert calling.result()["heard"] == b"well met"
        assert not os.path.lexists(path)


@pytest.mark.parametrize("name", ["test", f"test@{os.geteuid()}"])
def test_ones_own_open_listener_by_either_name(base: Path, name: str) -> None:
    with adma.listen("test", mode=0o666) as server:
        calling = InThread(call(name))
        with answer(server) as channel:
            how = calling.result()["how"] + str(channel.explain(4 << 20))
    assert how.count("the listener lets other users in") == 2  # mapped:cma is off, on both ends


def test_a_mechanism_that_a_listener_with_guests_does_without(base: Path) -> None:
    refused = pytest.raises(adma.MechanismUnavailable, match="one trust domain")
    with adma.listen("test", allow_uids=[]) as server, in_vain(server), refused as info:
        call("test", "mapped:cma")()
    assert info.value.errno == errno.EPERM
    assert "kernel helper" in info.value.cure


# Guests


@pytest.mark.root
@pytest.mark.parametrize("how", [{"mode": 0o666}, {"allow_uids": [ALICE]}])
def test_another_user_comes_in(base: Path, how: dict[str, Any]) -> None:
    with adma.listen("test", **how) as server:
        guest = as_user(ALICE, call("test@root"))
        with answer(server) as channel:
            here = str(channel.explain(4 << 20))
            there = guest.result()
    assert there["heard"] == b"well met"
    for text in (here, there["how"]):
        assert "shared" in text
        assert "different users" in text


@pytest.mark.root
def test_what_guests_send_is_not_unpickled_unasked(base: Path) -> None:
    def send() -> None:
        with adma.connect("test@0", timeout=HANG) as channel:
            channel.send({"a": bytes(100_000)}, timeout=HANG)
            channel.read(bytearray(1), timeout=HANG)

    with adma.listen("test", mode=0o666) as server:
        guest = as_user(ALICE, send)
        with server.accept(timeout=HANG) as channel:
            with pytest.raises(PermissionError, match="allow_pickle"):
                channel.recv(timeout=HANG)
            assert channel.recv(timeout=HANG, allow_pickle=True) == {"a": bytes(100_000)}
            channel.write(b"!", timeout=HANG)
            guest.result()


@pytest.mark.root
def test_a_large_message_between_users_goes_through_sealed_memory(base: Path) -> None:
    size = 5 << 20

    def send() -> list[str]:
        with adma.connect("test@0", timeout=HANG, mechanism="shared") as channel:
            channel.write(bytes(range(256)) * (size // 256), timeout=HANG)
            maps = Path("/proc/self/maps").read_text()
            return [line for line in maps.splitlines() if "adma-" in line or "/dev/shm" in line]

    with adma.listen("test", allow_uids=[ALICE]) as server:
        guest = as_user(ALICE, send)
        with server.accept(timeout=HANG) as channel:
            buffer = bytearray(size)
            assert channel.read(buffer, timeout=HANG) == size
            mapped = guest.result()
    assert buffer == bytes(range(256)) * (size // 256)
    assert any("memfd:adma-bulk" in line for line in mapped)
    assert not any("/dev/shm" in line for line in mapped)


@pytest.mark.root
def test_a_user_that_is_not_let_in(base: Path, caplog: pytest.LogCaptureFixture) -> None:
    with adma.listen("test", allow_uids=[ALICE]) as server:
        waiting = InThread(lambda: answer(server))
        with pytest.raises(PermissionError, match=f"does not let in uid {MALLORY}; cure") as info:
            as_user(MALLORY, call("test@0")).result()
        assert str(ALICE) not in str(info.value)  # who is let in is not for strangers
        guest = as_user(ALICE, call("test@0"))
        waiting.result().close()
        assert guest.result()["heard"] == b"well met"
    assert "test: refused a client" in caplog.text
    assert f"does not let in uid {MALLORY}" in caplog.text


@pytest.mark.root
def test_a_stranger_who_says_nothing_is_turned_away_at_once(base: Path) -> None:
    with adma.listen("test", allow_uids=[ALICE]) as server:

        def stare() -> bytes:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.settimeout(HANG)
                sock.connect(server.address)
                said = b""
                while part := sock.recv(4096):  # up to its end, much sooner than after 5 s
                    said += part
                return said

        with in_vain(server):
            assert b"does not let in" in as_user(MALLORY, stare).result()
            assert not server._callers.all()


@pytest.mark.root
def test_who_speaks_is_judged_not_only_who_called(base: Path) -> None:
    """A user who is let in has handed the socket on to another."""
    with adma.listen("test", allow_uids=[ALICE]) as server:

        def call_and_hand_on() -> None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            os.setresuid(0, ALICE, 0)
            sock.connect(server.address)
            os.setresuid(0, 0, 0)
            os.setresuid(MALLORY, MALLORY, MALLORY)
            adma.from_socket(sock, timeout=HANG)

        refused = pytest.raises(PermissionError, match=f"does not let in uid {MALLORY}")
        with in_vain(server), refused:
            InChild(call_and_hand_on).result()


@pytest.mark.root
def test_who_is_nobody_is_not_let_in(base: Path) -> None:
    refused = pytest.raises(PermissionError, match="unknown user")
    with adma.listen("test", mode=0o666) as server, in_vain(server), refused:
        as_user(OVERFLOW_UID, call("test@0")).result()


@pytest.mark.root
def test_a_mode_for_a_group(base: Path) -> None:
    group = 4399

    def member() -> Any:
        os.setgroups([group])
        os.setresgid(ALICE, ALICE, ALICE)
        os.setresuid(ALICE, ALICE, ALICE)
        return call("test@0")()

    with adma.listen("test", mode=0o660) as server:
        os.chown(server.address, -1, group)
        with pytest.raises(PermissionError, match=r"closed to this user; cure.*mode="):
            as_user(BOB, call("test@0")).result()
        guest = InChild(member)
        answer(server).close()
        assert guest.result()["heard"] == b"well met"


@pytest.mark.root
def test_users_serve_each_other(base: Path) -> None:
    """Neither of them root."""
    for uid in (ALICE, BOB):
        private_to(base, uid)
    ready, set_ = os.pipe()

    def serve() -> None:
        with adma.listen("test", allow_uids=[BOB]) as server:
            os.write(set_, b"!")
            answer(server).close(timeout=HANG)

    served = as_user(ALICE, serve)
    os.read(ready, 1)
    assert as_user(BOB, call(f"test@{ALICE}")).result()["heard"] == b"well met"
    served.result()
    for end in (ready, set_):
        os.close(end)


@pytest.mark.root
def test_a_private_listener_is_not_found_by_others(base: Path) -> None:
    with adma.listen("test"), pytest.raises(FileNotFoundError, match=r"has opened no socket.*cure"):
        as_user(ALICE, call("test@0", timeout=0)).result()


@pytest.mark.root
def test_an_open_listener_whose_maker_is_dead(base: Path) -> None:
    server = adma.listen("test", mode=0o666)
    path = server.address
    server.close()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(path)
        os.chmod(path, 0o666)
    with pytest.raises(ConnectionRefusedError, match=r"nobody listens.*cure"):
        as_user(ALICE, call("test@0", timeout=0)).result()


@pytest.mark.root
def test_a_guest_finds_a_listener_that_is_just_moving_in(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = adma.listen("test", mode=0o666)
    path = server.address
    server.close()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(path)
        os.chmod(path, 0o666)
        looked, tell = os.pipe()
        looks = address._connect_first

        def look(*arguments: Any) -> socket.socket:
            try:
                return looks(*arguments)
            except ConnectionRefusedError:
                os.write(tell, b"!")
                raise

        monkeypatch.setattr(address, "_connect_first", look)
        deadline = time.monotonic() + HANG
        guest = as_user(ALICE, lambda: address.connect(to_call("test@0"), deadline).close())
        for _ in range(2):  # once, and once more
            os.read(looked, 1)
        sock.listen(1)
        guest.result()
    for end in (looked, tell):
        os.close(end)


# Squatters: somebody who was there first


def squat(base: Path, victim: int) -> Path:
    """A directory of Mallory's where the victim's open names should be."""
    return private_to(base, MALLORY, f"open/adma-{victim}-open", 0o777)


@pytest.mark.root
def test_a_listener_finds_its_directory_taken(base: Path) -> None:
    taken = squat(base, 0)
    with pytest.raises(PermissionError, match=rf"belongs to uid {MALLORY}; cure.*ADMA_OPEN_DIR"):
        adma.listen("test", mode=0o666)
    assert stat.S_IMODE(taken.stat().st_mode) == 0o777  # not touched
    adma.listen("test").close()  # what is private goes on


@pytest.mark.parametrize("what", ["link", "file"])
def test_a_listener_finds_something_else_in_place_of_its_directory(base: Path, what: str) -> None:
    taken = base / "open" / f"adma-{os.geteuid()}-open"
    mine = base / "mine"
    mine.mkdir(mode=0o700)
    if what == "link":
        taken.symlink_to(mine)
    else:
        taken.write_text("")
    with pytest.raises(PermissionError, match=r"must be a directory of this user.*cure"):
        adma.listen("test", mode=0o666)
    assert stat.S_IMODE(mine.stat().st_mode) == 0o700  # not opened through the link
    with adma.listen("test") as server:
        calling = InThread(call("test"))
        answer(server).close()
        calling.result()


@pytest.fixture
def impostor(base: Path) -> Iterator[Callable[[Path], InChild]]:
    """Mallory listens at a path, and tells what the first caller says."""
    pipes: list[int] = []

    def begin(path: Path) -> InChild:
        ready, set_ = os.pipe()
        pipes.extend((ready, set_))

        def listen() -> bytes:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.settimeout(HANG)
                sock.bind(str(path))
                os.chmod(path, 0o666)
                sock.listen(8)
                os.write(set_, b"!")
                caller, _ = sock.accept()
                with caller:
                    caller.settimeout(HANG)
                    return caller.recv(4096)

        child = as_user(MALLORY, listen)
        os.read(ready, 1)
        return child

    yield begin
    for end in pipes:
        os.close(end)


@pytest.mark.root
def test_a_caller_is_not_fooled_by_a_squatter(
    base: Path, impostor: Callable[[Path], InChild]
) -> None:
    """The caller does not say a word to the squatter."""
    fooled = impostor(squat(base, ALICE) / "test.sock")
    match = rf"belongs to uid {MALLORY}, not to uid {ALICE}"
    with pytest.raises(PermissionError, match=match):
        adma.connect(f"test@{ALICE}", timeout=HANG)
    assert fooled.result() == b""


@pytest.mark.root
def test_a_squatter_does_not_stand_in_for_ones_own_listener(
    base: Path, impostor: Callable[[Path], InChild]
) -> None:
    path = squat(base, 0) / "test.sock"
    fooled = impostor(path)
    with pytest.raises(FileNotFoundError, match="listen first"):
        adma.connect("test", timeout=0)
    with adma.listen("test"):  # the name is not taken, either
        pass
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(str(path))  # lets it end
    assert fooled.result() == b""


# Paths


@pytest.fixture
def trusted() -> Iterator[Path]:
    """A directory that only root can have made, and whose parents are root's as well."""
    made = places.below_root()
    yield made
    shutil.rmtree(made)


@pytest.mark.root
def test_a_path_where_only_the_listener_can_have_put_its_socket(base: Path, trusted: Path) -> None:
    house = private_to(trusted, ALICE, "house", 0o755)
    (trusted / "near").symlink_to("house/../house/./")
    (house / "far").symlink_to(house)
    paths = [house / "door", trusted / "near" / "door", house / "far" / "far" / "door"]
    ready, set_ = os.pipe()

    def serve() -> None:
        with adma.listen(house / "door", mode=0o666) as server:
            os.write(set_, b"!")
            for _ in paths:
                answer(server).close(timeout=HANG)

    private_to(base, ALICE)
    served = as_user(ALICE, serve)
    os.read(ready, 1)
    for path in paths:
        assert call(path)()["heard"] == b"well met"
    served.result()
    for end in (ready, set_):
        os.close(end)


def _sticky(trusted: Path) -> tuple[Path, Path]:
    house = private_to(trusted, MALLORY, "house", 0o1777)
    os.chown(house, 0, 0)
    return house / "door", house


def _in_sticky(trusted: Path) -> tuple[Path, Path]:
    _, house = _sticky(trusted)
    private_to(house, MALLORY, "room", 0o755)
    return house / "room" / "door", house


def _of_a_group(trusted: Path) -> tuple[Path, Path]:
    house = private_to(trusted, MALLORY, "house", 0o775)
    return house / "door", house


def _of_a_third_user(trusted: Path) -> tuple[Path, Path]:
    house = private_to(trusted, ALICE, "house", 0o755)
    private_to(house, MALLORY, "room", 0o755)
    return house / "room" / "door", house


def _link_that_anybody_made(trusted: Path) -> tuple[Path, Path]:
    _, house = _sticky(trusted)
    private_to(trusted, MALLORY, "other", 0o755)
    (house / "room").symlink_to(trusted / "other")
    return house / "room" / "door", house


def _link_of_a_third_user(trusted: Path) -> tuple[Path, Path]:
    house = private_to(trusted, ALICE, "house", 0o755)
    private_to(trusted, MALLORY, "other", 0o755)
    (house / "room").symlink_to("../other")
    return house / "room" / "door", house


@pytest.mark.root
@pytest.mark.parametrize(
    "make",
    [
        _sticky,
        _in_sticky,
        _of_a_group,
        _of_a_third_user,
        _link_that_anybody_made,
        _link_of_a_third_user,
    ],
)
def test_a_path_where_others_can_have_put_a_socket(
    trusted: Path,
    base: Path,
    impostor: Callable[[Path], InChild],
    make: Callable[[Path], tuple[Path, Path]],
) -> None:
    path, doubtful = make(trusted)
    fooled = impostor(path)
    match = rf"uid {MALLORY}, and others could have put it there: {doubtful} is.*NAME@USER"
    with pytest.raises(PermissionError, match=match):
        adma.connect(path, timeout=HANG)
    assert fooled.result() == b""  # nothing was said to it


@pytest.mark.root
def test_ones_own_listener_may_be_anywhere(base: Path) -> None:
    with adma.listen(base / "open" / "door", mode=0o666) as server:
        calling = InThread(call(base / "open" / "door"))
        answer(server).close()
        assert calling.result()["heard"] == b"well met"


@pytest.mark.root
def test_ways_that_end_nowhere(trusted: Path) -> None:
    root = frozenset((0,))
    (trusted / "here").write_text("")
    (trusted / "round").symlink_to("round")
    (trusted / "long").symlink_to("long/long")
    assert access._doubtful(str(trusted / "here"), root) is None  # or the rest would show nothing
    for name in ("round", "long", "long/x", "missing/x", "here/x"):
        assert access._doubtful(str(trusted / name), root) is not None


def test_a_socket_that_is_replaced_while_it_is_made(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where others may write, too, the mode is not given to whatever stands there now."""
    precious = base / "precious"
    precious.write_text("")
    precious.chmod(0o600)
    path = base / "door"
    real = address._set_mode

    def replaced(*arguments: Any) -> None:
        path.unlink()
        path.symlink_to(precious)
        real(*arguments)

    monkeypatch.setattr(address, "_set_mode", replaced)
    with pytest.raises(PermissionError, match="replaced the socket"):
        adma.listen(path, mode=0o666)
    assert stat.S_IMODE(precious.stat().st_mode) == 0o600
