# SPDX-License-Identifier: BSD-3-Clause
"""What a copy of an end of a pipe is made of, and how copies get to other processes."""

from __future__ import annotations

import array
import contextlib
import errno
import os
import select
import socket
import stat
from collections.abc import Iterator
from typing import Any, Final

from .._core import constants
from ..arguments import remaining
from ..connect import counter
from ..connect.identity import (
    OVERFLOW_UID,
    Credentials,
    is_same_user,
    let_go,
    own_credentials,
)
from ..connect.line import Line
from ..connect.record import ANCILLARY, close_all, sort_ancillary
from ..errors import PeerDied, ProtocolError, failure
from .notes import Notes
from .poller import poll

__all__ = ["Handles", "receive", "send"]

_SOCKETS: Final = (  # the line, the other one, and that of the notes
    socket.SOCK_SEQPACKET,
    socket.SOCK_STREAM,
    socket.SOCK_SEQPACKET,
)
_COUNT: Final = 5
_GREETING: Final = b"adma pipe 2"
_NO_END: Final = "what came over the socket is no end of a pipe"


class Handles:
    """Descriptors of one copy of an end. Copies share what is behind them.

    `line` keeps messages until there is a channel, which is made over `sock`. `ticket` is an
    eventfd(2) of value 1, and who reads it has claimed the end: the kernel lets one process do
    that. `theirs` is the other end's, to look at. `notes` go from end to end: who is about to
    take a ticket, and how many messages an end that has its channel has put on the line.
    """

    def __init__(self, fds: list[int]) -> None:
        """They are close-on-exec, and owned from now on."""
        line, sock, self.ticket, self._theirs, notes = fds
        self.line = Line(socket.socket(fileno=line))
        self.sock = socket.socket(fileno=sock)
        self.notes = Notes(socket.socket(fileno=notes))
        self._is_distrusted = False

    @classmethod
    def passed(cls, fds: list[int]) -> Handles:
        """Those of a copy that another process has passed.

        ProtocolError: they are something else, and stay the caller's.
        """
        line, sock, *tickets, notes = fds
        try:
            for fd, kind in zip((line, sock, notes), _SOCKETS, strict=True):
                with _borrowed(fd) as borrowed:
                    if (borrowed.family, borrowed.type) != (socket.AF_UNIX, kind):
                        raise ProtocolError(_NO_END)
        except OSError:
            raise ProtocolError(_NO_END) from None
        for fd in tickets:
            if stat.S_IFMT(os.fstat(fd).st_mode):  # a counter is no file of any type
                raise ProtocolError(_NO_END)
            os.set_blocking(fd, False)
        return cls(fds)

    @classmethod
    def pair(cls) -> tuple[Handles, Handles]:
        """Those of both ends of a new pipe. OSError: there are no descriptors left."""
        try:
            return cls._make_pair()
        except OSError as error:
            raise failure("pipe", error.errno or errno.EIO) from None

    @classmethod
    def _make_pair(cls) -> tuple[Handles, Handles]:
        with contextlib.ExitStack() as undo:

            def own(fd: int) -> int:
                undo.callback(os.close, fd)
                return fd

            lines, socks, notes = ([own(fd) for fd in _sockets(kind)] for kind in _SOCKETS)
            tickets = [own(counter.make(1)) for _ in range(2)]
            copies = [own(os.dup(fd)) for fd in tickets]  # each end closes its own
            undo.pop_all()
        first = [lines[0], socks[0], tickets[0], copies[1], notes[0]]
        second = [lines[1], socks[1], tickets[1], copies[0], notes[1]]
        return cls(first), cls(second)

    def fds(self) -> list[int]:
        """All of them, in the order in which they are given to `__init__`."""
        fds = [self.line.fileno(), self.sock.fileno(), self.ticket, self._theirs]
        return [*fds, self.notes.fileno()]

    def is_claimed(self) -> bool:
        """Has any process claimed the end?"""
        return _is_taken(self.ticket)

    def claim(self) -> bool:
        """Claim the end. False: a process has done so before.

        Who takes the ticket has said before that it is about to. So the other end hears of its
        death, whenever that is (tests/model/claim.pml). OSError: see `Notes.claim`; nobody
        has claimed the end by this.
        """
        if self.is_claimed():
            return False
        self.notes.claim()
        try:
            counter.take(self.ticket)
        except BlockingIOError:
            self.notes.lose()
            return False
        return True

    def is_other_lost(self) -> bool:
        """Has a process claimed the other end, and died? It is not told while it lives.

        The ticket is looked at before the notes, since a note comes before its ticket is taken. It
        is looked at again where all that are known of are dead: one of them may have taken it.
        """
        while True:
            taken = _is_taken(self._theirs)
            self.notes.listen()
            if self.notes.is_anybody_left():
                return False
            if taken:
                return True
            if not _is_taken(self._theirs):
                return False

    def distrust(self) -> None:
        """Another user may speak at the other end, and have passed what blocks who closes it."""
        self._is_distrusted = True

    def close_all_but_line(self) -> None:
        """Close what a channel does not need. Closing twice is no error."""
        if self._is_distrusted and self.sock.fileno() >= 0:
            let_go(self.sock.detach(), OVERFLOW_UID)
        self.sock.close()
        self.notes.close(distrusted=self._is_distrusted)
        fds = (self.ticket, self._theirs)
        self.ticket = self._theirs = -1
        for fd in fds:
            if fd >= 0:
                with contextlib.suppress(OSError):
                    os.close(fd)

    def close(self) -> None:
        """Close this copy. Closing twice is no error."""
        self.line.close()
        self.close_all_but_line()

    def __del__(self) -> None:
        if hasattr(self, "notes"):
            self.close_all_but_line()


