# SPDX-License-Identifier: BSD-3-Clause
"""Names in environments that differ, waiting for a listener, and what dead ones leave."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import adma
from adma.connect import address, place, stale
from adma.testing.limits import HANG, SHORT
from support.addresses import runtime
from support.endpoints import InThread

__all__ = ["runtime"]  # a fixture

_CALL = """
import adma, sys
try:
    with adma.connect(sys.argv[1], timeout=float(sys.argv[2])) as channel:
        print(channel.recv(timeout=20))
except Exception as error:
    print(type(error).__name__, error)
"""


def call_with(name: str, environment: dict[str, str], timeout: float = HANG) -> subprocess.Popen:
    """A client in another environment: what is not named there is not set."""
    kept = {key: value for key, value in os.environ.items() if key not in ("XDG_RUNTIME_DIR",)}
    kept.pop("TMPDIR", None)
    return subprocess.Popen(
        [sys.executable, "-c", _CALL, name, str(timeout)],
        env=kept | environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(client: subprocess.Popen) -> str:
    out, _ = client.communicate(timeout=HANG)
    return str(out).strip()


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A listener's environment without any variable; a name that nobody else has."""
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.delenv("TMPDIR")
    monkeypatch.setattr(tempfile, "tempdir", None)
    return f"test-{os.getpid()}"


# Environments


def test_a_client_with_variables_finds_a_listener_without(usual: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    with adma.listen(usual) as server:
        for variable in ("TMPDIR", "XDG_RUNTIME_DIR"):
            client = call_with(usual, {variable: str(run)})
            with server.accept(timeout=HANG) as channel:
                channel.send("found", timeout=HANG)
            assert said(client) == "found"
    assert list(run.iterdir()) == []  # a client makes no directory


def test_a_client_is_told_which_places_were_looked_at(runtime: Path) -> None:
    with adma.listen("test"):
        text = said(call_with("test", {}, timeout=0))
    assert text.startswith("FileNotFoundError")
    for word in ("XDG_RUNTIME_DIR (here not set)", "TMPDIR", "/tmp/adma-", "/var/tmp/adma-"):
        assert word in text


def test_a_relative_runtime_directory_does_not_count(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "run")
    monkeypatch.setattr(tempfile, "tempdir", str(runtime))
    with adma.listen("test") as server:
        assert server.address == str(runtime / f"adma-{os.geteuid()}" / "test.sock")
        monkeypatch.chdir("/")
        calling = InThread(lambda: adma.connect("test", timeout=HANG))
        with server.accept(timeout=HANG), calling.result():
            pass
    assert not os.path.exists(server.address)
    assert list((tmp_path / "run").iterdir()) == []


def test_a_relative_temporary_directory_does_not_count(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setenv("TMPDIR", "tmp")
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(place, "_TEMPORARY", (str(runtime),))
    (tmp_path / "tmp").mkdir()
    monkeypatch.chdir(tmp_path)
    assert place.to_listen("test").path == str(runtime / f"adma-{os.geteuid()}" / "test.sock")


def test_a_directory_that_is_not_safe_is_not_looked_at(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / f"adma-{os.geteuid()}"
    other.mkdir(mode=0o700)
    monkeypatch.setattr(place, "_TEMPORARY", (str(tmp_path),))
    there = str(other / "test.sock")
    assert place.to_call("test").elsewhere() == (there,)
    other.chmod(0o755)
    assert place.to_call("test").elsewhere() == ()


@pytest.mark.parametrize("opened", [False, True])
def test_a_relative_open_directory(monkeypatch: pytest.MonkeyPatch, opened: bool) -> None:
    """It is refused where it is needed, and looked at nowhere else."""
    monkeypatch.setenv("ADMA_OPEN_DIR", "open")
    if opened:
        for use in (lambda: adma.listen("test", mode=0o666), lambda: adma.connect("test@4321")):
            with pytest.raises(ValueError, match=r"ADMA_OPEN_DIR='open' is relative.*cure"):
                use()
        return
    with adma.listen("test") as server:
        calling = InThread(lambda: adma.connect("test", timeout=HANG))
        with server.accept(timeout=HANG), calling.result():
            pass


_TEXTS = [
    ("ADMA_LOOPBACK_ADDRESS", b"\xff"),
    ("ADMA_LOOPBACK_ADDRESS", b"\xff" * 10_000),
    ("ADMA_LOOPBACK_ADDRESS", b"::1%\n\x1b[31m"),
    ("ADMA_COPIERS", b"\xff"),
    ("ADMA_COPIERS", b""),
    ("ADMA_LEARN", b"\xff"),
    ("ADMA_PTRACER", b"\xff"),
    ("ADMA_ENGINE", b"\xff"),
    ("ADMA_QUEUES", b"\xff"),
    ("ADMA_SCHEDULE", b"\xff"),
    ("LC_ALL", b"\xff"),
    ("LANG", b"C"),
]


@pytest.mark.parametrize("end", ["server", "client"])
@pytest.mark.parametrize(("variable", "text"), _TEXTS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_text_in_the_environment_keeps_two_from_meeting(
    variable: str, text: bytes, end: str
) -> None:
    other = {"XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"], "PYTHONUTF8": "0"}
    odd = {variable: os.fsdecode(text)}
    if end == "client":
        with adma.listen("test") as server:
            client = call_with("test", other | odd)
            for channel in server:
                channel.explain(1 << 20)
                channel.send("met", timeout=HANG)
                channel.close()
                break
            assert said(client) == "met"
        return
    program = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _SERVE], env=os.environ | odd, stdout=-1, text=True
    )
    with adma.connect("served", timeout=HANG) as channel:
        assert channel.recv(timeout=HANG) == "met"
        print(str(channel.explain(1 << 20)).encode("ascii", "strict"))
    assert said(program) == "ended"


_SERVE = """
import adma
with adma.listen("served") as server:
    for channel in server:
        str(channel.explain(1 << 20)).encode("utf-8")
        channel.send("met", timeout=20)
        channel.close()
        break
print("ended")
"""


def test_a_directory_whose_name_is_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = tmp_path / os.fsdecode(b"\xff")
    odd.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(odd))
    with adma.listen("test") as server, socket.socket(socket.AF_UNIX) as rubbish:
        rubbish.connect(server.address)
        rubbish.sendall(b"GET / HTTP/1.1\r\n\r\n")
        calling = InThread(lambda: adma.connect("test", timeout=HANG))
        with server.accept(timeout=HANG), calling.result():
            pass


