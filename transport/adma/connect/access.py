# SPDX-License-Identifier: BSD-3-Clause
"""Users: which ones a listener lets in, and whose listener a client accepts.

Each end judges the other's uid, for which the kernel vouches. A judge is a function that is
given that uid and raises PermissionError, with cause and cure, when the two must not meet.
The uid 65534 stands for all users that cannot be named here (of another user namespace, or
unknown), so it is never taken for a user of its own.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..arguments import whole
from .identity import OVERFLOW_UID, is_same_user, own_uid

__all__ = ["PRIVATE", "Guests", "Judge", "anybody", "at_path", "guests", "own_user", "user"]

Judge = Callable[[int], None]

UID_MAX = 2**32 - 2  # the next one is "no uid" in system calls
_OWNER = 0o600  # what the listener's own user always may
_MAY_CALL = 0o022  # connect(2) asks for the right to write
_LINKS_MAX = 40  # symbolic links on one path, as for the kernel


# Judges


def own_user(uid: int) -> None:
    """Only the user that this process runs as."""
    if not is_same_user(uid):
        raise _refusal(
            f"the peer belongs to {_named(uid)}, this process to uid {own_uid()}, and both "
            "have to be one user here; cure: run both as one user, or listen with mode= or "
            'allow_uids= and connect to "NAME@USER", or hand a connected socket to from_socket'
        )


def anybody(uid: int) -> None:
    """Everybody: who holds the socket was given it."""
    del uid


def user(expected: int) -> Judge:
    """Only this user."""

    def judge(uid: int) -> None:
        if uid != expected or uid == OVERFLOW_UID:
            raise _refusal(
                f"the listener there belongs to {_named(uid)}, not to uid {expected}, which was "
                "asked for; cure: none here, somebody else has taken that user's place"
            )

    return judge


def at_path(path: str) -> Judge:
    """Our own user; or another one, if nobody else can have put its socket at this path.

    That is the case when every directory on the way, those of symbolic links included, belongs
    to root, to us or to that user, and only its owner may write to it.
    """

    def judge(uid: int) -> None:
        if is_same_user(uid):
            return
        if uid == OVERFLOW_UID:
            raise _refusal(
                f"the listener at {path} belongs to {_named(uid)}; cure: hand over a connected "
                "socket, for from_socket"
            )
        doubtful = _doubtful(path, frozenset((0, os.geteuid(), uid)))
        if doubtful is not None:
            raise _refusal(
                f"the listener at {path} belongs to uid {uid}, and others could have put it there: "
                f"{doubtful} is not for its owner alone, or of a third user; cure: a directory "
                'that only the listener can write to, or a name, and connect to "NAME@USER"'
            )

    return judge


def _doubtful(path: str, trusted: frozenset[int]) -> str | None:
    """The first part of a path that somebody not trusted may have put there; None: no part."""
    here = os.sep
    todo = path.split(os.sep)[::-1]
    links = 0
    try:
        while todo:
            part = todo.pop()
            if not part or part == ".":
                continue
            if part == "..":
                here = os.path.dirname(here)
                continue
            status = os.lstat(here)
            if status.st_uid not in trusted or status.st_mode & 0o022:
                return here
            step = os.path.join(here, part)
            if not stat.S_ISLNK(os.lstat(step).st_mode):
                here = step
                continue
            links += 1
            if links > _LINKS_MAX:
                return step
            target = os.readlink(step)
            todo.extend(target.split(os.sep)[::-1])
            if os.path.isabs(target):
                here = os.sep
        return None if os.lstat(here).st_uid in trusted else here
    except OSError:
        return here  # what we cannot look at may be anybody's


# Guests


@dataclass(frozen=True)
class Guests:
    """The users that a listener lets in beside its own."""

    mode: int  # of the socket's file, to the last bit
    uids: frozenset[int] | None  # None: all that the mode lets call

    @property
    def welcome(self) -> bool:
        """May any other user connect?"""
        return bool(self.mode & _MAY_CALL)

    def judge(self, uid: int) -> None:
        """May this user connect? A judge, as the head of this file says."""
        if not self.welcome:
            own_user(uid)
        elif is_same_user(uid):
            return
        elif uid == OVERFLOW_UID or (self.uids is not None and uid not in self.uids):
            raise _refusal(
                f"this listener does not let in {_named(uid)}; cure: have its maker add the uid "
                "to allow_uids, or hand over a connected socket, for from_socket"
            )

    def __str__(self) -> str:
        whom = "" if self.uids is None else f", uids {', '.join(map(str, sorted(self.uids)))}"
        return f"mode {self.mode:#o}{whom}"


PRIVATE = Guests(_OWNER, None)


def guests(mode: int | None, allow_uids: Iterable[int] | None) -> Guests:
    """What `listen` was told about other users. TypeError, ValueError: it makes no sense."""
    if mode is None and allow_uids is None:
        return PRIVATE
    uids = None if allow_uids is None else _uids(allow_uids)
    if mode is None:
        return Guests(_OWNER | 0o066, uids)
    bits = _mode(mode)
    if uids is not None and not bits & _MAY_CALL:
        raise ValueError(
            f"mode={bits:#o} lets nobody call whom allow_uids names: that takes the right to "
            "write; cure: mode=0o666, or no mode, which means that"
        )
    return Guests(bits, uids)


def _mode(mode: int) -> int:
    bits = whole(mode, "mode must be an int, permissions as for chmod", allow_bool=False)
    if not 0 <= bits <= 0o777:
        raise ValueError(f"mode={bits:#o}: permissions are 0o600 to 0o777")
    if bits & _OWNER != _OWNER:
        raise ValueError(
            f"mode={bits:#o} keeps out the listener's own user; cure: mode={bits | _OWNER:#o}"
        )
    return bits


def _uids(allow_uids: Iterable[int]) -> frozenset[int]:
    # Bytes are ints too, but a name in bytes is no list of uids.
    if isinstance(allow_uids, (str, bytes, bytearray)) or not isinstance(allow_uids, Iterable):
        kind = type(allow_uids).__name__
        raise TypeError(f"allow_uids must be an iterable of uids, not {kind}")
    return frozenset(_uid(each) for each in allow_uids)


def _uid(each: int) -> int:
    uid = whole(each, "allow_uids must be ints, numbers of users", allow_bool=False)
    if not 0 <= uid <= UID_MAX:
        raise ValueError(f"allow_uids: {uid} is no uid; they go from 0 to {UID_MAX}")
    if uid == OVERFLOW_UID:
        raise ValueError(
            f"allow_uids: {uid} stands for all users that cannot be told here, so it lets in "
            "nobody; cure: a user of its own for who runs as nobody"
        )
    return uid


# Words


def _named(uid: int) -> str:
    if uid == OVERFLOW_UID:
        return f"an unknown user (uid {uid}: of another user namespace, or nobody)"
    return f"uid {uid}"


def _refusal(text: str) -> PermissionError:
    return PermissionError(errno.EPERM, text)
