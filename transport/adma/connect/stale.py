# SPDX-License-Identifier: BSD-3-Clause
"""Socket files that nobody listens at any more: told from those in use, and removed."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat

from .place import ASIDE

__all__ = ["IN_USE", "is_stale", "remove_dead", "remove_stale", "sweep"]

IN_USE = "the name is in use: a process listens there; cure: another name, or end that process"
_SWEPT_AT_ONCE = 256  # sockets that one sweep looks at and removes, at most


def remove_stale(path: str) -> None:
    """Unlink a socket that nobody listens at; OSError (EADDRINUSE) when it is in use."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        text = "the name is taken by a file that is no socket; cure: another name, or remove it"
        raise OSError(errno.EADDRINUSE, text, path)
    if not is_stale(path):
        raise OSError(errno.EADDRINUSE, IN_USE, path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


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
    try:
        names = os.listdir(directory)
    except OSError:
        return
    alive = _bound_here()
    looked = 0
    for name in names:
        path = os.path.join(directory, name)
        if not (name.endswith(".sock") or name.startswith(ASIDE)) or os.fsencode(path) in alive:
            continue
        looked += 1
        if looked > _SWEPT_AT_ONCE:
            return
        remove_dead(path)


def remove_dead(path: str) -> None:
    """Unlink a socket that nobody listens at, if there is one. Raises nothing."""
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(os.lstat(path).st_mode) and is_stale(path):
            os.unlink(path)


def _bound_here() -> frozenset[bytes]:
    """Paths of sockets that live in this network namespace. They need not be called to know it."""
    try:
        with open("/proc/net/unix", "rb") as file:
            return frozenset(line[line.index(b" /") + 1 : -1] for line in file if b" /" in line)
    except OSError:
        return frozenset()
