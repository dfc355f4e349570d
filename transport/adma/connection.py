# SPDX-License-Identifier: BSD-3-Clause
"""The names of `multiprocessing.connection`, with messages that adma carries.

from adma.connection import Client, Listener, Pipe, wait

A program that uses them changes this import. What differs: addresses are of the family AF_UNIX,
and what is sent is for processes of this user, on this machine. A connection that has carried a
message belongs to the process that used it, and cannot be passed on any more.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import time
from collections.abc import Iterable
from multiprocessing import BufferTooShort
from multiprocessing import connection as plain
from multiprocessing.reduction import ForkingPickler
from typing import Any, Final, SupportsIndex, TypeVar

from ._core.buffers import empty
from ._core.constants import EAGER_MAX
from .arguments import FOREVER
from .closing import Closing
from .errors import ChannelEnded, MessagesLost, MessageTooLong, ProtocolError
from .messages.endpoint import free_drained
from .pipes.door import Door, call, give_up_after
from .pipes.end import pipe, take_end
from .pipes.met import PipedChannel

__all__ = ["Client", "Connection", "Listener", "Pipe", "default_family", "families", "wait"]

T = TypeVar("T")

families: Final = ["AF_UNIX"]
default_family: Final = "AF_UNIX"

# Bytes. A longer message is received where it stays, and not copied from a guessed space.
_GUESSED_MAX: Final = 1 << 18
_PATIENCE: Final = 20.0  # seconds for a client between its call and what it passes


class Connection(Closing):
    """An end of a pipe, as `multiprocessing.connection.Connection` is one.

    It is pickled to children of multiprocessing, and survives a fork, until it has carried a
    message. From then on only the process that used it can use it.

    `close` does not wait. A thread of the library delivers what was sent, and the end of the
    program waits for that, up to 5 s.
    """

    def __init__(self, end: PipedChannel, readable: bool = True, writable: bool = True) -> None:
        """This is not public: `Pipe`, `Client` and `Listener.accept` make connections."""
        if not isinstance(end, PipedChannel):
            raise TypeError("Connection() is not public: use Pipe(), Client() or accept()")
        self._end: PipedChannel | None = end
        self._readable = readable
        self._writable = writable
        self._expected = EAGER_MAX  # bytes of the next message, at most, as the last one was

    # Sending

    def send(self, obj: object) -> None:
        """Send an object, which is pickled. BrokenPipeError: the other end is gone."""
        end = self._to_write()
        _write(end, ForkingPickler.dumps(obj))

    def send_bytes(self, buf: Any, offset: int = 0, size: int | None = None) -> None:
        """Send bytes of a buffer: `size` of them from `offset` on, or all that follow."""
        end = self._to_write()
        view = memoryview(buf)
        if view.nbytes and (view.itemsize > 1 or view.ndim > 1):
            view = view.cast("B")
        if offset == 0 and size is None:
            _write(end, view)
            return
        if offset < 0:
            raise ValueError("send_bytes(offset): offset is negative")
        if view.nbytes < offset:
            raise ValueError("send_bytes(offset): the buffer has fewer bytes than offset")
        if size is None:
            size = view.nbytes - offset
        elif size < 0:
            raise ValueError("send_bytes(size): size is negative")
        elif offset + size > view.nbytes:
            raise ValueError("send_bytes(size): the buffer has fewer bytes than offset + size")
        _write(end, view[offset : offset + size])

    # Receiving

    def recv(self) -> Any:
        """Receive an object. EOFError: nothing is left, and the other end is gone."""
        return ForkingPickler.loads(self._receive(self._to_read(), None))

    def recv_bytes(self, maxlength: SupportsIndex | None = None) -> bytes:
        """Receive bytes. OSError: there are more than `maxlength`; the connection reads no more."""
        end = self._to_read()
        limit = None if maxlength is None else maxlength.__index__()
        if limit is not None and limit < 0:
            raise ValueError("recv_bytes(maxlength): maxlength is negative")
        try:
            return bytes(self._receive(end, limit))
        except MessageTooLong:
            self._bad_length()
            raise OSError("bad message length") from None

    def recv_bytes_into(self, buf: Any, offset: int = 0) -> int:
        """Receive bytes into a writable buffer, from `offset` on; returns how many came.

        BufferTooShort: it was too short. The message is taken, and is the exception's argument.
        """
        end = self._to_read()
        with memoryview(buf) as whole:
            view = whole.cast("B") if whole.nbytes else memoryview(bytearray())
            if offset < 0:
                raise ValueError("recv_bytes_into(offset): offset is negative")
            if offset > view.nbytes:
                raise ValueError("recv_bytes_into(offset): the buffer has fewer bytes than offset")
            with view, view[offset:] as space:
                try:
                    return end.read(space)
                except MessageTooLong:
                    raise BufferTooShort(bytes(self._receive(end, None))) from None
                except ChannelEnded as error:
                    raise _ended(end, error) from None

    def _receive(self, end: PipedChannel, limit: int | None) -> bytes | memoryview:
        """The next message, which is read as what it probably is: about as long as the last one.

        That takes a part of the time that a message does of which nothing is known.
        """
        try:
            while self._expected <= _GUESSED_MAX:
                space = empty(self._expected if limit is None else min(self._expected, limit))
                try:
                    nbytes = end.read(space)
                except MessageTooLong as error:
                    if limit is not None and error.needed > limit:
                        raise
                    self._expect(error.needed)
                    continue
                self._expect(nbytes)
                return memoryview(space)[:nbytes]
            message = end.read_bytes(limit)
        except ChannelEnded as error:
            raise _ended(end, error) from None
        self._expect(len(message))
        return message

    def _expect(self, nbytes: int) -> None:
        self._expected = max(EAGER_MAX, 1 << (nbytes - 1).bit_length() if nbytes else 0)

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Is there something to receive, or the end? Waits `timeout` seconds; None: for ever."""
        end = self._to_read()
        return end.poll(None if timeout is None else max(0.0, timeout))

    # What it is

    @property
    def closed(self) -> bool:
        """Was it closed here?"""
        return self._end is None

    @property
    def readable(self) -> bool:
        """Can it receive?"""
        return self._readable

    @property
    def writable(self) -> bool:
        """Can it send?"""
        return self._writable

    def fileno(self) -> int:
        """A descriptor that is readable when there is something to receive, or the end."""
        return self._open().fileno()

    # Ending

    def close(self) -> None:
        """Close it. Closing twice is no error."""
        end, self._end = self._end, None
        if end is not None:
            _let_go(end)
            del end
            free_drained()

    def __del__(self) -> None:
        end = getattr(self, "_end", None)
        if end is not None:
            self._end = None
            _let_go(end)

    def __reduce__(self) -> Any:
        return Connection, (self._open(), self._readable, self._writable)

    def __repr__(self) -> str:
        return f"<adma.connection.Connection, {'closed' if self._end is None else self._end!r}>"

    def _open(self) -> PipedChannel:
        if self._end is None:
            raise OSError("handle is closed")
        return self._end

    def _to_read(self) -> PipedChannel:
        if self._end is None:
            raise OSError("handle is closed")
        if not self._readable:
            raise OSError("connection is write-only")
        return self._end

    def _to_write(self) -> PipedChannel:
        if self._end is None:
            raise OSError("handle is closed")
        if not self._writable:
            raise OSError("connection is read-only")
        return self._end

    def _bad_length(self) -> None:
        if self._writable:
            self._readable = False
        else:
            self.close()


