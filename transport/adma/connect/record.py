# SPDX-License-Identifier: BSD-3-Clause
"""Records of the handshake on a Unix socket: bytes, descriptors and credentials.

What a record looks like is told in adma_handshake.h; the parser is C and takes a
stranger's bytes. Here is what belongs to the socket: a record is read to its
last byte and not further, since on a stream the peer's first wake-ups may
follow at once, and no descriptor that came along is ever lost.
"""

from __future__ import annotations

import array
import errno
import os
import select
import socket
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .._core import constants, handshake
from .._core import record as core
from ..arguments import FOREVER
from ..closing import Closing
from ..errors import PeerDied, ProtocolError, failure
from .identity import Credentials, credentials_of, is_same_user, let_go, own_credentials

__all__ = [
    "ANCILLARY",
    "Entry",
    "Record",
    "Steps",
    "Wire",
    "await_events",
    "close_all",
    "numbers_in",
]

T = TypeVar("T")

#: Work that never waits by itself: it yields what its socket has to be ready for, as for poll(2).
Steps = Generator[int, None, T]

_INT = array.array("i").itemsize
#: Room for one credential and for all descriptors that a message can carry, since the kernel closes
# those that find no room, and may wait in that; and some for what a socket that was handed to us
# may be set to attach besides: a security label and a pidfd.
ANCILLARY = (
    socket.CMSG_SPACE(Credentials.SIZE)
    + socket.CMSG_SPACE(core.MESSAGE_FDS_MAX * _INT)
    + socket.CMSG_SPACE(core.MESSAGE_LABEL_MAX)
    + socket.CMSG_SPACE(_INT)
)
# A socket that was handed to us may be made blocking by whoever has a copy of it.
_SEND_FLAGS = socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT
_RECEIVE_FLAGS = constants.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
_TEXT_MAX = 800


@dataclass
class Entry:
    """A part of a record: what one mechanism's probe says, or a hello, or a refusal.

    The sender keeps the `fds` of an entry that it sends. An entry that was received owns them,
    until they are taken or its record is closed.
    """

    subject: int  # enum adma_mechanism_id; 0 in a hello or a refusal
    error: int = 0  # errno of the sender; then `data` is text
    data: bytes = b""
    fds: list[int] = field(default_factory=list)

    def take_fd(self) -> int:
        """The next descriptor of this entry, owned by the caller. ProtocolError: there is none."""
        if not self.fds:
            raise ProtocolError("the peer's record lacks a descriptor")
        return self.fds.pop(0)

    def text(self) -> str:
        """`data` as text for people: short, and nothing a terminal could take for a command."""
        text = self.data[:_TEXT_MAX].decode(errors="replace")
        return "".join(c if c.isprintable() or c == "\0" else "?" for c in text)


@dataclass
class Record(Closing):
    """A record that was received: its round, its entries, and the kernel's word on the sender.

    It is a context manager, which closes the descriptors that nobody took.
    """

    round: int
    entries: list[Entry]
    sender: Credentials
    owner: int  # the user whose descriptors these are

    def entry(self, subject: int) -> Entry | None:
        """The entry about a subject, the first one; None when there is none."""
        return next((entry for entry in self.entries if entry.subject == subject), None)

    def close(self) -> None:
        """Close the descriptors that nobody took. Idempotent."""
        for entry in self.entries:
            close_all(entry.fds, self.owner)


def close_all(fds: list[int], owner: int) -> None:
    """Close descriptors that user `owner` passed, and forget them."""
    while fds:
        let_go(fds.pop(), owner)


