# SPDX-License-Identifier: BSD-3-Clause
"""Names: where a listener's socket is, and whose listener a client accepts there.

A str with "/" and every os.PathLike is a path. Any other str is a name: a file in a directory
of the user's own. Each user has two of these, and a name is in one of them: a private one
(mode 0700), and an open one for listeners that let other users in (mode 0711: others can
connect to what they can name, and make nothing). Others also name the user: "NAME@USER". So
names of two users are never the same, and the uid tells when somebody has made the directory
of another user.

Where the private directory is depends on the environment, and that of a client may differ from
that of the listener (cron, sudo, services). So a client also looks in the other places where
this user's private directory usually is.

In a directory for temporary files any user may take the name of another one's directory. Then the
private directory is in the user's home, where nobody else can make anything.
"""

from __future__ import annotations

import errno
import functools
import os
import pwd
import stat
import tempfile
from dataclasses import dataclass

from .. import config
from . import access
from .identity import OVERFLOW_UID

__all__ = ["ASIDE", "PATH_MAX", "Callee", "Place", "not_writable", "to_call", "to_listen"]

PATH_MAX = 107  # bytes of a socket's path: sun_path is 108, with a zero at the end
ASIDE = ".adma-"  # begins the name of a socket's file that was set aside; see address.py


@dataclass(frozen=True)
class Place:
    """Where a listener's socket is to be."""

    path: str
    lock: str  # the directory to lock
    rival: str | None = None  # where the name is in the user's other directory
    swept: tuple[str, ...] = ()  # directories of names, from which those of the dead are removed


@dataclass(frozen=True)
class Callee:
    """Where a client looks, in this order, and whose listener it accepts."""

    paths: tuple[str, ...]
    home: str | None  # the directory that the listener locks; None: another user's
    judge: access.Judge
    name: str | None = None  # as this user's own listeners are called; None: a path, or a guest

    @property
    def label(self) -> str:
        """The path, for people."""
        return self.paths[0]

    def elsewhere(self) -> tuple[str, ...]:
        """Where else the name may be by now, because its listener's environment differs."""
        if self.name is None:
            return ()
        safe = (path for path in _usual() if path != self.home and _problem(path) is None)
        return tuple(path for path in (_in(each, self.name) for each in safe) if _fits(path))

    @property
    def hint(self) -> str:
        """What to look at when nobody was found under a name; empty for a path."""
        if self.name is None:
            return ""
        places = dict.fromkeys(map(_printable, (str(self.home), *_usual())))
        return (
            f" and with the same environment: names are below XDG_RUNTIME_DIR "
            f"({_shown('XDG_RUNTIME_DIR')}) or, without it, below TMPDIR ({_shown('TMPDIR')}), and "
            f"the listener's may differ; looked in {', '.join(places)}; or use a path"
        )


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
    private = _in(lock, text)
    if opened:
        directory = _make_open_directory()
        return Place(_checked(_in(directory, text)), lock, private, (lock, directory))
    if not _is_open_usable():
        return Place(_checked(private), lock, None, (lock,))
    directory = _open_directory(os.geteuid())
    return Place(_checked(private), lock, _in(directory, text), (lock, directory))


def to_call(name: str | os.PathLike[str]) -> Callee:
    """Where to connect to a name. As `to_listen`; ValueError also for an unknown user."""
    path, text, uid = _parse(name)
    if path is not None:
        return Callee((path,), os.path.dirname(path), access.at_path(path))
    if uid is None or uid == os.geteuid():
        home = _private_path()
        if (problem := _problem(home)) is not None and os.path.lexists(home):
            raise problem
        paths = [_checked(_in(home, text))]
        if _is_open_usable() and _fits(public := _in(_open_directory(os.geteuid()), text)):
            paths.append(public)
        return Callee(tuple(paths), home, access.own_user, text)
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