def _let_go(end: PipedChannel) -> None:
    """Close an end that nobody else has."""
    end.close_without_waiting()


def _write(end: PipedChannel, message: Any) -> None:
    try:
        end.write(message)
    except ChannelEnded as error:
        if end.closed:
            raise _ended(end, error) from None
        raise BrokenPipeError(errno.EPIPE, str(error)) from None


def _ended(end: PipedChannel, error: ChannelEnded) -> Exception:
    """The same in the words of multiprocessing.

    The death of a process is an end of file to its programs. A loss of messages is not, and
    neither is an end that is another process's.
    """
    if end.closed or isinstance(error, MessagesLost):
        return OSError(errno.ECONNABORTED, str(error))
    return EOFError(str(error))


def Pipe(duplex: bool = True) -> tuple[Connection, Connection]:  # noqa: N802
    """Two connected ends; with `duplex` false the first one receives, and the second one sends."""
    one, other = pipe()
    return Connection(one, writable=duplex), Connection(other, readable=duplex)


class Listener(Closing):
    """What `Client` calls, as `multiprocessing.connection.Listener` is, at a Unix socket.

    `address`: a path; None: one in a directory of this program. `backlog` and `authkey` are as
    there. ValueError: another family than AF_UNIX is asked for.
    """

    def __init__(
        self,
        address: str | bytes | None = None,
        family: str | None = None,
        backlog: int = 1,
        authkey: bytes | None = None,
    ) -> None:
        _check_family(address, family)
        _check_key(authkey)
        self._authkey = authkey
        path = address or plain.arbitrary_address(default_family)  # type: ignore[attr-defined]
        self._door = Door(path, backlog)

    def accept(self) -> Connection:
        """Wait for a client; returns the connection, which may be passed on before it is used.

        A client that dies, or passes something else, is logged and does not end it, and neither
        does one of another user. One of this user that says nothing holds it up for 20 s.
        AuthenticationError: the client has another authkey. OSError: the listener is closed, or
        no descriptor is left.
        """
        while True:
            with self._door.answer() as sock:
                try:
                    if self._authkey is not None:
                        give_up_after(sock, _PATIENCE)
                        _authenticate(sock, self._authkey, called=True)
                    return Connection(take_end(sock, _PATIENCE))
                except (EOFError, OSError, ProtocolError, AssertionError) as error:
                    # What is no answer to a challenge fails an assertion of multiprocessing's.
                    self._door.send_away(sock, error)

    @property
    def address(self) -> Any:
        """Where it listens."""
        return self._door.address

    @property
    def last_accepted(self) -> Any:
        """The address of the last client, which is empty for Unix sockets."""
        return self._door.last_accepted

    def close(self) -> None:
        """Stop listening. Connections live on. Closing twice is no error."""
        self._door.close()


