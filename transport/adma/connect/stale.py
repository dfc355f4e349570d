# SPDX-License-Identifier: BSD-3-Clause
"""Socket files that nobody listens at any more: told from those in use, and removed."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from itertools import islice

from .place import ASIDE

__all__ = ["IN_USE", "is_stale", "remove_dead", "remove_stale", "sweep"]

IN_USE = "the name is in use: a process listens there; cure: another name, or end that process"
_SWEPT_AT_ONCE = 256  # sockets that one sweep looks at and removes, at most
_ENTRIES_AT_ONCE = 4096  # entries of the directory among which it looks for them, at most
_LISTED = 1 << 20  # bytes of the list of all users' sockets that are read, at most


def remove_stale(path: str) -> None:
    """Unlink a socket that nobody listens at; OSError (EADDRINUSE) when it is in use."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        text = "the name is taken by a file that is no socket; cure: another name, or remove it"
        raise OSError(errno.EADDRINUSE, text, path)
    if not is_stale(path):
        raise OSError(errno.EADDRINUSE, IN_USE, path)
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except PermissionError:
        text = f"the name is taken by a socket of uid {status.st_uid}; cure: another name"
        raise OSError(errno.EADDRINUSE, text, path) from None


def is_stale(path: str) -> bool:
    """Does nobody listen at this socket? False also where that cannot be told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        probe.setblocking(False)  # a socket class that replaced Python's may not heed the flag
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return True
        except OSError:
            pass  # a full queue, another type or another user: it is in use, or not ours
    return False


def sweep(directory: str) -> None:
    """Remove sockets of dead processes from a directory of names. Called with the lock held.

    A name that is made up anew for each listener is never listened at again, so nobody else
    would remove its file.
    """
    alive = _bound_here()
    looked = 0
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in islice(entries, _ENTRIES_AT_ONCE):
            if not entry.name.endswith(".sock") and not entry.name.startswith(ASIDE):
                continue
            if os.fsencode(entry.path) in alive:
                continue
            looked += 1
            if looked > _SWEPT_AT_ONCE:
                return
            remove_dead(entry.path)


def remove_dead(path: str) -> None:
    """Unlink a socket that nobody listens at, if there is one. Raises nothing."""
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(os.lstat(path).st_mode) and is_stale(path):
            os.unlink(path)


def _bound_here() -> frozenset[bytes]:
    """Paths of sockets that live in this network namespace. They need not be called to know it.

    Every user can make as many sockets as it likes, so of a long list only the beginning is read.
    """
    try:
        with open("/proc/net/unix", "rb") as file:
            lines = file.read(_LISTED).split(b"\n")[:-1]
    except OSError:
        return frozenset()
    return frozenset(line[line.index(b" /") + 1 :] for line in lines if b" /" in line)
