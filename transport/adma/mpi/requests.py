# SPDX-License-Identifier: BSD-3-Clause
"""Requests, as mpi4py has them: they contain a message under way, adma's or MPI's.

They do not derive from MPI's classes: MPI takes an object of these that it did not make for one
that is complete, and would return from a wait at once. So every operation on sets of requests
is here as well, and takes those of both kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, NoReturn, Self, cast

from mpi4py import MPI

from .._core.calls import rank_request_type_on
from ..arguments import deadline_of
from ..request import Awaited, Watched, suspend
from . import statuses
from .activity import Activity, advance
from .handles import (
    NULL,
    Handle,
    advance_or_fail,
    finish,
    handle_of,
    handle_with,
    keep_going,
    wait_in_time,
)
from .processes import here
from .request_sets import RequestSets

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["REQUEST_NULL", "Grequest", "Prequest", "Request"]


class _Progress:
    """What makes progress on all requests of this process, for an event loop.

    A message may have several stages, or be MPI's, and so the loop looks at it now and then.
    """

    timed = True

    def event_fd(self) -> int:
        return here().worker.event_fd()

    def advance(self, requests: Iterable[Request]) -> bool:
        activities = [each._handle.activity for each in requests]
        advance([each for each in activities if each is not None])
        return False


_PROGRESS = _Progress()


class RequestCalls(RequestSets):
    """A message under way: wait for it, test it, cancel it. See MPI-4.1, section 3.7."""

    __slots__ = ()

    if TYPE_CHECKING:  # the compiled class has it

        @property
        def _handle(self) -> Handle: ...
        @_handle.setter
        def _handle(self, handle: Handle) -> None: ...

    @classmethod
    def of(cls, comm: MPI.Comm | None, activity: Activity) -> Self:
        """A request for a message that was posted on `comm`."""
        self = cls()
        self._handle = Handle(comm, activity)
        return self

    def __bool__(self) -> bool:
        return not self._handle.is_null

    def __eq__(self, other: object) -> bool:
        if isinstance(other, MPI.Request):
            return (not self and not other) or (
                self._handle.raw is not None and self._handle.raw == other
            )
        if not isinstance(other, Request):
            return NotImplemented
        return self._handle is other._handle or (not self and not other)

    def __hash__(self) -> int:
        return hash(self._handle.number)

    def __repr__(self) -> str:
        state = "null" if not self else "active" if self._handle.activity else "inactive"
        return f"<adma.MPI.{type(self).__name__}, {state}>"

    def __reduce__(self) -> str | tuple[Any, ...]:
        if self:
            raise ValueError(f"cannot pickle {self!r}: it is a message of this process")
        return "REQUEST_NULL" if self is REQUEST_NULL else (type(self), ())

    # Numbers, in place of MPI's handles

    @property
    def handle(self) -> int:
        """A number that stands for the request in this process. MPI does not know it."""
        return self._handle.number

    @classmethod
    def fromhandle(cls, handle: int) -> Self:
        """The request with this number."""
        self = cls()
        self._handle = handle_with(handle)
        return self

    def toint(self) -> int:
        """-1: MPI has no handle for it."""
        return -1

    py2f = toint

    @classmethod
    def fromint(cls, handle: int, /) -> NoReturn:
        """NotImplementedError: MPI has no handles for these requests."""
        raise NotImplementedError(f"request {handle}: MPI does not know adma's requests")

    f2py = fromint

    # In a task of asyncio

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait for it in a task; returns the object that was received, or None. See `Wait`.

        Cancelling the task cancels the request, unless other tasks await it, too. If that is too
        late, the request stays as it is.
        """
        # Its `cancel` returns nothing, as mpi4py's does; nobody asks that here.
        awaited = cast("Awaited", self)
        while not self._done:
            yield from suspend(awaited)
        return self.wait()

    @property
    def _done(self) -> bool:
        activity = self._handle.activity
        return activity is None or activity.poll()

    def _watched(self) -> Watched:
        return _PROGRESS

    def _notify(self) -> bool:
        return False

    # One request

    def Wait(self, status: MPI.Status | None = None, *, timeout: float | None = None) -> bool:
        """Wait until it is complete; returns True. Adma's own: `timeout`, in seconds.

        TimeoutError: it goes on. MPI.Exception: it failed.
        """
        self._wait(status, timeout, "Wait")
        return True

    def wait(self, status: MPI.Status | None = None, *, timeout: float | None = None) -> Any:
        """Wait until it is complete; returns the object that was received, or None. See `Wait`."""
        return self._wait(status, timeout, "wait")

    def Test(self, status: MPI.Status | None = None) -> bool:
        """Is it complete?"""
        return self._test(status)[0]

    def test(self, status: MPI.Status | None = None) -> tuple[bool, Any]:
        """Is it complete? And the object that was received, or None."""
        return self._test(status)

    def Get_status(self, status: MPI.Status | None = None) -> bool:
        """Is it complete? It stays what it is, unlike after `Test`."""
        activity = self._handle.activity
        if activity is None:
            statuses.fill_empty(status)
            return True
        if not advance_or_fail(self._handle.comm, [activity])[0]:
            return False
        assert activity.result is not None
        activity.result.fill(status)
        return True

    def get_status(self, status: MPI.Status | None = None) -> bool:
        """See `Get_status`."""
        return self.Get_status(status)

    def Cancel(self) -> None:
        """Withdraw it, if that is still possible: the status tells. It has to be waited for."""
        if self._handle.activity is not None:
            self._handle.activity.cancel()

    def cancel(self) -> None:
        """See `Cancel`."""
        self.Cancel()

    def Free(self) -> None:
        """Let go of it. What was posted happens all the same."""
        handle, self._handle = self._handle, NULL
        if handle.raw is not None:
            handle.activity = None
            handle.raw.Free()
            return
        free = getattr(handle.start, "free", None)
        if free is not None:
            free()
        handle.start = None
        activity, handle.activity = handle.activity, None
        if activity is not None:
            keep_going(activity)

    def free(self) -> None:
        """See `Free`."""
        self.Free()

    def _wait(self, status: MPI.Status | None, timeout: float | None, call: str) -> Any:
        activity = self._handle.activity
        if activity is None:
            statuses.fill_empty(status)
            return None
        wait_in_time(self._handle.comm, [activity], deadline_of(timeout, call))
        return finish(self._handle, status)

    def _test(self, status: MPI.Status | None) -> tuple[bool, Any]:
        activity = self._handle.activity
        if activity is None:
            statuses.fill_empty(status)
            return True, None
        if not advance_or_fail(self._handle.comm, [activity])[0]:
            return False, None
        return True, finish(self._handle, status)


