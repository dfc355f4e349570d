# SPDX-License-Identifier: BSD-3-Clause
"""Notes between the two ends of a pipe: who is about to claim one, and how much is on the line.

They are no messages. So an event loop that waits for messages does not watch for them.
"""

from __future__ import annotations

import array
import contextlib
import enum
import os
import select
import socket
import struct
from typing import Any, Final

from .._core import constants
from .._core import handshake as processes
from ..connect.identity import (
    OVERFLOW_UID,
    is_same_user,
    let_go,
    own_credentials,
    own_pidfd,
)
from ..connect.record import ANCILLARY, close_all, sort_ancillary
from .poller import poll

__all__ = ["Notes"]

_NOTE: Final = struct.Struct("=B7x8sQ")  # what, whose claim, messages
_NOBODY: Final = bytes(8)


class _What(enum.IntEnum):
    CLAIMS = 1  # a process is about to claim its end; its pidfd comes along
    LOST = 2  # another one was quicker
    TOLD = 3  # so many messages are on the line, and no other will be


class Notes:
    """One end of a socket of SOCK_SEQPACKET, which is owned. Nothing here waits.

    All copies of an end of a pipe write to it. Only the process that has claimed the end reads.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.setsockopt(socket.SOL_SOCKET, constants.SO_PASSCRED, 1)
        self._own = _NOBODY  # the claim of this process
        self._claims: dict[bytes, int] = {}  # those that may hold the other end: pidfds
        self._seen = False  # a process was about to claim the other end, and can be watched
        self.told: int | None = None  # by the process at the other end: messages on the line

    def fileno(self) -> int:
        """The socket; -1 after close."""
        return self._sock.fileno()

    # Writing

    def claim(self) -> None:
        """Say that this process is about to claim its end.

        OSError: there is no descriptor for that now, or too many processes claim it at once.
        """
        pidfd = own_pidfd()
        self._own = os.urandom(len(_NOBODY))
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._put(_What.CLAIMS, self._own, 0, [pidfd] if pidfd >= 0 else [])
        finally:
            if pidfd >= 0:
                os.close(pidfd)

    def lose(self) -> None:
        """Say that it has not got it: so this process's life says nothing about the end."""
        with contextlib.suppress(OSError):
            self._put(_What.LOST, self._own, 0)

    def tell(self, count: int) -> None:
        """So many messages went over the line, and no other will."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._put(_What.TOLD, _NOBODY, count)

    def _put(self, what: _What, who: bytes, count: int, fds: list[int] | None = None) -> None:
        ancillary: list[tuple[int, int, bytes]] = [
            (socket.SOL_SOCKET, constants.SCM_CREDENTIALS, own_credentials().pack())
        ]
        if fds:
            rights = array.array("i", fds).tobytes()
            ancillary.append((socket.SOL_SOCKET, socket.SCM_RIGHTS, rights))
        flags = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
        self._sock.sendmsg([_NOTE.pack(what, who, count)], ancillary, flags)

    # Reading

    def listen(self) -> None:
        """Read what there is."""
        while self._sock.fileno() >= 0:
            try:
                data, ancillary, _, _ = self._sock.recvmsg(
                    _NOTE.size, ANCILLARY, socket.MSG_DONTWAIT | constants.MSG_CMSG_CLOEXEC
                )
            except ConnectionResetError:
                continue  # the kernel says once that the other end has left something unread
            except BlockingIOError:
                return
            if not data:
                return  # nobody has the other end
            self._note(data, ancillary)

    def _note(self, data: bytes, ancillary: list[Any]) -> None:
        fds: list[int] = []
        sender = sort_ancillary(ancillary, fds)
        if sender is None or not is_same_user(sender.uid) or len(data) != _NOTE.size:
            close_all(fds, sender.uid if sender else OVERFLOW_UID)
            return  # nothing of what another user says is believed
        what, who, count = _NOTE.unpack(data)
        if what == _What.CLAIMS and fds and processes.is_pidfd(fds[0]) != 0:
            self._claims[who] = fds.pop(0)
            self._seen = True
        elif what == _What.LOST:
            self._drop(who)
        elif what == _What.TOLD:
            self.told = count
        close_all(fds, sender.uid)

    def _drop(self, who: bytes) -> None:
        fd = self._claims.pop(who, -1)
        if fd >= 0:
            os.close(fd)

    def is_anybody_left(self) -> bool:
        """May a process be alive that was about to claim the other end? Also if none is known."""
        gone = {fd for fd, _ in poll([(fd, select.POLLIN) for fd in self._claims.values()], 0)}
        for who in [who for who, fd in self._claims.items() if fd in gone]:
            self._drop(who)
        return bool(self._claims) or not self._seen

    @property
    def watched(self) -> list[int]:
        """Descriptors that are readable when a note comes, or one of these processes dies."""
        return [self._sock.fileno(), *self._claims.values()]

    def forget(self) -> None:
        """It is known whose the other end is."""
        for who in list(self._claims):
            self._drop(who)

    def close(self, distrusted: bool = False) -> None:
        """Close this copy. Closing twice is no error.

        `distrusted`: another user may have passed something that blocks who closes it.
        """
        if distrusted and self._sock.fileno() >= 0:
            let_go(self._sock.detach(), OVERFLOW_UID)
        self._sock.close()
        self.forget()

    def __del__(self) -> None:
        self.close()
