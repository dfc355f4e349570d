# SPDX-License-Identifier: BSD-3-Clause
"""Bulk segments: whole, nameless, sealed between users, and no dead maker's name left."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from adma import ProtocolError
from adma._core.constants import BULK_SIZE
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


@pytest.mark.parametrize("size", [0, 4096, BULK_SIZE])
@pytest.mark.parametrize("sealed", [False, True])
def test_what_is_no_segment_is_refused(size: int, sealed: bool) -> None:
    fd = os.memfd_create("no-segment", os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
        if sealed:
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
        if sealed and size == BULK_SIZE:
            segment.check(fd, same_user=False)
            return
        with pytest.raises(ProtocolError, match="no memory" if sealed else "not sealed"):
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