@contextlib.contextmanager
def _borrowed(fd: int) -> Iterator[socket.socket]:
    """A socket that stays the caller's. OSError: it is none."""
    sock = socket.socket(fileno=fd)
    try:
        yield sock
    finally:
        sock.detach()


def _is_taken(ticket: int) -> bool:
    return not poll([(ticket, select.POLLIN)], 0)


def _sockets(kind: int) -> list[int]:
    return [each.detach() for each in socket.socketpair(socket.AF_UNIX, kind)]


# Over sockets


def send(sock: socket.socket, handles: Handles) -> None:
    """Pass a copy over a connected AF_UNIX socket."""
    rights = array.array("i", handles.fds()).tobytes()
    ancillary = [
        (socket.SOL_SOCKET, constants.SCM_CREDENTIALS, own_credentials().pack()),
        (socket.SOL_SOCKET, socket.SCM_RIGHTS, rights),
    ]
    sock.sendmsg([_GREETING], ancillary, socket.MSG_NOSIGNAL)


def receive(sock: socket.socket, deadline: float | None) -> Handles:
    """Take a copy that a process of this user has passed, until a moment.

    TimeoutError: nothing came. PeerDied: the other end hung up. PermissionError: it is another
    user's. ProtocolError: what came is no end.
    """
    sock.setsockopt(socket.SOL_SOCKET, constants.SO_PASSCRED, 1)
    data, ancillary, flags = _receive(sock, deadline)
    fds: list[int] = []
    sender = sort_ancillary(ancillary, fds)
    try:
        if not data and not fds:
            raise PeerDied("the other end of the socket hung up before it passed an end of a pipe")
        _judge(data, flags, fds, sender)
        return Handles.passed(fds)
    except BaseException:
        close_all(fds, sender.uid if sender else OVERFLOW_UID)
        raise


def _receive(sock: socket.socket, deadline: float | None) -> tuple[bytes, list[Any], int]:
    """What comes until a moment, with room for whatever a stranger may pass: see `ANCILLARY`."""
    flags = constants.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
    while True:
        left = remaining(deadline)
        try:
            return sock.recvmsg(len(_GREETING), ANCILLARY, flags)[:3]
        except BlockingIOError:
            if left == 0:
                raise TimeoutError("no end of a pipe came over the socket in time") from None
        except ConnectionResetError:
            return b"", [], 0
        poll([(sock.fileno(), select.POLLIN)], left)


def _judge(data: bytes, flags: int, fds: list[int], sender: Credentials | None) -> None:
    if sender is None or not is_same_user(sender.uid):
        raise PermissionError(
            "an end of a pipe is taken from processes of this user only; cure: for two users, "
            "use listen(allow_uids=) and connect(), or from_socket()"
        )
    if flags & socket.MSG_CTRUNC:
        raise OSError(
            "an end of a pipe came over the socket, and there are no descriptors left for it "
            "(ulimit -n)"
        )
    if data != _GREETING or len(fds) != _COUNT:
        raise ProtocolError(_NO_END)
