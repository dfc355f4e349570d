# SPDX-License-Identifier: BSD-3-Clause
"""Names: where a listener's socket is, and whose listener a client accepts there.

A str with "/" and every os.PathLike is a path. Any other str is a name: a file in a directory
of the user's own. Each user has two of these, and a name is in one of them: a private one
(mode 0700), and an open one for listeners that let other users in (mode 0711: others can
connect to what they can name, and make nothing). Others also name the user: "NAME@USER". So
names of two users are never the same, and the uid tells when somebody has made the directory
of another user.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
import tempfile
from dataclasses import dataclass

from .. import config
from . import access
from .identity import OVERFLOW_UID

__all__ = ["PATH_MAX", "Callee", "Place", "not_writable", "to_call", "to_listen"]

PATH_MAX = 107  # bytes of a socket's path: sun_path is 108, with a zero at the end


@dataclass(frozen=True)
class Place:
    """Where a listener's socket is to be."""

    path: str
    lock: str  # the directory to lock
    rival: str | None = None  # where the name is in the user's other directory


@dataclass(frozen=True)
class Callee:
    """Where a client looks, in this order, and whose listener it accepts."""

    paths: tuple[str, ...]
    lock: str | None  # the directory to lock; None: another user's
    judge: access.Judge

    @property
    def label(self) -> str:
        """The path, for people."""
        return self.paths[0]


def to_listen(name: str | os.PathLike[str], opened: bool = False) -> Place:
    """Where to listen at a name. `opened`: other users are to connect.

    The str "x" is a name, `pathlib.Path("x")` a path relative to the working directory, like
    the str "./x". The user's own directory is made when it is missing.

    TypeError, ValueError: no name looks like that. OSError (ENAMETOOLONG): the path does not
    fit a socket address. PermissionError: the user's own directory is not safe to use, or the
    name is one of another user.
    """
    path, text, uid = _parse(name)
    if path is not None:
        return Place(path, os.path.dirname(path))
    if uid not in (None, os.geteuid()):
        problem = f"name={name!r}: uid {uid} listens there, this process is of uid {os.geteuid()}"
        raise PermissionError(errno.EPERM, f"{problem}; cure: the name without a user")
    lock = _private_directory()
    private, public = _in(lock, text), _in(_open_directory(os.geteuid()), text)
    if opened:
        _make_open_directory()
        return Place(_checked(public), lock, private)
    return Place(_checked(private), lock, public if _is_open_usable() else None)


def to_call(name: str | os.PathLike[str]) -> Callee:
    """Where to connect to a name. As `to_listen`; ValueError also for an unknown user."""
    path, text, uid = _parse(name)
    if path is not None:
        return Callee((path,), os.path.dirname(path), access.at_path(path))
    if uid is None or uid == os.geteuid():
        lock = _private_directory()
        private, public = _checked(_in(lock, text)), _in(_open_directory(os.geteuid()), text)
        both = _is_open_usable() and _fits(public)
        return Callee((private, public) if both else (private,), lock, access.own_user)
    return Callee((_checked(_in(_open_directory(uid), text)),), None, access.user(uid))


def _parse(name: str | os.PathLike[str]) -> tuple[str | None, str, int | None]:
    """A path, or None and the name without its user, and that user, or None."""
    text = _text(name)
    if "/" in text or not isinstance(name, str):
        return _checked(os.path.abspath(text)), text, None
    text, at, user = text.partition("@")
    if at and not (text and user):
        raise ValueError(f"name={name!r}: to be told as NAME@USER; only paths may have other @")
    return None, text, _uid_of(user) if at else None


def _uid_of(user: str) -> int:
    """A user's number. A login name that looks like a number comes first, as for chown(1)."""
    try:
        uid = pwd.getpwnam(user).pw_uid
    except KeyError:
        # Not int() first: it takes hours over millions of digits.
        known = user.isascii() and user.isdecimal() and len(user) <= 10
        uid = int(user) if known else access.UID_MAX + 1
    if uid > access.UID_MAX:
        raise ValueError(f"there is no user {user!r}; cure: a login name of this machine, or a uid")
    if uid == OVERFLOW_UID:
        raise ValueError(f"user {user!r}: uid {uid} stands for all users that cannot be told here")
    return uid


def _in(directory: str, name: str) -> str:
    return os.path.join(directory, f"{name}.sock")


def _fits(path: str) -> bool:
    return len(os.fsencode(path)) <= PATH_MAX


def _checked(path: str) -> str:
    """The path, if a socket address can hold it."""
    if not _fits(path):
        length = len(os.fsencode(path))
        raise OSError(
            errno.ENAMETOOLONG,
            f"the socket's path has {length} bytes, and a socket address holds {PATH_MAX}; cure: a "
            "shorter name, or a path in a directory with a shorter one",
            path,
        )
    return path


def _text(name: str | os.PathLike[str]) -> str:
    """A name as a str. TypeError, ValueError: no file can be called that."""
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


def _private_directory() -> str:
    """The user's own directory for private sockets, made when it is missing, and checked."""
    runtime = config.runtime_directory()
    if runtime and _is_own(runtime):
        path = os.path.join(runtime, "adma")
    else:
        path = os.path.join(tempfile.gettempdir(), f"adma-{os.geteuid()}")
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except PermissionError:
        raise not_writable(os.path.dirname(path)) from None
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


def _open_directory(uid: int) -> str:
    """Where a user's sockets are that others may call: the same for all who look."""
    return os.path.join(config.open_directory(), f"adma-{uid}-open")


def _is_open_usable() -> bool:
    """Does this user's open directory belong to this user, or is there none?"""
    try:
        status = os.lstat(_open_directory(os.geteuid()))
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def _make_open_directory() -> None:
    """Make it, or check that it is this user's, and let others pass through it."""
    path = _open_directory(os.geteuid())
    cure = "set ADMA_OPEN_DIR to another directory, for all who meet; or use a path"
    try:
        os.mkdir(path, 0o711)
    except FileExistsError:
        pass
    except (FileNotFoundError, NotADirectoryError):
        text = f"there is no such directory; cure: make it, or {cure}"
        raise FileNotFoundError(errno.ENOENT, text, os.path.dirname(path)) from None
    except PermissionError:
        raise not_writable(os.path.dirname(path)) from None
    try:
        # By descriptor, so that what is changed is what was looked at.
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        text = (
            f"this must be a directory of this user ({error.strerror}); cure: remove it, or {cure}"
        )
        raise PermissionError(errno.EPERM, text, path) from None
    try:
        status = os.fstat(fd)
        if status.st_uid != os.geteuid():
            text = f"this directory belongs to uid {status.st_uid}; cure: remove it, or {cure}"
            raise PermissionError(errno.EPERM, text, path)
        if stat.S_IMODE(status.st_mode) != 0o711:
            os.fchmod(fd, 0o711)
    finally:
        os.close(fd)


def _is_own(directory: str) -> bool:
    # After su or sudo, XDG_RUNTIME_DIR may still name the directory of the first user.
    try:
        status = os.stat(directory)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def not_writable(directory: str) -> PermissionError:
    """The error where no file can be made in a directory."""
    text = "no socket can be made in this directory: it is not writable for this user; cure: "
    cure = "another directory, or one's rights on this one"
    return PermissionError(errno.EACCES, text + cure, directory)