if TYPE_CHECKING:

    class Request(RequestCalls):
        """A message under way."""

        __slots__ = ()

        def __new__(cls, request: object = None) -> Self: ...

else:
    #: The class of requests. Its waits and tests are compiled, before those of its base.
    Request = rank_request_type_on(RequestCalls)


def _check_kind(request: object, kinds: tuple[type, ...], wanted: str) -> None:
    if request is not None and not handle_of(request).is_null and not isinstance(request, kinds):
        raise TypeError(f"expecting {wanted}, got {type(request).__name__}")


class Prequest(Request):
    """A request that can be started again and again. See MPI-4.1, section 3.9."""

    __slots__ = ()

    def __new__(cls, request: object = None) -> Self:
        _check_kind(request, (Prequest, MPI.Prequest), "a persistent request")
        return super().__new__(cls, request)

    @classmethod
    def of_start(cls, comm: MPI.Comm, start: Callable[[], Activity]) -> Self:
        """An inactive request; `start` posts its message."""
        self = cls()
        self._handle = Handle(comm, None, start)
        return self

    def Start(self) -> None:
        """Post its message. MPI.Exception: it is active, or was freed."""
        handle = self._handle
        if handle.start is None or handle.activity is not None:
            text = "it is active: wait for it first" if handle.activity else "it was freed"
            statuses.fail(handle.comm, MPI.ERR_REQUEST, None, text)
        handle.activity = handle.start()

    @classmethod
    def Startall(cls, requests: Sequence[Any]) -> None:
        """Start several, which may be MPI's as well."""
        for request in requests:
            request.Start()

    # Partitions

    def Pready(self, partition: int) -> None:
        """A partition may be sent."""
        self._partitioned().ready(partition)

    def Pready_range(self, partition_low: int, partition_high: int) -> None:
        """These partitions, both ends included, may be sent."""
        for partition in range(partition_low, partition_high + 1):
            self.Pready(partition)

    def Pready_list(self, partitions: Sequence[int]) -> None:
        """These partitions may be sent."""
        for partition in partitions:
            self.Pready(partition)

    def Parrived(self, partition: int) -> bool:
        """Is this partition here?"""
        return bool(self._partitioned().arrived(partition))

    def _partitioned(self) -> Any:
        activity = self._handle.activity
        start: Any = self._handle.start
        if not hasattr(start, "partitions"):
            statuses.fail(self._handle.comm, MPI.ERR_REQUEST, None, "it has no partitions")
        return start.inactive if activity is None else activity


class Grequest(Request):
    """A generalized request: MPI's own, in a request of ours. See MPI-4.1, section 13.2."""

    __slots__ = ()

    def __new__(cls, request: object = None) -> Self:
        _check_kind(request, (Grequest, MPI.Grequest), "a generalized request")
        return super().__new__(cls, request)

    @classmethod
    def Start(
        cls,
        query_fn: Any = None,
        free_fn: Any = None,
        cancel_fn: Any = None,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> Self:
        """Begin one; see mpi4py."""
        return cls(MPI.Grequest.Start(query_fn, free_fn, cancel_fn, args, kwargs))

    def Complete(self) -> None:
        """It is complete."""
        raw: Any = self._handle.raw
        raw.Complete()

    def complete(self, obj: Any = None) -> None:
        """It is complete, with this object; see mpi4py."""
        raw: Any = self._handle.raw
        raw.complete(obj)


REQUEST_NULL = Request()
