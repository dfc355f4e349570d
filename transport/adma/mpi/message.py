# SPDX-License-Identifier: BSD-3-Clause
"""Messages that a matched probe took. See MPI-4.1, section 3.8.2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from mpi4py import MPI

from . import objects, spec, statuses
from .activity import Activity, ByMPI, Nothing, Receive
from .found import Taken
from .handles import finish, wait_in_time
from .processes import here
from .requests import Request

if TYPE_CHECKING:
    from .point_to_point import PointToPoint

__all__ = ["MESSAGE_NO_PROC", "MESSAGE_NULL", "Message"]

_NO_PROC = object()


class Message:
    """A message that is out of the queue: receive it."""

    __slots__ = ("_comm", "_taken")

    _taken: Taken | object | None
    _comm: MPI.Comm | None

    def __new__(cls, message: Message | None = None) -> Self:
        self = super().__new__(cls)
        if message is not None and not isinstance(message, Message):
            raise TypeError(f"expected a Message, got {type(message).__name__}")
        self._taken = None if message is None else message._taken
        self._comm = None if message is None else message._comm
        return self

    @classmethod
    def of(cls, comm: MPI.Comm | None, taken: Taken | object) -> Self:
        """A message that was taken from `comm`."""
        self = super().__new__(cls)
        self._comm, self._taken = comm, taken
        return self

    def __bool__(self) -> bool:
        return self._taken is not None

    def __eq__(self, other: object) -> bool:
        return self._taken is other._taken if isinstance(other, Message) else NotImplemented

    def __hash__(self) -> int:
        return hash(id(self._taken))

    def __reduce__(self) -> str | tuple[Any, ...]:
        for name, null in (("MESSAGE_NULL", MESSAGE_NULL), ("MESSAGE_NO_PROC", MESSAGE_NO_PROC)):
            if self is null:
                return name
            if self._taken is null._taken:
                return type(self), (null,)
        raise ValueError("cannot pickle a Message: it is a message of this process")

    # Probes

    @classmethod
    def Probe(
        cls,
        comm: PointToPoint,
        source: int = MPI.ANY_SOURCE,
        tag: int = MPI.ANY_TAG,
        status: MPI.Status | None = None,
    ) -> Message:
        """Wait for a message, and take it."""
        return comm.Mprobe(source, tag, status)

    @classmethod
    def Iprobe(
        cls,
        comm: PointToPoint,
        source: int = MPI.ANY_SOURCE,
        tag: int = MPI.ANY_TAG,
        status: MPI.Status | None = None,
    ) -> Message | None:
        """Take a message if there is one."""
        return comm.Improbe(source, tag, status)

    probe = Probe
    iprobe = Iprobe

    def free(self) -> None:
        """Do nothing, as with mpi4py: a message that was taken has to be received."""

    # Receives

    def Recv(self, buf: Any, status: MPI.Status | None = None) -> None:
        """Receive it into a buffer."""
        self._complete(self.Irecv(buf), status)

    def Irecv(self, buf: Any) -> Request:
        """Begin to receive it into a buffer."""
        taken = self._spend()
        if not isinstance(taken, Taken):
            return Request.of(None, Nothing(receives=True))
        memory = spec.to_receive(buf, self._comm)
        return Request.of(self._comm, _receive(taken, memory))

    def recv(self, status: MPI.Status | None = None) -> Any:
        """Receive the object."""
        return self._complete(self.irecv(), status)

    def irecv(self) -> Request:
        """Begin to receive the object."""
        taken = self._spend()
        if not isinstance(taken, Taken):
            return Request.of(None, Nothing(receives=True))
        return Request.of(self._comm, objects.receive_taken(taken))

    def _spend(self) -> Taken | object:
        taken = self._taken
        if taken is None:
            statuses.fail(self._comm, MPI.ERR_REQUEST, None, "MESSAGE_NULL cannot be received")
        if self is not MESSAGE_NO_PROC:
            self._taken = None
        return taken

    def _complete(self, request: Request, status: MPI.Status | None) -> Any:
        activity = request._handle.activity
        assert activity is not None
        wait_in_time(self._comm, [activity], None)
        return finish(request._handle, status)


def _receive(taken: Taken, memory: spec.Memory) -> Activity:
    if taken.by_mpi is not None:
        request = taken.by_mpi.Irecv([memory.view, MPI.BYTE])
        return ByMPI(taken.context, request, memory)
    assert taken.message is not None
    request = here().worker.receive_taken(taken.message, memory.view, consume=True)
    return Receive(taken.context, request, memory, anybody=False)


MESSAGE_NULL = Message()
MESSAGE_NO_PROC = Message.of(None, _NO_PROC)
