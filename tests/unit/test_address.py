# SPDX-License-Identifier: BSD-3-Clause
"""Names: which path they mean, who may use it, and what happens to stale ones."""

from __future__ import annotations

import errno
import os
import socket
import stat
import threading
import time
from pathlib import Path

import pytest

from adma.connect import address
from adma.connect.place import PATH_MAX, to_listen
from adma.testing.limits import HANG, SHORT
from support.addresses import at, calling, end, runtime, soon
from support.endpoints import InThread

__all__ = ["runtime"]  # a fixture


def leave_stale(path: Path) -> None:
    """A socket file whose listener is gone."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(path))


# Names


def test_a_name_is_a_file_in_the_users_own_directory(runtime: Path) -> None:
    assert to_listen("echo").path == str(runtime / "adma" / "echo.sock")
    assert stat.S_IMODE((runtime / "adma").stat().st_mode) == 0o700


def test_a_path_stays_one(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runtime)
    assert to_listen("/some/where").path == "/some/where"
    assert to_listen("./here").path == str(runtime / "here")
    assert to_listen(Path("here")).path == str(runtime / "here")


def test_without_a_runtime_directory_it_is_in_the_temporary_one(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(runtime))
    assert to_listen("echo").path == str(runtime / f"adma-{os.geteuid()}" / "echo.sock")


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match=r"name=.*one character at least, and no zero bytes"):
        to_listen(name)


@pytest.mark.parametrize("name", [".", "..", Path("."), Path("..")])
def test_directories_are_no_names(name: str | Path) -> None:
    with pytest.raises(ValueError, match=r'name=.*"\." and "\.\." are directories; cure'):
        to_listen(name)


@pytest.mark.parametrize("name", ["a\ud800b", "/a\ud800b"])
def test_what_no_file_can_be_called(name: str) -> None:
    with pytest.raises(ValueError, match=r"name=.*no file name can hold '\\ud800'.*cure") as info:
        to_listen(name)
    assert type(info.value) is ValueError


class _OfBytes:
    def __fspath__(self) -> bytes:
        return b"echo"


@pytest.mark.parametrize("name", [b"echo", None, 5, _OfBytes()])
def test_other_things_are_no_names(name: str) -> None:
    with pytest.raises(TypeError, match=r"name must be a str or an os\.PathLike of str, not"):
        to_listen(name)


def test_the_longest_path_and_one_more(runtime: Path) -> None:
    fill = PATH_MAX - len(os.fsencode(runtime)) - 1
    longest = f"{runtime}/{'x' * fill}"
    bound = address.bind(to_listen(longest), 1)
    end(bound)
    with pytest.raises(OSError, match=r"108 bytes.*holds 107.*cure") as info:
        to_listen(longest + "x")
    assert info.value.errno == errno.ENAMETOOLONG


# The user's own directory


def test_a_directory_that_others_may_use_is_refused(runtime: Path) -> None:
    (runtime / "adma").mkdir()
    (runtime / "adma").chmod(0o750)
    with pytest.raises(PermissionError, match="chmod 700"):
        to_listen("echo")


def test_a_link_in_place_of_the_directory_is_refused(runtime: Path) -> None:
    (runtime / "else").mkdir(mode=0o700)
    (runtime / "adma").symlink_to(runtime / "else")
    with pytest.raises(PermissionError, match="must be a directory"):
        to_listen("echo")


def test_a_directory_that_is_not_there(runtime: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such directory"):
        address.bind(at(runtime / "no" / "echo"), 1)


def test_a_file_in_place_of_a_directory(runtime: Path) -> None:
    (runtime / "file").write_text("")
    path = str(runtime / "file" / "echo")
    with pytest.raises(NotADirectoryError, match=r"no directory.*cure") as info:
        address.bind(at(path), 1)
    assert info.value.filename == str(runtime / "file")
    with pytest.raises(NotADirectoryError, match=r"no directory.*cure"):
        address.connect(calling(path), soon())


def test_a_file_system_without_sockets() -> None:
    path = os.path.join(os.sep, "proc", "echo")
    with pytest.raises(OSError, match=r"no socket can be made.*cure.*/proc"):
        address.bind(at(path), 1)


# In use, stale, removed


def test_a_name_in_use(runtime: Path) -> None:
    path = to_listen("echo").path
    bound = address.bind(at(path), 1)
    with pytest.raises(OSError, match="in use") as info:
        address.bind(at(path), 1)
    assert info.value.errno == errno.EADDRINUSE
    assert info.value.filename == path
    end(bound)
    assert not os.path.exists(path)


def test_a_name_in_use_whose_queue_is_full(runtime: Path) -> None:
    path = to_listen("echo").path
    bound = address.bind(at(path), 1)
    callers = []
    with pytest.raises(TimeoutError, match="queue of callers is full"):
        while True:
            callers.append(address.connect(calling(path), time.monotonic() + SHORT))
    with pytest.raises(OSError, match="in use"):
        address.bind(at(path), 1)
    for caller in callers:
        caller.close()
    end(bound)


def test_a_file_that_is_no_socket_is_left_alone(runtime: Path) -> None:
    path = runtime / "file"
    path.write_text("precious")
    with pytest.raises(OSError, match="no socket") as info:
        address.bind(at(path), 1)
    assert info.value.errno == errno.EADDRINUSE
    assert path.read_text() == "precious"


@pytest.mark.parametrize("backlog", [1.5, 10**20])
def test_what_fails_after_the_file_was_made_leaves_none(runtime: Path, backlog: int) -> None:
    with pytest.raises((TypeError, OverflowError)):
        address.bind(at(runtime / "echo"), backlog)
    assert list(runtime.iterdir()) == []


def test_a_stale_socket_is_reused(runtime: Path) -> None:
    path = runtime / "echo"
    leave_stale(path)
    with pytest.raises(ConnectionRefusedError, match="nobody listens") as info:
        address.connect(calling(path), 0)
    assert info.value.filename == str(path)
    bound = address.bind(at(path), 1)
    address.connect(calling(path), soon()).close()
    end(bound)


def test_of_many_who_reuse_a_stale_socket_one_wins(runtime: Path) -> None:
    path = runtime / "echo"
    leave_stale(path)
    won: list[address.Bound] = []
    lost: list[OSError] = []
    start = threading.Barrier(8)

    def race() -> None:
        start.wait(HANG)
        try:
            won.append(address.bind(at(path), 1))
        except OSError as error:
            lost.append(error)

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)
    assert (len(won), len(lost)) == (1, 7)
    assert {error.errno for error in lost} == {errno.EADDRINUSE}
    end(won[0])
    assert list(runtime.iterdir()) == []  # no lock file either


def test_the_socket_is_its_makers_alone(runtime: Path) -> None:
    before = os.umask(0)
    try:
        bound = address.bind(at(runtime / "echo"), 1)
    finally:
        os.umask(before)
    assert stat.S_IMODE((runtime / "echo").stat().st_mode) == 0o600
    end(bound)


def test_somebody_elses_socket_is_not_removed(runtime: Path) -> None:
    path = runtime / "echo"
    first = address.bind(at(path), 1)
    path.unlink()
    second = address.bind(at(path), 1)
    end(first)
    address.connect(calling(path), soon()).close()
    end(second)
    assert not path.exists()


# Calling


def test_nobody_ever_listened(runtime: Path) -> None:
    path = str(runtime / "echo")
    with pytest.raises(FileNotFoundError, match=r"listen first") as info:
        address.connect(calling(path), 0)
    assert info.value.filename == path


def test_calling_what_is_no_socket(runtime: Path) -> None:
    (runtime / "file").write_text("")
    (runtime / "link").symlink_to(runtime / "file")
    for path, what in (
        (runtime, "a directory"),
        (runtime / "file", "a file"),
        (runtime / "link", "a file"),
    ):
        with pytest.raises(
            ConnectionRefusedError, match=f"this is {what}, no socket; cure"
        ) as info:
            address.connect(calling(path), soon())
        assert info.value.filename == str(path)


def test_a_link_to_a_socket_is_followed(runtime: Path) -> None:
    bound = address.bind(at(runtime / "echo"), 1)
    (runtime / "link").symlink_to(runtime / "echo")
    address.connect(calling(runtime / "link"), soon()).close()
    end(bound)


def test_a_caller_finds_a_listener_that_is_just_moving_in(runtime: Path) -> None:
    path = str(runtime / "echo")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        with address._locked(str(runtime)):
            listener.bind(path)
            caller = InThread(lambda: address.connect(calling(path), soon()))
            listener.listen(1)
        caller.result().close()


def test_a_lock_that_somebody_keeps(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "_LOCK_PATIENCE", SHORT)
    with address._locked(str(runtime)), pytest.raises(TimeoutError, match="keeps a lock"):
        address.bind(at(runtime / "echo"), 1)
