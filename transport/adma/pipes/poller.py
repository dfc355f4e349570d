# SPDX-License-Identifier: BSD-3-Clause
"""What threads and event loops sleep on, of an end of a pipe."""

from __future__ import annotations

import os
import select

from ..arguments import FOREVER
from ..connect import counter

__all__ = ["Bell", "Poller", "poll"]


class Poller:
    """The descriptor of an end for event loops: an epoll(7) of its own, so that it stays the same.

    What is to be watched is known before anybody asks for the descriptor.
    """

    def __init__(self) -> None:
        self._watched: set[int] = set()
        self._epoll: select.epoll | None = None

    @property
    def is_open(self) -> bool:
        """Has anybody asked for the descriptor?"""
        return self._epoll is not None

    def add(self, fd: int) -> None:
        """It is readable when this one is."""
        self._watched.add(fd)
        if self._epoll is not None:
            self._epoll.register(fd, select.EPOLLIN)

    def remove(self, fd: int) -> None:
        """Not any more. Before the descriptor is closed: forked children may have copies."""
        if fd in self._watched:
            self._watched.remove(fd)
            if self._epoll is not None:
                self._epoll.unregister(fd)

    def fileno(self) -> int:
        """The descriptor. OSError: none is left."""
        if self._epoll is None:
            epoll = select.epoll()
            for fd in self._watched:
                epoll.register(fd, select.EPOLLIN)
            self._epoll = epoll
        return self._epoll.fileno()

    def close(self) -> None:
        """It watches nothing any more. Closing twice is no error."""
        self._watched.clear()
        self.forget()

    def forget(self) -> None:
        """The next call for the descriptor makes a new one: a forked child has its parent's."""
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None


class Bell:
    """Wakes threads of this process that sleep on an end: an eventfd, while any of them does.

    All is called under the lock of the end.
    """

    def __init__(self) -> None:
        self._fd = -1
        self._sleepers = 0
        self._rung = False

    def enter(self) -> int:
        """A thread is about to sleep; the descriptor that it watches. OSError: none is left."""
        if self._fd < 0:
            self._fd = counter.make(0)
        self._sleepers += 1
        return self._fd

    def leave(self, *, close: bool) -> None:
        """It is awake. `close`: nobody will sleep here any more."""
        self._sleepers -= 1
        if self._sleepers:
            return
        if close:
            self.close()
        elif self._rung:  # all that slept have seen it
            self._rung = False
            counter.take(self._fd)

    def ring(self) -> None:
        """Whoever sleeps has to look again."""
        if self._sleepers and not self._rung:
            self._rung = True
            counter.add(self._fd, 1)

    def close(self) -> None:
        """Close it, unless somebody still sleeps, who will close it."""
        if self._fd >= 0 and not self._sleepers:
            fd, self._fd = self._fd, -1
            self._rung = False
            os.close(fd)

    def forked(self) -> None:
        """In a child: nobody sleeps."""
        self._sleepers = 0
        self.close()


def poll(watched: list[tuple[int, int]], seconds: float | None) -> list[tuple[int, int]]:
    """Those descriptors that are ready, at the latest after so many seconds."""
    poller = select.poll()
    for fd, events in watched:
        if fd >= 0:
            poller.register(fd, events)
    return poller.poll(None if seconds is None else min(seconds, FOREVER) * 1000)
