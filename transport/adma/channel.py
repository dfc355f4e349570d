# SPDX-License-Identifier: BSD-3-Clause
"""A channel: one end of a connected pair that exchanges messages."""

from __future__ import annotations

import atexit
import contextlib
import operator
import os
import threading
import time
import warnings
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex

from ._core._native import ffi, lib
from ._core.buffers import readable, writable
from ._core.waiting import OneWaiter, deadline_of, remaining
from .copying import engine
from .errors import MessageTooLong, error_for, raise_for
from .mechanisms import segment
from .messages import selection as choice
from .messages.incoming import Incoming
from .messages.message import BYTES, KINDS, OBJECT, PART, Message, dump
from .messages.operation import ChannelRequest, Operation, quarantine
from .request import Request

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from ._core._native import CData
    from .connect.link import Link
    from .messages.explanation import Explanation

__all__ = ["Channel"]

_PENDING: int = -lib.ADMA_E_PENDING
_NEEDS_BULK: int = -lib.ADMA_E_BULK
_EAGER_MAX: int = lib.adma_eager_max()
_MOMENT = 0.01  # seconds; a call with less time than this looks at the clock first
_SPIN = -1  # the core's own measure
_LONGEST = (1 << 63) - 1  # bytes of a message
_IDLE = 0  # enum adma_req_state: not posted
_CLOSE_SLICE_NS = 50_000_000  # between looks at signals while closing
_WARN_AFTER = 1.0  # seconds both ends sit in a large write before one says so
_SWEEP_EVERY = 64  # posts; then what is done and was dropped is let go

