# SPDX-License-Identifier: BSD-3-Clause
"""Socket files: make one, connect to one, tell a stale one from one in use, remove it.

Files are made and removed under a lock on their directory; names have theirs on the private
directory. The lock is flock(2) on the directory itself, so that no lock file is left. A client
takes no lock. It looks again and again, for as long as it has time, whether somebody listens.

A listening socket may be shared by forked processes, of which any may leave first. The last one
to leave removes the file. When those that serve have left and others have only inherited the
socket, the file is set aside, so that its name is free; one of these that begins to serve puts
it back. What was set aside and is of no use any more is removed by the process that did so, at
its end or earlier, or by the next one that listens there.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator

from .. import forks
from .claims import ALONE, Claims, Others
from .pipe import identity
from .place import ASIDE, Callee, Place, not_writable
from .stale import IN_USE, is_stale, remove_dead, remove_stale, sweep

__all__ = ["Bound", "bind", "connect", "making"]

_LOCK_PATIENCE = 2.0  # seconds; the lock is held for a few system calls
_PUBLIC_PATIENCE = 0.5  # the same where other users may take it, too
_RETRY_FIRST, _RETRY_LONGEST = 0.001, 0.02  # seconds between two tries, growing


class Bound:
    """A listening socket and the file it made. Forked children have copies of it."""

    def __init__(self, sock: socket.socket, path: str, lock: str, status: os.stat_result) -> None:
        self.sock = sock
        self.path = path
        self._lock = lock  # the directory to lock
        self._file = status.st_dev, status.st_ino
        self._socket = identity(sock.fileno())
        self._aside = _aside(path)
        self._claims: Claims | None = None  # from the first fork on
        self._serves = True
        self._has_left = False
        forks.before(self, Bound._before_fork)
        forks.in_child(self, Bound._forked)

    def _before_fork(self) -> None:
        if self._claims is None and not self._has_left and self.sock.fileno() >= 0:
            # Without a pipe a child is not known: then the first process to leave takes the file.
            with contextlib.suppress(OSError):
                self._claims = Claims()

    def _forked(self) -> None:
        self._serves = False

    def serve(self) -> bool:
        """This process begins to serve. False: another listener has got the name meanwhile."""
        if self._serves:
            return True
        self._serves = True
        if self._claims is None:
            return True
        self._claims.add()
        with contextlib.suppress(OSError), _locked(self._lock):
            if not self._is_ours(self.path):
                if os.path.lexists(self.path) and not is_stale(self.path):
                    return False
                if self._is_ours(self._aside):
                    os.rename(self._aside, self.path)
        return True

    def close(self) -> None:
        """Close the socket, if it is still there: its number may be somebody else's."""
        if identity(self.sock.fileno()) == self._socket:
            self.sock.close()
        else:
            self.sock.detach()

    def remove(self) -> None:
        """This process leaves: remove the file, unless others are left. Raises nothing."""
        with contextlib.suppress(OSError), _locked(self._lock):
            others = self._leave()
            if not others.hold:
                self._unlink()
            elif not others.serve and self._is_ours(self.path):
                os.rename(self.path, self._aside)
                _put_aside.add(self)
        self._leave()  # if there was no lock to be had

    def tidy(self) -> None:
        """Remove what was set aside, if no process is left that could put it back."""
        with contextlib.suppress(OSError), _locked(self._lock):
            if self._is_ours(self._aside) and not is_stale(self._aside):
                return
            self._unlink()
            _put_aside.discard(self)

    def _unlink(self) -> None:
        for path in (self.path, self._aside):
            if self._is_ours(path):
                os.unlink(path)

    def _leave(self) -> Others:
        self._has_left = True  # a fork from now on makes no pipe, which nobody would close
        claims, self._claims = self._claims, None
        return ALONE if claims is None else claims.withdraw(self._serves)

    def _is_ours(self, path: str) -> bool:
        try:
            status = os.lstat(path)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._file


#: Those whose files this process has set aside.
_put_aside: set[Bound] = set()


def _tidy() -> None:
    for bound in list(_put_aside):
        bound.tidy()


atexit.register(_tidy)


def _aside(path: str) -> str:
    """Where the file of a socket is while nobody serves."""
    directory, name = os.path.split(path)
    return os.path.join(directory, ASIDE + name)


@contextlib.contextmanager
def making(place: Place) -> Iterator[None]:
    """Bind a socket at a place, and listen, in this block; sockets of the dead are removed before.

    A socket that is bound outside of it may be taken for one of the dead until it listens.
    """
    with _locked(place.lock):
        for directory in place.swept:
            sweep(directory)
        yield


