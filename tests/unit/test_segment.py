# SPDX-License-Identifier: BSD-3-Clause
"""Bulk segments: whole, nameless, sealed between users, and no dead maker's name left."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adma import ProtocolError
from adma._core.constants import BULK_SIZE
from adma.connect.identity import start_time
from adma.mechanisms import segment

SHM = Path("/dev/shm")
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def names() -> set[str]:
    return {path.name for path in SHM.glob(f"adma-{os.geteuid()}-{os.getpid()}-*")}


@pytest.mark.parametrize("same_user", [True, False])
def test_a_segment_is_whole_and_has_no_name(same_user: bool) -> None:
    fd = segment.make(same_user)
    try:
        status = os.fstat(fd)
        assert status.st_size == BULK_SIZE
        assert status.st_blocks * 512 >= BULK_SIZE  # every page is there
        assert not os.get_inheritable(fd)
        assert not names()
        segment.check(fd, same_user)
    finally:
        os.close(fd)


def test_between_users_it_is_sealed() -> None:
    fd = segment.make(same_user=False)
    try:
        assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) == SEALS
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 0)
    finally:
        os.close(fd)


@pytest.mark.parametrize("size", [0, 4096, None])
def test_what_is_no_segment_is_refused(size: int | None) -> None:
    fd = os.memfd_create("not-sealed", os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, BULK_SIZE if size is None else size)
        with pytest.raises(ProtocolError, match="not sealed" if size is None else "no memory"):
            segment.check(fd, same_user=False)
    finally:
        os.close(fd)


def test_a_pipe_is_no_segment() -> None:
    out, into = os.pipe()
    try:
        with pytest.raises(ProtocolError, match="no memory"):
            segment.check(out, same_user=True)
    finally:
        os.close(out)
        os.close(into)


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_sweep_removes_what_dead_makers_left_and_nothing_else() -> None:
    uid, now = os.geteuid(), start_time()
    assert now is not None
    dead = [f"adma-{uid}-{dead_pid()}-77-0", f"adma-{uid}-{os.getpid()}-{now - 1}-3"]
    alive = [f"adma-{uid}-{os.getpid()}-{now}-999", f"adma-{uid + 1}-1-1-1", f"adma-{uid}-x"]
    for name in dead + alive:
        (SHM / name).write_bytes(b"")
    try:
        assert segment.sweep() == len(dead)
        assert not [name for name in dead if (SHM / name).exists()]
        assert [name for name in alive if (SHM / name).exists()] == alive
        assert segment.sweep() == 0
    finally:
        for name in alive:
            (SHM / name).unlink()


@pytest.mark.root
def test_a_file_of_another_user_is_not_swept() -> None:
    path = SHM / f"adma-{os.geteuid()}-{dead_pid()}-77-1"
    path.write_bytes(b"")
    os.chown(path, 4321, -1)
    try:
        assert segment.sweep() == 0
        assert path.exists()
    finally:
        path.unlink()


@pytest.mark.root
def test_no_room_is_an_error_and_names_the_size() -> None:
    program = (
        "import errno\n"
        "from adma.mechanisms import segment\n"
        "try:\n"
        "    segment.make(True)\n"
        "except OSError as error:\n"
        "    print(error.errno, error.strerror)\n"
        "import os\n"
        "print(os.listdir('/dev/shm'))\n"
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
    error, left = result.stdout.splitlines()
    assert error.startswith(f"{errno.ENOSPC} /dev/shm has no room")
    assert str(BULK_SIZE) in error
    assert "cure" in error
    assert left == "[]"
