# SPDX-License-Identifier: BSD-3-Clause
"""Clients of a listener that have connected and are no channels yet.

Threads share them: a thread takes one that can go on, goes on with it, and puts it back. A
forked child has none of them. They are the parent's, who goes on with them, and the child closes
its copies of their sockets.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import threading
import time

from .handshake.handshake import Handshake, Terms
from .handshake.link import Link

__all__ = ["Caller", "Callers"]

_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Caller:
    """One client: silent, or in the middle of its handshake."""

    def __init__(self, sock: socket.socket, terms: Terms, patience: float) -> None:
        self.sock = sock
        self.handshake: Handshake | None = None  # None: it has said nothing yet
        self.end = time.monotonic() + patience  # then it is dropped
        self.spoke: float | None = None  # when it last said something
        self.seen = time.monotonic()  # when it did that, or connected
        self._terms = terms
        self._patience = patience

    @property
    def events(self) -> int:
        """What its socket has to be ready for before it can go on, as for poll(2)."""
        return select.POLLIN if self.handshake is None else self.handshake.events

    def step(self) -> Link | None:
        """Go on with it. See `Handshake.step`."""
        self.spoke = self.seen = time.monotonic()
        if self.handshake is None:
            self.end = self.spoke + self._patience
            self.handshake = Handshake(self.sock, self._terms, self.end)
        return self.handshake.step()

    def close(self) -> None:
        """Hang up. Closing twice, or after its channel was made, is no error."""
        if self.handshake is not None:
            self.handshake.abandon()
        self.sock.close()


class Callers:
    """The clients that wait for a thread to go on with them; and a descriptor for poll(2)."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may close the listener
        self._waiting: dict[int, Caller] = {}  # by descriptor, the one that waits longest first
        self._closed = False
        self._epoll: select.epoll | None = None

    def all(self) -> dict[int, Caller]:
        """Those that wait, by descriptor."""
        with self._lock:
            return dict(self._waiting)

    def put(self, caller: Caller) -> None:
        """Let one wait, behind the others. After `close` it is closed."""
        with self._lock:
            if not self._closed:
                self._waiting[caller.sock.fileno()] = caller
                if self._epoll is not None:
                    with contextlib.suppress(OSError):  # no memory: it is seen by the next accept
                        self._epoll.register(caller.sock, caller.events)
                return
        caller.close()

    def take(self, caller: Caller) -> bool:
        """Take one to go on with. False: another thread was faster."""
        with self._lock:
            number = caller.sock.fileno()
            if self._waiting.get(number) is not caller:
                return False
            del self._waiting[number]
            if self._epoll is not None:
                with contextlib.suppress(OSError):
                    self._epoll.unregister(number)
            return True

    def take_silent(self) -> Caller | None:
        """Take the one that has been silent longest; None: none is silent."""
        with self._lock:
            for caller in self._waiting.values():
                if caller.handshake is None:
                    self.take(caller)
                    return caller
        return None

    def fileno(self, listening: int) -> int:
        """A descriptor that is readable while one of them can go on, or somebody connects.

        `listening`: the socket at which they connect. OSError: no descriptor is left.
        """
        with self._lock:
            if self._closed:
                return -1
            if self._epoll is None:
                try:
                    self._epoll = self._watch(listening)
                except OSError as error:
                    if error.errno in _NO_DESCRIPTORS:
                        raise
                    return listening  # no epoll in this sandbox; this tells when somebody connects
            return self._epoll.fileno()

    def _watch(self, listening: int) -> select.epoll:
        epoll = select.epoll()
        try:
            epoll.register(listening, select.EPOLLIN)
            for number, caller in self._waiting.items():
                epoll.register(number, caller.events)
        except BaseException:
            epoll.close()
            raise
        return epoll

    def close(self) -> None:
        """Hang up on all that wait. Closing twice is no error."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, {}
            epoll, self._epoll = self._epoll, None
        for caller in waiting.values():
            caller.close()
        if epoll is not None:
            epoll.close()

    def renew(self, listening: int) -> None:
        """In a forked child: forget the parent's clients.

        The descriptor keeps its number, which may be known to an event loop, and is the child's.
        """
        self._lock = threading.RLock()
        self._waiting = {}  # their sockets are closed one by one, as `forks` was told
        inherited, self._epoll = self._epoll, None
        if inherited is None:
            return
        try:
            with contextlib.closing(self._watch(listening)) as own:
                os.dup2(own.fileno(), inherited.fileno(), inheritable=False)
        except OSError:
            inherited.close()
            raise
        self._epoll = inherited
