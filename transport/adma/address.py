# SPDX-License-Identifier: BSD-3-Clause
"""Names: where the socket of a listener is, and how a stale one is told from a live one.

A str without "/" is a name: a file in a directory of the user's own. A str with
"/" and every os.PathLike is a path. Making, reusing and removing a socket file
happens under a lock on its directory (flock on the directory itself, so that no
lock file is left), which also lets a caller who found nobody look again when a
listener is just moving in.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["PATH_MAX", "Bound", "bind", "connect", "resolve"]

PATH_MAX = 107  # bytes of a socket's path: sun_path is 108, with a zero at the end
_IN_USE = "the name is in use: a process listens there; cure: another name, or end that process"
_LOCK_PATIENCE = 2.0  # seconds; the lock is held for a few system calls
_RETRY_FIRST, _RETRY_LONGEST = 0.001, 0.02  # seconds between two tries, growing


@dataclass(frozen=True)
class Bound:
    """A listening socket and the file it made."""

    sock: socket.socket
    path: str
    device: int
    inode: int
    pid: int  # of the process that made it; its forked children own nothing

    def remove(self) -> None:
        """Remove the file, if it is still ours and this process made it. Raises nothing."""
        if os.getpid() != self.pid:
            return
        with contextlib.suppress(OSError), _locked(os.path.dirname(self.path)):
            status = os.lstat(self.path)
            if (status.st_dev, status.st_ino) == (self.device, self.inode):
                os.unlink(self.path)


def resolve(name: str | os.PathLike[str]) -> str:
    """The absolute path of the socket that a name means.

    The str "x" is a name, `pathlib.Path("x")` a path relative to the working
    directory, like the str "./x".

    TypeError and ValueError for what can be no name; OSError (ENAMETOOLONG) when the path
    does not fit a socket address; PermissionError when the user's own directory
    is not safe to use. Makes that directory when it is missing.
    """
    text = _text(name)
    if "/" in text or not isinstance(name, str):
        path = os.path.abspath(text)
    else:
        path = os.path.join(_own_directory(), f"{text}.sock")
    length = len(os.fsencode(path))
    if length > PATH_MAX:
        raise OSError(
            errno.ENAMETOOLONG,
            f"the socket's path has {length} bytes, and a socket address holds {PATH_MAX}; cure: a "
            "shorter name, or a path in a directory with a shorter one",
            path,
        )
    return path


def _text(name: str | os.PathLike[str]) -> str:
    """What a name says, checked for what no file can be called."""
    text = os.fspath(name) if isinstance(name, (str, os.PathLike)) else name
    if not isinstance(text, str):
        kind = type(text).__name__
        raise TypeError(f"name must be a str or an os.PathLike of str, not {kind}")
    if not text or "\0" in text:
        raise ValueError(f"name={text!r}: a name has one character at least, and no zero bytes")
    if text in (".", ".."):
        raise ValueError(f'name={text!r}: "." and ".." are directories; cure: a name of its own')
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        wrong = text[error.start : error.end]
        raise ValueError(
            f"name={text!r}: no file name can hold {wrong!r} in the encoding {error.encoding}; "
            "cure: leave it out"
        ) from None
    return text


def bind(path: str, backlog: int) -> Bound:
    """Listen at a path; a stale file there is replaced. What fails leaves no file.

    OSError (EADDRINUSE) when somebody listens there or the file is no socket;
    PermissionError and FileNotFoundError when the directory cannot be used.
    """
    directory = os.path.dirname(path)
    with _locked(directory):
        _remove_stale(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Before bind, this is the mode of the file to be: nobody else may even call.
            os.fchmod(sock.fileno(), 0o600)
            _make_file(sock, path)
            try:
                status = os.lstat(path)
                sock.listen(backlog)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(path)
                raise
            return Bound(sock, path, status.st_dev, status.st_ino, os.getpid())
        except BaseException:
            sock.close()
            raise


def _make_file(sock: socket.socket, path: str) -> None:
    """Bind the socket; what the system says of a failure lacks the path and the cure."""
    try:
        sock.bind(path)
    except PermissionError:
        raise _not_writable(os.path.dirname(path)) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:  # by one who does not heed the lock
            raise OSError(errno.EADDRINUSE, _IN_USE, path) from None
        text = f"no socket can be made at this path ({error.strerror}); cure: one in a directory "
        raise OSError(error.errno, text + "of a file system that holds sockets", path) from None


def connect(path: str, deadline: float) -> socket.socket:
    """A socket connected to the listener at a path, until `deadline` (`time.monotonic()`).

    FileNotFoundError when there is no such socket, ConnectionRefusedError when
    nobody listens at it any more or it is no socket, PermissionError when it
    may not be used, TimeoutError when the listener's queue stays full.
    """
    _check_kind(path)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        return _connect(path, deadline)
    try:
        # Between bind and listen, or while a stale file is replaced, a living
        # listener looks like none: look again when whoever holds the lock is through.
        with _locked(os.path.dirname(path)):
            return _connect(path, deadline)
    except FileNotFoundError:
        text = "there is no socket of this name; cure: listen first, as the same user"
        raise FileNotFoundError(errno.ENOENT, text, path) from None
    except ConnectionRefusedError:
        text = "nobody listens at this socket, its process is gone; cure: listen there again"
        raise ConnectionRefusedError(errno.ECONNREFUSED, text, path) from None


def _check_kind(path: str) -> None:
    """Refuse what is there and no socket: the kernel's answer would be that nobody listens."""
    try:
        mode = os.stat(path).st_mode  # as connect does, through symbolic links
    except OSError:
        return  # connect has its own words for it
    if not stat.S_ISSOCK(mode):
        what = "a directory" if stat.S_ISDIR(mode) else "a file"
        text = f"this is {what}, no socket; cure: the name or path that was given to listen"
        raise ConnectionRefusedError(errno.ECONNREFUSED, text, path)


