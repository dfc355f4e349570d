# SPDX-License-Identifier: BSD-3-Clause
"""Who a process is: credentials, start time, pidfd; and who the peer turned out to be."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .._core import constants
from .._core import handshake as core
from ..errors import PeerDied, ProtocolError, failure

__all__ = [
    "OVERFLOW_UID",
    "Credentials",
    "Peer",
    "closing_apart",
    "credentials_of",
    "hang_up",
    "is_gone",
    "is_same_user",
    "judged",
    "let_go",
    "own_credentials",
    "own_pidfd",
    "own_uid",
    "peers_pidfd",
    "start_time",
    "unread",
]

# The kernel's number for all users that it cannot name in this user namespace.
OVERFLOW_UID = 65534
_UCRED = struct.Struct("3i")


@dataclass(frozen=True)
class Credentials:
    """SCM_CREDENTIALS (unix(7)): the kernel vouches for them, in the receiver's namespaces."""

    pid: int
    uid: int
    gid: int

    SIZE = _UCRED.size

    def pack(self) -> bytes:
        """As struct ucred."""
        return _UCRED.pack(self.pid, _signed(self.uid), _signed(self.gid))

    @classmethod
    def unpack(cls, data: bytes) -> Credentials:
        """From struct ucred."""
        pid, uid, gid = _UCRED.unpack(data)
        return cls(pid, uid & 0xFFFFFFFF, gid & 0xFFFFFFFF)


def _signed(number: int) -> int:
    return number - (1 << 32) if number >= 1 << 31 else number


def own_credentials() -> Credentials:
    """This process's own, with its effective user."""
    return Credentials(os.getpid(), *core.own_ids())


def credentials_of(sock: socket.socket) -> Credentials:
    """SO_PEERCRED (unix(7)): the process that called connect or listen at the other end.

    Another process may speak there by now, since sockets are passed on; the handshake judges
    that one. This one is known before a byte is sent.
    """
    return Credentials.unpack(
        sock.getsockopt(socket.SOL_SOCKET, constants.SO_PEERCRED, Credentials.SIZE)
    )


def own_uid() -> int:
    """The effective user of this process, as the kernel tells it to peers.

    Not `os.geteuid`: where fakeroot is preloaded, that one tells of another user.
    """
    return core.own_ids()[0]


def is_same_user(uid: int) -> bool:
    """Is this uid, taken from credentials, our own user? Root is another user, too."""
    return uid == own_uid() and uid != OVERFLOW_UID


def let_go(fd: int, owner: int) -> None:
    """Close a descriptor that a process of user `owner` passed. Closing twice is an error.

    The last close of a file may block for as long as its maker likes. So what another user passed
    is closed by a thread of its own, for which nobody waits.
    """
    if is_same_user(owner):
        with contextlib.suppress(OSError):
            os.close(fd)
    else:
        core.close_apart(fd, owner)


@contextlib.contextmanager
def judged(fd: int, owner: int) -> Iterator[None]:
    """Judge a descriptor that a process of user `owner` passed.

    If that raises, it is let go: only then need its close not be an ordinary one.
    """
    try:
        yield
    except BaseException:
        let_go(fd, owner)
        raise


def hang_up(sock: socket.socket, owner: int) -> None:
    """Close a socket to a process of user `owner`. Closing twice is no error.

    Descriptors may lie in it unread, for which `let_go` says what they can do.
    """
    if sock.fileno() < 0 or is_same_user(owner):
        sock.close()
        return
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    core.close_apart(sock.detach(), owner)


def is_hung_up(sock: socket.socket) -> bool:
    """Has nobody the other end of this socket any more? What came may be left to be read."""
    poll = select.poll()
    poll.register(sock, 0)
    return bool(poll.poll(0))


def closing_apart(owner: int) -> int:
    """How many descriptors of a user `let_go` and `hang_up` have not closed yet."""
    return core.closing_apart(owner)


def unread(sock: socket.socket) -> int:
    """Bytes, or more, that were sent on a Unix socket and not read at its other end."""
    return max(0, core.unread(sock.fileno()))


def start_time(pid: int | None = None) -> int | None:
    """When a process began, in clock ticks after boot; None: it cannot be told.

    Pids are used again, so only pid and start time together name a process for good. A `pid`
    of None means this process. It cannot be told where there is no such process, and where
    /proc is absent, closed to this process, or of another PID namespace.
    """
    who = "self" if pid is None else str(pid)
    try:
        with open(f"/proc/{who}/stat", "rb") as file:
            stat = file.read()
        # The second field is the command in parentheses, and may hold anything.
        return int(stat[stat.rindex(b")") + 2 :].split()[19]) if _is_proc_ours() else None
    except (OSError, ValueError, IndexError):
        return None


def _is_proc_ours() -> bool:
    """Does /proc tell of the processes of our PID namespace, by their pids there?"""
    return os.readlink("/proc/self") == str(os.getpid())


def is_gone(pid: int, started: int | None) -> bool:
    """Is it certain that the process has ended that had this pid, and began at this time?"""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # there is one, of another user
    now = start_time(pid)
    return now is not None and started is not None and now != started


def own_pidfd() -> int:
    """A pidfd of this process, close-on-exec; -1: the system refuses pidfds.

    OSError: there is no descriptor left.
    """
    fd = core.pidfd_open(os.getpid())
    if -fd in (errno.EMFILE, errno.ENFILE):
        raise failure("handshake", -fd)
    return max(fd, -1)


def peers_pidfd(passed: int, credentials: Credentials) -> int:
    """A pidfd of the process that the kernel says is our peer; -1: there can be none.

    It wakes us when that process dies. `passed` is what the peer sent as its own, or -1. We
    rather open one ourselves: a pidfd of another process would hide a death. (The peer's pid
    cannot have been used again by then, since its next records come from the same one.) What was
    passed serves where the peer has no pid here, or where this process may open none.

    Takes `passed` over, and returns a descriptor that the caller owns. ProtocolError: it is no
    pidfd. PeerDied: the peer is gone.
    """
    is_pidfd = core.is_pidfd(passed) if passed >= 0 else 0
    try:
        if passed >= 0 and is_pidfd == 0:
            raise ProtocolError("the peer sent something else in place of its pidfd")
        own = core.pidfd_open(credentials.pid) if credentials.pid else -errno.ESRCH
        if own == -errno.ESRCH and credentials.pid:
            raise PeerDied("the peer died during the handshake")
        if own < 0 and is_pidfd == 1:
            own, passed = passed, -1
        return max(own, -1)
    finally:
        if passed >= 0:
            let_go(passed, credentials.uid)


@dataclass(frozen=True)
class Peer:
    """The process at the other end: what was verified of it, and what its hello says."""

    pid: int  # as seen from here; 0 if it has none in this pid namespace
    uid: int  # as seen from here
    same_user: bool
    same_pid_namespace: bool  # it sees itself under the pid that we see
    nonce: bytes
    mechanisms: int  # mask of what it can try
    forced: int  # enum adma_mechanism_id, 0: auto

    def __str__(self) -> str:
        return f"pid {self.pid}" if self.pid else "a process of another pid namespace"