_open: weakref.WeakSet[Channel] = weakref.WeakSet()


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
        self._chan: CData = ffi.NULL
        self._link = link
        self._pid = os.getpid()
        self._pending: set[Operation] = set()
        self._posts = 0
        self._blockers: list[Operation] = []  # of blocking calls, in use or spare
        self._spares: dict[str, list[Operation]] = {"read": [], "write": []}
        self._incoming: Incoming | None = None
        self._recv_lock = threading.Lock()
        self._receiver = 0  # the thread in recv()
        self._closed = False
        self._warned = False
        engine.prepare_to_help()
        config = choice.configuration(link)
        out = ffi.new("struct adma_chan **")
        if rc := lib.adma_chan_new(config, out):
            raise_for(rc)
        # Freed by __del__, which leaves NULL: every function of the core refuses that.
        # (ffi.gc would free it first when a cycle of this and its requests is collected.)
        self._chan = out[0]
        _open.add(self)

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
            if nbytes <= _EAGER_MAX:
                try:
                    rc = lib.adma_write_now(self._chan, hold, nbytes)
                except BaseException as interruption:
                    self._own_up("write", hold, nbytes, interruption)
                    raise
                if rc == 0:
                    return
                if rc != _PENDING:
                    raise self._explain_error(rc)
            self._block("write", hold, timeout, deadline)
        except BaseException:
            self._let_go(hold)
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
                nbytes: int = lib.adma_read_now(self._chan, hold, space, spin)
            except BaseException as interruption:
                self._own_up("read", hold, None, interruption)
                raise
            if nbytes >= 0:
                return nbytes
            if nbytes != _PENDING:
                raise self._explain_error(nbytes, space=space)
            return self._block("read", hold, timeout, deadline)
        except BaseException:
            self._let_go(hold)
            raise

    def iwrite(self, buf: ReadableBuffer) -> Request:
        """Post a write; a request. The buffer is the request's until it is done.

        A small message is usually done at once. BlockingIOError when 1024
        writes are outstanding already: wait for one of them.
        """
        hold = readable(buf, "iwrite")
        self._bring_bulk(len(hold))
        request = ChannelRequest(self, "write", (Operation(hold, read=False, kind=BYTES),))
        self._post(request._operations)
        return request

    def iread(self, buf: WriteableBuffer) -> Request:
        """Post a read; a request. It is matched in post order, and owns the buffer until done.

        BlockingIOError when 1024 reads are outstanding already.
        """
        hold = writable(buf, "iread")
        request = ChannelRequest(self, "read", (Operation(hold, read=True, kind=BYTES),))
        self._post(request._operations)
        return request

    # Objects

    def send(self, obj: object, timeout: float | None = None) -> None:
        """Write a Python object: pickled (protocol 5), large buffers in it not copied twice.

        Whatever pickle raises is raised before anything is posted.
        """
        deadline = deadline_of(timeout, "send")
        frames = dump(obj)
        flags = lib.ADMA_REQ_BLOCKING | (lib.ADMA_REQ_SLOT if frames.parts else 0)
        head = Operation(readable(frames.head, "send"), read=False, kind=OBJECT, flags=flags)
        head.req.total = frames.nbytes
        head.req.parts = len(frames.parts)
        operations = [head]
        for part in frames.parts:
            hold = readable(part, "send")
            operations.append(Operation(hold, read=False, kind=PART, flags=flags))
        for operation in operations:
            self._bring_bulk(operation.req.length)
        request = ChannelRequest(self, "send", operations)
        try:
            self._post(operations)
            self._wait_patiently(request, deadline, timeout)
        except BaseException as interruption:
            self._take_back(request, interruption)
            raise

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
        if not (self._link.allow_pickle or allow_pickle):
            raise PermissionError(
                f"the peer belongs to another user (uid {self._link.uid}), and unpickling runs "
                "code of its choice: read() bytes, or pass allow_pickle=True if you trust it"
            )
        limit = None if max_bytes is None else _whole(max_bytes, "recv(max_bytes)")
        if self._receiver == threading.get_ident():
            raise RuntimeError("recv() is running already in this thread: a signal handler?")
        left = remaining(deadline)
        if not self._recv_lock.acquire(timeout=-1 if left is None else left):
            raise TimeoutError("another thread is receiving an object on this channel")
        try:
            self._receiver = threading.get_ident()
            incoming = self._receive(deadline, limit)
        finally:
            self._receiver = 0
            self._recv_lock.release()
        return incoming.load()

    def _receive(self, deadline: float | None, limit: int | None) -> Incoming:
        incoming = self._incoming or Incoming(self)
        self._incoming = incoming
        try:
            incoming.receive(deadline, limit)
        except BaseException:
            incoming.withdraw()
            if not incoming.unfinished:
                self._incoming = None
            raise
        self._incoming = None
        return incoming

    # Looking

    def probe(self, timeout: float | None = None) -> Message:
        """Wait for a message to be in line; its kind and bytes. It stays there."""
        deadline = deadline_of(timeout, "probe")
        while (message := self.iprobe()) is None:
            if not OneWaiter(self._chan).wait(deadline):
                raise TimeoutError(f"no message came within {timeout} s")
        return message

    def iprobe(self) -> Message | None:
        """The first message in line, or None. Raises when none can come any more."""
        if self._incoming is not None and self._incoming.matched:
            return Message("object", self._incoming.nbytes)
        found = ffi.new("struct adma_message *")
        if rc := lib.adma_peek(self._chan, found):
            raise self._explain_error(rc)
        return Message(KINDS[found.kind], found.nbytes) if found.present else None

    def explain(self, nbytes: int) -> Explanation:
        """How a `write` of `nbytes` would travel now, why so, and why not otherwise."""
        return choice.explain(self._chan, self._link, _whole(nbytes, "explain(nbytes)"))

    def stats(self) -> dict[str, int]:
        """Counters since the channel was made: messages, bytes, by carry and mechanism."""
        return choice.stats(self._chan)

    def fileno(self) -> int:
        """A descriptor for select, poll and epoll, the channel's own.

        Readable while a completed request was not looked at, a message waits, a
        transfer waits for this end to go on, or the peer is gone. Do not read it:
        call `check`, `iprobe` or any other method until it is quiet.
        """
        fd = lib.adma_fileno(self._chan)
        if fd < 0:
            raise self._explain_error(fd)
        return int(fd)

    @property
    def closed(self) -> bool:
        """Was it closed on this side? Also True for the copy that a forked child has of it."""
        return self._closed or os.getpid() != self._pid

    @property
    def peer_pid(self) -> int:
        """The peer's process id as seen from here; 0 when it is not to be seen."""
        return self._link.pid

    # Ending

    def close(self, timeout: float | None = 5) -> None:
        """Close in order. What was published can still be read by the peer.

        Pending requests fail with `ChannelClosed`, waiters in other threads
        wake. Waits up to `timeout` seconds for a chunk that the peer is copying
        this moment; TimeoutError when a stopped peer keeps one: the channel is
        closed all the same, and the buffer is kept for ever, untouched. Twice
        is no error.
        """
        deadline = deadline_of(timeout, "close")
        self._closed = True
        while lib.adma_chan_close(self._chan, _slice(deadline)):
            if deadline is not None and time.monotonic() >= deadline:
                self._abandon()
                break
        _open.discard(self)
        self._reap()

    def _abandon(self) -> None:
        nbytes = lib.adma_chan_abandon(self._chan)
        self._reap()
        _open.discard(self)
        if nbytes:
            raise TimeoutError(
                f"{self._peer_text} is stopped in the middle of a copy: the channel is closed, "
                f"buffers of {nbytes} bytes stay quarantined, since it may still touch them when "
                "it goes on"
            )

    def __enter__(self) -> Channel:
        if self._closed:
            raise error_for(lib.ADMA_E_CLOSED_HERE)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not self._chan:
            return
        try:
            if not self.closed:
                warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=1)
        finally:  # a warning may be an error
            self._close_quietly()
            chan, self._chan = self._chan, ffi.NULL
            lib.adma_chan_free(chan)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Channel cannot be copied or pickled: connect anew, or pass a socket")

    def _close_quietly(self) -> None:
        with contextlib.suppress(TimeoutError):
            self.close(timeout=0)

    def __repr__(self) -> str:
        link = self._link
        state = "closed" if self._closed else link.forced or "auto"
        if not self._closed:
            health = lib.adma_health(self._chan)
            if health == -lib.ADMA_E_FORKED:
                state = "copy of a forked child"
            elif health:
                state = f"over: {type(error_for(health)).__name__}"
        return f"<adma.Channel to {self._peer_text} over {link.label}, {state}>"

    @property
    def _peer_text(self) -> str:
        return f"pid {self._link.pid}" if self._link.pid else "a peer of another pid namespace"

    # Posting

    def _post(self, operations: Sequence[Operation]) -> None:
        """Post in order, all or none; the channel keeps them until they are done."""
        self._posts += 1
        if self._posts % _SWEEP_EVERY == 0:
            self._reap()
        self._pending.update(operations)
        if len(operations) == 1:
            rc = lib.adma_post_one(self._chan, operations[0].req)
        else:
            reqs = ffi.new("struct adma_req *[]", [operation.req for operation in operations])
            rc = lib.adma_post(self._chan, reqs, len(operations))
        if rc:
            self._pending.difference_update(operations)
            raise self._explain_error(rc)

    def _bring_bulk(self, nbytes: int) -> None:
        """Make the bulk segment of `shared` if this write is the first to want it."""
        if not lib.adma_wants_bulk(self._chan, nbytes):
            return
        try:
            fd = segment.make(self._link.same_user)
        except OSError as error:
            lib.adma_no_bulk(self._chan, error.errno or 0)
            if self._link.forced == "shared":
                raise
            return  # another mechanism carries it
        try:
            if rc := lib.adma_give_bulk(self._chan, fd):
                raise self._explain_error(rc)
        finally:
            os.close(fd)

    def _forget(self, operation: Operation) -> None:
        """If the core is through with it, its buffer is its owner's again."""
        if operation.done:
            self._release(operation)

    def _release(self, operation: Operation) -> None:
        if operation.req.held:
            quarantine.append(operation)
        self._pending.discard(operation)
        operation.let_go()

    def _reap(self) -> None:
        """Forget what is done, also when nobody looked at it."""
        for operation in list(self._pending):
            self._forget(operation)

    # Waiting

    def _block(self, verb: str, hold: CData, timeout: float | None, deadline: float | None) -> int:
        """A blocking read or write: in one call into C if it can be done in a moment."""
        operation: Operation | None = None
        request: ChannelRequest | None = None
        try:
            operation = self._spare(verb)
            operation.hold = hold
            request = ChannelRequest(self, verb, (operation,))
            if timeout is None or timeout > _MOMENT:
                nbytes = self._run(operation, hold)
                if nbytes != _PENDING:
                    space = len(hold)
                    if nbytes >= 0:
                        request._nbytes = nbytes
                    request._operations = ()
                    self._give_back(verb, operation)
                    if nbytes >= 0:
                        return nbytes
                    raise self._explain_error(nbytes, space=space)
                self._adopt(operation)
            else:
                if verb == "write":
                    self._bring_bulk(len(hold))
                operation.aim(hold)
                self._adopt(operation)
                self._post((operation,))
            return self._wait_patiently(request, deadline, timeout)
        except BaseException as interruption:
            if operation is not None and request is None:
                self._give_back(verb, operation)  # it struck before anything was posted
            elif operation is not None and request is not None:
                if request._operations:
                    self._adopt(operation)
                self._take_back(request, interruption)
            raise

    def _run(self, operation: Operation, hold: CData) -> int:
        nbytes = lib.adma_run(self._chan, operation.req, hold, len(hold))
        if nbytes == _NEEDS_BULK:
            self._bring_bulk(len(hold))
            nbytes = lib.adma_run(self._chan, operation.req, hold, len(hold))
        return int(nbytes)

    def _spare(self, verb: str) -> Operation:
        """An operation for a blocking call; the channel keeps each for as long as it lives."""
        with contextlib.suppress(IndexError):
            return self._spares[verb].pop()
        operation = Operation(None, read=verb == "read", kind=BYTES, flags=lib.ADMA_REQ_BLOCKING)
        self._blockers.append(operation)
        return operation

    def _adopt(self, operation: Operation) -> None:
        """A blocking call's operation becomes one like any other's, kept until it is done."""
        if operation in self._blockers:
            self._pending.add(operation)
            self._blockers.remove(operation)

    def _give_back(self, verb: str, operation: Operation) -> None:
        if operation.req.held:
            quarantine.append(operation)
            self._blockers.remove(operation)
            return
        operation.let_go()
        self._spares[verb].append(operation)

    def _wait_patiently(
        self, request: ChannelRequest, deadline: float | None, timeout: float | None
    ) -> int:
        """Wait for what was posted; two ends stuck in large writes are told so."""
        writes = not request._operations[0].req.is_read
        if writes:
            lib.adma_blocked(self._chan, 1)
        try:
            if writes:
                self._warn_if_stuck(request, deadline)
            if request._wait_until(deadline):
                return request._settle()
            raise TimeoutError(f"{request!r} was not done within timeout={timeout} s")
        finally:
            if writes:
                lib.adma_blocked(self._chan, -1)

    def _warn_if_stuck(self, request: ChannelRequest, deadline: float | None) -> None:
        """Wait a moment; if both ends are in a large write by then, say so once."""
        if self._warned or request._operations[0].done:
            return
        moment = time.monotonic() + _WARN_AFTER
        if deadline is not None and deadline <= moment:
            return
        if request._wait_until(moment) or not lib.adma_deadlocked(self._chan):
            return
        self._warned = True
        warnings.warn(
            f"both ends of {self!r} have been in a blocking write of a large message for a second, "
            "and neither reads: use iwrite() on one side, or read in another thread",
            RuntimeWarning,
            stacklevel=5,
        )

    def _take_back(self, request: ChannelRequest, interruption: BaseException) -> None:
        """What an interrupted call posted is withdrawn; or the exception says that it won."""
        operations = request._operations
        lib.adma_give_up_one(self._chan)  # what else is pending goes on without this call
        if request._nbytes is not None:
            interruption.request = request  # type: ignore[attr-defined]
            return
        posted = [operation for operation in operations if operation.req.state != _IDLE]
        failed = any(operation.done and operation.req.error for operation in posted)
        if posted and not failed and not request.cancel():
            interruption.request = request  # type: ignore[attr-defined]
            return
        for operation in operations:
            lib.adma_observe(self._chan, operation.req)
            if operation.done or operation not in posted:
                self._release(operation)

    def _own_up(
        self, verb: str, hold: CData, written: int | None, interruption: BaseException
    ) -> None:
        """A signal's exception struck as a one-call read or write returned: did it happen?"""
        result = lib.adma_last(self._chan, hold)
        if result >= 0:
            nbytes = result if written is None else written
            request = ChannelRequest._of_result(self, verb, nbytes)
            interruption.request = request  # type: ignore[attr-defined]

    def _let_go(self, hold: CData) -> None:
        """A blocking call ends by an exception: its buffer is the caller's again, at once.

        Not when the traceback goes, which holds it, too; but not while a
        request still owns it either.
        """
        kept = (*self._pending, *self._blockers, *quarantine)
        if not any(operation.hold is hold for operation in kept):
            ffi.release(hold)

    def _explain_error(self, code: int, *, space: int = 0) -> Exception:
        code = abs(code)
        if code == lib.ADMA_E_TOOLONG:
            needed = lib.adma_needed()
            return MessageTooLong(
                f"the message in line has {needed} bytes, the buffer {space}: "
                "it stays first in line, read it into a larger one",
                needed=needed,
            )
        if code == lib.ADMA_E_NO_MECHANISM:
            return choice.unavailable(self._chan, self._link)
        return error_for(code)


def _whole(value: SupportsIndex, what: str) -> int:
    """A number of bytes; TypeError and ValueError name what it is for."""
    try:
        number = operator.index(value)
    except TypeError:
        kind = type(value).__name__
        raise TypeError(f"{what} is a whole number of bytes, not {kind}") from None
    if not 0 <= number <= _LONGEST:
        raise ValueError(f"{what} is {number}: a message has from 0 to {_LONGEST} bytes")
    return number


def _slice(deadline: float | None) -> int:
    left = remaining(deadline)
    return _CLOSE_SLICE_NS if left is None else min(_CLOSE_SLICE_NS, int(left * 1e9))


def _close_all() -> None:
    """At exit: peers learn of an orderly end, and no buffer is freed under a copy."""
    for channel in list(_open):
        if os.getpid() == channel._pid:
            channel._close_quietly()


atexit.register(_close_all)
