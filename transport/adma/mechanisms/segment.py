# SPDX-License-Identifier: BSD-3-Clause
"""The bulk segment of `shared`: memory for the two copies of a large message.

Between processes of one user it is a POSIX segment (shm_open(3)). It is made under a name that
nobody can guess, all its pages are allocated, and the name is removed at once, so that only
descriptors remain. Between users it is a sealed memfd: a user could shrink a POSIX segment, and
the other process would get a SIGBUS. A memfd also does for one user, where /dev/shm is missing,
closed to this user, or full: every user can fill it.

A process that is killed before it removes the name leaves it behind. A name lasts for a moment, so
`sweep()` removes those of this user that are older. If the maker is alive after all, it loses
nothing, because it has the descriptor. In /dev/shm every user can make as many files as it likes,
with any names. So a sweep looks at a few entries only, and at the owner of a file first.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import time
from itertools import islice

import posix_ipc

from .._core import handshake as core
from .._core.constants import BULK_SIZE
from ..connect.identity import own_uid
from ..errors import failure

__all__ = ["check", "make", "sweep"]

_DIRECTORY = "/dev/shm"
_NOT_THERE = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSYS)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_OLD = 60.0  # seconds; a name lasts for two system calls
_SWEPT_AT_ONCE = 256  # entries of the directory that one sweep looks at, at most
_SWEEP_TIME = 0.01  # seconds after which it looks at no more


def make(same_user: bool) -> int:
    """A bulk segment of `BULK_SIZE` bytes, every page allocated; a descriptor, close-on-exec.

    `same_user`: make a POSIX segment, if that is possible, otherwise a sealed memfd. OSError with
    cause and cure: there is no room for it. Nothing is left behind then.
    """
    if same_user and (fd := _posix_segment()) is not None:
        return fd
    fd = core.make_memory("adma-bulk")
    try:
        # Without room this is an error here, and not a SIGBUS later.
        core.allocate_memory(fd, BULK_SIZE)
        if not core.seal_memory(fd) and not same_user:
            raise PermissionError(errno.EPERM, core.UNSEALED)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _posix_segment() -> int | None:
    """None: there can be none here. OSError: this process lacks what a memfd needs, too."""
    fd = -1
    try:
        fd = _open()
        core.allocate_memory(fd, BULK_SIZE)
        # The peer judges it in the same way: /dev/shm might be of an unusual file system.
        if core.is_own_memory(fd, BULK_SIZE):
            fd, made = -1, fd
            return made
    except OSError as error:
        if error.errno not in (*_NOT_THERE, *_FULL):
            raise failure("bulk segment", error.errno or errno.EIO) from None
    finally:
        if fd >= 0:
            os.close(fd)
    return None


def _open() -> int:
    """A POSIX segment of no size yet, whose name is gone already. OSError."""
    # The random part is what counts. The rest is for people who find a name that was left.
    name = f"/adma-{own_uid()}-{os.getpid()}-{secrets.token_hex(16)}"
    try:
        segment = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, mode=0o600)
    except (posix_ipc.ExistentialError, posix_ipc.PermissionsError):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), _DIRECTORY) from None
    except (posix_ipc.Error, OSError) as error:
        raise _reason(error) from None
    # A sweep takes a maker that was stopped for long to be dead, and removes the name.
    with contextlib.suppress(posix_ipc.Error):
        posix_ipc.unlink_shared_memory(name)
    return int(segment.fd)


def _reason(error: Exception) -> OSError:
    """posix_ipc tells some errors in words only. Those for lack of descriptors come again here."""
    if isinstance(error, OSError) and error.errno:
        return error
    try:
        os.close(os.open(_DIRECTORY, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as again:
        return again
    return OSError(errno.EIO, str(error))


def check(fd: int, same_user: bool) -> None:
    """Check that a peer's descriptor is a segment that is safe to map. ProtocolError: it is not."""
    core.check_memory(fd, BULK_SIZE, same_user, "bulk segment")


def sweep() -> int:
    """Remove names that dead processes of this user left; returns how many. Raises nothing.

    It looks at so many entries and for so long, at most, whatever other users have put there.
    """
    ours = re.compile(rf"adma-{own_uid()}-\d+-[0-9a-f]{{32}}")
    end = time.monotonic() + _SWEEP_TIME
    removed = 0
    with contextlib.suppress(OSError), os.scandir(_DIRECTORY) as entries:
        for entry in islice(entries, _SWEPT_AT_ONCE):
            if ours.fullmatch(entry.name) and _is_old(entry):
                with contextlib.suppress(OSError, posix_ipc.Error):
                    posix_ipc.unlink_shared_memory(f"/{entry.name}")
                    removed += 1
            if time.monotonic() >= end:
                break
    return removed


def _is_old(entry: os.DirEntry[str]) -> bool:
    """Is it a file of this user, and so old that its maker has no use for the name any more?"""
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return False
    if status.st_uid != own_uid() or not stat.S_ISREG(status.st_mode):
        return False
    return time.time() - status.st_mtime > _OLD
