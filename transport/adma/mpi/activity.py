# SPDX-License-Identifier: BSD-3-Clause
"""Messages under way, whichever way they travel, and how to wait for any number of them.

An `Activity` is what a request contains. It makes progress when it is polled, and names the
requests of the worker that a waiting thread has to sleep on. What only MPI can tell, a waiting
thread asks MPI for at growing intervals.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from mpi4py import MPI

from .._core.calls import rank_requests_adopt, ranks_deaths
from .._core.waiting import ManyWaiter
from ..arguments import remaining
from ..errors import Cancelled, PeerDied
from ..messages.worker import ANY_SOURCE
from . import statuses
from .context import TAG_MASK
from .processes import LOOK, Process, here

if TYPE_CHECKING:
    from ..messages.worker import TagRequest
    from .context import Context
    from .spec import Memory

__all__ = [
    "STAGED",
    "Activity",
    "Both",
    "ByMPI",
    "Foreign",
    "Nothing",
    "Receive",
    "Result",
    "Send",
    "Sendable",
    "advance",
    "look_for_deaths",
    "wait_for",
]

_ASK_FIRST, _ASK_LAST = 20e-6, 1e-3  # seconds between two questions to MPI, growing


class Result:
    """What became of a message: for a status, and for the caller."""

    __slots__ = ("cancelled", "error", "failure", "nbytes", "source", "tag", "value")

    def __init__(
        self,
        source: int = MPI.ANY_SOURCE,
        tag: int = MPI.ANY_TAG,
        nbytes: int = 0,
        *,
        value: object = None,
        failure: BaseException | None = None,
        cancelled: bool = False,
    ) -> None:
        self.source = source
        self.tag = tag
        self.nbytes = nbytes
        self.value = value  # the object that was received
        self.failure = failure
        self.error = _class_of(failure)
        self.cancelled = cancelled

    def fill(self, status: MPI.Status | None) -> None:
        """Tell it to a status."""
        statuses.fill(status, self.source, self.tag, self.nbytes, self.error, self.cancelled)


def _class_of(failure: BaseException | None) -> int:
    if failure is None:
        return int(MPI.SUCCESS)
    if isinstance(failure, TimeoutError):  # of the program's, while an object was made
        return int(MPI.ERR_OTHER)
    return statuses.translate(failure)


class Sendable(Protocol):
    """What can be sent: bytes in one piece."""

    @property
    def view(self) -> memoryview:
        """They."""


class Activity:
    """A message under way."""

    __slots__ = ("context", "result")

    def __init__(self, context: Context | None) -> None:
        self.context = context
        self.result: Result | None = None  # once it is over

    def poll(self) -> bool:
        """Go on without waiting. True: it is over."""
        raise NotImplementedError

    def waited(self) -> Sequence[TagRequest]:
        """The worker's requests of which the next one that completes lets it go on."""
        return ()

    @property
    def asks_mpi(self) -> bool:
        """Is MPI to be asked again and again?"""
        return False

    @property
    def mourns(self) -> Sequence[Process]:
        """Processes of which any may send what this waits for, and so whose death it tells."""
        return ()

    @property
    def probes(self) -> bool:
        """Does it wait for a message that no receive was posted for?"""
        return False

    def cancel(self) -> None:
        """Withdraw it if that is still possible. It has to be waited for in any case."""

    def consume(self) -> None:
        """The program is told of the result now."""

    def end(self, result: Result) -> bool:
        """It is over."""
        self.result = result
        return True


class Nothing(Activity):
    """A message to or from nobody: it is over at once."""

    __slots__ = ()

    def __init__(self, *, receives: bool) -> None:
        super().__init__(None)
        self.result = Result(MPI.PROC_NULL, MPI.ANY_TAG) if receives else Result()

    def poll(self) -> bool:
        return True


class Send(Activity):
    """A message that the worker sends. `keep` lives until it is over."""

    __slots__ = ("keep", "requests")

    def __init__(self, context: Context, requests: list[TagRequest], keep: object) -> None:
        super().__init__(context)
        self.requests = requests
        self.keep = keep

    def poll(self) -> bool:
        if self.result is not None:
            return True
        if not all(request.done for request in self.requests):
            return False
        failed: BaseException | None = None
        cancelled = False
        for request in self.requests:
            try:
                request.result()
            except Cancelled:
                cancelled = True
            except Exception as error:
                failed = failed or error
        self.keep = None
        return self.end(Result(failure=failed, cancelled=cancelled))

    def waited(self) -> Sequence[TagRequest]:
        return [request for request in self.requests if not request.done]

    def cancel(self) -> None:
        if self.result is None and self.requests[0].cancel():
            for part in self.requests[1:]:
                part.cancel()


