# SPDX-License-Identifier: BSD-3-Clause
"""Meeting a process that one calls, or to which one has a socket: `connect`, `from_socket`."""

from __future__ import annotations

import errno
import os
import socket
import time

from . import mechanisms
from .arguments import FOREVER, deadline_of
from .channel import Channel
from .connect import access, address, place
from .connect.identity import OVERFLOW_UID, credentials_of, hang_up
from .handshake.handshake import Terms, shake_into
from .handshake.link import Link
from .mechanisms import MechanismName

__all__ = ["channel_of", "connect", "from_socket", "judge_other_end"]


_PAUSE_FIRST, _PAUSE_LONGEST = 0.01, 0.2  # seconds between two tries at a busy listener, growing


def connect(
    name: str | os.PathLike[str], timeout: float | None = 5, mechanism: MechanismName = "auto"
) -> Channel:
    """Connect to the process that listens at a name or a path, written as for `listen`.

    "x" is the name "x" of this process's own user, "x@USER" that of another one, who has to
    have opened it; USER is a login name or a number. A listener of any other user is refused
    before a byte is sent. At a path the listener may be another user's only if nobody but
    root, this user and that one can have put it there: no directory on the way, those of
    symbolic links included, may belong to somebody else or be writable for others. So a path
    below /tmp leads to listeners of this user only.

    Processes may be started in any order: where nobody listens, `connect` waits for somebody.
    `timeout` is in seconds, for that and all that follows; None means no limit, and 0 fails at
    once where nobody listens. TimeoutError leaves nothing behind.

    A name is below XDG_RUNTIME_DIR, if that is set and absolute, and otherwise below TMPDIR or
    /tmp. Where those of the listener are others (cron, sudo, services), it is found in
    /run/user/UID, /tmp and /var/tmp, or in ~/.adma where another user took the name of this
    user's directory in /tmp. An error tells where was looked, and what to set.

    `mechanism` is the one to use for every message, in both directions; "auto" chooses for
    each. MechanismUnavailable: it does not work between the two. ValueError: there is none of
    that name, or no such user. TypeError: an argument is of a wrong type.

    FileNotFoundError, ConnectionRefusedError: nobody listened in time, or what is there is no
    socket. PermissionError: the listener belongs to another user than it should, or does not
    let this one in. OSError (EBUSY): it had no place for another caller of this user. PeerDied,
    ProtocolError, VersionMismatch: the other end failed.
    """
    forced = mechanisms.check_name(mechanism)
    deadline = _deadline(timeout, "connect")
    callee = place.to_call(name)
    mechanisms.sweep()
    terms = Terms(callee.label, client=True, forced=forced, admit=callee.judge)
    pause = _PAUSE_FIRST
    busy: OSError | None = None  # the listener had no place for another caller of this user
    while True:
        try:
            return _connect(callee, terms, deadline)
        except TimeoutError:
            if busy is None:
                raise
            raise busy from None
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() + pause >= deadline:
                raise
            busy = error
        time.sleep(pause)
        pause = min(2 * pause, _PAUSE_LONGEST)


def _connect(callee: place.Callee, terms: Terms, deadline: float) -> Channel:
    sock = address.connect(callee, deadline)
    try:
        judge_other_end(sock, callee.judge)
        return shake_into(sock, terms, max(0.0, deadline - time.monotonic()), channel_of)
    finally:
        _close(sock)


def from_socket(
    sock: socket.socket, timeout: float | None = 5, mechanism: MechanismName = "auto"
) -> Channel:
    """Make a channel over a connected AF_UNIX socket, SOCK_STREAM or SOCK_SEQPACKET.

    The other end does the same. Nothing else may be under way on the socket. The other end
    may belong to another user, since whoever holds the socket was given it. Such a channel
    unpickles nothing unless asked to, and does not use `mapped:cma`.

    TypeError, ValueError: an argument is refused for what it is, and the socket stays the
    caller's. Otherwise the channel owns it from the call on: `sock` is detached, and closed
    if the handshake fails. Timeout, mechanism and other errors are as for `connect`.
    """
    forced = mechanisms.check_name(mechanism)
    deadline = _deadline(timeout, "from_socket")
    _check_socket(sock)
    mechanisms.sweep()
    terms = Terms("socket", client=False, forced=forced, admit=access.anybody)
    try:
        return shake_into(sock, terms, max(0.0, deadline - time.monotonic()), channel_of)
    finally:
        _close(sock)


def judge_other_end(sock: socket.socket, judge: access.Judge) -> None:
    """Judge the user at the other end, before a byte is sent.

    Root may have made the socket for another user. The handshake sees that one.
    """
    uid = credentials_of(sock).uid
    if uid != 0:
        judge(uid)


def _close(sock: socket.socket) -> None:
    """Close a socket, unless a channel has taken it over.

    Who made it need not be who speaks, so what lies in it unread may be of any user.
    """
    if sock.fileno() >= 0:
        hang_up(sock, OVERFLOW_UID)


def channel_of(link: Link) -> Channel:
    """The channel over a link, which it owns. An error lets go of the link."""
    try:
        return Channel(link)
    except BaseException:
        link.discard()
        raise


def _deadline(timeout: float | None, call: str) -> float:
    """As `deadline_of`, with a moment far away where there is no limit."""
    deadline = deadline_of(timeout, call)
    return time.monotonic() + FOREVER if deadline is None else deadline


def _check_socket(sock: socket.socket) -> None:
    if not isinstance(sock, socket.socket):
        raise TypeError(f"sock must be a socket.socket, not {type(sock).__name__}")
    if sock.fileno() < 0:
        raise ValueError("sock is closed")
    if sock.family != socket.AF_UNIX:
        raise ValueError(
            f"sock is of {sock.family.name}: adma needs a connected AF_UNIX socket, "
            "such as one of socket.socketpair()"
        )
    if sock.type not in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
        raise ValueError(f"sock is of {sock.type.name}: it must be SOCK_STREAM or SOCK_SEQPACKET")
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ValueError("sock is a listening socket: pass one that its accept() returned")
    try:
        sock.getpeername()
    except OSError:
        raise ValueError("sock is not connected") from None
