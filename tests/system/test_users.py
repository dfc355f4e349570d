# SPDX-License-Identifier: BSD-3-Clause
"""Names and segments that other users or other processes have made."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adma._core.constants import BULK_SIZE
from adma.connect import address
from adma.connect.place import to_listen
from adma.mechanisms import segment
from support.addresses import at, calling, end, runtime, soon
from support.endpoints import NOBODY_SPECIAL, InChild, become

__all__ = ["runtime"]  # a fixture

SHM = Path("/dev/shm")

# Addresses


@pytest.mark.root
def test_a_directory_of_another_user_is_refused(runtime: Path) -> None:
    (runtime / "adma").mkdir(mode=0o700)
    os.chown(runtime / "adma", NOBODY_SPECIAL, -1)
    with pytest.raises(PermissionError, match=f"belongs to uid {NOBODY_SPECIAL}"):
        to_listen("echo")


@pytest.mark.root
def test_a_runtime_directory_of_another_user_is_not_used(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(runtime))
    (runtime / "theirs").mkdir(mode=0o700)
    os.chown(runtime / "theirs", NOBODY_SPECIAL, -1)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime / "theirs"))
    assert to_listen("echo").path == str(runtime / f"adma-{os.geteuid()}" / "echo.sock")


@pytest.mark.root
def test_a_directory_that_is_not_writable(runtime: Path) -> None:
    runtime.chmod(0o755)

    def other_user() -> None:
        become(NOBODY_SPECIAL)
        address.bind(at(runtime / "echo"), 1)

    with pytest.raises(PermissionError, match=r"not writable.*cure"):
        InChild(other_user).result()


def test_a_forked_child_removes_nothing(runtime: Path) -> None:
    path = runtime / "echo"
    bound = address.bind(at(path), 1)
    InChild(bound.remove).result()
    assert path.exists()
    end(bound)


@pytest.mark.root
def test_a_socket_of_another_user(runtime: Path) -> None:
    runtime.chmod(0o755)
    bound = address.bind(at(runtime / "echo"), 1)

    def other_user() -> None:
        become(NOBODY_SPECIAL)
        address.connect(calling(bound.path), soon())

    with pytest.raises(PermissionError, match="closed to this user"):
        InChild(other_user).result()
    end(bound)


# Segments. A sweep looks at the names of every process of this user


def left(uid: int, age: float = 3600.0) -> Path:
    """The name of a segment, as somebody made it so long ago."""
    path = SHM / f"adma-{uid}-{os.getpid()}-{secrets.token_hex(16)}"
    path.write_bytes(b"")
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.mark.alone
def test_sweep_removes_what_dead_makers_left_and_nothing_else() -> None:
    uid = os.geteuid()
    dead = [left(uid), left(uid)]
    others = [left(uid, age=0.0), left(uid + 1), SHM / f"adma-{uid}-1-x"]
    others[-1].write_bytes(b"")
    try:
        assert segment.sweep() == len(dead)
        assert not [path for path in dead if path.exists()]
        assert [path for path in others if path.exists()] == others
        assert segment.sweep() == 0
    finally:
        for path in others:
            path.unlink()


@pytest.mark.alone
@pytest.mark.root
def test_a_file_of_another_user_is_not_swept() -> None:
    path = left(os.geteuid())
    os.chown(path, NOBODY_SPECIAL, -1)
    try:
        assert segment.sweep() == 0
        assert path.exists()
    finally:
        path.unlink()


@pytest.mark.root
def test_a_memfd_does_where_dev_shm_has_no_room() -> None:
    program = (
        "import os\n"
        "from adma.mechanisms import segment\n"
        "fd = segment.make(True)\n"
        "segment.check(fd, False)\n"
        "print(os.fstat(fd).st_size, os.listdir('/dev/shm'))\n"
    )
    script = 'mount -t tmpfs -o size=64k none /dev/shm && exec "$0" -c "$1"'
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, sys.executable, program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stdout == f"{BULK_SIZE} []\n"