def _connect(path: str, deadline: float) -> socket.socket:
    pause = _RETRY_FIRST
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
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
                text = "this socket belongs to another user; cure: connect as the one who listens"
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
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except FileNotFoundError:
            return
        except OSError:
            pass  # full queue, another type, another user: alive, or none of our business
    raise OSError(errno.EADDRINUSE, _IN_USE, path)


def _own_directory() -> str:
    """The user's own directory for sockets, made when missing, checked in any case."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and _is_own(runtime):
        path = os.path.join(runtime, "adma")
    else:
        path = os.path.join(tempfile.gettempdir(), f"adma-{os.geteuid()}")
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except PermissionError:
        raise _not_writable(os.path.dirname(path)) from None
    status = os.lstat(path)
    cure = "remove it, or set XDG_RUNTIME_DIR to a directory of your own"
    if not stat.S_ISDIR(status.st_mode):
        raise PermissionError(errno.EPERM, f"this must be a directory; cure: {cure}", path)
    if status.st_uid != os.geteuid():
        text = f"this directory belongs to uid {status.st_uid}; cure: {cure}"
        raise PermissionError(errno.EPERM, text, path)
    if stat.S_IMODE(status.st_mode) & 0o077:
        text = f"other users may use this directory; cure: chmod 700 {path}"
        raise PermissionError(errno.EPERM, text, path)
    return path


def _is_own(directory: str) -> bool:
    # After su or sudo it may still be the one of the user before.
    try:
        status = os.stat(directory)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def _not_writable(directory: str) -> PermissionError:
    text = "no socket can be made in this directory: it is not writable for this user; cure: "
    cure = "another directory, or one's rights on this one"
    return PermissionError(errno.EACCES, text + cure, directory)


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    """Hold the lock on a directory. TimeoutError when somebody keeps it."""
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        text = "there is no such directory; cure: make it, or choose another path"
        raise FileNotFoundError(errno.ENOENT, text, directory) from None
    except PermissionError:
        raise _not_writable(directory) from None
    except NotADirectoryError:
        text = "this is no directory, so no socket can be in it; cure: choose another path"
        raise NotADirectoryError(errno.ENOTDIR, text, directory) from None
    try:
        _lock(fd, directory)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, directory: str) -> None:
    """Not waiting in flock itself: in a public directory anybody may hold it for ever."""
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
