# SPDX-License-Identifier: BSD-3-Clause
"""Waiting for many channels and requests at once, at a cost that idle channels do not add to.

Each thread keeps the poll set of its last wait. The next one, for the same channels, uses it as
it is; for others it changes what differs. A poll set holds no channel alive.
"""

from __future__ import annotations

import contextlib
import select
import threading
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload
from weakref import proxy

from .._core import channel as core
from .._core.copies import Copies, Signal
from .._core.holds import any_finished, let_go_finished
from .._core.poll_set import PollSet
from .._core.results import CLOSED_HERE, FORKED, error_for
from .._core.waiting import BUSY, QUIET, READY, wait_with
from ..arguments import deadline_of, remaining
from ..copying.copies import judged
from ..copying.engine import queues_running
from ..errors import ChannelClosed
from ..request import Request
from .channel_request import ChannelRequest
from .incoming import unfinished
from .source import Source
from .waitset import LOOK, is_done, pending, unmet_of, wait_for_one, waiter_of

if TYPE_CHECKING:
    from .._core.types import SignalMask

__all__ = ["wait"]

_Channel = TypeVar("_Channel", bound=Source)
_Request = TypeVar("_Request", bound=Request)
_Thing = TypeVar("_Thing", bound=Source | Request)

_COPY_NS: Final = 1_000_000  # for how long a thread makes copies before it looks at channels


@overload
def wait(objects: Iterable[_Channel], timeout: float | None = None) -> list[_Channel]: ...
@overload
def wait(objects: Iterable[_Request], timeout: float | None = None) -> list[_Request]: ...
@overload
def wait(objects: Iterable[Source | Request], timeout: float | None = None) -> list[Any]: ...
def wait(objects: Iterable[Any], timeout: float | None = None) -> list[Any]:
    """Wait until any of the channels and requests is ready; returns those that are.

    They are in the order given. A channel is ready when a message waits, so that `iprobe` finds
    it, or when none will come any more, so that a call raises why. A request is ready when it
    is done; whether it failed is told by its own `check` or `wait`. Requests may be copies and
    messages. The same object may be given twice, and is returned twice then.

    Nothing is taken: what is ready stays so until it is read. If other threads read the same
    channel, its message may be gone when this returns: use `read(buf, timeout=0)` then.

    An idle channel costs next to nothing. The thread keeps an epoll(7) of the channels from one
    call to the next, and calls poll(2) on it. Calling again with the same channels is cheapest.

    `timeout` is in seconds. None means no limit, and 0 means to look once. When it is over, the
    list is empty, and nothing has changed: requests stay pending and own their buffers. The
    same holds when a signal's exception interrupts the call. With no objects, the call waits
    for the time and returns the empty list, as `multiprocessing.connection.wait` does, but
    raises ValueError for `timeout=None`, since it would never return.

    TypeError: one of the objects is neither a channel nor a request. `ChannelClosed`: this
    process has closed one of the channels, before the call or during it, or is a forked child
    of the one that connected it. OSError: no descriptor is left; the thread needs two.
    """
    deadline = deadline_of(timeout, "wait")
    things = _listed(objects)
    if not things:
        return _wait_for_nothing(deadline)
    interest = _here.interest
    if interest.busy:  # this is a signal handler's call within another one
        interest = _Interest()
    try:
        interest.busy = True
        return interest.wait(things, deadline)
    finally:
        interest.busy = False
        if any_finished():
            let_go_finished()


