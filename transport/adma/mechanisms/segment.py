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
import itertools
import os
import re
import stat

import posix_ipc

from .._core import handshake as core
from .._core.constants import BULK_SIZE
from ..connect.identity import is_gone, own_uid, start_time
from ..errors import ProtocolError, failure

__all__ = ["check", "make", "sweep"]

_DIRECTORY = "/dev/shm"
_NO_DIRECTORY = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSYS)
_MADE_OFTEN_ENOUGH = 16
_counter = itertools.count()


def make(same_user: bool) -> int:
    """A bulk segment of `BULK_SIZE` bytes, every page allocated; a descriptor, close-on-exec.

    `same_user`: make a POSIX segment, otherwise a sealed memfd. OSError with cause and cure:
    there is no room for it. Nothing is left behind then.
    """
    size = BULK_SIZE
    fd, posix = _open(same_user)
    try:
        # A file system that is full is an error here, and not a SIGBUS later.
        core.allocate_memory(fd, size)
        if not core.seal_memory(fd) and not same_user:
            raise PermissionError(errno.EPERM, core.UNSEALED)
    except OSError as error:
        os.close(fd)
        if posix and error.errno == errno.ENOSPC:
            raise OSError(error.errno, _no_room(size)) from None
        raise
    except BaseException:
        os.close(fd)
        raise
    return fd


def _open(same_user: bool) -> tuple[int, bool]:
    """Memory of no size yet; and is it a POSIX segment?

    Where /dev/shm is missing, or closed to this user, a memfd does for one user, too.
    """
    if same_user:
        try:
            return _posix_segment(), True
        except OSError as error:
            if error.errno not in _NO_DIRECTORY:
                raise failure("bulk segment", error.errno or errno.EIO) from None
    return core.make_memory("adma-bulk"), False


def check(fd: int, same_user: bool) -> None:
    """Check that a peer's descriptor is a segment that is safe to map. ProtocolError: it is not."""
    size = BULK_SIZE
    # This comes first, and is asked of the kernel alone: fstat() of a stranger's file may block.
    if not same_user and not core.is_sealed(fd):
        raise ProtocolError("the peer's bulk segment is not sealed, but it belongs to another user")
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_size < size:
        raise ProtocolError(f"the peer's bulk segment is no memory of {size} bytes")


def sweep() -> int:
    """Remove the names that dead processes of this user left; returns how many there were."""
    ours = re.compile(rf"adma-{own_uid()}-(\d+)-(\d+)-\d+")
    removed = 0
    try:
        names = os.listdir(_DIRECTORY)
    except OSError:
        return 0
    for name in names:
        match = ours.fullmatch(name)
        if match is None or not is_gone(int(match[1]), int(match[2])):
            continue
        # Another user may have made a file of such a name; it is left alone.
        with contextlib.suppress(OSError, posix_ipc.Error):
            if os.lstat(f"{_DIRECTORY}/{name}").st_uid == own_uid():
                posix_ipc.unlink_shared_memory(f"/{name}")
                removed += 1
    return removed


def _posix_segment() -> int:
    for _ in range(_MADE_OFTEN_ENOUGH):
        name = f"/adma-{own_uid()}-{os.getpid()}-{start_time() or 0}-{next(_counter)}"
        try:
            segment = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, mode=0o600)
        except posix_ipc.ExistentialError:
            if not os.path.isdir(_DIRECTORY):
                break
            continue  # of a process with our pid in another pid namespace
        except posix_ipc.PermissionsError:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), _DIRECTORY) from None
        except (posix_ipc.Error, OSError) as error:
            raise _reason(error) from None
        # A process of another pid namespace may have taken us for dead, and removed the name.
        with contextlib.suppress(posix_ipc.ExistentialError):
            posix_ipc.unlink_shared_memory(name)
        return int(segment.fd)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), _DIRECTORY)


def _reason(error: Exception) -> OSError:
    """posix_ipc tells some errors in words only. Those for lack of descriptors come again here."""
    if isinstance(error, OSError) and error.errno:
        return error
    try:
        os.close(os.open(_DIRECTORY, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as again:
        return again
    return OSError(errno.EIO, str(error))


def _no_room(size: int) -> str:
    cure = f"make it larger (mount -o remount,size=64m {_DIRECTORY}; docker: --shm-size)"
    return f"{_DIRECTORY} has no room for a bulk segment of {size} bytes; cure: {cure}"