# Waiting for a listener


def _until_it_looked(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once a client has found nobody."""
    looked = threading.Event()
    real = address._connect_first

    def look(callee: place.Callee, deadline: float) -> socket.socket:
        try:
            return real(callee, deadline)
        except OSError:
            looked.set()
            raise

    monkeypatch.setattr(address, "_connect_first", look)
    return looked


@pytest.mark.parametrize("before", ["nothing", "no directory", "stale"])
@pytest.mark.parametrize("kind", ["name", "path"])
def test_a_client_may_start_first(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, kind: str, before: str
) -> None:
    looked = _until_it_looked(monkeypatch)
    directory = runtime / ("adma" if kind == "name" else "dir")
    path = directory / ("test.sock" if kind == "name" else "test")
    name = "test" if kind == "name" else str(path)
    if before != "no directory":
        directory.mkdir(mode=0o700)
    if before == "stale":
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
    calling = InThread(lambda: adma.connect(name, timeout=HANG))
    assert looked.wait(HANG)
    directory.mkdir(mode=0o700, exist_ok=True)
    with adma.listen(name) as server, server.accept(timeout=HANG), calling.result():
        pass


@pytest.mark.parametrize("timeout", [0, SHORT])
def test_it_waits_as_long_as_it_was_told(timeout: float) -> None:
    begin = time.monotonic()
    with pytest.raises(FileNotFoundError, match="listen first"):
        adma.connect("test", timeout=timeout)
    assert timeout <= time.monotonic() - begin < HANG


def test_to_find_nobody_takes_no_lock(runtime: Path) -> None:
    """So whoever keeps the lock of a directory holds up no client."""
    (runtime / "adma").mkdir(mode=0o700)
    with address._locked(str(runtime / "adma")):
        begin = time.monotonic()
        with pytest.raises(FileNotFoundError):
            adma.connect("test", timeout=0)
        assert time.monotonic() - begin < address._LOCK_PATIENCE


# What dead ones leave


def _stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def test_sockets_of_the_dead_are_swept(runtime: Path) -> None:
    directory = runtime / "adma"
    with adma.listen("alive"):
        for number in range(5):
            _stale(directory / f"{number}-b2c9.sock")
        _stale(directory / ".adma-0-b2c9.sock")
        _stale(directory / "of somebody else")
        (directory / "file.sock").write_text("precious")
        with adma.listen("test"):
            left = {path.name for path in directory.iterdir()}
            assert left == {"alive.sock", "test.sock", "file.sock", "of somebody else"}
    shutil.rmtree(directory)


def test_a_sweep_disturbs_nobody_who_lives(runtime: Path) -> None:
    with adma.listen("alive") as server:
        for _ in range(3):
            adma.listen("test").close()
        with pytest.raises(TimeoutError):
            server.accept(timeout=0)
        with pytest.raises(BlockingIOError):
            server._sock.accept()  # nobody has called


def test_a_sweep_has_a_bound(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stale, "_SWEPT_AT_ONCE", 3)
    directory = runtime / "adma"
    directory.mkdir(mode=0o700)
    for number in range(7):
        _stale(directory / f"{number}.sock")
    for left in (4, 1, 0):
        adma.listen("test").close()
        assert len(list(directory.iterdir())) == left


def test_those_that_were_opened_are_swept(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMA_OPEN_DIR", str(runtime))
    directory = runtime / f"adma-{os.geteuid()}-open"
    directory.mkdir(mode=0o711)
    _stale(directory / "b2c9.sock")
    adma.listen("test").close()
    assert list(directory.iterdir()) == []


def test_a_killed_server_with_a_name_of_its_own(runtime: Path) -> None:
    program = "import adma, os, uuid; s = adma.listen(uuid.uuid4().hex); os.kill(os.getpid(), 9)"
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    left = len(list((runtime / "adma").iterdir()))
    assert left == 1  # the second one has swept the first
    with adma.listen("test") as server:
        assert os.listdir(runtime / "adma") == [os.path.basename(server.address)]
