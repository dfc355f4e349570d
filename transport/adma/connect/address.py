# SPDX-License-Identifier: BSD-3-Clause
"""Socket files: make one, connect to one, tell a stale one from one in use, remove it.

All this happens under a lock on the file's directory; names have theirs on the private
directory. The lock is flock(2) on the directory itself, so that no lock file is left. A client
that found nobody takes it too, and looks again: a listener may be about to listen.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass

from .place import Callee, Place, not_writable

__all__ = ["Bound", "bind", "connect"]

_IN_USE = "the name is in use: a process listens there; cure: another name, or end that process"
_LOCK_PATIENCE = 2.0  # seconds; the lock is held for a few system calls
_MOVING_IN = 0.05  # seconds for which a client that may not take the lock looks again
_RETRY_FIRST, _RETRY_LONGEST = 0.001, 0.02  # seconds between two tries, growing


@dataclass(frozen=True)
class Bound:
    """A listening socket and the file it made."""

    sock: socket.socket
    path: str
    lock: str  # the directory to lock
    device: int
    inode: int
    pid: int  # of the process that made it; forked children do not own it

    def remove(self) -> None:
        """Remove the file if this process made it and it is still there. Raises nothing."""
        if os.getpid() != self.pid:
            return
        with contextlib.suppress(OSError), _locked(self.lock):
            status = os.lstat(self.path)
            if (status.st_dev, status.st_ino) == (self.device, self.inode):
                os.unlink(self.path)


def bind(place: Place, backlog: int, mode: int = 0o600) -> Bound:
    """Listen at a place. A stale file there is replaced; an error leaves no file.

    `mode`: of the file. OSError (EADDRINUSE): somebody listens there, or the file is no socket.
    PermissionError, FileNotFoundError: the directory cannot be used.
    """
    path = place.path
    with _locked(place.lock):
        if place.rival is not None:
            _remove_stale(place.rival)
        _remove_stale(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # The file gets this mode as it is made, so that nobody else can connect yet.
            os.fchmod(sock.fileno(), 0o600)
            _make_file(sock, path)
            try:
                status = os.lstat(path)
                if mode != 0o600:
                    _set_mode(path, status, mode)
                sock.listen(backlog)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(path)
                raise
            return Bound(sock, path, place.lock, status.st_dev, status.st_ino, os.getpid())
        except BaseException:
            sock.close()
            raise


def _set_mode(path: str, made: os.stat_result, mode: int) -> None:
    """Set the mode past the umask, and only of our socket: others may have replaced it."""
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        if (found.st_dev, found.st_ino) != (made.st_dev, made.st_ino):
            text = "somebody else replaced the socket just made; cure: a directory of one's own"
            raise PermissionError(errno.EPERM, text, path)
        try:
            os.chmod(f"/proc/self/fd/{fd}", mode)  # the descriptor itself takes no fchmod
        except (FileNotFoundError, PermissionError):
            text = "the socket's mode cannot be set; cure: mount /proc, or let this process use it"
            raise OSError(errno.ENOSYS, text, path) from None
    finally:
        os.close(fd)


def _make_file(sock: socket.socket, path: str) -> None:
    """Bind the socket. The system's own errors lack the path and the cure."""
    try:
        sock.bind(path)
    except PermissionError:
        raise not_writable(os.path.dirname(path)) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:  # by one who does not heed the lock
            raise OSError(errno.EADDRINUSE, _IN_USE, path) from None
        text = f"no socket can be made at this path ({error.strerror}); cure: one in a directory "
        raise OSError(error.errno, text + "of a file system that holds sockets", path) from None


def connect(callee: Callee, deadline: float) -> socket.socket:
    """A socket connected to a listener, at `deadline` (`time.monotonic()`) at the latest.

    FileNotFoundError: there is no such file. ConnectionRefusedError: nobody listens there any
    more, or it is no socket. PermissionError: this user may not use it. TimeoutError: the
    listener's queue stays full.
    """
    for path in callee.paths:
        _check_kind(path)
    with contextlib.suppress(*_NOBODY):
        return _connect_first(callee, deadline)
    try:
        # A listener that is between bind and listen, or replaces a stale file, looks like
        # none. It holds the lock: look again once we have it.
        if callee.lock is not None:
            with contextlib.suppress(PermissionError), _locked(callee.lock):
                return _connect_first(callee, deadline)
        return _connect_patiently(callee, deadline)
    except ConnectionRefusedError as error:
        text = "nobody listens at this socket, its process is gone; cure: listen there again"
        raise ConnectionRefusedError(errno.ECONNREFUSED, text, error.filename) from None
    except NotADirectoryError:
        if callee.lock is not None:
            raise
        raise _not_there(callee) from None
    except FileNotFoundError:
        raise _not_there(callee) from None


