# SPDX-License-Identifier: BSD-3-Clause
"""The completion core: has an event loop sleep until what its tasks wait for may be there.

There is one for each event loop. Tasks wait for requests to be done, and for messages on
channels. While they do, the loop watches one descriptor, an epoll(7). In it are

- a poll set with all these channels, whose descriptor tells of what happens on them once it was
  looked at in vain (loop_set.c);
- a notification, which tells that an awaited request is done, whoever saw to that;
- for each worker, the descriptor which tells that there may be progress to make. It is polled for
  edges: it stays readable while anybody's completed request was not looked at, and the loop must
  not be woken again and again by requests that are not its own.

A loop that is awake looks at its channels once in each turn, for as long as that pays. So a
message that comes meanwhile costs no system call.

Requests of which nothing tells are looked at by a timer. When nothing is awaited any more,
nothing of this is left, but for two more turns of the loop.

All is called in the thread of the event loop, of which only `Host` knows anything.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Protocol

from .. import forks
from .._core import channel
from .._core.holds import any_finished, let_go_finished
from .._core.loop_set import LEFT, MESSAGES, MOVED, PROGRESS, QUIET, READY
from ..messages.endpoint import Endpoint
from .groups import SHORTEST, Entry, Group
from .sources import Sources

if TYPE_CHECKING:
    from ..request import Awaited, Watched

__all__ = ["Completions", "Host"]

_LONGEST: Final = 1e-3  # the time between looks is doubled up to this by each look in vain


class Host(Protocol):
    """What the core needs of an event loop."""

    def watch(self, fd: int, call: Callable[[], object]) -> None:
        """Call it in each turn in which the descriptor is readable."""

    def unwatch(self, fd: int) -> None:
        """Do not any more."""

    def soon(self, call: Callable[[], object]) -> None:
        """Call it in the next turn."""

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """Call it after this time."""


class Completions:
    """What is awaited in one event loop."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._groups: dict[int, Group] = {}  # by the id of what makes progress on them
        self._places: list[Group | None] = []  # of channels, in the poll set
        self._free: list[int] = []  # places
        self._sources: Sources | None = None
        self._requests = 0  # that are awaited
        self._readers = 0  # tasks that wait for messages
        self._scheduled = False  # a look is, for the next turn
        self._unused = False  # nothing was awaited in the last turn
        self._rests = False  # the poll set tells of what comes
        self._in_vain = False  # the loop was told of something that was not on a channel
        forks.in_child(self, Completions._forked)

    # Messages

    def spin(self, endpoint: Endpoint) -> bool:
        """Look for a message for a moment, if nothing else is awaited and if that has paid lately.

        True: there is one. Where the peer answers sooner than a task can be suspended and woken,
        that is what two ends save which take turns. A turn of the loop limits all of it.
        """
        if self._sources is None or self._awaits():
            return False
        self._unused = False  # soon it may be awaited again
        return self._sources.channels.spin(endpoint.chan)

    def await_message(self, endpoint: Endpoint, wake: Callable[[], None]) -> None:
        """Call `wake` once when a read may find something, in the order of these calls.

        OSError: no descriptor is left.
        """
        group = self._groups.get(id(endpoint)) or self._join(endpoint)
        group.readers.append(wake)
        self._readers += 1
        if not group.wants & MESSAGES:
            assert self._sources is not None
            if not self._sources.join(endpoint, group, group.wants | MESSAGES):
                self._drop(group)
            self._rests = False  # nothing was looked at on behalf of this yet
        if not self._rests:
            self._look_soon()

    def forget_message(self, endpoint: Endpoint, wake: Callable[[], None]) -> None:
        """Do not call `wake` any more."""
        group = self._groups.get(id(endpoint))
        if group is not None and wake in group.readers:
            group.readers.remove(wake)
            self._readers -= 1
            self._look_soon()

    def wake_all(self, endpoint: Endpoint) -> None:
        """Wake all who wait on a channel: it is closed."""
        group = self._groups.get(id(endpoint))
        if group is not None:
            self._drop(group)
            self._look_soon()

    # Requests

    def enrol(self, request: Awaited, wake: Callable[[], None]) -> None:
        """Call `wake` once when the request may be done. OSError: no descriptor is left."""
        watched = request._watched()
        group = self._groups.get(id(watched)) or self._join(watched)
        entry = group.entries.get(id(request))
        if entry is None:
            entry = group.entries[id(request)] = Entry(request)
            self._requests += 1
        entry.wakes.append(wake)
        if isinstance(watched, Endpoint):
            self._want_progress(watched, group)
        if id(request) in group.entries and request._notify():
            self._wake(group, [entry])  # nobody will tell
        if watched.timed:
            group.interval = SHORTEST
            self._set_timer(group)

    def withdraw(self, request: Awaited, wake: Callable[[], None]) -> None:
        """Do not call `wake` any more."""
        group = self._groups.get(id(request._watched()))
        entry = group.entries.get(id(request)) if group else None
        if group and entry and wake in entry.wakes:
            entry.wakes.remove(wake)
            if not entry.wakes:
                del group.entries[id(request)]
                self._requests -= 1
        if not self._awaits():
            self._look_soon()

    def _want_progress(self, endpoint: Endpoint, group: Group) -> None:
        if not group.wants & PROGRESS:
            assert self._sources is not None
            if not self._sources.join(endpoint, group, group.wants | PROGRESS):
                self._drop(group)
        self._look_soon()

    # Groups

    def _join(self, watched: Watched) -> Group:
        group = Group(watched)
        if self._sources is None:
            with forks.held_off():  # a child closes what it knows of
                self._sources = Sources()
            self._host.watch(self._sources.fd, self._look_at_events)
            self._rests = False
        if isinstance(watched, Endpoint):
            self._place(watched, group)
        else:
            self._sources.add(group, watched.event_fd())
            if group.fd < 0 and not watched.timed:
                self._host.soon(lambda: self._look([group]))
        self._groups[group.key] = group
        return group

    def _place(self, endpoint: Endpoint, group: Group) -> None:
        """Give a channel a place in the poll set. It leaves that by itself when it is closed."""
        if not self._free:
            self._free.append(len(self._places))
            self._places.append(None)
        place = self._free[-1]
        group.place = place
        assert self._sources is not None
        self._sources.join(endpoint, group, 0)
        self._free.pop()
        self._places[place] = group
        core = weakref.ref(self)

        def gone(_: object) -> None:
            found = core()
            if found is not None and found._groups.get(group.key) is group:
                found._leave(group)

        group._watched = weakref.ref(endpoint, gone)

    def _leave(self, group: Group) -> None:
        if self._groups.get(group.key) is group:
            del self._groups[group.key]
            if group.place >= 0:
                self._places[group.place] = None
                self._free.append(group.place)
        if self._sources is not None:
            self._sources.remove(group)

    def _drop(self, group: Group) -> None:
        """The channel is closed, or cannot be advanced: whoever waits looks, and is told why."""
        self._leave(group)
        self._wake(group, list(group.entries.values()))
        while group.readers:
            self._wake_reader(group)

    def _awaits(self) -> bool:
        return bool(self._requests or self._readers)

    def _retire(self) -> None:
        """Let go of everything: nothing is awaited any more."""
        for group in self._groups.values():
            endpoint = group.watched
            if isinstance(endpoint, Endpoint) and group.wants & MESSAGES:
                channel.count_probing(endpoint.chan, -1)
        if self._sources is not None:
            self._host.unwatch(self._sources.fd)
        self._clear()

    def _forked(self) -> None:
        """In the child nothing is awaited: the tasks are the parent's."""
        self._requests = self._readers = 0
        self._scheduled = False
        self._clear()

    def _clear(self) -> None:
        sources, self._sources = self._sources, None
        self._groups.clear()
        self._places.clear()
        self._free.clear()
        self._rests = False
        if sources is not None:
            sources.close()

    # Looking

    def _look_soon(self) -> None:
        if not self._scheduled and self._sources is not None:
            self._scheduled = True
            self._host.soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self._sources is None:
            return
        if self._awaits():
            self._unused = False
            self._look(())
        elif self._unused:
            self._retire()
        else:  # tasks that were woken in the turn before may await something again in this one
            self._unused = True
            self._look_soon()

    def _look_at_events(self) -> None:
        if self._sources is None:
            return
        if self._requests or self._in_vain:
            self._in_vain = False
            told, done, groups = self._sources.events()
            self._look(groups, told, done)
        else:  # it is the poll set that tells, as a rule: then a system call less
            self._in_vain = not self._look((), told=True)

    def _look(self, groups: Iterable[Group], told: bool = False, done: bool = False) -> bool:
        """Look at the channels, make progress on these groups, and wake whom it concerns.

        `done`: a request was, which may be none that is awaited any more. True: there was
        something on a channel.
        """
        sources = self._sources
        if sources is None:
            return True
        watches_requests = self._requests or done
        if watches_requests:
            sources.notification.disarm()  # while the loop is awake nobody needs to wake it
        found = self._look_at_channels(sources, told)
        for group in groups:
            if group.entries:
                self._advance(group)
        # What is done later wakes the loop. What was done before is found now, whoever saw to it.
        if watches_requests and sources.notification.arm():
            for group in list(self._groups.values()):
                self._wake_done(group)
        if any_finished():
            let_go_finished()
        if not self._awaits():
            self._look_soon()
        return found

    def _look_at_channels(self, sources: Sources, told: bool) -> bool:
        if not self._places:
            return False
        state = sources.channels.turn(told)
        self._rests = state == QUIET
        if self._rests:
            return False
        if state == LEFT:
            for group in list(self._groups.values()):
                endpoint = group.watched
                if isinstance(endpoint, Endpoint) and endpoint.closed:
                    self._drop(group)
        elif state == MOVED:
            sources.renew()
        elif state == READY:
            for place in sources.channels.found():
                group_there = self._places[place]
                if group_there is not None:
                    self._serve(sources, group_there)
        self._look_soon()  # after those that were woken have run
        return state == READY

    def _serve(self, sources: Sources, group: Group) -> None:
        """There is something on this channel."""
        unwanted = 0
        if group.entries:
            self._advance(group)
        elif group.wants & PROGRESS:
            unwanted |= PROGRESS
        if group.readers:
            self._wake_reader(group)
        elif group.wants & MESSAGES:
            unwanted |= MESSAGES
        endpoint = group.watched
        if unwanted and isinstance(endpoint, Endpoint):  # until somebody wants it again
            sources.join(endpoint, group, group.wants & ~unwanted)

    def _advance(self, group: Group) -> None:
        watched = group.watched
        if watched is None:
            return
        try:
            more = watched.advance([entry.request for entry in group.entries.values()])
        except Exception:
            # Each looks at its own request, and is told the error. Who awaits on begins anew.
            self._drop(group)
            return
        self._wake_done(group)
        if more and group.entries:
            self._host.soon(lambda: self._look([group]))

    # Waking

    def _wake_done(self, group: Group) -> None:
        """Wake those whose requests are done."""
        self._wake(group, [entry for entry in group.entries.values() if entry.request._done])

    def _wake(self, group: Group, entries: Iterable[Entry]) -> None:
        """Whoever awaits these looks at them."""
        for entry in entries:
            del group.entries[id(entry.request)]
            self._requests -= 1
            for wake in entry.wakes:
                wake()

    def _wake_reader(self, group: Group) -> None:
        """Whoever has waited longest looks for a message."""
        wake = group.readers.popleft()
        self._readers -= 1
        wake()

    # Requests of which nothing tells

    def _set_timer(self, group: Group) -> None:
        if not group.ticking:
            group.ticking = True
            self._host.later(group.interval, lambda: self._tick(group))

    def _tick(self, group: Group) -> None:
        group.ticking = False
        if not group.entries:
            return
        before = len(group.entries)
        self._look([group])
        moved = len(group.entries) < before
        group.interval = SHORTEST if moved else min(2 * group.interval, _LONGEST)
        if group.entries:
            self._set_timer(group)