def bind(place: Place, backlog: int, mode: int = 0o600) -> Bound:
    """Listen at a place. A stale file there is replaced; an error leaves no file.

    `mode`: of the file. OSError (EADDRINUSE): somebody listens there, or the file is no socket.
    PermissionError, FileNotFoundError: the directory cannot be used.
    """
    path = place.path
    _tidy()
    with making(place):
        if place.rival is not None:
            remove_stale(place.rival)
        remove_stale(path)
        remove_dead(_aside(path))
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
            return Bound(sock, path, place.lock, status)
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
            raise OSError(errno.EADDRINUSE, IN_USE, path) from None
        text = f"no socket can be made at this path ({error.strerror}); cure: one in a directory "
        raise OSError(error.errno, text + "of a file system that holds sockets", path) from None


def connect(callee: Callee, deadline: float) -> socket.socket:
    """A socket connected to a listener, at `deadline` (`time.monotonic()`) at the latest.

    Waits until somebody listens; at a deadline that is past, it only tries.

    FileNotFoundError: there is no such file. ConnectionRefusedError: nobody listens there any
    more, or it is no socket. PermissionError: this user may not use it. TimeoutError: the
    listener's queue stays full.
    """
    pause = _RETRY_FIRST
    while True:
        for path in callee.paths:
            _check_kind(path)
        try:
            return _connect_first(callee, deadline)
        except NotADirectoryError as error:
            if callee.home is not None:
                raise _no_directory(str(error.filename)) from None
            nobody: OSError = error
        except _NOBODY as error:
            nobody = error
        left = deadline - time.monotonic()
        if left <= 0:
            raise _nobody(callee, nobody) from None
        time.sleep(min(pause, left))
        pause = min(2 * pause, _RETRY_LONGEST)


def _nobody(callee: Callee, error: OSError) -> OSError:
    if isinstance(error, ConnectionRefusedError):
        text = "nobody listens at this socket, its process is gone; cure: listen there again"
        return ConnectionRefusedError(errno.ECONNREFUSED, text, error.filename)
    if callee.home is None:
        text = "that user has opened no socket of this name; cure: listen there with mode= or "
        text += "allow_uids=, and with the same ADMA_OPEN_DIR on both sides, if any"
    else:
        text = "there is no socket of this name; cure: listen first, as the same user"
        text += callee.hint
    return FileNotFoundError(errno.ENOENT, text, callee.label)


_NOBODY = (FileNotFoundError, NotADirectoryError, ConnectionRefusedError)


def _connect_first(callee: Callee, deadline: float) -> socket.socket:
    """Connect at the first path that has a listener. Raises the error that says most."""
    nearest: OSError | None = None
    for path in (*callee.paths, *callee.elsewhere()):
        try:
            return _connect(path, deadline)
        except _NOBODY as error:
            error.filename = path
            if nearest is None or isinstance(error, ConnectionRefusedError):
                nearest = error
    assert nearest is not None
    raise nearest


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
    with forks.held_off():
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        forks.in_child(sock, socket.socket.close)
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


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    """Hold the lock on a directory. TimeoutError when somebody keeps it.

    Where other users may open the directory, any of them may keep the lock. It is not waited for
    then: the lock keeps apart processes that begin at once, for a few system calls each. A fork
    waits while the lock is held here: a child would keep it for as long as it lives.
    """
    public = _is_public(directory)
    deadline = time.monotonic() + (_PUBLIC_PATIENCE if public else _LOCK_PATIENCE)
    pause = _RETRY_FIRST
    while True:
        is_last = time.monotonic() >= deadline
        with forks.held_off(), _lock(directory) as ours:
            if ours or (public and is_last):
                yield
                return
        if is_last:
            text = "another process keeps a lock on this directory; cure: another directory"
            raise TimeoutError(errno.ETIMEDOUT, text, directory)
        time.sleep(pause)
        pause = min(2 * pause, _RETRY_LONGEST)


def _is_public(directory: str) -> bool:
    """May other users open it, as a lock takes?"""
    try:
        status = os.stat(directory)
    except OSError:
        return False
    return status.st_uid != os.geteuid() or bool(status.st_mode & 0o044)


@contextlib.contextmanager
def _lock(directory: str) -> Iterator[bool]:
    """Take the lock if it is free: did we?"""
    fd = _open(directory)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        fd = -1
    except BaseException:
        os.close(fd)
        raise
    try:
        yield fd >= 0
    finally:
        if fd >= 0:
            # Not by closing alone: a child of a fork that nothing here knew of has a copy.
            fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)


def _open(directory: str) -> int:
    try:
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        text = "there is no such directory; cure: make it, or choose another path"
        raise FileNotFoundError(errno.ENOENT, text, directory) from None
    except PermissionError:
        raise not_writable(directory) from None
    except NotADirectoryError:
        raise _no_directory(directory) from None


def _no_directory(path: str) -> NotADirectoryError:
    text = "this is no directory, so no socket can be in it; cure: choose another path"
    return NotADirectoryError(errno.ENOTDIR, text, path)