def _private_path() -> str:
    """The user's own directory for private sockets, as the environment tells it."""
    runtime = config.runtime_directory()
    if runtime and _is_own(runtime):
        return os.path.join(runtime, "adma")
    path = _below(_temporary())
    at_home = _at_home(os.geteuid()) if _is_taken(path) else None
    return at_home or path


def _is_taken(path: str) -> bool:
    """Is there something of another user?"""
    try:
        return os.lstat(path).st_uid != os.geteuid()
    except OSError:
        return False


def _at_home(uid: int) -> str | None:
    """The directory in this user's home; None: it has no home of its own."""
    home = _home_of(uid)
    return os.path.join(home, ".adma") if os.path.isabs(home) and _is_own(home) else None


@functools.lru_cache(maxsize=8)
def _home_of(uid: int) -> str:
    # Not HOME, which may be another user's after su and sudo.
    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        return ""


def _temporary() -> str:
    if config.IS_FOREIGN:
        return _TEMPORARY[0]
    told = config.value("TMPDIR")
    if told and not os.path.isabs(told):
        return _TEMPORARY[0]  # it is another directory for each who looks
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:  # none here can be written to; a client need not write
        return _TEMPORARY[0]


def _below(directory: str) -> str:
    return os.path.join(directory, f"adma-{os.geteuid()}")


def _usual() -> list[str]:
    """Where this user's private directory is in the usual environments, this one's first."""
    runtime = f"/run/user/{os.geteuid()}"
    own = [os.path.join(runtime, "adma")] if _is_own(runtime) else []
    at_home = _at_home(os.geteuid())
    home = [at_home] if at_home else []
    return list(dict.fromkeys([_private_path(), *own, *map(_below, _TEMPORARY), *home]))


_TEMPORARY = ("/tmp", "/var/tmp")  # of those who set no TMPDIR (tempfile, file-hierarchy(7))


def _shown(variable: str) -> str:
    """A variable's value here, for people."""
    text = config.value(variable)
    return f"here {text!r}" if text else "here not set"


def _printable(path: str) -> str:
    return path.encode(errors="backslashreplace").decode()


def _private_directory() -> str:
    """The user's own directory for private sockets, made when it is missing, and checked."""
    path = _private_path()
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except PermissionError:
        raise not_writable(os.path.dirname(path)) from None
    problem = _problem(path)
    if problem is not None:
        raise problem
    return path


def _problem(path: str) -> OSError | None:
    """Why a directory is not safe for private sockets; None: it is."""
    try:
        status = os.lstat(path)
    except OSError as error:
        return error
    cure = "remove it, or set XDG_RUNTIME_DIR to a directory of your own"
    if not stat.S_ISDIR(status.st_mode):
        return PermissionError(errno.EPERM, f"this must be a directory; cure: {cure}", path)
    if status.st_uid != os.geteuid():
        text = f"this directory belongs to uid {status.st_uid}; cure: {cure}"
        return PermissionError(errno.EPERM, text, path)
    if stat.S_IMODE(status.st_mode) & 0o077:
        text = f"other users may use this directory; cure: chmod 700 {path}"
        return PermissionError(errno.EPERM, text, path)
    return None


def _open_directory(uid: int) -> str:
    """Where a user's sockets are that others may call: the same for all who look.

    ValueError: ADMA_OPEN_DIR is relative, and so another directory for each who looks.
    """
    base = config.open_directory()
    if not os.path.isabs(base):
        raise ValueError(
            f"{config.OPEN_DIR}={base!r} is relative, and names another directory in each process; "
            "cure: an absolute path, the same for all who meet"
        )
    return os.path.join(base, f"adma-{uid}-open")


def _is_open_usable() -> bool:
    """Does this user's open directory belong to this user, or is there none?"""
    try:
        status = os.lstat(_open_directory(os.geteuid()))
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def _make_open_directory() -> str:
    """Make it, or check that it is this user's, and let others pass through it; its path."""
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
    return path


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