class Receive(Activity):
    """A message that the worker receives into memory of the caller's."""

    __slots__ = ("_anybody", "memory", "request")

    def __init__(
        self, context: Context, request: TagRequest, memory: Memory, *, anybody: bool
    ) -> None:
        super().__init__(context)
        self.request = request
        self.memory = memory
        self._anybody = anybody

    def poll(self) -> bool:
        return self.result is not None or (self.request.done and self._finish())

    def _finish(self) -> bool:
        request = self.request
        failed: BaseException | None = None
        nbytes = 0
        try:
            nbytes = request.result()
            self.memory.finish(nbytes)
        except Cancelled:
            return self.end(Result(cancelled=True))
        except Exception as error:
            failed = error
        assert self.context is not None
        source, tag = name_of(self.context, request)
        return self.end(Result(source, tag, nbytes, failure=failed))

    def waited(self) -> Sequence[TagRequest]:
        return (self.request,)

    @property
    def mourns(self) -> Sequence[Process]:
        return list(self.context.ranks) if self._anybody and self.context else ()

    def cancel(self) -> None:
        if self.result is None:
            self.request.cancel()


def name_of(context: Context, request: TagRequest) -> tuple[int, int]:
    """The rank and MPI's tag of what a request received."""
    if request.source == ANY_SOURCE:
        return MPI.ANY_SOURCE, MPI.ANY_TAG
    return context.ranks[here().process_at(request.source)], request.tag & TAG_MASK


class ByMPI(Activity):
    """A message that MPI carries. `keep` lives until it is over."""

    __slots__ = ("_keep", "_memory", "_request", "_value_of")

    def __init__(
        self,
        context: Context | None,
        request: MPI.Request,
        memory: Memory | None = None,
        value_of: Callable[[], object] | None = None,
        keep: object = None,
    ) -> None:
        """`memory`: where it is received. `value_of`: makes the object, once that is there."""
        super().__init__(context)
        self._request = request
        self._memory = memory
        self._value_of = value_of
        self._keep = keep

    def poll(self) -> bool:
        if self.result is not None:
            return True
        status = MPI.Status()
        try:
            done, value = self._request.test(status)
        except Exception as error:
            return self.end(Result(failure=error))
        if not done:
            return False
        return self.end(self._result(status, value))

    def _result(self, status: MPI.Status, value: object) -> Result:
        nbytes, cancelled = status.Get_elements(MPI.BYTE), status.Is_cancelled()
        failed: Exception | None = None
        try:
            if not cancelled and self._memory is not None:
                self._memory.finish(nbytes)
            if not cancelled and self._value_of is not None:
                value = self._value_of()
        except Exception as error:
            failed = error
        self._keep = None
        return Result(
            status.source, status.tag, nbytes, value=value, failure=failed, cancelled=cancelled
        )

    @property
    def asks_mpi(self) -> bool:
        return self.result is None

    def cancel(self) -> None:
        if self.result is None:
            self._request.Cancel()


class Foreign(Activity):
    """A request that the program has from MPI. It stays what it is until its result is told."""

    __slots__ = ("_request",)

    def __init__(self, request: MPI.Request) -> None:
        super().__init__(None)
        self._request = request

    def poll(self) -> bool:
        status = MPI.Status()
        try:
            if self.result is None and self._request.Get_status(status):
                self.result = _told(status)
        except MPI.Exception as error:
            self.result = Result(failure=error)
        return self.result is not None

    def consume(self) -> None:
        status = MPI.Status()
        try:
            value = self._request.wait(status)
        except Exception as error:
            self.result = Result(failure=error)
            return
        self.result = _told(status)
        self.result.value = value

    @property
    def asks_mpi(self) -> bool:
        return self.result is None

    def cancel(self) -> None:
        self._request.Cancel()


def _told(status: MPI.Status) -> Result:
    nbytes = status.Get_elements(MPI.BYTE)
    return Result(status.source, status.tag, nbytes, cancelled=status.Is_cancelled())


class Both(Activity):
    """A send and a receive. The result is the receive's, unless the send did not happen."""

    __slots__ = ("_receive", "_send")

    def __init__(self, send: Activity, receive: Activity) -> None:
        super().__init__(receive.context or send.context)
        self._send = send
        self._receive = receive

    def poll(self) -> bool:
        sent, received = self._send.poll(), self._receive.poll()
        if self.result is None and sent and received:
            of_send = self._send.result
            failed = of_send is not None and (of_send.failure is not None or of_send.cancelled)
            self.result = of_send if failed else self._receive.result
        return self.result is not None

    def waited(self) -> Sequence[TagRequest]:
        return [
            request
            for part in (self._send, self._receive)
            if part.result is None
            for request in part.waited()
        ]

    @property
    def asks_mpi(self) -> bool:
        return self._send.asks_mpi or self._receive.asks_mpi

    @property
    def mourns(self) -> Sequence[Process]:
        return () if self._receive.result is not None else self._receive.mourns

    def cancel(self) -> None:
        self._send.cancel()
        self._receive.cancel()


