# SPDX-License-Identifier: BSD-3-Clause
"""Objects: pickled, with large buffers out of band, and received whatever their size is.

An object without large buffers is one message, its pickle, as mpi4py sends it. Otherwise a head
carries the pickle and the sizes of the buffers, and each buffer follows as a message of its own,
which the receiver takes straight into its final memory.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from mpi4py import MPI

from ..errors import Cancelled
from . import elsewhere, matching, pickles
from .activity import STAGED, Activity, ByMPI, Nothing, Result, name_of
from .context import Context
from .found import Found, Taken
from .processes import here

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..messages.worker import TagRequest, WholeReceive
    from .processes import Process

__all__ = ["receive", "receive_taken", "send"]

_SERIAL = 4  # bytes in front of a head


class Bytes:
    """Bytes of our own, to be sent."""

    __slots__ = ("view",)

    def __init__(self, data: bytes | bytearray) -> None:
        self.view = memoryview(data)


def send(
    context: Context, obj: object, dest: int, tag: int, *, synchronous: bool = False
) -> Activity:
    """Send an object."""
    if dest == MPI.PROC_NULL:
        return Nothing(receives=False)
    if context.peers[dest] is None:
        return matching.send(
            context, Bytes(MPI.pickle.dumps(obj)), dest, tag, synchronous=synchronous
        )
    data, parts = pickles.dump(obj)
    if parts:
        head = pickles.head(data, parts)
        return matching.send_object(context, head, parts, dest, tag, synchronous=synchronous)
    return matching.send(context, Bytes(data), dest, tag, synchronous=synchronous)


def receive(context: Context, source: int, tag: int) -> Activity:
    """Receive an object of any size."""
    if source == MPI.PROC_NULL:
        return Nothing(receives=True)
    if context.shadow is None or not elsewhere.may_meet(context, source):
        return _post(context, source, tag)
    return elsewhere.receive_by(
        context,
        source,
        tag,
        lambda: _post(context, source, tag),
        lambda found, message: _by_mpi(context, found, message),
    )


def receive_taken(taken: Taken) -> Activity:
    """Receive the object of a message that was taken."""
    if taken.by_mpi is not None:
        return _by_mpi(taken.context, taken.found, taken.by_mpi)
    return Arrival(taken.context, None, taken, anybody=False)


def _post(context: Context, source: int, tag: int) -> Arrival:
    number, wire, mask = matching.criteria(context, source, tag)
    request = here().worker.receive_whole(number, wire, mask=mask)
    return Arrival(context, request, anybody=source == MPI.ANY_SOURCE)


def _by_mpi(context: Context, found: Found, message: MPI.Message) -> Activity:
    data = bytearray(found.nbytes)
    request = message.Irecv([data, MPI.BYTE])
    return ByMPI(context, request, value_of=lambda: pickles.load(data, []), keep=data)


class Arrival(Activity):
    """An object on its way: its message is taken, then received, and then its parts are.

    Every thread that waits goes on with all of these, and so may the garbage collector in the
    middle of that. One at a time does; the others find it busy, and it is not over for them.
    """

    __slots__ = (
        "_anybody",
        "_busy",
        "_data",
        "_lock",
        "_parts",
        "_pickle",
        "_request",
        "_taken",
        "_whole",
    )

    def __init__(
        self,
        context: Context,
        whole: WholeReceive | None,
        taken: Taken | None = None,
        *,
        anybody: bool,
    ) -> None:
        super().__init__(context)
        self._whole = whole  # takes the message
        self._taken: Taken | None = None
        self._request: TagRequest | None = None  # receives it
        self._data = bytearray()
        self._pickle: memoryview | bytearray = self._data
        self._parts: list[tuple[TagRequest, memoryview]] = []
        self._anybody = anybody
        self._lock = threading.RLock()  # not held while the object is made, which may take long
        self._busy = False
        if taken is not None:
            self._begin(taken)
        STAGED.add(self)  # from now on other threads go on with it

    def _begin(self, taken: Taken) -> None:
        """The message is taken: receive it."""
        assert taken.message is not None
        self._taken = taken
        self._data = self._pickle = bytearray(taken.found.nbytes)
        self._request = here().worker.receive_taken(taken.message, self._data)

    def poll(self) -> bool:
        if self.result is None:
            with self._lock:
                if self._busy:
                    return self.result is not None
                self._busy = True
                try:
                    complete = self.result is None and self._ends(self._go_on)
                except BaseException:
                    self._busy = False
                    raise
                if not complete or self.result is not None:
                    self._busy = False
            if complete and self.result is None:
                try:
                    self._ends(self._make)
                finally:
                    self._busy = False
        if self.result is None:
            return False
        STAGED.discard(self)
        return True

    def _ends(self, go_on: Callable[[], bool]) -> bool:
        try:
            return go_on()
        except Cancelled:
            return self.end(Result(cancelled=True))
        except Exception as error:
            return self.end(self._result(failure=error))

    def _go_on(self) -> bool:
        """Is all of it there?"""
        assert self.context is not None
        if self._taken is None:
            assert self._whole is not None
            if not self._whole.done:
                return False
            self._begin(Taken.of_worker(self.context, self._whole.message()))
        if self._request is not None:
            if not self._request.done:
                return False
            self._request.result()
            self._request = None
            self._expect_parts()
        if not all(request.done for request, _ in self._parts):
            return False
        for request, _ in self._parts:
            request.result()
        return True

    def _make(self) -> bool:
        """Make the object."""
        value = pickles.load(self._pickle, [part for _, part in self._parts])
        return self.end(self._result(value=value))

    def _expect_parts(self) -> None:
        assert self._taken is not None
        if not self._taken.has_parts:
            return
        serial = int.from_bytes(self._data[:_SERIAL], "little")
        sizes, self._pickle = pickles.parse(memoryview(self._data)[_SERIAL:])
        context = self._taken.context
        number = matching.endpoint(context, self._taken.found.source)
        for index, part in enumerate(pickles.allocate(sizes)):
            request = matching.post_part(context, number, serial + index, part)
            self._parts.append((request, part))

    def _result(self, *, value: object = None, failure: Exception | None = None) -> Result:
        if self._taken is not None:
            source, tag, nbytes = self._taken.found
            nbytes += sum(part.nbytes for _, part in self._parts)
            return Result(source, tag, nbytes, value=value, failure=failure)
        assert self._whole is not None
        assert self.context is not None
        return Result(*name_of(self.context, self._whole), failure=failure)

    def waited(self) -> Sequence[TagRequest]:
        if self._taken is None:
            return () if self._whole is None else (self._whole,)
        if self._request is not None:
            return (self._request,)
        return [request for request, _ in self._parts if not request.done]

    @property
    def mourns(self) -> Sequence[Process]:
        waits = self._anybody and self._taken is None and self.context is not None
        return list(self.context.ranks) if waits and self.context else ()

    def cancel(self) -> None:
        if self._taken is None and self._whole is not None:
            self._whole.cancel()
