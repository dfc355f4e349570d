# SPDX-License-Identifier: BSD-3-Clause
"""What the compiled calls of communicators leave to Python.

They post on the worker, and end here where they cannot end there: a receive from anybody that has
to wait, what has failed, a request of which more is asked than to wait for it. What they have
posted is an `Operation`, which becomes a message under way as all others are.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, Final, NoReturn

from mpi4py import MPI

from .._core.calls import rank_pickle_by, ranks_prepare, specification_types
from ..messages.worker import TagRequest, WholeReceive
from . import handles, objects, spec, statuses
from .activity import STAGED, Activity, Both, Receive, Send
from .context import Context
from .processes import here

if TYPE_CHECKING:
    from .._core.operation import Operation

__all__ = ["prepare"]

_SEND, _RECEIVE = 0, 1  # what an operation is for; see binding/tagged.h

#: Memory of a receive that needs nothing once the bytes are there.
_PLAIN: Final = spec.to_receive(bytearray(1), None)


class _Rest:
    """The functions that the compiled calls call."""

    @staticmethod
    def finish(
        comm: Any, operation: Operation, what: int, anybody: bool, status: Any, call: str
    ) -> Any:
        """Wait for it, tell the status; returns the object that was received."""
        return comm._finish(_activity(comm, operation, what, anybody), status, None, call)

    @staticmethod
    def finish_both(
        comm: Any, send: Operation, receive: Operation, anybody: bool, status: Any, call: str
    ) -> None:
        """The same for a send and a receive."""
        both = Both(
            _activity(comm, send, _SEND, False), _activity(comm, receive, _RECEIVE, anybody)
        )
        comm._finish(both, status, None, call)

    @staticmethod
    def send_beside(
        comm: Any,
        operation: Operation,
        anybody: bool,
        buf: Any,
        dest: int,
        tag: int | None,
        status: Any,
        call: str,
    ) -> None:
        """Send, beside a receive that is posted, and wait for both."""
        receive = _activity(comm, operation, _RECEIVE, anybody)
        try:
            both = Both(comm._send(buf, dest, tag or 0), receive)
        except BaseException:
            handles.withdraw(receive)
            raise
        comm._finish(both, status, None, call)

    @staticmethod
    def send_parts(
        comm: Any,
        data: bytes,
        parts: list[memoryview] | None,
        dest: int,
        tag: int | None,
        call: str,
    ) -> Any:
        """Send an object that was pickled, `send` or `isend`."""
        activity = comm._send_pickle(data, parts or [], dest, tag or 0)
        if call == "isend":
            return comm._request(activity)
        return comm._finish(activity, None, None, call)

    @staticmethod
    def keep(comm: Any, operation: Operation) -> None:
        """Nobody gets the object whose message it took: it is received all the same."""
        handles.keep_going(_activity(comm, operation, -1, False))

    @staticmethod
    def fail(comm: Any, error: BaseException) -> NoReturn:
        """An object could not be made."""
        handles.raise_failure(comm, error)

    @staticmethod
    def tell(status: Any, source: int, tag: int, nbytes: int) -> None:
        """Tell a status of a message."""
        statuses.fill(status, source, tag, nbytes)

    @staticmethod
    def handle_of(
        comm: Any, operation: Operation | None, what: int, anybody: bool
    ) -> handles.Handle:
        """What a request refers to, for all that is not compiled."""
        if operation is None:
            return handles.NULL
        return handles.Handle(comm, _activity(comm, operation, what, anybody))

    @staticmethod
    def handle_in(request: object) -> handles.Handle:
        """What another request refers to."""
        return handles.handle_of(request)


def _activity(comm: Any, operation: Operation, what: int, anybody: bool) -> Activity:
    context: Context = comm.__dict__["_found"]
    worker = here().worker
    if what == _SEND:
        return Send(context, [TagRequest(worker, operation)], None)
    if what == _RECEIVE:
        return Receive(context, TagRequest(worker, operation), _PLAIN, anybody=anybody)
    return objects.Arrival(context, WholeReceive(worker, operation), anybody=anybody)


def prepare(slow: type) -> None:
    """Tell the compiled calls what they need to know. `slow`: the calls of communicators here."""
    ranks_prepare(_Rest, STAGED, handles.DETACHED, slow, MPI.ANY_SOURCE, MPI.ANY_TAG)
    rank_pickle_by(MPI.pickle, pickle.dumps, pickle.loads)
    specification_types(spec.SIZES)
