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

# What the kernel calls users it cannot name here: who it is, is unknown.
OVERFLOW_UID = 65534
_UCRED = struct.Struct("3i")


@dataclass(frozen=True)
class Credentials:
    """SCM_CREDENTIALS: vouched for by the kernel, in the terms of the receiver's namespaces."""

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
    """Of this process, in its effective user."""
    return Credentials(os.getpid(), os.geteuid(), os.getegid())


def credentials_of(sock: socket.socket) -> Credentials:
    """SO_PEERCRED: who called connect, or listen, at the other end of a socket.

    Not always who speaks there now, since sockets are handed on; the handshake
    judges that one. This one is known before a word was said.
    """
    return Credentials.unpack(
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, Credentials.SIZE)
    )


def is_same_user(uid: int) -> bool:
    """Is this uid, taken from credentials, our own user? Root is another user, too."""
    return uid == os.geteuid() and uid != OVERFLOW_UID


def start_time(pid: int | None = None) -> int | None:
    """When a process began, in clock ticks after boot; None when there is none (any more).

    Together with the pid it names a process for good, since pids are used
    again. None for `pid` means this process.
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
    """The process that a descriptor stands for; None when it is no pidfd.

    0: a process that is not to be seen from this pid namespace; -1: one that
    ended and was reaped.
    """
    with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
        for line in file:
            key, _, value = line.partition(b":")
            if key == b"Pid":
                return int(value)
    return None


def verified_pidfd(fd: int, credentials: Credentials) -> int:
    """A pidfd of the process that the kernel says is our peer: `fd`, if that is one.

    It wakes us when that process dies, so one of another process would hide a
    death. Takes `fd` over and returns a descriptor that the caller owns.
    ProtocolError when it is another's or none, PeerDied when the peer is gone.
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
    """No word on `fd`: /proc is not mounted, or closed to us since we are not dumpable."""
    if not credentials.pid:
        return fd  # and with no pid of the peer either, its own word has to do
    try:
        own = os.pidfd_open(credentials.pid)
    except ProcessLookupError:
        raise PeerDied("the peer died during the handshake") from None
    os.close(fd)
    return own


@dataclass(frozen=True)
class Peer:
    """The process at the other end, as far as it was verified, and what it said in its hello."""

    pid: int  # as seen from here; 0 when it is not to be seen
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