def Client(  # noqa: N802
    address: str | bytes, family: str | None = None, authkey: bytes | None = None
) -> Connection:
    """Connect to a `Listener`; returns the connection, which may be passed on before it is used.

    It does not wait for `accept` unless there is an authkey. AuthenticationError: that is
    another one there. PermissionError: another user listens there.
    """
    _check_family(address, family)
    _check_key(authkey)
    with call(address) as sock:
        if authkey is not None:
            _authenticate(sock, authkey, called=False)
        one, other = pipe()
        with other:
            try:
                other.pass_over(sock)
            except BaseException:
                one.close()
                raise
    return Connection(one)


def _authenticate(sock: socket.socket, key: bytes, *, called: bool) -> None:
    """Each end proves to the other one that it has the key; the end that was called asks first."""
    steps = [plain.deliver_challenge, plain.answer_challenge]
    with plain.Connection(os.dup(sock.fileno())) as connection:
        for step in steps if called else reversed(steps):
            step(connection, key)


def _check_key(key: object) -> None:
    if key is not None and not isinstance(key, bytes):
        raise TypeError(f"authkey must be bytes, not {type(key).__name__}")


def _check_family(address: object, family: str | None) -> None:
    wanted = family or (plain.address_type(address) if address else default_family)  # type: ignore[attr-defined]
    if wanted != default_family:
        raise ValueError(
            f"the family {wanted} is not served: adma connects processes of one machine; cure: "
            "use a path as the address, or multiprocessing.connection"
        )


def wait(object_list: Iterable[T], timeout: float | None = None) -> list[T]:
    """Wait until any object is readable; returns those that are, as multiprocessing's `wait`.

    Objects are connections, channels, sockets, descriptors, sentinels of processes. `timeout` is
    in seconds, None means no limit, and what is below 0 counts as 0.
    """
    deadline = time.monotonic() + (FOREVER if timeout is None else min(timeout, FOREVER))
    with selectors.PollSelector() as selector:
        for thing in object_list:
            selector.register(thing, selectors.EVENT_READ)  # type: ignore[arg-type]
        while True:
            left = deadline - time.monotonic()
            found = [key.fileobj for key, _ in selector.select(max(0.0, left))]
            ready: list[Any] = [thing for thing in found if _is_ready(thing)]
            if ready or left <= 0:
                return ready


def _is_ready(thing: object) -> bool:
    """A descriptor of a connection may be readable for a moment in vain."""
    if not isinstance(thing, Connection) or not thing.readable:
        return True
    with contextlib.suppress(EOFError, OSError):
        return thing.poll()
    return True
