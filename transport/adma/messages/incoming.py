# SPDX-License-Identifier: BSD-3-Clause
"""Receiving a message whole: ask for it, give it memory of its size, fill that, unpickle.

A deadline or a signal can interrupt each step of a call. Before the head is matched, everything
is taken back and the message stays where it is. After that the object belongs to this end, and
the next recv() goes on where this one stopped. What `irecv` posted makes the same steps, and
waits between none of them (arrival.py).
"""

from __future__ import annotations

import errno
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex

from .. import forks
from .._core import channel
from .._core import operation as core
from .._core.buffers import blank, empty
from .._core.calls import object_read
from .._core.constants import BLOCKING, BYTES, IDLE, MESSAGE_MAX, NEED, OBJECT, OPEN, PART, TELL
from .._core.holds import any_finished, let_go_finished
from .._core.operation import Operation
from .._core.results import NOT_NOW, TOO_LONG, raise_for
from .._core.waiting import OneWaiter
from ..arguments import remaining
from ..errors import MessageTooLong, Stalled
from ..request import size_text
from .channel_request import ManyRequest
from .into import Targets
from .message import KINDS, Message, Part, bytes_of, load, parts_of
from .overtime import STALLED_BELOW, wait_until, wait_while_moving

if TYPE_CHECKING:
    from .endpoint import Endpoint

__all__ = ["Incoming", "Receiver", "unfinished"]


class Receiver:
    """Receives objects on a channel, one at a time, whichever threads ask for them."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        #: What an interrupted call left, or what a call is about to receive. Each recv() looks.
        self.incoming: Incoming | None = None
        self._lock = threading.Lock()
        self._thread = 0  # the one that receives
        forks.in_child(self, Receiver._forked)

    @property
    def begun(self) -> int | None:
        """Bytes of an object that was matched and is not complete; None: there is none."""
        incoming = self.incoming
        return incoming.nbytes if incoming is not None and incoming.matched else None

    def _forked(self) -> None:
        """In a child: no thread that was in the middle of it is there."""
        self._lock = threading.Lock()
        self._thread = 0
        self._forget()

    def refuse_to_unpickle(self) -> NoReturn:
        """Raise why the next object is not unpickled. See `Channel.recv`."""
        raise PermissionError(
            f"the peer belongs to another user (uid {self._endpoint.link.uid}), and unpickling "
            "runs code of its choice: read() bytes, or pass allow_pickle=True if you trust it"
        )

    def receive_within(self, deadline: float | None, max_bytes: SupportsIndex | None) -> Any:
        """The next object. See `Channel.recv`."""
        limit = None if max_bytes is None else bytes_of(max_bytes, "recv(max_bytes)")
        with self._alone(deadline):
            incoming = self._receive(deadline, limit)
        return incoming.load()

    def receive_into(
        self, deadline: float | None, max_bytes: SupportsIndex | None, into: Any
    ) -> Any:
        """The next object, received into arrays of the caller. See `Channel.recv`."""
        limit = None if max_bytes is None else bytes_of(max_bytes, "recv(max_bytes)")
        targets = Targets(into)
        with self._alone(deadline):
            incoming = self.incoming or Incoming(self._endpoint)
            incoming.judge = targets.judge
            try:
                self._receive(deadline, limit, incoming)
            finally:
                incoming.judge = None
        targets.finish()
        return into

    def adopt(self) -> Incoming | None:
        """What an interrupted call has left, if anything: from now on it is the caller's."""
        incoming = self.incoming
        if incoming is None or not self._lock.acquire(blocking=False):
            return None  # nothing is left; or a call goes on with it
        try:
            if self.incoming is None or not self.incoming.unfinished:
                return None
            incoming = self.incoming
            self._forget()
            return incoming
        finally:
            self._lock.release()

    def receive_away(self, deadline: float | None) -> None:
        """Receive the next object, and do not look at it."""
        with self._alone(deadline):
            self._receive(deadline, None)

    def skip(self, deadline: float | None) -> Message | None:
        """Drop the next message. None: it can only be read. See `Channel.skip`."""
        with self._alone(deadline):
            if self.incoming is not None and self.incoming.matched:
                return self._drop(self.incoming, deadline)
            while True:
                rc, kind, nbytes = channel.skip(self._endpoint.chan)
                if rc == 0:
                    return Message(KINDS[kind], nbytes)
                if rc == -errno.EOPNOTSUPP:
                    return None
                if rc != NOT_NOW:
                    raise self._endpoint.error(rc)
                self._wait_for_message(deadline)

    def _drop(self, incoming: Incoming, deadline: float | None) -> Message:
        message = Message("object", incoming.nbytes)
        with self._taking(incoming):
            incoming.drop(deadline)
        return message

    def _wait_for_message(self, deadline: float | None) -> None:
        rc, kind, _ = channel.peek(self._endpoint.chan)
        if rc:
            raise self._endpoint.error(rc)
        # What is there may be withdrawn before it is taken, and another one posted, for ever.
        late = remaining(deadline) == 0
        if late or (not kind and not OneWaiter(self._endpoint.chan).wait(deadline)):
            raise TimeoutError("no message came in time")

    @contextmanager
    def _alone(self, deadline: float | None) -> Iterator[None]:
        """No other thread receives or skips objects meanwhile."""
        if self._thread == threading.get_ident():
            raise RuntimeError("recv() is running already in this thread: a signal handler?")
        left = remaining(deadline)
        if not self._lock.acquire(timeout=-1 if left is None else left):
            raise TimeoutError("another thread is receiving an object on this channel")
        try:
            self._thread = threading.get_ident()
            yield
        finally:
            self._thread = 0
            self._lock.release()

    def _receive(
        self, deadline: float | None, limit: int | None, fresh: Incoming | None = None
    ) -> Incoming:
        incoming = self.incoming or fresh or Incoming(self._endpoint)
        self.incoming = incoming
        with self._taking(incoming):
            incoming.receive(deadline, limit)
        return incoming

    @contextmanager
    def _taking(self, incoming: Incoming) -> Iterator[None]:
        """What is left of it when this is interrupted is the next call's."""
        try:
            yield
        except BaseException:
            incoming.withdraw()
            if incoming.unfinished:
                unfinished.add(self)
            else:
                self._forget()
            raise
        self._forget()

    def _forget(self) -> None:
        self.incoming = None
        unfinished.discard(self)


