# SPDX-License-Identifier: BSD-3-Clause
"""The completion core: has an event loop sleep until requests that are awaited are done.

There is one for each event loop. While a request is awaited, the loop watches one descriptor, an
epoll(7). In it are

- a notification, which tells that an awaited request is done, whoever saw to that;
- for each channel and worker, the descriptor which tells that there may be progress to make. It
  is polled for edges: it stays readable while anybody's completed request was not looked at, and
  the loop must not be woken again and again by requests that are not its own.

Requests of which no descriptor tells are looked at by a timer. When nothing is awaited any more,
nothing of this is left, but for one more turn of the loop.

All is called in the thread of the event loop, of which only `Host` knows anything.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from .. import forks
from .._core.holds import any_finished, let_go_finished
from .._core.notification import Notification
from ..errors import failure

if TYPE_CHECKING:
    from ..request import Awaited, Watched

__all__ = ["Completions", "Host"]

# Seconds between looks at requests of which no descriptor tells: doubled by each look in vain.
_SHORTEST: Final = 50e-6
_LONGEST: Final = 1e-3


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


class _Entry:
    """A request that is awaited, and whom to wake when it may be done."""

    __slots__ = ("request", "wakes")

    def __init__(self, request: Awaited) -> None:
        self.request = request
        self.wakes: list[Callable[[], None]] = []


class _Group:
    """The awaited requests that one call advances."""

    __slots__ = ("entries", "fd", "interval", "ticking", "watched")

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self.fd = -1
        self.entries: dict[int, _Entry] = {}  # by the request's id
        self.interval = _SHORTEST
        self.ticking = False  # a timer is set

    def wake_done(self) -> int:
        """Wake those whose requests are done; returns how many notifications have told of."""
        done = [entry for entry in self.entries.values() if entry.request._done]
        self.wake(done)
        return 0 if self.watched.timed else len(done)

    def wake(self, entries: Iterable[_Entry]) -> None:
        """Whoever awaits these looks at them."""
        for entry in entries:
            del self.entries[id(entry.request)]
            for wake in entry.wakes:
                wake()


class _Descriptors:
    """The epoll of a loop, with a notification in it."""

    def __init__(self) -> None:
        self.notification = Notification()
        try:
            self._epoll = select.epoll()
        except OSError as error:
            raise failure("poll descriptor", error.errno or 0) from None
        # By descriptor. A number may be that of a closed channel, and of the one that got it next.
        self._groups: dict[int, list[_Group]] = {}
        self._epoll.register(self.notification.fd, select.EPOLLIN)
        self.notification.arm()

    @property
    def fd(self) -> int:
        return self._epoll.fileno()

    def add(self, group: _Group) -> None:
        """Have the descriptor of a group tell of what comes next. OSError: there is none."""
        fd = group.watched.event_fd()
        if fd < 0:
            return
        with suppress(FileExistsError):  # another group has the same one
            self._epoll.register(fd, select.EPOLLIN | select.EPOLLET)
        group.fd = fd
        self._groups.setdefault(fd, []).append(group)

    def remove(self, group: _Group) -> None:
        if group.fd < 0:
            return
        self._groups[group.fd].remove(group)
        if not self._groups[group.fd]:
            del self._groups[group.fd]
            with suppress(OSError):  # it was closed, with its channel
                self._epoll.unregister(group.fd)
        group.fd = -1

    def events(self) -> list[_Group]:
        """The groups for which there may be progress to make."""
        return [group for fd, _ in self._epoll.poll(0) for group in self._groups.get(fd, ())]

    def close(self) -> None:
        self._epoll.close()
        self.notification.close()


class Completions:
    """What is awaited in one event loop."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._groups: dict[int, _Group] = {}  # by the id of what makes progress on them
        self._descriptors: _Descriptors | None = None
        self._retires = False  # `_retire` is to be called
        forks.in_child(self, Completions._forked)

    def enrol(self, request: Awaited, wake: Callable[[], None]) -> None:
        """Call `wake` once when the request may be done. OSError: no descriptor is left."""
        watched = request._watched()
        group = self._groups.get(id(watched)) or self._join(watched)
        entry = group.entries.get(id(request))
        if entry is None:
            entry = group.entries[id(request)] = _Entry(request)
        entry.wakes.append(wake)
        if request._notify():
            group.wake([entry])  # nobody will tell
        if watched.timed:
            group.interval = _SHORTEST
            self._set_timer(group)

    def withdraw(self, request: Awaited, wake: Callable[[], None]) -> None:
        """Do not call `wake` any more."""
        group = self._groups.get(id(request._watched()))
        entry = group.entries.get(id(request)) if group else None
        if group and entry and wake in entry.wakes:
            entry.wakes.remove(wake)
            if not entry.wakes:
                del group.entries[id(request)]
        if not self._awaits():
            self._retire_soon()

    # Groups

    def _join(self, watched: Watched) -> _Group:
        group = _Group(watched)
        if self._descriptors is None:
            with forks.held_off():  # a child closes what it knows of
                self._descriptors = _Descriptors()
            self._host.watch(self._descriptors.fd, self._look_at_events)
        self._descriptors.add(group)
        self._groups[id(watched)] = group
        if group.fd < 0 and not watched.timed:
            self._host.soon(lambda: self._look([group]))
        return group

    def _leave(self, group: _Group) -> None:
        if self._groups.get(id(group.watched)) is group:
            del self._groups[id(group.watched)]
        if self._descriptors is not None:
            self._descriptors.remove(group)

    def _awaits(self) -> bool:
        return any(group.entries for group in self._groups.values())

    def _retire_soon(self) -> None:
        """Let go of the descriptors, unless tasks that were woken now await something again."""
        if not self._retires and self._descriptors is not None:
            self._retires = True
            self._host.soon(self._retire)

    def _retire(self) -> None:
        self._retires = False
        for group in [group for group in self._groups.values() if not group.entries]:
            self._leave(group)
        if not self._groups and self._descriptors is not None:
            descriptors, self._descriptors = self._descriptors, None
            self._host.unwatch(descriptors.fd)
            descriptors.close()

    def _forked(self) -> None:
        """In the child nothing is awaited: the tasks are the parent's."""
        descriptors, self._descriptors = self._descriptors, None
        self._groups.clear()
        self._retires = False
        if descriptors is not None:
            descriptors.close()

    # Looking

    def _look_at_events(self) -> None:
        if self._descriptors is not None:
            self._look(self._descriptors.events())

    def _look(self, groups: Iterable[_Group]) -> None:
        """Make progress on these groups, and wake those whose requests are done."""
        if self._descriptors is None:
            return
        notification = self._descriptors.notification
        notification.disarm()  # while the loop is awake nobody needs to wake it
        found = 0
        for group in groups:
            if group.entries:
                self._advance(group)
                found += group.wake_done()
            else:
                self._leave(group)
        # What is done later wakes the loop. Of what was done before, one look finds the rest: there
        # is none if each that was told of was found. (Found are only those that were told of.)
        if notification.arm() != found:
            for group in list(self._groups.values()):
                group.wake_done()
        if any_finished():
            let_go_finished()
        if not self._awaits():
            self._retire_soon()

    def _advance(self, group: _Group) -> None:
        try:
            if group.watched.advance([entry.request for entry in group.entries.values()]):
                self._host.soon(lambda: self._look([group]))
        except Exception:
            # Each looks at its own request, and is told the error. Who awaits on begins anew.
            self._leave(group)
            group.wake(list(group.entries.values()))

    # Requests of which no descriptor tells

    def _set_timer(self, group: _Group) -> None:
        if not group.ticking:
            group.ticking = True
            self._host.later(group.interval, lambda: self._tick(group))

    def _tick(self, group: _Group) -> None:
        group.ticking = False
        if not group.entries:
            return
        before = len(group.entries)
        self._look([group])
        moved = len(group.entries) < before
        group.interval = _SHORTEST if moved else min(2 * group.interval, _LONGEST)
        if group.entries:
            self._set_timer(group)
