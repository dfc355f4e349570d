# SPDX-License-Identifier: BSD-3-Clause
"""Who a process is: credentials, start time, pidfd; and who the peer turned out to be."""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass

from ..errors import PeerDied, ProtocolError

__all__ = [
    "OVERFLOW_UID",
    "Credentials",
    "Peer",
    "credentials_of",
    "is_same_user",
    "own_credentials",
    "own_pidfd",
    "pid_of_pidfd",
    "start_time",
    "verified_pidfd",
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
    return Credentials(os.getpid(), os.geteuid(), os.getegid())


def credentials_of(sock: socket.socket) -> Credentials:
    """SO_PEERCRED (unix(7)): the process that called connect or listen at the other end.

    Another process may speak there by now, since sockets are passed on; the handshake judges
    that one. This one is known before a byte is sent.
    """
    return Credentials.unpack(
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, Credentials.SIZE)
    )


def is_same_user(uid: int) -> bool:
    """Is this uid, taken from credentials, our own user? Root is another user, too."""
    return uid == os.geteuid() and uid != OVERFLOW_UID


def start_time(pid: int | None = None) -> int | None:
    """When a process began, in clock ticks after boot; None: there is no such process.

    Pids are used again, so only pid and start time together name a process for good. A `pid`
    of None means this process.
    """
    who = "self" if pid is None else str(pid)
    try:
        with open(f"/proc/{who}/stat", "rb") as file:
            stat = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the command in parentheses, and may hold anything.
    return int(stat[stat.rindex(b")") + 2 :].split()[19])


def own_pidfd() -> int:
    """A pidfd of this process, close-on-exec."""
    return os.pidfd_open(os.getpid())


def pid_of_pidfd(fd: int) -> int | None:
    """The pid of the process that a pidfd refers to; None: the descriptor is no pidfd.

    0: the process has no pid in this namespace. -1: it has ended and was reaped.
    """
    with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
        for line in file:
            key, _, value = line.partition(b":")
            if key == b"Pid":
                return int(value)
    return None


def verified_pidfd(fd: int, credentials: Credentials) -> int:
    """A pidfd of the process that the kernel says is our peer: `fd`, if it is that.

    The pidfd wakes us when that process dies, so one of another process would hide a death.
    Takes `fd` over and returns a descriptor that the caller owns. ProtocolError: `fd` is of
    another process, or no pidfd. PeerDied: the peer is gone.
    """
    try:
        try:
            pid = pid_of_pidfd(fd)
        except OSError:
            return _without_proc(fd, credentials)
        if pid is None:
            raise ProtocolError("the peer sent something else in place of its pidfd")
        if pid < 0:
            raise PeerDied("the peer died during the handshake")
        if pid != credentials.pid:
            text = f"the peer is process {credentials.pid}, its pidfd of process {pid}"
            raise ProtocolError(text)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _without_proc(fd: int, credentials: Credentials) -> int:
    """As above, where `fd` cannot be looked at: no /proc, or we are not dumpable."""
    if not credentials.pid:
        return fd  # there is no pid to open either, so we have to trust the peer
    try:
        own = os.pidfd_open(credentials.pid)
    except ProcessLookupError:
        raise PeerDied("the peer died during the handshake") from None
    os.close(fd)
    return own


@dataclass(frozen=True)
class Peer:
    """The process at the other end: what was verified of it, and what its hello says."""

    pid: int  # as seen from here; 0 if it has none in this pid namespace
    uid: int  # as seen from here
    same_user: bool
    same_pid_namespace: bool  # it sees itself under the pid that we see
    nonce: bytes
    nonce_address: int
    scratch_address: int
    mechanisms: int  # mask of what it can try
    forced: int  # enum adma_mechanism_id, 0: auto

    def __str__(self) -> str:
        return f"pid {self.pid}" if self.pid else "a process of another pid namespace"