#: Those that an interrupted call has left with a part of an object.
unfinished: weakref.WeakSet[Receiver] = weakref.WeakSet()


class Incoming:
    """One message being received whole on a channel: an object, or bytes."""

    def __init__(self, endpoint: Endpoint, kind: int = OBJECT, flags: int = BLOCKING) -> None:
        """`flags`: how its reads are posted; `TELL`: by a call that does not wait for them."""
        self._endpoint = endpoint
        self._flags = flags
        #: The read for its head, and where that goes, once it is matched. `object_read` sets both.
        self.head = Operation(None, read=True, kind=kind, flags=OPEN | flags)
        self.head_buffer: Any = None
        #: Says where the parts go that its head tells of, and may raise: then the object stays.
        self.judge: Callable[[Any, list[Part], list[Any]], list[Any]] | None = None
        self._over = False
        self._has_head = False
        self._parts: list[Operation] | None = None
        self.part_buffers: list[Any] = []

    @property
    def matched(self) -> bool:
        """Was its head matched, so that all of it has to be received?"""
        return self.head_buffer is not None

    @property
    def unfinished(self) -> bool:
        """Is there a part of it that the next recv() has to go on with?"""
        return self.matched and not self._over

    @property
    def nbytes(self) -> int:
        """Bytes of the whole object, once it is matched."""
        return int(self.head.req.needed)

    @property
    def operations(self) -> list[Operation]:
        """Its head, and its parts once they are known."""
        return [self.head, *(self._parts or ())]

    def step(self) -> Sequence[Operation]:
        """Go on without waiting; returns what to wait for before the next step, or nothing.

        After nothing all of it is there. Raises what `receive` raises. After a MemoryError it can
        go on; before its head is taken, it can still be withdrawn.
        """
        head = self.head
        if not self._has_head:
            if head.req.state == IDLE:
                self._endpoint.post([head])
            if head.req.state == NEED:
                self._supply()
            if not head.done:
                return (head,)
            if not self._finish_head(None):
                self._endpoint.post([head])
                return (head,)
        self._post_parts()
        pending = [part for part in self._parts or () if not part.done]
        if not pending:
            self._take_parts()
        return pending

    def tell(self) -> None:
        """The call that began it leaves it to a request."""
        self._flags = TELL
        for operation in self.operations:
            operation.tell()

    def receive(self, deadline: float | None, limit: int | None) -> None:
        """Receive all of it. TimeoutError: the deadline passed before.

        `limit`: bytes; MessageTooLong for a longer object, whether it has begun or not.
        """
        if self.head_buffer is None:
            self.limit_to(limit)
            if limit is not None or self.head.req.kind != OBJECT or not self._read_at_once():
                self._begin(deadline)
        elif limit is not None and self.nbytes > limit:
            raise self._too_long(limit)
        self._take_head(deadline)
        if limit is not None and self.nbytes > limit:
            raise self._too_long(limit)  # its writer withdrew another one, and this one came
        self._finish_parts(deadline)

    def drop(self, deadline: float | None) -> None:
        """Receive no more of it than has to be. TimeoutError: the deadline passed before."""
        self._take_head(deadline)
        if self._parts is None and self.head.req.need_parts:
            rc, _, _ = channel.skip(self._endpoint.chan)
            if rc != -errno.EOPNOTSUPP:
                return  # the core passes over the parts as they come
        self._finish_parts(deadline)

    def limit_to(self, limit: int | None) -> None:
        """Before it is posted: take no message that is longer."""
        self.head.req.limit = MESSAGE_MAX if limit is None else limit

    def load(self) -> Any:
        """The object, or the bytes, once all of it is received."""
        if self.head.req.kind == BYTES:
            whole: bytes = self.head_buffer.obj
            return whole[: len(self.head_buffer)]  # the same one, if that is all of it
        return load(self.head_buffer, self.part_buffers)

    def forget(self) -> None:
        """It was loaded: let go of the memory that it came in."""
        self.head_buffer, self.part_buffers = None, []

    def _too_long(self, limit: int) -> MessageTooLong:
        return MessageTooLong(
            f"{self._noun} of {self.nbytes} bytes is next, max_bytes allows {limit}: it stays",
            needed=self.nbytes,
        )

    def withdraw(self) -> bool:
        """Take back what was posted. False: it was matched before, and is `unfinished`.

        What of it has arrived was looked at, so that `fileno()` is readable when there is more.
        When all of it has arrived, `fileno()` stays readable until the next recv().
        """
        if core.cancel(self._endpoint.chan, self.head.req):
            self.head_buffer = None
            self._settle([self.head])
            return True
        if self.head.req.state == IDLE:
            self.head_buffer = None  # it was not posted yet
        arriving = [each for each in self.operations if not each.done]
        if arriving and all(each.req.state != IDLE for each in arriving):
            for each in self.operations:
                if each.done:
                    core.observe(self._endpoint.chan, each.req)
        return False

    def _read_at_once(self) -> bool:
        """Read it if it is there, and is one message: then its size is known. False: it is not."""
        head = self.head
        with suppress(MemoryError):  # an open read tells what is needed
            if object_read(self, self._endpoint):
                self.head.req.limit = head.req.limit
                return True
        self.head, self.head_buffer = head, None  # the other one was not posted
        return False

    def _begin(self, deadline: float | None) -> None:
        """Post a read for the head, and once it is matched give it a buffer of its size."""
        head = self.head
        self._endpoint.post([head])
        self._wait([head], deadline)
        if head.req.state == NEED:
            self._supply()

    def _supply(self) -> None:
        """The head is matched: give it a buffer of its size."""
        self.head_buffer = self._reserve()
        self.head.aim(self.head_buffer)
        if rc := self.head.supply():
            raise_for(rc)

    def _reserve(self) -> Any:
        """A buffer for the head. MemoryError if there is no memory for all of the object."""
        req = self.head.req
        try:
            if req.kind == BYTES:
                return blank(req.need_length, read_only=True)
            buffer = empty(req.need_length)
            empty(max(0, req.needed - req.need_length))  # nothing is taken as long as this fails
        except MemoryError:
            raise self._too_large() from None
        return buffer

    def _too_large(self) -> MemoryError:
        return MemoryError(
            f"no memory for {self._noun} of {size_text(self.nbytes)}: it stays first in line; "
            "receive it when there is, or skip() it"
        )

    @property
    def _noun(self) -> str:
        return "an object" if self.head.req.kind == OBJECT else "a message"

    def _take_head(self, deadline: float | None) -> None:
        """Receive the head, whichever is the one that is not withdrawn."""
        while not self._finish_head(deadline):
            if remaining(deadline) == 0:  # they may be withdrawn and posted again and again
                raise TimeoutError("no object came in time")
            self._begin(deadline)

    def _finish_head(self, deadline: float | None) -> bool:
        """False: the writer withdrew the object that was matched; begin anew."""
        head = self.head
        if self.head_buffer is not None:
            self._wait([head], deadline)
        error = head.req.error
        if not error and self.judge is not None:
            received = memoryview(self.head_buffer)[: head.req.done_bytes]
            parts = parts_of(received, head.req.need_parts, head.req.needed)
            self.part_buffers = self.judge(received, parts, self.part_buffers)
        self._settle([head])
        if error == TOO_LONG and self.head_buffer is not None:
            # Another one has taken its place, and is longer than the buffer.
            self.head_buffer = None
            head.req.flags |= OPEN
            return False
        if error == TOO_LONG:
            raise self._too_long(head.req.limit)
        if error:
            self._over = True  # nothing of it was received, or it is lost with its writer
            raise self._endpoint.error(error, operation=head)
        # The one that has taken its place may also be shorter.
        self.head_buffer = memoryview(self.head_buffer)[: head.req.done_bytes]
        self._has_head = True
        return True

    def _finish_parts(self, deadline: float | None) -> None:
        self._post_parts()
        self._wait(self._parts or [], deadline)
        self._take_parts()

    def _post_parts(self) -> None:
        """Give the parts memory of their sizes, and post a read for each, if there are any."""
        if self._parts is None:
            req = self.head.req
            parts = parts_of(self.head_buffer, req.need_parts, req.needed)
            if not self.part_buffers:
                try:
                    self.part_buffers = [
                        blank(part.nbytes, read_only=part.read_only) for part in parts
                    ]
                except MemoryError:
                    raise self._too_large() from None
            self._parts = [
                Operation(buffer, read=True, kind=PART, flags=self._flags)
                for buffer in self.part_buffers
            ]
        unposted = [part for part in self._parts if part.req.state == IDLE]
        if unposted:
            self._endpoint.post(unposted)

    def _take_parts(self) -> None:
        """All parts are done: look at their results."""
        parts = self._parts or []
        self._settle(parts)
        for part in parts:
            if part.req.error:
                self._over = True
                raise self._endpoint.error(part.req.error, operation=part)

    def _wait(self, operations: Sequence[Operation], deadline: float | None) -> None:
        """Wait for operations; once the deadline has passed, for as long as bytes move."""
        chan = self._endpoint.chan
        if wait_until(chan, operations, deadline):
            return
        if self.withdraw():
            raise TimeoutError("no object came in time")
        if not wait_while_moving(chan, operations):
            begun = [self.head, *(self._parts or ())]
            raise Stalled(_INCOMPLETE, request=Begun(self._endpoint, "recv", begun))

    def _settle(self, operations: Sequence[Operation]) -> None:
        for operation in operations:
            core.observe(self._endpoint.chan, operation.req)
            operation.let_go_if_done()
        if any_finished():
            let_go_finished()


class Begun(ManyRequest):
    """What has begun to arrive of an object, for the exception of a call that stalled.

    It can be waited for, and not be cancelled. Only the next recv() takes the result, which
    keeps fileno() readable also when nobody has this request any more.
    """

    __slots__ = ()

    def __del__(self) -> None:
        pass


_INCOMPLETE = (
    "the timeout is over, and the object has come to a stop on its way: less than "
    f"{STALLED_BELOW} bytes moved in a second; the next recv() goes on with it"
)