class _Interest:
    """What a thread waits for."""

    def __init__(self) -> None:
        self.busy = False
        self._poll_set: PollSet | None = None
        # The channels in the poll set, in the order of the call; None: they are not known. A weak
        # proxy equals its object, and a list of them is compared in C, so that is quickest.
        self._proxies: list[Any] | None = None
        self._places: list[int] | None = None  # of each in the poll set; None: the same order

    def wait(self, things: list[_Thing], deadline: float | None) -> list[_Thing]:
        if not self._is_aimed_at(things):
            _check(things)
            if any(isinstance(thing, Source) and thing._is_early for thing in things):
                return _wait_early(things, deadline)
            requests = [thing for thing in things if isinstance(thing, Request)]
            if unmet_of(thing for thing in requests if isinstance(thing, ChannelRequest)):
                return _wait_early(things, deadline)
            if requests:
                return self._wait_mixed(things, requests, deadline)
            self._aim(things)
        if unfinished and _begun(things):
            deadline = time.monotonic()
        assert self._poll_set is not None
        try:
            self._poll_set.wait(deadline)
        except ChannelClosed:
            self._explain(things)
            raise
        return self._ready(things)

    def _ready(self, things: Sequence[_Thing]) -> list[_Thing]:
        """Those channels that the last look found ready, or that have begun to send an object."""
        assert self._poll_set is not None
        found = self._poll_set.found()
        if self._places is None and not unfinished:
            return [things[place] for place in found]
        ready = set(found)
        places = self._places or range(len(things))
        return [
            thing
            for thing, place in zip(things, places, strict=True)
            if place in ready or _begun([thing])
        ]

    def _aim(self, channels: Sequence[_Thing]) -> None:
        """Make the poll set that of these channels."""
        if self._is_aimed_at(channels):
            return
        self._proxies = None
        if self._poll_set is None:
            self._poll_set = PollSet()
        endpoints = [channel._endpoint for channel in channels if isinstance(channel, Source)]
        for endpoint in endpoints:
            endpoint.expose()
        numbers: dict[int, int] = {}
        places = [numbers.setdefault(id(endpoint), len(numbers)) for endpoint in endpoints]
        try:
            self._poll_set.update(
                [endpoints[places.index(number)].chan for number in range(len(numbers))]
                if len(numbers) < len(places)
                else [endpoint.chan for endpoint in endpoints]
            )
        except ChannelClosed:
            self._explain(channels)
            raise
        self._places = places if len(numbers) < len(places) else None
        if all(type(channel).__eq__ is object.__eq__ for channel in channels):
            self._proxies = list(map(proxy, channels))

    def _is_aimed_at(self, things: Sequence[_Thing]) -> bool:
        try:
            return bool(self._proxies == things)
        except Exception:
            return False  # a channel was dropped; or what was given compares in its own way

    def _explain(self, things: Sequence[_Thing]) -> None:
        """Raise which channel was closed. The poll set has lost it, and has to be updated."""
        self._proxies = None
        for place, thing in enumerate(things):
            if isinstance(thing, Source):
                code = core.health(thing._endpoint.chan)
                if code in (-CLOSED_HERE, -FORKED):
                    raise error_for(code, f"wait(objects): objects[{place}]: {error_for(code)}")

    # Channels and requests

    def _wait_mixed(
        self, things: list[_Thing], requests: Sequence[Request], deadline: float | None
    ) -> list[_Thing]:
        channels = [thing for thing in things if isinstance(thing, Source)]
        if not channels:
            wait_for_one(requests, deadline)
            return _reported([thing for thing in things if _is_done(thing)])
        try:
            self._aim(channels)
            while True:
                late = deadline is not None and time.monotonic() >= deadline
                at_once = any(map(_is_done, requests)) or _begun(channels)
                if not at_once:
                    self._wait_for_first(requests, deadline)
                ready = self._ready_of_both(things, channels)
                if ready or late:
                    return ready
        except ChannelClosed:
            self._explain(things)
            raise

    def _ready_of_both(self, things: list[_Thing], channels: Sequence[Source]) -> list[_Thing]:
        assert self._poll_set is not None
        self._poll_set.look()
        ready = {id(channel) for channel in self._ready(channels)}
        return _reported([thing for thing in things if id(thing) in ready or _is_done(thing)])

    def _wait_for_first(self, requests: Sequence[Request], deadline: float | None) -> None:
        """Wait until a request is done or a channel is ready, or until the deadline has passed."""
        assert self._poll_set is not None
        with _Mixed(self._poll_set, requests) as mixed:
            wait_with(mixed, deadline)