# Waiting


#: Messages that have more than one stage: each call that waits or tests goes on with all of them.
STAGED: set[Activity] = set()


def advance(activities: Sequence[Activity]) -> list[bool]:
    """Go on with these without waiting. Which of them are over?"""
    over = [each.poll() for each in activities]
    if not all(over):
        here().worker.progress()
        _go_on_with_staged()
        over = [done or each.poll() for done, each in zip(over, activities, strict=True)]
    return over


def _go_on_with_staged() -> None:
    rank_requests_adopt()
    for each in list(STAGED):  # which leave it when they are over
        each.poll()


def wait_for(activities: Sequence[Activity], need: int, deadline: float | None) -> bool:
    """Wait until `need` of these are over. False: the deadline passed before.

    PeerDied: a process ended that one of them might have heard from, if they wait for anybody.
    """
    pause = _ASK_FIRST
    while True:
        _go_on_with_staged()
        open_ones = [each for each in activities if not each.poll()]
        missing = need - (len(activities) - len(open_ones))
        if missing <= 0:
            return True
        left = remaining(deadline)
        if left == 0:
            return False
        if any(each.asks_mpi for each in open_ones):
            _sleep(open_ones, missing, pause if left is None else min(pause, left))
            pause = min(2 * pause, _ASK_LAST)
        elif any(each.probes for each in open_ones):
            _sleep(open_ones, missing, left)
            # What woke us may be a message for somebody else, which stays where it is.
            time.sleep(pause - _ASK_FIRST)
            pause = min(2 * pause, _ASK_LAST)
        else:
            _sleep(open_ones, missing, left)


def _sleep(activities: Sequence[Activity], missing: int, timeout: float | None) -> None:
    """Sleep until one of the activities can go on, for `timeout` seconds at most."""
    me = here()
    requests = [request for each in activities for request in each.waited()]
    several = len(requests) == len(activities)
    if any(not (each.probes or each.waited()) for each in activities):
        # Another thread is at it, or MPI has it: nothing wakes us when that changes.
        timeout = _ASK_LAST if timeout is None else min(timeout, _ASK_LAST)
    for each in STAGED.difference(activities):
        requests.extend(each.waited())
        several = False
    mourned = [process for each in activities for process in each.mourns]
    probes = any(each.probes for each in activities)
    also = -1
    if mourned:
        noted = ranks_deaths()
        also = me.watch(mourned)  # before the look: one that ended before this tells nobody later
        _tell_deaths(activities)
        if me.unseen:
            timeout = LOOK if timeout is None else min(timeout, LOOK)
        else:
            _leave_to_compiled(activities, also, noted)
    if mourned or probes:
        _sleep_once(requests, also, timeout)
    elif requests:
        me.worker.wait(requests, timeout, min(missing, len(requests)) if several else 1)
    else:
        time.sleep(timeout or _ASK_LAST)


def _leave_to_compiled(activities: Sequence[Activity], obituary: int, noted: int) -> None:
    """From now on compiled calls wait for anybody themselves: the descriptor tells them of deaths.

    `noted`: so many were, before the program was told of those in these communicators.
    """
    for each in activities:
        if each.context is not None and each.mourns:
            each.context.compiled.watch(obituary, noted)


def _sleep_once(requests: Sequence[TagRequest], also: int, timeout: float | None) -> None:
    """Sleep until a request is done, or a message comes if there are none.

    Or until the descriptor `also` is readable, if it is not negative.
    """
    me = here()
    waiter = ManyWaiter(
        (),
        [request.operation.req for request in requests],
        min(1, len(requests)),
        also=also,
        workers=[me.worker.handle],
    )
    try:
        waiter.step(None if timeout is None else time.monotonic() + timeout, spins=True)
    finally:
        waiter.give_up()


def look_for_deaths(activities: Sequence[Activity]) -> None:
    """Raise that one has ended of whom these wait for anybody, for calls that never wait.

    A program may make such a call again and again, so this looks once a millisecond for each
    communicator.
    """
    now = time.monotonic()
    due = []
    for each in activities:
        context = each.context
        if context is not None and now - context.looked >= _ASK_LAST and each.mourns:
            due.append(each)
    for each in due:
        assert each.context is not None
        each.context.looked = now
    if due:
        here().watch([process for each in due for process in each.mourns])
        _tell_deaths(due)


def _tell_deaths(activities: Sequence[Activity]) -> None:
    """Raise that a process has ended, once for each communicator that it was in."""
    dead = here().dead()
    for each in activities:
        if each.context is None or not each.mourns:
            continue
        for process in dead:
            if process in each.context.ranks and process not in each.context.mourned:
                each.context.mourned.add(process)
                rank = each.context.ranks[process]
                raise PeerDied(
                    f"rank {rank} (process {process.pid}) ended while others wait for it"
                )
