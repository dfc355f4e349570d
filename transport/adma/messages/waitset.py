# SPDX-License-Identifier: BSD-3-Clause
"""Waiting for several requests at once, be they copies or messages."""

from __future__ import annotations

import select
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from typing import Any, Final, overload

from .._core.calls import wait_for_all, wait_for_some
from .._core.copies import Copies, Signal
from .._core.holds import any_finished, let_go_finished
from .._core.operation import Operation
from .._core.waiting import ManyWaiter
from ..arguments import FOREVER, deadline_of, remaining
from ..copying.copies import CopyRequest, judged, wait_copies
from ..copying.engine import queues_running
from ..request import Request
from .arrival import ReceiveRequest
from .channel_request import ChannelRequest

__all__ = [
    "LOOK",
    "is_done",
    "pending",
    "test_all",
    "test_any",
    "unmet_of",
    "wait_all",
    "wait_any",
    "wait_for_one",
    "wait_some",
    "waiter_of",
]


LOOK: Final = 0.01  # seconds between two looks at requests, beside what is no channel yet


@overload
def wait_all(reqs: Iterable[ReceiveRequest], timeout: float | None = None) -> list[Any]: ...
@overload
def wait_all(reqs: Iterable[Request], timeout: float | None = None) -> list[int]: ...
def wait_all(reqs: Iterable[Request], timeout: float | None = None) -> list[Any]:
    """Wait until all requests are done; returns what their `wait` returns, in their order.

    That is the bytes of each, and the object where `irecv` made the request. They may be copies,
    and messages on different channels. When some failed, the error of the first of these is
    raised once all are done. TimeoutError: some are still pending, and own their buffers.
    (Paper, tables 1 and 2.)
    """
    deadline = deadline_of(timeout, "wait_all")
    results = wait_for_all(reqs, deadline)
    return _wait_all(reqs, deadline) if results is None else results


def _wait_all(reqs: Iterable[Request], deadline: float | None) -> list[int]:
    requests = _checked(reqs, "wait_all")
    copies, messages = pending(requests)
    # Copies first: no other process has to do anything for them.
    if not wait_copies(copies, len(copies), deadline) or not _wait_messages(messages, deadline):
        left = sum(not request._done for request in requests)
        raise TimeoutError(f"{left} of {len(requests)} requests are still pending")
    for request in requests:
        request._seen()  # also those after one that failed
    try:
        return [request.wait() for request in requests]
    except BaseException:
        for request in requests:
            is_done(request)  # those behind the one that failed hold nothing either
        raise


def wait_any(reqs: Iterable[Request], timeout: float | None = None) -> int:
    """Wait until one request is done; returns its index, the lowest if several are done.

    Whether it failed is told by its own `check` or `wait`. ValueError: there are no requests.
    TimeoutError: all are still pending.
    """
    return _some(reqs, timeout, "wait_any")[0]


def wait_some(reqs: Iterable[Request], timeout: float | None = None) -> list[int]:
    """Wait until one request or more are done; returns the indices of all that are.

    Whether they failed is told by their own `check` or `wait`. ValueError: there are no
    requests. TimeoutError: all are still pending.
    """
    return _some(reqs, timeout, "wait_some")


def test_any(reqs: Iterable[Request]) -> int | None:
    """The index of a request that is done, the lowest of several; None: all are pending.

    It makes progress, and never waits. Whether the request failed is told by its own `check` or
    `wait`. ValueError: there are no requests.
    """
    done = _some_now(reqs, "test_any")
    return done[0] if done else None


def test_all(reqs: Iterable[Request]) -> bool:
    """Are all requests done? Also True where there are none.

    It makes progress, and never waits. Whether they failed is told by `wait_all`, or by their
    own `check` and `wait`.
    """
    requests = _checked(reqs, "test_all")
    return not requests or len(_some_now(requests, "test_all")) == len(requests)


def _some_now(reqs: Iterable[Request], call: str) -> list[int]:
    """The indices of those that are done, after one look that makes progress on all."""
    requests = _checked(reqs, call)
    _, messages = pending(requests)
    met = [request for request in messages if request._unmet is None]
    if met:
        waiter_of(met, 0).drive(0)
    try:
        return _some(requests, 0, call)
    except TimeoutError:
        return []


def _some(reqs: Iterable[Request], timeout: float | None, call: str) -> list[int]:
    done = wait_for_some(reqs, timeout, call)
    if done is None:
        return _some_of_all_kinds(reqs, timeout, call)
    if not done:
        raise TimeoutError(f"none of {len(list(reqs))} requests is done")
    return done


def _some_of_all_kinds(reqs: Iterable[Request], timeout: float | None, call: str) -> list[int]:
    requests = _checked(reqs, call)
    if not requests:
        raise ValueError(f"{call}(reqs): no requests, so none will ever be done")
    deadline = deadline_of(timeout, call)
    while not (done := [index for index, request in enumerate(requests) if is_done(request)]):
        if not wait_for_one(requests, deadline):
            raise TimeoutError(f"none of {len(requests)} requests is done")
    for index in done:
        requests[index]._seen()
    if any_finished():
        let_go_finished()
    return done