def _not_there(callee: Callee) -> FileNotFoundError:
    text = "there is no socket of this name; cure: listen first, as the same user"
    if callee.lock is None:
        text = "that user has opened no socket of this name; cure: listen there with mode= or "
        text += "allow_uids=, and with the same ADMA_OPEN_DIR on both sides, if any"
    return FileNotFoundError(errno.ENOENT, text, callee.label)


_NOBODY = (FileNotFoundError, NotADirectoryError, ConnectionRefusedError)


def _connect_first(callee: Callee, deadline: float) -> socket.socket:
    """Connect at the first path that has a listener. Raises the error that says most."""
    nearest: OSError | None = None
    for path in callee.paths:
        try:
            return _connect(path, deadline)
        except _NOBODY as error:
            error.filename = path
            if nearest is None or isinstance(error, ConnectionRefusedError):
                nearest = error
    assert nearest is not None
    raise nearest


def _connect_patiently(callee: Callee, deadline: float) -> socket.socket:
    """Try again for a moment, where we may not take the lock: a listener may be about to listen."""
    end = min(deadline, time.monotonic() + _MOVING_IN)
    pause = _RETRY_FIRST
    while True:
        try:
            return _connect_first(callee, deadline)
        except _NOBODY:
            if time.monotonic() >= end:
                raise
        time.sleep(pause)
        pause = min(2 * pause, _RETRY_LONGEST)


def _check_kind(path: str) -> None:
    """Refuse what is no socket. The kernel would only say that nobody listens."""
    try:
        mode = os.stat(path).st_mode  # as connect does, through symbolic links
    except OSError:
        return  # connect() says what is wrong
    if not stat.S_ISSOCK(mode):
        what = "a directory" if stat.S_ISDIR(mode) else "a file"
        text = f"this is {what}, no socket; cure: the name or path that was given to listen"
        raise ConnectionRefusedError(errno.ECONNREFUSED, text, path)


def _connect(path: str, deadline: float) -> socket.socket:
    pause = _RETRY_FIRST
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setblocking(False)  # a socket class that replaced Python's may not heed the flag
        while True:
            try:
                sock.connect(path)
                return sock
            except BlockingIOError:
                # The queue is full, and a Unix socket offers nothing to poll for that.
                left = deadline - time.monotonic()
                if left <= 0:
                    text = "the listener does not accept: its queue of callers is full"
                    raise TimeoutError(errno.ETIMEDOUT, text, path) from None
                time.sleep(min(pause, left))
                pause = min(2 * pause, _RETRY_LONGEST)
            except PermissionError:
                text = "this socket or its directory is closed to this user; cure: connect as the "
                text += "listener's user, or listen with mode= or allow_uids="
                raise PermissionError(errno.EACCES, text, path) from None
            except OSError as error:
                if error.errno in (errno.EPROTOTYPE, errno.ENOTSOCK):
                    text = "what is at this path is no listener of adma"
                    raise OSError(error.errno, text, path) from None
                raise
    except BaseException:
        sock.close()
        raise


def _remove_stale(path: str) -> None:
    """Unlink a socket that nobody listens at; OSError (EADDRINUSE) when it is in use."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        text = "the name is taken by a file that is no socket; cure: another name, or remove it"
        raise OSError(errno.EADDRINUSE, text, path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except FileNotFoundError:
            return
        except OSError:
            pass  # a full queue, another type or another user: it is in use, or not ours
    raise OSError(errno.EADDRINUSE, _IN_USE, path)


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    """Hold the lock on a directory. TimeoutError when somebody keeps it."""
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        text = "there is no such directory; cure: make it, or choose another path"
        raise FileNotFoundError(errno.ENOENT, text, directory) from None
    except PermissionError:
        raise not_writable(directory) from None
    except NotADirectoryError:
        text = "this is no directory, so no socket can be in it; cure: choose another path"
        raise NotADirectoryError(errno.ENOTDIR, text, directory) from None
    try:
        _lock(fd, directory)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, directory: str) -> None:
    """Take the lock, with a limit: in a public directory anybody may hold it for ever."""
    deadline = time.monotonic() + _LOCK_PATIENCE
    pause = _RETRY_FIRST
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                text = "another process keeps a lock on this directory; cure: another directory"
                raise TimeoutError(errno.ETIMEDOUT, text, directory) from None
            time.sleep(pause)
            pause = min(2 * pause, _RETRY_LONGEST)
