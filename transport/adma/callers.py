# SPDX-License-Identifier: BSD-3-Clause
"""Clients of a listener that have connected and are no channels yet.

Threads share them: a thread takes one that can go on, goes on with it, and puts it back. A
forked child has none of them. They are the parent's, who goes on with them, and the child closes
its copies of their sockets.

Callers of other users are *guests*, of whom there is a limit, for each user and for all. A guest
beyond it takes the place of one that has said least, of its own user or of the one that has most.
Of those that can go on, the users take turns. Descriptors that were passed to a guest count
against this process's user until they are read (unix(7)). So a guest whose handshake failed
before it read them keeps its place, and so do descriptors of its user whose close blocks.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import resource
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

from .connect.identity import closing_apart, credentials_of, hang_up, is_same_user, unread
from .handshake.handshake import Handshake, Terms
from .handshake.link import Link

__all__ = ["Caller", "Callers"]

T = TypeVar("T", int, float)

_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_GUESTS = 64  # at once, of all users; fewer where few descriptors are allowed
_SHARE = 4  # a user's guests are at most this part of them
_DESCRIPTORS = 16  # that a guest may cost here in the middle of its handshake, generously
_CLOSING = 32  # descriptors of one user whose close is under way, beyond which it gets no further
_LAPSE = 10.0  # seconds for which a user is not waited for whose guest has failed
_QUIET = 1.0  # seconds between two warnings about the guests of one user
_USERS = 1024  # of whom something is remembered


class Caller:
    """One client: silent, or in the middle of its handshake."""

    def __init__(self, sock: socket.socket, terms: Terms, patience: float) -> None:
        self.sock = sock
        self.uid = credentials_of(sock).uid
        self.guest = not is_same_user(self.uid)
        self.handshake: Handshake | None = None  # None: it has said nothing yet
        self.end = time.monotonic() + patience  # then it is dropped
        self.spoke: float | None = None  # when it last said something
        self.came = self.seen = time.monotonic()  # when it was let in; when it last did something
        self._terms = terms
        self._patience = patience

    @property
    def events(self) -> int:
        """What its socket has to be ready for before it can go on, as for poll(2)."""
        return select.POLLIN if self.handshake is None else self.handshake.events

    def step(self, patience: float) -> Link | None:
        """Go on with it. See `Handshake.step`. `patience`: for which a probe may wait."""
        self.spoke = self.seen = time.monotonic()
        if self.handshake is None:
            self.end = self.spoke + self._patience
            terms = dataclasses.replace(self._terms, patience=patience)
            self.handshake = Handshake(self.sock, terms, self.end)
        return self.handshake.step()

    def let_go(self) -> None:
        """Let go of everything but the socket."""
        if self.handshake is not None:
            self.handshake.abandon()

    def owes(self) -> bool:
        """Were descriptors passed to this guest that it has not read?"""
        passed = self.handshake is not None and self.handshake.has_passed
        return self.guest and passed and self.sock.fileno() >= 0 and unread(self.sock) > 0

    def close(self) -> None:
        """Hang up. Closing twice, or after its channel was made, is no error."""
        self.let_go()
        hang_up(self.sock, self.uid)


class Callers:
    """The clients that wait for a thread to go on with them; and a descriptor for poll(2)."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may close the listener
        self._waiting: dict[int, Caller] = {}  # by descriptor, the one that waits longest first
        self._owing: list[Caller] = []  # guests that failed, and have not read what was passed
        self._turns: dict[int, int] = {}  # by user: the turn in which one of its callers was taken
        self._turn = 0
        self._lapses: dict[int, float] = {}  # by user: when a guest of it failed
        self._warned: dict[int, float] = {}
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        room = _GUESTS if soft == resource.RLIM_INFINITY else soft // _DESCRIPTORS
        self._guests_max = max(_SHARE, min(_GUESTS, room))
        self._share_max = max(2, self._guests_max // _SHARE)
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
            self._turn += 1
            _remember(self._turns, caller.uid, self._turn)
            del self._waiting[number]
            if self._epoll is not None:
                with contextlib.suppress(OSError):
                    self._epoll.unregister(number)
            return True

    def in_turn(self, callers: Iterable[Caller]) -> list[Caller]:
        """Those of the user whose turn was longest ago come first."""
        with self._lock:
            return sorted(callers, key=lambda caller: self._turns.get(caller.uid, 0))

    def admit(self, caller: Caller) -> Caller | None:
        """Let one wait that has just called. Returns the one that has no place, or None."""
        with self._lock:
            out = self._without_place(caller) if caller.guest else None
            if out is not None and out is not caller:
                self.take(out)
        if out is not caller:
            self.put(caller)
        return out

    def _without_place(self, new: Caller) -> Caller | None:
        if closing_apart(new.uid) > _CLOSING:
            return new
        self._owing, read = _split(self._owing)
        for each in read:
            each.close()
        waiting = Counter(each.uid for each in self._waiting.values() if each.guest)
        held = waiting + Counter(each.uid for each in self._owing)
        if held[new.uid] >= self._share_max:
            return self._least(new.uid) or new
        if held.total() < self._guests_max:
            return None
        most = max(waiting, key=held.__getitem__, default=new.uid)
        return self._least(most) or new if held[most] > held[new.uid] + 1 else new

    def _least(self, uid: int) -> Caller | None:
        """Of the callers of a user, the one that has been silent longest, or waits longest."""
        callers = [each for each in self._waiting.values() if each.uid == uid]
        return next((each for each in callers if each.handshake is None), next(iter(callers), None))

    def take_silent(self) -> Caller | None:
        """Take one that has been silent long, a guest first; None: none is silent."""
        with self._lock:
            silent = [each for each in self._waiting.values() if each.handshake is None]
            numbers = Counter(each.uid for each in silent if each.guest)
            if not silent:
                return None
            caller = max(silent, key=lambda each: numbers[each.uid])  # the first of those
            self.take(caller)
            return caller

    def drop(self, caller: Caller) -> None:
        """Hang up on one that was taken, whose handshake is over or goes on no more."""
        self.note_lapse(caller)
        caller.let_go()
        if caller.owes():
            with self._lock:
                if not self._closed:
                    with contextlib.suppress(OSError):
                        caller.sock.shutdown(socket.SHUT_RDWR)
                    self._owing.append(caller)
                    return
        caller.close()

    # Users that are not waited for

    def note_lapse(self, caller: Caller) -> None:
        """A guest failed, or has been silent for a while."""
        if caller.guest:
            with self._lock:
                _remember(self._lapses, caller.uid, time.monotonic())

    def is_trusted(self, caller: Caller) -> bool:
        """May others wait for it for a while? Not if a guest of its user failed lately."""
        lapse = self._lapses.get(caller.uid)
        return not caller.guest or lapse is None or time.monotonic() > lapse + _LAPSE

    def may_warn(self, caller: Caller) -> bool:
        """Is it time for a warning about a caller of this user? Guests must not flood a log."""
        if not caller.guest:
            return True
        now = time.monotonic()
        with self._lock:
            if now < self._warned.get(caller.uid, -_QUIET) + _QUIET:
                return False
            _remember(self._warned, caller.uid, now)
            return True

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
            callers = [*self._waiting.values(), *self._owing]
            self._waiting, self._owing = {}, []
            epoll, self._epoll = self._epoll, None
        for caller in callers:
            caller.close()
        if epoll is not None:
            epoll.close()

    def renew(self, listening: int) -> None:
        """In a forked child: forget the parent's clients.

        The descriptor keeps its number, which may be known to an event loop, and is the child's.
        """
        self._lock = threading.RLock()
        self._waiting, self._owing = {}, []  # the child closes their sockets, as `forks` was told
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


def _split(callers: list[Caller]) -> tuple[list[Caller], list[Caller]]:
    """Those that owe something, and the others."""
    owing = [each for each in callers if each.owes()]
    return owing, [each for each in callers if each not in owing]


def _remember(what: dict[int, T], uid: int, value: T) -> None:
    """Set it, as the newest. What is oldest is forgotten where there are too many users."""
    what.pop(uid, None)
    what[uid] = value
    if len(what) > _USERS:
        del what[next(iter(what))]