def wait_for_one(requests: Sequence[Request], deadline: float | None) -> bool:
    """Wait until a request is done. False: the deadline passed before."""
    copies, messages = pending(requests)
    if len(copies) + len(messages) < len(requests):
        return True  # the others may never be done
    if unmet := unmet_of(messages):
        return _wait_unmet(unmet, requests, deadline)
    if copies and messages:
        return _wait_mixed(copies, messages, deadline)
    if copies:
        return wait_copies(copies, 1, deadline)
    return waiter_of(messages, 1).wait(deadline)


def is_done(request: Request) -> bool:
    """Is it done? If so its buffers are their owners' again."""
    if not request._done:
        return False
    request._let_go()
    return True


def _checked(reqs: Iterable[Request], call: str) -> list[Request]:
    try:
        requests = list(reqs)
    except TypeError:
        kind = type(reqs).__name__
        raise TypeError(f"{call}(reqs): pass a list of requests, not {kind}") from None
    for request in requests:
        if not isinstance(request, Request):
            kind = type(request).__name__
            raise TypeError(f"{call}(reqs): an iterable of requests, found {kind}")
    return requests


def pending(requests: Sequence[Request]) -> tuple[list[CopyRequest], list[ChannelRequest]]:
    """The pending copies, the pending messages."""
    left = [request for request in requests if not request._done]
    return (
        [request for request in left if isinstance(request, CopyRequest)],
        [request for request in left if isinstance(request, ChannelRequest)],
    )


def waiter_of(messages: Sequence[ChannelRequest], need: int, also: int = -1) -> ManyWaiter:
    """Waits for `need` operations of requests that were pending a moment ago; 0 means all.

    Other threads may have completed a request since then. It is waited for all the same, and
    found done at once. If it were left out, a call that waits for any would wait for the rest.
    """
    waited = [
        (request._endpoint, operation) for request in messages for operation in _unfinished(request)
    ]
    chans = {id(endpoint): endpoint.chan for endpoint, _ in waited}
    reqs = [operation.req for _, operation in waited]
    return ManyWaiter(list(chans.values()), reqs, need or len(reqs), also)


def _unfinished(request: ChannelRequest) -> Sequence[Operation]:
    """Its operations that are not done, or the last one."""
    return [each for each in request._operations if not each.done] or request._operations[-1:]


def unmet_of(messages: Iterable[ChannelRequest]) -> list[ChannelRequest]:
    """Those that no channel has yet: both ends of their pipes have not met."""
    return [unmet for request in messages if (unmet := request._unmet) is not None]


def _wait_unmet(
    unmet: Sequence[ChannelRequest], requests: Sequence[Request], deadline: float | None
) -> bool:
    """Wait until a request is done, or a channel has one of these. False: the deadline passed.

    Others are looked at now and then, since they have no descriptor. It is a moment until both
    ends of a pipe meet, once both are used.
    """
    others = len(unmet) < len(requests)
    while not any(request._done or request._unmet is None for request in unmet):
        if others and any(_is_done_after_check(request) for request in requests):
            return True
        left = remaining(deadline)
        if left == 0:
            return False
        if others:
            left = LOOK if left is None else min(left, LOOK)
        with ExitStack() as stack:
            slept = [stack.enter_context(request._sleeping()) for request in unmet]
            if all(slept):
                poller = select.poll()
                for fd, events in (each for watched in slept for each in watched):
                    poller.register(fd, events)
                poller.poll(None if left is None else min(left, FOREVER) * 1000)
    return True


def _is_done_after_check(request: Request) -> bool:
    with suppress(Exception):  # its own error, which it tells again
        request.check()
    return request._done


def _wait_messages(messages: list[ChannelRequest], deadline: float | None) -> bool:
    while messages := [request for request in messages if not request._done]:
        if unmet := unmet_of(messages):
            if not _wait_unmet(unmet, messages, deadline):
                return False
        elif not waiter_of(messages, 0).wait(deadline):
            return False
    return True


def _wait_mixed(
    copies: Sequence[CopyRequest], messages: Sequence[ChannelRequest], deadline: float | None
) -> bool:
    """Wait until a copy or a message is done. The end of a copy also ends a sleep for messages."""
    if not queues_running():
        return wait_copies(copies, 1, deadline)  # no other thread would make the copies
    waited = Copies([request._copy for request in copies])
    signal = Signal()
    waiter: ManyWaiter | None = None
    try:  # from before it is opened on: a signal may strike as that returns
        waiter = waiter_of(messages, 1, also=signal.open())
        while True:
            signal.arm()
            if rc := waited.wait(1, 0):
                return judged(rc)
            if waiter.step(deadline):
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return False
    finally:
        signal.close()
        if waiter is not None:
            waiter.give_up()  # the progress thread goes on with the messages