class Wire:
    """Sends and receives records on a socket, until a deadline (`time.monotonic()`).

    Every method raises TimeoutError at the deadline, and PeerDied when the peer has hung up.
    The socket is of no further use then. `send` and `receive` wait; `sending` and `receiving`
    are the same for those who wait for several sockets.
    """

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self.sock = sock
        self.deadline = deadline
        self._stream = sock.type == socket.SOCK_STREAM
        self._owner = credentials_of(sock).uid
        sock.setblocking(False)
        # Set before anything is read, since what arrives earlier carries no credentials.
        sock.setsockopt(socket.SOL_SOCKET, constants.SO_PASSCRED, 1)

    def close(self) -> None:
        """End the handshake: what follows on this socket carries no credentials."""
        self.sock.setsockopt(socket.SOL_SOCKET, constants.SO_PASSCRED, 0)

    def take_descriptors(self, take: bool) -> None:
        """Let the peer pass descriptors, or not, where the kernel can refuse them."""
        handshake.take_rights(self.sock.fileno(), take)

    # Sending

    def send(self, round_: int, entries: list[Entry]) -> None:
        """Send a record, with our credentials and the entries' descriptors."""
        self._finish(self.sending(round_, entries))

    def sending(self, round_: int, entries: list[Entry]) -> Steps[None]:
        """As `send`, in steps."""
        data = pack(round_, entries)
        fds = array.array("i", [fd for entry in entries for fd in entry.fds])
        credentials = (socket.SOL_SOCKET, constants.SCM_CREDENTIALS, own_credentials().pack())
        ancillary = [credentials]
        if fds:
            ancillary.append((socket.SOL_SOCKET, socket.SCM_RIGHTS, fds.tobytes()))
        try:
            while data:  # only a socket with a tiny send buffer takes it in several pieces
                self._check_time()
                try:
                    data = data[self.sock.sendmsg([data], ancillary, _SEND_FLAGS) :]
                    ancillary = [credentials]
                except BlockingIOError:
                    yield select.POLLOUT
        except (BrokenPipeError, ConnectionResetError, TimeoutError) as error:
            raise self._lost(error) from None

    # Receiving

    def receive(self) -> Record:
        """Receive one record, whatever its round.

        VersionMismatch: the peer speaks no version of ours. ProtocolError: what came is no
        record.
        """
        return self._finish(self.receiving())

    def receiving(self) -> Steps[Record]:
        """As `receive`, in steps."""
        fds: list[int] = []
        try:
            data, sender = yield from self._read(fds)
            return self._parse(data, sender, fds)
        except BaseException:
            close_all(fds, self._owner)
            raise

    def _read(self, fds: list[int]) -> Steps[tuple[bytes, Credentials]]:
        """The bytes of one record; descriptors that come along are appended to `fds`."""
        data = b""
        length = 0
        sender: Credentials | None = None
        while not length or len(data) < length:
            want = (length or core.HEAD_SIZE) - len(data) if self._stream else core.RECORD_MAX + 1
            part, credentials = yield from self._recvmsg(want, fds)
            if sender is not None and credentials != sender:
                raise ProtocolError("one record came from two processes")
            sender = credentials
            data += part
            length = core.length(data)
            if not self._stream:
                break
        assert sender is not None
        return data, sender

    def _recvmsg(self, want: int, fds: list[int]) -> Steps[tuple[bytes, Credentials]]:
        while True:
            self._check_time()
            try:
                part, ancillary, flags, _ = self.sock.recvmsg(want, ANCILLARY, _RECEIVE_FLAGS)
                break
            except BlockingIOError:
                yield select.POLLIN
            except ConnectionResetError as error:
                raise self._lost(error) from None
        sender = sort_ancillary(ancillary, fds)
        if sender is not None and is_same_user(self._owner):
            self._owner = sender.uid
        if not part:
            raise PeerDied("the peer hung up during the handshake")
        if flags & socket.MSG_TRUNC or len(fds) > core.FDS_MAX:
            raise ProtocolError("the peer sent more, or more descriptors, than a record may have")
        if flags & socket.MSG_CTRUNC:
            raise self._cut_off()
        if sender is None:
            raise ProtocolError("the kernel does not tell who sent the record")
        return part, sender

    def _cut_off(self) -> OSError:
        """Why descriptors did not arrive: there is none left, or the system does not let them."""
        try:
            self.sock.dup().close()
        except OSError as error:
            return failure("handshake", error.errno or errno.EIO)
        return failure("handshake", errno.EACCES)

    def _parse(self, data: bytes, sender: Credentials, fds: list[int]) -> Record:
        round_, parts = core.parse(data, len(fds))
        entries = [
            Entry(each.subject, _errno(each.error), each.data, fds[each.fds]) for each in parts
        ]
        return Record(round_, entries, sender, self._owner)

    # Both

    def _check_time(self) -> None:
        if time.monotonic() >= self.deadline:
            raise self._lost(TimeoutError())

    def _finish(self, steps: Steps[T]) -> T:
        while True:
            try:
                events = next(steps)
            except StopIteration as end:
                value: T = end.value
                return value
            await_events(self.sock, events, self.deadline)

    @staticmethod
    def _lost(error: Exception) -> Exception:
        if isinstance(error, TimeoutError):
            return TimeoutError("the peer did not answer the handshake in time")
        return PeerDied("the peer hung up during the handshake")


def _errno(number: int) -> int:
    """An errno that a peer tells, or 0. Another number could mean something else here."""
    return number if number == 0 or number in errno.errorcode else errno.EPROTO


def await_events(sock: socket.socket, events: int, deadline: float) -> None:
    """Wait until a socket is ready for something, as for poll(2), or the deadline has passed."""
    left = min(deadline - time.monotonic(), FOREVER)
    if left > 0:
        poll = select.poll()
        poll.register(sock, events)
        poll.poll(left * 1000)


def numbers_in(content: bytes) -> array.array[int]:
    """The descriptors in a control message; none of them is negative, which would be an error."""
    numbers = array.array("i")
    numbers.frombytes(content[: len(content) - len(content) % _INT])
    return array.array("i", [number for number in numbers if number >= 0])


def sort_ancillary(ancillary: list[Any], fds: list[int]) -> Credentials | None:
    """Who has sent it, if the kernel tells; and what descriptors came along, which join `fds`."""
    sender: Credentials | None = None
    for level, kind, content in ancillary:
        if level != socket.SOL_SOCKET:
            continue
        if kind == socket.SCM_RIGHTS:
            fds.extend(numbers_in(content))
        elif kind == constants.SCM_CREDENTIALS:
            sender = Credentials.unpack(content)
        elif kind == core.SCM_PIDFD:
            # The kernel's own, for a socket that somebody has set to that.
            for number in numbers_in(content):
                os.close(number)
    return sender


def pack(round_: int, entries: list[Entry]) -> bytes:
    """The bytes of a record. OverflowError when it would be longer than a record may be."""
    packed = [core.pack_entry(e.subject, e.error, e.data, len(e.fds)) for e in entries]
    return core.pack(round_, packed, sum(len(entry.fds) for entry in entries))
