# SPDX-License-Identifier: BSD-3-Clause
"""A line: a socket that keeps the messages of a pipe which come before its channel is there.

It is of SOCK_SEQPACKET, so that each record is taken whole or not at all, and what was put stays
there for whoever reads it, also when its writer has ended. Both ends are of one user: what another
one puts is refused.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import socket
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from .._core import constants
from .._core import handshake as core
from .._core.constants import BYTES, OBJECT
from ..errors import ProtocolError
from .identity import (
    OVERFLOW_UID,
    Credentials,
    is_hung_up,
    is_same_user,
    let_go,
    own_credentials,
)

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Head", "Line", "Put", "What"]

_HEAD: Final = struct.Struct("=B7xQQ")  # what, kind, bytes
_WHO: Final = socket.CMSG_SPACE(Credentials.SIZE)  # no room for descriptors, which none may pass
_FLAGS: Final = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL


class What(enum.IntEnum):
    """What a record is."""

    MESSAGE = 1  # a whole message
    COMING = 2  # a message that is too long for the line comes by the channel
    END = 3  # the writer has closed its end; nothing follows
    GONE = 4  # no record: nobody has the other end of the line any more


class Put(enum.Enum):
    """What became of a record."""

    SENT = enum.auto()
    FULL = enum.auto()  # there is no room now
    TOO_LONG = enum.auto()  # there never will be
    GONE = enum.auto()  # nobody has the other end


class Head(NamedTuple):
    """The first record: what it is; for a message, its kind and bytes."""

    what: What
    kind: int = 0
    nbytes: int = 0


class Line:
    """One end of it, which owns the socket. Nothing here waits."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._guest: int | None = None  # another user that has put something there
        sock.setsockopt(socket.SOL_SOCKET, constants.SO_PASSCRED, 1)
        core.take_rights(sock.fileno(), False)  # what a process passes that became another user

    def fileno(self) -> int:
        """The socket; -1 after close."""
        return self._sock.fileno()

    def put(
        self, what: What, kind: int = 0, nbytes: int = 0, parts: Sequence[ReadableBuffer] = ()
    ) -> Put:
        """Put a record, whole."""
        if self._sock.fileno() < 0:  # the garbage collector may close it before its owner
            return Put.GONE
        try:
            who = (socket.SOL_SOCKET, constants.SCM_CREDENTIALS, own_credentials().pack())
            self._sock.sendmsg([_HEAD.pack(what, kind, nbytes), *parts], [who], _FLAGS)
        except BlockingIOError:
            return Put.FULL
        except (BrokenPipeError, ConnectionResetError):
            return Put.GONE
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                return Put.TOO_LONG
            if error.errno == errno.ENOBUFS:
                return Put.FULL
            raise
        return Put.SENT

    def head(self) -> Head | None:
        """The first record, which stays. None: there is none yet.

        PermissionError: a process of another user has put it. A process with this end may have
        become another user, and nothing of it is believed, or unpickled.
        """
        raw = bytearray(_HEAD.size)
        flags = _FLAGS | socket.MSG_PEEK | socket.MSG_TRUNC
        try:
            try:
                nbytes, sender = self._receive(raw, flags)
            except ConnectionResetError:
                # The other end has closed it and left something unread. The kernel says so once,
                # and what that end had put is still there.
                nbytes, sender = self._receive(raw, flags)
        except BlockingIOError:
            return None
        if not nbytes:
            return Head(What.GONE)
        if sender is None or not is_same_user(sender.uid):
            self._guest = OVERFLOW_UID if sender is None else sender.uid
            raise PermissionError(
                "the process at the other end of the pipe belongs to another user; cure: for two "
                "users, use listen(allow_uids=) and connect(), or from_socket()"
            )
        return _parse(raw, nbytes)

    def _receive(self, raw: bytearray, flags: int) -> tuple[int, Credentials | None]:
        """Bytes of the record; and who has put it, for whom the kernel vouches."""
        nbytes, ancillary, _, _ = self._sock.recvmsg_into([raw], _WHO, flags)
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == constants.SCM_CREDENTIALS:
                return nbytes, Credentials.unpack(content)
        return nbytes, None

    def is_hung_up(self) -> bool:
        """Does nobody have the other end any more? Records may be left to be read."""
        return is_hung_up(self._sock)

    def take(self, head: Head, *, leave: bool = False) -> bytes:
        """The message at the head, which is taken, or left where it is."""
        flags = _FLAGS | (socket.MSG_PEEK if leave else 0)
        return self._sock.recv(_HEAD.size + head.nbytes, flags)[_HEAD.size :]

    def drop(self) -> None:
        """Take the first record, and forget it."""
        self._sock.recv(_HEAD.size, _FLAGS)

    def hang_up(self) -> None:
        """Close it for all processes that have a copy of this end. What was put can be read."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self.close()

    def close(self) -> None:
        """Close this copy. Closing twice is no error."""
        if self._guest is None:
            self._sock.close()
        elif self._sock.fileno() >= 0:
            let_go(self._sock.detach(), self._guest)

    def __del__(self) -> None:
        self.close()


def _parse(raw: bytearray, nbytes: int) -> Head:
    try:
        what, kind, length = _HEAD.unpack(raw)
        head = Head(What(what), kind, length)
        if head.what is not What.END and kind not in (BYTES, OBJECT):
            raise ValueError
    except ValueError:
        raise ProtocolError("what came over the line of a pipe is no record") from None
    if nbytes != _HEAD.size + (head.nbytes if head.what is What.MESSAGE else 0):
        raise ProtocolError("a record on the line of a pipe has another length than it says")
    return head
