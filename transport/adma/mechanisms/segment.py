# SPDX-License-Identifier: BSD-3-Clause
"""The bulk segment of `shared`: memory for the two copies of a large message.

Between processes of one user it is a POSIX segment (shm_open(3)). It is made under a name of
its own, all its pages are allocated, and the name is removed at once, so that only descriptors
remain. Between users it is a sealed memfd: a user could shrink a POSIX segment, and the other
process would get a SIGBUS.

A process that is killed before it removes the name leaves it behind. The name tells its user,
pid and start time, and `sweep()` removes those of dead processes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import re
import stat

import posix_ipc

from .._core.constants import BULK_SIZE
from ..connect.identity import start_time
from ..errors import ProtocolError

__all__ = ["check", "make", "sweep"]

_DIRECTORY = "/dev/shm"
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_MADE_OFTEN_ENOUGH = 16
_counter = itertools.count()


def make(same_user: bool) -> int:
    """A bulk segment of `BULK_SIZE` bytes, every page allocated; a descriptor, close-on-exec.

    `same_user`: make a POSIX segment, otherwise a sealed memfd. OSError with cause and cure:
    there is no room for it. Nothing is left behind then.
    """
    size = BULK_SIZE
    fd = _posix_segment() if same_user else _memfd()
    try:
        # A file system that is full is an error here, and not a SIGBUS later.
        os.posix_fallocate(fd, 0, size)
        if not same_user:
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except OSError as error:
        os.close(fd)
        if error.errno in (errno.ENOSPC, errno.ENOMEM):
            raise OSError(error.errno, _no_room(size, same_user)) from None
        raise
    except BaseException:
        os.close(fd)
        raise
    return fd


def check(fd: int, same_user: bool) -> None:
    """Check that a peer's descriptor is a segment that is safe to map. ProtocolError: it is not."""
    size = BULK_SIZE
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_size < size:
        raise ProtocolError(f"the peer's bulk segment is no memory of {size} bytes")
    if same_user:
        return
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError:
        seals = 0
    if seals & _SEALS != _SEALS:
        raise ProtocolError("the peer's bulk segment is not sealed, but it belongs to another user")


def sweep() -> int:
    """Remove the names that dead processes of this user left; returns how many there were."""
    ours = re.compile(rf"adma-{os.geteuid()}-(\d+)-(\d+)-\d+")
    removed = 0
    try:
        names = os.listdir(_DIRECTORY)
    except OSError:
        return 0
    for name in names:
        match = ours.fullmatch(name)
        if match is None or start_time(int(match[1])) == int(match[2]):
            continue
        # Another user may have made a file of such a name; it is left alone.
        with contextlib.suppress(OSError, posix_ipc.Error):
            if os.lstat(f"{_DIRECTORY}/{name}").st_uid == os.geteuid():
                posix_ipc.unlink_shared_memory(f"/{name}")
                removed += 1
    return removed


def _posix_segment() -> int:
    for _ in range(_MADE_OFTEN_ENOUGH):
        name = f"/adma-{os.geteuid()}-{os.getpid()}-{start_time() or 0}-{next(_counter)}"
        try:
            segment = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, mode=0o600)
        except posix_ipc.ExistentialError:
            continue  # of a process with our pid in another pid namespace
        except posix_ipc.PermissionsError:
            cure = f"mount it with mode 1777 (mount -o remount,mode=1777 {_DIRECTORY})"
            text = f"{_DIRECTORY} does not let this user make segments; cure: {cure}"
            raise PermissionError(errno.EACCES, text) from None
        except posix_ipc.Error as error:
            raise OSError(errno.EIO, f"no POSIX segment could be made: {error}") from None
        # A process of another pid namespace may have taken us for dead, and removed the name.
        with contextlib.suppress(posix_ipc.ExistentialError):
            posix_ipc.unlink_shared_memory(name)
        return int(segment.fd)
    raise OSError(errno.EEXIST, f"no name for a segment could be made; is {_DIRECTORY} mounted?")


def _memfd() -> int:
    return os.memfd_create("adma-bulk", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def _no_room(size: int, same_user: bool) -> str:
    if not same_user:
        return f"no memory for a bulk segment of {size} bytes"
    cure = f"make it larger (mount -o remount,size=64m {_DIRECTORY}; docker: --shm-size)"
    return f"{_DIRECTORY} has no room for a bulk segment of {size} bytes; cure: {cure}"