class _Mixed:
    """Waits for a poll set, and for requests that were pending a moment ago."""

    def __init__(self, poll_set: PollSet, requests: Sequence[Request]) -> None:
        self._poll_set = poll_set
        self._signal = Signal()
        copies, messages = pending(requests)
        self._done = len(copies) + len(messages) < len(requests)
        self._copies = Copies([request._copy for request in copies]) if copies else None
        self._messages = messages
        self._waiter = waiter_of(messages, 1)

    def __enter__(self) -> _Mixed:
        if self._copies is not None:
            self._waiter = waiter_of(self._messages, 1, also=self._signal.open())
        return self

    def __exit__(self, *_: object) -> None:
        self._signal.close()
        self.give_up()

    def drive(self, spin: int) -> int:
        busy = False
        if self._done:
            return READY
        if self._copies is not None:
            self._signal.arm()
            alone = not queues_running()  # no other thread would make the copies
            if rc := self._copies.wait(1, _COPY_NS if alone and spin else 0):
                judged(rc)
                return READY
            busy = alone
        if self._messages:
            state = self._waiter.drive(0)
            if state == READY or state < 0:
                return state
            busy |= state == BUSY
        state = self._poll_set.drive(0)
        return BUSY if busy and state == QUIET else state

    def sleep(self, nanoseconds: int, mask: SignalMask) -> int:
        return self._poll_set.sleep_for(self._waiter, nanoseconds, mask)

    def give_up(self) -> None:
        """The progress thread goes on with the messages."""
        if self._messages:
            self._waiter.give_up()


class _Here(threading.local):
    """What this thread waited for last."""

    def __init__(self) -> None:
        self.interest = _Interest()


_here = _Here()


def _listed(objects: Iterable[Any]) -> list[Any]:
    try:
        return list(objects)
    except TypeError:
        kind = type(objects).__name__
        raise TypeError(
            f"wait(objects): pass a list of channels and requests, not {kind}"
        ) from None


def _check(things: Sequence[object]) -> None:
    for place, thing in enumerate(things):
        if not isinstance(thing, Source | Request):
            kind = type(thing).__name__
            raise TypeError(
                f"wait(objects): objects[{place}] is neither a channel nor a request, but {kind}"
            )


def _wait_early(things: list[_Thing], deadline: float | None) -> list[_Thing]:
    """Wait for ends of pipes that are no channels yet, and for others."""
    slices = any(isinstance(thing, Request) for thing in things)
    while True:
        late = remaining(deadline) == 0
        ready = [thing for thing in things if _is_ready(thing)]
        if ready or late:
            return _reported(ready)
        left = remaining(deadline)
        if slices:  # some requests have no descriptor; and an end is in this state for a moment
            left = LOOK if left is None else min(left, LOOK)
        poller = select.poll()
        for thing in things:
            if isinstance(thing, Source):
                poller.register(thing.fileno(), select.POLLIN)
        poller.poll(None if left is None else left * 1000)


def _is_ready(thing: _Thing) -> bool:
    if isinstance(thing, Source):
        return thing.poll(0)
    with contextlib.suppress(Exception):  # its own error, which it tells again
        thing.check()
    return _is_done(thing)


def _reported(things: list[_Thing]) -> list[_Thing]:
    """The same, once those that are requests count as looked at."""
    for thing in things:
        if isinstance(thing, Request):
            thing._seen()
    return things


def _is_done(thing: object) -> bool:
    return isinstance(thing, Request) and is_done(thing)


def _begun(things: Sequence[object]) -> bool:
    """Has any channel begun to receive an object, which a call that was interrupted left?"""
    return bool(unfinished) and any(
        isinstance(thing, Source) and thing._receiver in unfinished for thing in things
    )


def _wait_for_nothing(deadline: float | None) -> list[Any]:
    if deadline is None:
        raise ValueError("wait(objects): no objects, so none will ever be ready")
    time.sleep(remaining(deadline) or 0)
    return []
