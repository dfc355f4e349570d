# SPDX-License-Identifier: BSD-3-Clause
"""A channel: one end of a connected pair that exchanges messages."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, SupportsIndex

from ._core import channel as core
from ._core.buffers import readable, writable
from ._core.channel import read_now, write_now
from ._core.constants import BYTES, EAGER_MAX, MESSAGE_MAX
from ._core.operation import Operation
from ._core.results import CLOSED_HERE, NOT_NOW, error_for
from ._core.waiting import OneWaiter
from .arguments import deadline_of, whole_between
from .copying import engine
from .messages import selection
from .messages.blocking import Blocking
from .messages.channel_request import ChannelRequest
from .messages.endpoint import Endpoint
from .messages.incoming import Receiver
from .messages.message import KINDS, Message, dump
from .request import Request

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from .handshake.link import Link
    from .messages.explanation import Explanation

__all__ = ["Channel"]

_SPIN: Final = -1  # the core's own measure


class Channel:
    """A connected pair's near end: ordered both ways, message boundaries kept.

    Each write is one message for one read at the other end, in post order.
    Made by `connect`, `Listener.accept` and `from_socket`. Threads may share
    it. A context manager: leaving closes it.

    Every call that blocks takes `timeout` in seconds (None: for ever; 0: only
    try) and fails at once when the peer is gone: what it published is
    delivered first, then `ChannelClosed` after an orderly close, else
    `PeerDied`. A call that times out or is interrupted takes back what it
    posted; where the match has won, the exception has the request as
    `.request`, still pending and owning its buffer.
    """

    def __init__(self, link: Link) -> None:
        engine.prepare_to_help()
        self._endpoint = Endpoint(link)
        self._blocking = Blocking(self._endpoint)
        self._receiver = Receiver(self._endpoint)

    # Bytes

    def write(self, buf: ReadableBuffer, timeout: float | None = None) -> None:
        """Write one message: all bytes of a contiguous buffer.

        Returns when the buffer may be used again: a small message is published
        then (it may be lost with a reader that dies), a large one copied.
        TypeError, BufferError for what is no contiguous buffer. (Paper, table 2.)
        """
        deadline = None if timeout is None else deadline_of(timeout, "write")
        hold = readable(buf, "write")
        try:
            nbytes = len(hold)
            if nbytes <= EAGER_MAX:
                try:
                    rc = write_now(self._endpoint.chan, hold, nbytes)
                except BaseException as interruption:
                    self._blocking.own_up("write", hold, nbytes, interruption)
                    raise
                if rc == 0:
                    return
                if rc != NOT_NOW:
                    raise self._endpoint.error(rc)
            self._blocking.transfer("write", hold, timeout, deadline)
        except BaseException:
            self._blocking.let_go(hold)
            raise

    def read(self, buf: WriteableBuffer, timeout: float | None = None) -> int:
        """Read one message into a writable contiguous buffer; the message's bytes.

        A larger buffer is fine. `MessageTooLong` (with `.needed`) for a smaller
        one, `WrongKind` when an object is in line: the message stays first in
        line for the next read. BufferError for a read-only buffer.
        """
        deadline = None if timeout is None else deadline_of(timeout, "read")
        hold = writable(buf, "read")
        try:
            space = len(hold)
            spin = 0 if timeout == 0 else _SPIN
            try:
                nbytes = read_now(self._endpoint.chan, hold, space, spin)
            except BaseException as interruption:
                self._blocking.own_up("read", hold, None, interruption)
                raise
            if nbytes >= 0:
                return nbytes
            if nbytes != NOT_NOW:
                raise self._endpoint.error(nbytes, space=space)
            return self._blocking.transfer("read", hold, timeout, deadline)
        except BaseException:
            self._blocking.let_go(hold)
            raise

    def iwrite(self, buf: ReadableBuffer) -> Request:
        """Post a write; a request. The buffer is the request's until it is done.

        A small message is usually done at once. BlockingIOError when 1024
        writes are outstanding already: wait for one of them.
        """
        hold = readable(buf, "iwrite")
        self._endpoint.bring_segment(len(hold))
        request = ChannelRequest(
            self._endpoint, "write", (Operation(hold, read=False, kind=BYTES),)
        )
        self._endpoint.post(request._operations)
        return request

    def iread(self, buf: WriteableBuffer) -> Request:
        """Post a read; a request. It is matched in post order, and owns the buffer until done.

        BlockingIOError when 1024 reads are outstanding already.
        """
        hold = writable(buf, "iread")
        request = ChannelRequest(self._endpoint, "read", (Operation(hold, read=True, kind=BYTES),))
        self._endpoint.post(request._operations)
        return request

    # Objects

    def send(self, obj: object, timeout: float | None = None) -> None:
        """Write a Python object: pickled (protocol 5), large buffers in it not copied twice.

        Whatever pickle raises is raised before anything is posted.
        """
        deadline = deadline_of(timeout, "send")
        self._blocking.send(dump(obj), timeout, deadline)

    def recv(
        self,
        timeout: float | None = None,
        max_bytes: int | None = None,
        *,
        allow_pickle: bool = False,
    ) -> Any:
        """Read the next message, an object, and unpickle it.

        `max_bytes`: `MessageTooLong` for a larger one, which stays in line.
        `WrongKind` when bytes are in line. Unpickling runs code of the peer's
        choice: PermissionError when it is of another user, unless
        `allow_pickle`. After a TimeoutError nothing is lost: an object that had
        begun to come is gone on with by the next recv. What unpickling raises is
        passed on: that object is gone then, the channel is not.
        """
        deadline = deadline_of(timeout, "recv")
        link = self._endpoint.link
        if not (link.allow_pickle or allow_pickle):
            raise PermissionError(
                f"the peer belongs to another user (uid {link.uid}), and unpickling runs "
                "code of its choice: read() bytes, or pass allow_pickle=True if you trust it"
            )
        limit = None if max_bytes is None else _bytes(max_bytes, "recv(max_bytes)")
        return self._receiver.receive(deadline, limit)

    # Looking

    def probe(self, timeout: float | None = None) -> Message:
        """Wait for a message to be in line; its kind and bytes. It stays there."""
        deadline = deadline_of(timeout, "probe")
        while (message := self.iprobe()) is None:
            if not OneWaiter(self._endpoint.chan).wait(deadline):
                raise TimeoutError(f"no message came within {timeout} s")
        return message

    def iprobe(self) -> Message | None:
        """The first message in line, or None. Raises when none can come any more."""
        begun = self._receiver.begun
        if begun is not None:
            return Message("object", begun)
        rc, kind, nbytes = core.peek(self._endpoint.chan)
        if rc:
            raise self._endpoint.error(rc)
        return Message(KINDS[kind], nbytes) if kind else None

    def explain(self, nbytes: int) -> Explanation:
        """How a `write` of `nbytes` would travel now, why so, and why not otherwise."""
        wanted = _bytes(nbytes, "explain(nbytes)")
        return selection.explain(self._endpoint.chan, self._endpoint.link, wanted)

    def stats(self) -> dict[str, int]:
        """Counters since the channel was made: messages, bytes, by carry and mechanism."""
        return selection.stats(self._endpoint.chan)

    def fileno(self) -> int:
        """A descriptor for select, poll and epoll, the channel's own.

        Readable while a completed request was not looked at, a message waits, a
        transfer waits for this end to go on, or the peer is gone. Do not read it:
        call `check`, `iprobe` or any other method until it is quiet.
        """
        fd = core.fileno(self._endpoint.chan)
        if fd < 0:
            raise self._endpoint.error(fd)
        return fd

    @property
    def closed(self) -> bool:
        """Was it closed on this side? Also True for the copy that a forked child has of it."""
        return self._endpoint.closed

    @property
    def peer_pid(self) -> int:
        """The peer's process id as seen from here; 0 when it is not to be seen."""
        return self._endpoint.link.pid

    # Ending

    def close(self, timeout: float | None = 5) -> None:
        """Close in order. What was published can still be read by the peer.

        Pending requests fail with `ChannelClosed`, waiters in other threads
        wake. Waits up to `timeout` seconds for a chunk that the peer is copying
        this moment; TimeoutError when a stopped peer keeps one: the channel is
        closed all the same, and the buffer is kept for ever, untouched. Twice
        is no error.
        """
        self._endpoint.close(deadline_of(timeout, "close"))

    def __enter__(self) -> Channel:
        if self._endpoint.closed_here:
            raise error_for(CLOSED_HERE)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Channel cannot be copied or pickled: connect anew, or pass a socket")

    def __repr__(self) -> str:
        return repr(self._endpoint)


def _bytes(value: SupportsIndex, what: str) -> int:
    """A number of bytes; TypeError and ValueError name what it is for."""
    return whole_between(
        value,
        0,
        MESSAGE_MAX,
        f"{what} is a whole number of bytes",
        f"{what} is {{}}: a message has from 0 to {MESSAGE_MAX} bytes",
    )
