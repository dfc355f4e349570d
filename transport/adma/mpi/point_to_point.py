# SPDX-License-Identifier: BSD-3-Clause
"""The point-to-point calls of communicators, with the names and arguments that mpi4py gives them.

Adma's own: blocking calls take `timeout`, in seconds; None means no limit. After a TimeoutError
of a receive nothing was received. A send that was not matched in time is withdrawn.
"""

from __future__ import annotations

import operator
import warnings
from typing import TYPE_CHECKING, Any

from mpi4py import MPI

from ..arguments import deadline_of
from . import compiled, elsewhere, matching, objects, partitioned, pickles, spec, statuses
from .activity import Activity, Both, Nothing, Result, advance, look_for_deaths, wait_for
from .buffered import attached_to
from .context import Context, context_of
from .found import Found
from .handles import let_go, raise_failure, withdraw
from .message import MESSAGE_NO_PROC, Message
from .processes import here
from .requests import Prequest, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .activity import Sendable
    from .processes import Process

__all__ = ["PointToPoint"]

_ANY_SOURCE, _ANY_TAG = MPI.ANY_SOURCE, MPI.ANY_TAG


class PointToPoint:
    """A mixin of communicators. What it does not name is MPI's."""

    # What the communicator is for adma

    @property
    def _context(self) -> Context:
        context: Context | None = self.__dict__.get("_found")
        if context is None:
            context = self._look_up()
        elif context.freed:
            statuses.fail(None, MPI.ERR_COMM, None, "the communicator was freed")
        return context

    def _look_up(self) -> Context:
        comm: Any = self
        if comm == MPI.COMM_NULL:
            statuses.fail(None, MPI.ERR_COMM, None, "this is COMM_NULL")
        context = context_of(comm)
        if context is None:
            raise RuntimeError(
                f"{comm.Get_name() or 'this communicator'} was not made by adma's MPI, so that its "
                "other ranks may not know of adma; cure: adma.mpi.wrap(comm), in all of its ranks"
            )
        self.__dict__["_found"] = context
        self.__dict__["_ranks"] = context.compiled  # where the compiled calls look
        return context

    # Sends of buffers

    def Send(self, buf: Any, dest: int, tag: int = 0, *, timeout: float | None = None) -> None:
        """Send a buffer, and wait until it may be used again."""
        self._finish(self._send(buf, dest, tag), None, timeout, "Send")

    def Ssend(self, buf: Any, dest: int, tag: int = 0, *, timeout: float | None = None) -> None:
        """Send a buffer, and wait until it is matched."""
        self._finish(self._send(buf, dest, tag, synchronous=True), None, timeout, "Ssend")

    def Bsend(self, buf: Any, dest: int, tag: int = 0) -> None:
        """Send a copy of a buffer."""
        self._bsend(buf, dest, tag)

    def Rsend(self, buf: Any, dest: int, tag: int = 0, *, timeout: float | None = None) -> None:
        """As `Send`; the receive has been posted."""
        self._finish(self._send(buf, dest, tag), None, timeout, "Rsend")

    def Isend(self, buf: Any, dest: int, tag: int = 0) -> Request:
        """Begin to send a buffer."""
        return self._request(self._send(buf, dest, tag))

    def Issend(self, buf: Any, dest: int, tag: int = 0) -> Request:
        """Begin to send a buffer; complete when it is matched."""
        return self._request(self._send(buf, dest, tag, synchronous=True))

    def Ibsend(self, buf: Any, dest: int, tag: int = 0) -> Request:
        """Send a copy of a buffer."""
        return self._request(self._bsend(buf, dest, tag))

    def Irsend(self, buf: Any, dest: int, tag: int = 0) -> Request:
        """As `Isend`; the receive has been posted."""
        return self._request(self._send(buf, dest, tag))

    # Receives of buffers

    def Recv(
        self,
        buf: Any,
        source: int = _ANY_SOURCE,
        tag: int = _ANY_TAG,
        status: MPI.Status | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Receive into a buffer."""
        self._finish(self._receive(buf, source, tag), status, timeout, "Recv")

    def Irecv(self, buf: Any, source: int = _ANY_SOURCE, tag: int = _ANY_TAG) -> Request:
        """Begin to receive into a buffer."""
        return self._request(self._receive(buf, source, tag))

    # Both at once

    def Sendrecv(
        self,
        sendbuf: Any,
        dest: int,
        sendtag: int = 0,
        recvbuf: Any = None,
        source: int = _ANY_SOURCE,
        recvtag: int = _ANY_TAG,
        status: MPI.Status | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Send and receive."""
        both = self._both(sendbuf, dest, sendtag, recvbuf, source, recvtag)
        self._finish(both, status, timeout, "Sendrecv")

    def Sendrecv_replace(
        self,
        buf: Any,
        dest: int,
        sendtag: int = 0,
        source: int = _ANY_SOURCE,
        recvtag: int = _ANY_TAG,
        status: MPI.Status | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Send a buffer, and receive into the same one."""
        both = self._replace(buf, dest, sendtag, source, recvtag)
        self._finish(both, status, timeout, "Sendrecv_replace")

    def Isendrecv(
        self,
        sendbuf: Any,
        dest: int,
        sendtag: int = 0,
        recvbuf: Any = None,
        source: int = _ANY_SOURCE,
        recvtag: int = _ANY_TAG,
    ) -> Request:
        """Begin to send and to receive."""
        return self._request(self._both(sendbuf, dest, sendtag, recvbuf, source, recvtag))

    def Isendrecv_replace(
        self,
        buf: Any,
        dest: int,
        sendtag: int = 0,
        source: int = _ANY_SOURCE,
        recvtag: int = _ANY_TAG,
    ) -> Request:
        """Begin to send a buffer, and to receive into the same one."""
        return self._request(self._replace(buf, dest, sendtag, source, recvtag))

    # Probes

    def Probe(
        self,
        source: int = _ANY_SOURCE,
        tag: int = _ANY_TAG,
        status: MPI.Status | None = None,
        *,
        timeout: float | None = None,
    ) -> bool:
        """Wait for a message; the status tells of it. TimeoutError: none has come."""
        found = self._probe(matching.probe, source, tag, status, timeout, "Probe")
        return found is not None

    def Iprobe(
        self, source: int = _ANY_SOURCE, tag: int = _ANY_TAG, status: MPI.Status | None = None
    ) -> bool:
        """Is there a message?"""
        return self._probe(matching.probe, source, tag, status, 0, "Iprobe", tries=True) is not None

    def Mprobe(
        self,
        source: int = _ANY_SOURCE,
        tag: int = _ANY_TAG,
        status: MPI.Status | None = None,
        *,
        timeout: float | None = None,
    ) -> Message:
        """Wait for a message, and take it: nobody else gets it. TimeoutError: none has come."""
        taken = self._probe(matching.take, source, tag, status, timeout, "Mprobe")
        return self._message(taken)

    def Improbe(
        self, source: int = _ANY_SOURCE, tag: int = _ANY_TAG, status: MPI.Status | None = None
    ) -> Message | None:
        """Take a message if there is one."""
        taken = self._probe(matching.take, source, tag, status, 0, "Improbe", tries=True)
        return None if taken is None else self._message(taken)

    # Objects

    def send(self, obj: Any, dest: int, tag: int = 0, *, timeout: float | None = None) -> None:
        """Send an object."""
        self._finish(self._send_object(obj, dest, tag), None, timeout, "send")

    def ssend(self, obj: Any, dest: int, tag: int = 0, *, timeout: float | None = None) -> None:
        """Send an object, and wait until it is matched."""
        activity = self._send_object(obj, dest, tag, synchronous=True)
        self._finish(activity, None, timeout, "ssend")

    def bsend(self, obj: Any, dest: int, tag: int = 0) -> None:
        """Send an object, and do not wait."""
        self._bsend_object(obj, dest, tag)

    def isend(self, obj: Any, dest: int, tag: int = 0) -> Request:
        """Begin to send an object. It is pickled now; its large buffers must stay as they are."""
        return self._request(self._send_object(obj, dest, tag))

    def issend(self, obj: Any, dest: int, tag: int = 0) -> Request:
        """As `isend`; complete when it is matched."""
        return self._request(self._send_object(obj, dest, tag, synchronous=True))

    def ibsend(self, obj: Any, dest: int, tag: int = 0) -> Request:
        """Send an object, and do not wait."""
        return self._request(self._bsend_object(obj, dest, tag))

    def recv(
        self,
        buf: Any = None,
        source: int = _ANY_SOURCE,
        tag: int = _ANY_TAG,
        status: MPI.Status | None = None,
        *,
        timeout: float | None = None,
    ) -> Any:
        """Receive an object of any size. `buf` is mpi4py's, and not needed."""
        _warn_of(buf, "recv")
        activity = self._receive_object(source, tag)
        return self._finish(activity, status, timeout, "recv")

    def irecv(self, buf: Any = None, source: int = _ANY_SOURCE, tag: int = _ANY_TAG) -> Request:
        """Begin to receive an object of any size. `buf` is mpi4py's, and not needed."""
        del buf  # which mpi4py asks for if the object is large
        return self._request(self._receive_object(source, tag))

    def sendrecv(
        self,
        sendobj: Any,
        dest: int,
        sendtag: int = 0,
        recvbuf: Any = None,
        source: int = _ANY_SOURCE,
        recvtag: int = _ANY_TAG,
        status: MPI.Status | None = None,
        *,
        timeout: float | None = None,
    ) -> Any:
        """Send an object, and receive one."""
        del recvbuf
        _, dest, sendtag = self._checked(dest, sendtag, receives=False)
        receive = self._receive_object(source, recvtag)
        try:
            both = Both(self._send_object(sendobj, dest, sendtag), receive)
        except BaseException:  # the object cannot be pickled, say
            withdraw(receive)
            raise
        return self._finish(both, status, timeout, "sendrecv")

    probe = Probe
    iprobe = Iprobe
    mprobe = Mprobe
    improbe = Improbe

    # Persistent requests

    def Send_init(self, buf: Any, dest: int, tag: int = 0) -> Prequest:
        """A send that can be started again and again."""
        return self._persistent(buf, dest, tag, lambda: self._send(buf, dest, tag))

    def Ssend_init(self, buf: Any, dest: int, tag: int = 0) -> Prequest:
        """The same, in synchronous mode."""
        return self._persistent(
            buf, dest, tag, lambda: self._send(buf, dest, tag, synchronous=True)
        )

    def Bsend_init(self, buf: Any, dest: int, tag: int = 0) -> Prequest:
        """The same, in buffered mode."""
        return self._persistent(buf, dest, tag, lambda: self._bsend(buf, dest, tag))

    def Rsend_init(self, buf: Any, dest: int, tag: int = 0) -> Prequest:
        """The same, in ready mode."""
        return self._persistent(buf, dest, tag, lambda: self._send(buf, dest, tag))

    def Recv_init(self, buf: Any, source: int = _ANY_SOURCE, tag: int = _ANY_TAG) -> Prequest:
        """A receive that can be started again and again."""
        _, source, tag = self._checked(source, tag, receives=True)
        if source != MPI.PROC_NULL:
            spec.to_receive(buf, self._comm)
        return Prequest.of_start(self._comm, lambda: self._receive(buf, source, tag))

    def Psend_init(
        self, buf: Any, partitions: int, dest: int, tag: int = 0, info: Any = MPI.INFO_NULL
    ) -> Any:
        """A send in partitions."""
        context, dest, tag = self._checked(dest, tag, receives=False)
        if dest == MPI.PROC_NULL:
            return Prequest.of_start(self._comm, lambda: Nothing(receives=False))
        if context.peers[dest] is None and context.shadow is not None:
            theirs = context.shadow.Psend_init(buf, partitions, dest, tag, info)
            return self._partitioned_by_mpi(context, theirs, partitions)

        def make() -> spec.Memory:
            memory = spec.partitioned(buf, partitions, self._comm, read=True)
            memory.pack()
            return memory

        outbound = partitioned.Outbound(self._comm, context, make, partitions, dest, tag)
        return Prequest.of_start(self._comm, outbound)

    def Precv_init(
        self,
        buf: Any,
        partitions: int,
        source: int = _ANY_SOURCE,
        tag: int = _ANY_TAG,
        info: Any = MPI.INFO_NULL,
    ) -> Any:
        """A receive in partitions."""
        context, source, tag = self._checked(source, tag, receives=True)
        if source == MPI.PROC_NULL:
            return Prequest.of_start(self._comm, lambda: Nothing(receives=True))
        if source == MPI.ANY_SOURCE:
            statuses.fail(self._comm, MPI.ERR_RANK, None, "partitions come from one rank")
        if context.peers[source] is None and context.shadow is not None:
            theirs = context.shadow.Precv_init(buf, partitions, source, tag, info)
            return self._partitioned_by_mpi(context, theirs, partitions)
        memory = spec.partitioned(buf, partitions, self._comm, read=False)
        inbound = partitioned.Inbound(self._comm, context, memory, partitions, source, tag)
        return Prequest.of_start(self._comm, inbound)

    # Inside

    @property
    def _comm(self) -> Any:
        return self

    def _partitioned_by_mpi(
        self, context: Context, theirs: MPI.Prequest, partitions: int
    ) -> Prequest:
        start = partitioned.ByMPIStart(self._comm, context, theirs, partitions)
        return Prequest.of_start(self._comm, start)

    def _checked(self, rank: int, tag: int, *, receives: bool) -> tuple[Context, int, int]:
        """The context, and both as plain numbers: mpi4py takes floats and NumPy's integers, too."""
        context = self._context
        if type(rank) is not int:
            rank = _whole(rank)
        if type(tag) is not int:
            tag = _whole(tag)
        matching.check(context, self._comm, rank, tag, receives=receives)
        return context, rank, tag

    def _request(self, activity: Activity) -> Request:
        return Request.of(self._comm, activity)

    def _send(self, buf: Any, dest: int, tag: int, *, synchronous: bool = False) -> Activity:
        context, dest, tag = self._checked(dest, tag, receives=False)
        if dest == MPI.PROC_NULL:
            return Nothing(receives=False)
        memory = spec.to_send(buf, self._comm)
        return self._post(context, memory, dest, tag, synchronous=synchronous)

    def _post(
        self, context: Context, memory: Sendable, dest: int, tag: int, *, synchronous: bool = False
    ) -> Activity:
        try:
            return matching.send(context, memory, dest, tag, synchronous=synchronous)
        except (ConnectionError, EOFError) as error:
            raise_failure(self._comm, error)

    def _receive(self, buf: Any, source: int, tag: int) -> Activity:
        context, source, tag = self._checked(source, tag, receives=True)
        if source == MPI.PROC_NULL:
            return Nothing(receives=True)
        memory = spec.to_receive(buf, self._comm)
        try:
            return matching.receive(context, memory, source, tag)
        except (ConnectionError, EOFError) as error:
            raise_failure(self._comm, error)

    def _send_object(self, obj: Any, dest: int, tag: int, *, synchronous: bool = False) -> Activity:
        context, dest, tag = self._checked(dest, tag, receives=False)
        try:
            return objects.send(context, obj, dest, tag, synchronous=synchronous)
        except (ConnectionError, EOFError) as error:
            raise_failure(self._comm, error)

    def _send_pickle(self, data: bytes, parts: list[memoryview], dest: int, tag: int) -> Activity:
        """Send an object that was pickled, to a rank of this machine."""
        context, dest, tag = self._checked(dest, tag, receives=False)
        try:
            if not parts:
                return matching.send(context, objects.Bytes(data), dest, tag)
            return matching.send_object(context, pickles.head(data, parts), parts, dest, tag)
        except (ConnectionError, EOFError) as error:
            raise_failure(self._comm, error)

    def _receive_object(self, source: int, tag: int) -> Activity:
        context, source, tag = self._checked(source, tag, receives=True)
        try:
            return objects.receive(context, source, tag)
        except (ConnectionError, EOFError) as error:
            raise_failure(self._comm, error)

    def _both(
        self, sendbuf: Any, dest: int, sendtag: int, recvbuf: Any, source: int, recvtag: int
    ) -> Activity:
        _, dest, sendtag = self._checked(dest, sendtag, receives=False)
        receive = self._receive(recvbuf, source, recvtag)
        try:
            return Both(self._send(sendbuf, dest, sendtag), receive)
        except BaseException:
            withdraw(receive)
            raise

    def _replace(self, buf: Any, dest: int, sendtag: int, source: int, recvtag: int) -> Activity:
        _, source, recvtag = self._checked(source, recvtag, receives=True)
        context, dest, sendtag = self._checked(dest, sendtag, receives=False)
        copied = objects.Bytes(bytes(spec.to_send(buf, self._comm, dest == MPI.PROC_NULL).view))
        receive = self._receive(buf, source, recvtag)
        try:
            return Both(self._post(context, copied, dest, sendtag), receive)
        except BaseException:
            withdraw(receive)
            raise

    def _bsend(self, buf: Any, dest: int, tag: int) -> Activity:
        context, dest, tag = self._checked(dest, tag, receives=False)
        if dest != MPI.PROC_NULL:
            copied = objects.Bytes(bytes(spec.to_send(buf, self._comm).view))
            self._buffer(context, copied, dest, tag)
        return Nothing(receives=False)

    def _bsend_object(self, obj: Any, dest: int, tag: int) -> Activity:
        context, dest, tag = self._checked(dest, tag, receives=False)
        if dest != MPI.PROC_NULL:
            copied = objects.Bytes(MPI.pickle.dumps(obj))
            self._buffer(context, copied, dest, tag)
        return Nothing(receives=False)

    def _buffer(self, context: Context, copied: objects.Bytes, dest: int, tag: int) -> None:
        attached, nbytes = attached_to(context), copied.view.nbytes
        if not attached.has_room(nbytes):
            text = f"a buffered send of {nbytes} bytes: no buffer with so much room is attached"
            statuses.fail(self._comm, MPI.ERR_BUFFER, None, text)
        attached.add(self._post(context, copied, dest, tag), nbytes)

    def _persistent(self, buf: Any, dest: int, tag: int, start: Callable[[], Activity]) -> Prequest:
        _, dest, tag = self._checked(dest, tag, receives=False)
        if dest != MPI.PROC_NULL:
            spec.to_send(buf, self._comm)
        return Prequest.of_start(self._comm, start)

    def _finish(
        self, activity: Activity, status: MPI.Status | None, timeout: float | None, call: str
    ) -> Any:
        """Wait for a message that this call posted; returns the object that was received."""
        if activity.result is None:
            self._await(activity, timeout, call)
        let_go()
        result = activity.result
        assert result is not None
        if status is not None:
            result.fill(status)
        if result.failure is not None:
            raise_failure(self._comm, result.failure)
        return result.value

    def _await(self, activity: Activity, timeout: float | None, call: str) -> None:
        try:
            done = wait_for([activity], 1, deadline_of(timeout, call))
            if not done:
                activity.cancel()
                # It is withdrawn, or it was matched and comes to its end.
                wait_for([activity], 1, None)
        except BaseException as error:
            # An interrupt, say. Nobody has a request for it: it must not get the next message.
            withdraw(activity)
            if isinstance(error, ConnectionError):
                raise_failure(self._comm, error)
            raise
        if not done and activity.result is not None and activity.result.cancelled:
            raise TimeoutError(f"{call}: no message was matched within {timeout} s")

    def _probe(
        self,
        look: Callable[[Context, int, int], Any],
        source: int,
        tag: int,
        status: MPI.Status | None,
        timeout: float | None,
        call: str,
        *,
        tries: bool = False,
    ) -> Any:
        context, source, tag = self._checked(source, tag, receives=True)
        if source == MPI.PROC_NULL:
            statuses.fill_null(status)
            return MESSAGE_NO_PROC
        waiting = _Probing(context, look, source, tag)
        deadline = deadline_of(timeout, call)
        done = True
        try:
            if tries:
                if not advance([waiting])[0]:
                    look_for_deaths([waiting])
            else:
                done = wait_for([waiting], 1, deadline)
        except ConnectionError as error:  # somebody died, or has not been there any more
            raise_failure(self._comm, error)
        if not done:
            raise TimeoutError(f"{call}: no message has come within {timeout} s")
        if waiting.result is not None and waiting.result.failure is not None:
            raise_failure(self._comm, waiting.result.failure)
        found = waiting.found
        if found is None:
            statuses.fill_empty(status)
            return None
        seen: Found = found if isinstance(found, Found) else found.found
        Result(seen.source, seen.tag, seen.nbytes).fill(status)
        return found

    def _message(self, taken: Any) -> Message:
        return Message(taken) if taken is MESSAGE_NO_PROC else Message.of(self._comm, taken)


def _whole(number: Any) -> int:
    if isinstance(number, float) and number.is_integer():
        return int(number)
    return operator.index(number)


def _warn_of(buf: Any, call: str) -> None:
    """As mpi4py warns."""
    if buf is not None:
        text = f"{call}(buf): an object is received whatever its size is, and buf is not used"
        warnings.warn(text, UserWarning, stacklevel=3)


class _Probing(Activity):
    """A probe that waits."""

    __slots__ = ("_gone", "_look", "_source", "_tag", "found")

    def __init__(
        self, context: Context, look: Callable[[Context, int, int], Any], source: int, tag: int
    ) -> None:
        super().__init__(context)
        self._look, self._source, self._tag = look, source, tag
        self.found: Any = None
        self._gone: BaseException | None = None

    def poll(self) -> bool:
        assert self.context is not None
        if self.result is not None:
            return True
        self.found = self._look(self.context, self._source, self._tag)
        if self.found is None and self._source_is_gone():
            # What it sent before may have come since that look.
            self.found = self._look(self.context, self._source, self._tag)
            if self.found is None:
                return self.end(Result(failure=self._gone))
        return self.found is not None and self.end(Result())

    def _source_is_gone(self) -> bool:
        """Will nothing come any more?"""
        assert self.context is not None
        if self._source == MPI.ANY_SOURCE or self.context.peers[self._source] is None:
            return False
        try:
            here().worker.health(matching.endpoint(self.context, self._source))
        except (ConnectionError, EOFError) as error:
            self._gone = error
        return self._gone is not None

    @property
    def asks_mpi(self) -> bool:
        assert self.context is not None
        return self.context.shadow is not None and elsewhere.may_meet(self.context, self._source)

    @property
    def mourns(self) -> Sequence[Process]:
        anybody = self._source == MPI.ANY_SOURCE and self.context is not None
        return list(self.context.ranks) if anybody and self.context else ()

    @property
    def probes(self) -> bool:
        return True


compiled.prepare(PointToPoint)
