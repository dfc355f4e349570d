# SPDX-License-Identifier: BSD-3-Clause
"""What requests refer to, and how a request comes to its end."""

from __future__ import annotations

import itertools
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from mpi4py import MPI

from . import statuses
from .activity import (
    Activity,
    Foreign,
    Receive,
    Result,
    Send,
    advance,
    look_for_deaths,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "DETACHED",
    "NULL",
    "Handle",
    "advance_or_fail",
    "finish",
    "handle_of",
    "handle_with",
    "keep_going",
    "let_go",
    "raise_failure",
    "settle",
    "wait_in_time",
    "withdraw",
]

_numbers = itertools.count(1)
_by_number: weakref.WeakValueDictionary[int, Handle] = weakref.WeakValueDictionary()
#: Messages whose requests were freed, or dropped, before they were over.
DETACHED: deque[Activity] = deque()
_LOOK = 8  # at how many of these each new request, or blocking call, looks whether they are over


class Handle:
    """What a request refers to. Several Python objects may share one, as they share MPI's."""

    __slots__ = ("__weakref__", "activity", "comm", "number", "raw", "start")

    def __init__(
        self,
        comm: MPI.Comm | None,
        activity: Activity | None = None,
        start: Callable[[], Activity] | None = None,
        raw: MPI.Request | None = None,
    ) -> None:
        self.comm = comm
        self.activity = activity  # None: there is none, or the request is inactive
        self.start = start  # of a persistent request
        self.raw = raw  # MPI's own request
        self.number = next(_numbers)
        _by_number[self.number] = self
        if DETACHED:
            let_go()

    @property
    def is_null(self) -> bool:
        """Is it MPI's REQUEST_NULL by now?"""
        return self.activity is None and self.start is None

    def __del__(self) -> None:
        if self.activity is not None and self.raw is None:
            keep_going(self.activity)


NULL = Handle(None)


def keep_going(activity: Activity) -> None:
    """Nobody will wait for it: it goes on all the same, with its memory.

    The garbage collector may call this at any point of a thread, so that this looks at nothing
    but a send's or a receive's own state.
    """
    if not (activity.result or (isinstance(activity, (Send, Receive)) and activity.poll())):
        DETACHED.append(activity)


def withdraw(activity: Activity) -> None:
    """Nobody will wait for it, and it should not happen if that is still possible."""
    activity.cancel()
    if not activity.poll():
        keep_going(activity)


def let_go() -> None:
    """Let go of some that are over. Never of all, which would take long if there are many."""
    for _ in range(min(_LOOK, len(DETACHED))):
        try:
            each = DETACHED.popleft()
        except IndexError:  # another thread is at it as well
            return
        over = False
        try:
            over = each.poll()
        finally:
            if not over:
                DETACHED.append(each)


def handle_of(request: object) -> Handle:
    """What a request refers to: adma's, MPI's, or None."""
    if request is None:
        return NULL
    handle = getattr(request, "_handle", None)
    if isinstance(handle, Handle):
        return handle
    if isinstance(request, MPI.Request):
        return Handle(None, Foreign(request), raw=request) if request else NULL
    raise TypeError(f"expected a Request, got {type(request).__name__}")


def handle_with(number: int) -> Handle:
    """The one with this number, or the null one."""
    return _by_number.get(number, NULL)


def advance_or_fail(comm: MPI.Comm | None, activities: Sequence[Activity]) -> list[bool]:
    """Go on with these without waiting. Which of them are over? Raises if somebody has died."""
    over = advance(activities)
    if not any(over):
        try:
            look_for_deaths(activities)
        except ConnectionError as error:
            raise_failure(comm, error)
    return over


def wait_in_time(
    comm: MPI.Comm | None, activities: Sequence[Activity], deadline: float | None
) -> None:
    """Wait for all of these. TimeoutError: they go on."""
    try:
        done = wait_for(activities, len(activities), deadline)
    except ConnectionError as error:
        statuses.fail(comm, statuses.translate(error), error, str(error))
    if not done:
        raise TimeoutError("the message is not complete; its request stays pending")


def finish(handle: Handle, status: MPI.Status | None) -> Any:
    """A request's message is over: the request is null, or inactive. Raises what went wrong."""
    result = settle(handle, status)
    if result.failure is not None:
        raise_failure(handle.comm, result.failure)
    return result.value


def settle(handle: Handle, status: MPI.Status | None) -> Result:
    """The same, and what went wrong is in the result."""
    activity, handle.activity = handle.activity, None
    assert activity is not None
    activity.consume()
    assert activity.result is not None
    activity.result.fill(status)
    return activity.result


def raise_failure(comm: MPI.Comm | None, failure: BaseException) -> NoReturn:
    """Raise what went wrong with a message, as the communicator's error handler says."""
    if isinstance(failure, (OSError, EOFError)):  # adma's own errors
        statuses.fail_from(comm, failure)
    raise failure
