# SPDX-License-Identifier: BSD-3-Clause
"""An end of a pipe until its channel is there: whose it is, the handshake, and what to sleep on.

An end is unclaimed, then claimed, then met: then the handshake is over here, and what this end
writes goes over the channel.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from .. import forks
from .._core import channel as core
from .._core import handshake as processes
from .._core.results import CLOSED_HERE, FORKED, error_for
from .._core.waiting import ManyWaiter
from ..arguments import FOREVER, remaining
from ..errors import ChannelClosed, PeerDied
from ..handshake.handshake import Handshake, Terms
from ..messages import exit as at_exit
from .handles import Handles
from .poller import Bell, Poller, poll
from .posts import Posts
from .state import ELSEWHERE, LIVE, State

if TYPE_CHECKING:
    from .._core.types import Chan, Worker
    from ..handshake.link import Link

__all__ = ["Claim", "Owner"]

_TERMS: Final = Terms("pipe", client=False)


class Owner(Protocol):
    """An end, as this module knows it. Its methods are called under the lock."""

    def _make_channel(self, link: Link) -> Chan:
        """The channel is there from now on. An error lets go of the link."""

    def _now_met(self) -> None:
        """What is written goes over the channel."""

    def _now_through(self) -> None:
        """What is read comes over the channel, too."""

    def close(self, timeout: float | None = 5) -> None:
        """Deliver what was posted, and close."""


class Claim:
    """What an end of a pipe has beside its channel, but for its messages.

    `owner` is the end. All methods may be called by several threads.
    """

    def __init__(self, handles: Handles, owner: Owner) -> None:
        self.state = State.UNCLAIMED
        self.peer_pid = 0  # 0: it is not known yet
        self.made_by = 0  # the process that has claimed it
        self._handles = handles
        self._owner = weakref.ref(owner)  # whose calls these are, and so it is alive in them
        self._lock = threading.RLock()  # a signal handler may close
        self._handshake: Handshake | None = None
        self._steps = False  # a thread makes a step of it
        self._failure: Exception | None = None  # of the handshake
        self._pidfd = -1  # of the other end's process
        self._chan: Chan | None = None
        self._posts = Posts()
        self._poller = Poller()
        self._poller.add(handles.line.fileno())
        self._watched_sock = -1
        self._bell = Bell()
        self._leave_by = 0.0  # the moment, while the interpreter ends
        forks.in_child(self, Claim._forked)

    @property
    def _end_object(self) -> Owner:
        owner = self._owner()
        assert owner is not None
        return owner

    def _met(self) -> None:
        """The channel is there: the state is to be MET."""
        raise NotImplementedError

    def close(self, deadline: float | None, *, tells: bool = False) -> None:
        """See `Early.close`."""
        raise NotImplementedError

    # Whose it is

    def claim(self) -> None:
        """Claim the end for this process, if that was not done. ChannelClosed: it is another's."""
        if self.state is State.UNCLAIMED:
            with self._lock, forks.held_off():
                if self.state is State.UNCLAIMED:
                    self._claim()
        self.check()

    def _claim(self) -> None:
        if not self._handles.claim():
            self._lose()
            return
        self.state = State.CLAIMED
        self.made_by = os.getpid()
        self._handshake = Handshake(self._handles.sock, _TERMS, time.monotonic() + FOREVER)
        at_exit.enlist(self)
        self.advance()  # says hello

    def _lose(self) -> None:
        self.state = State.ELSEWHERE
        self._let_go()

    def check(self) -> None:
        """ChannelClosed: the end cannot be used here, or not any more."""
        if self.state is State.CLOSED:
            raise error_for(CLOSED_HERE)
        if self.state is State.FORKED:
            raise error_for(FORKED)
        if self.state is State.ELSEWHERE:
            raise ChannelClosed(ELSEWHERE)

    def check_unclaimed(self) -> None:
        """As `check`; it has found out, too, whether another process has claimed the end."""
        with self._lock:
            if self.state is State.UNCLAIMED and self._handles.is_claimed():
                self._lose()
            self.check()

    def copy(self) -> Handles:
        """The descriptors, of which others may make copies.

        ChannelClosed: it cannot be used here. ValueError: this process has claimed it.
        """
        self.check_unclaimed()
        if self.state is not State.UNCLAIMED:
            raise ValueError(
                "this process has claimed this end of the pipe, by moving a message, and so it "
                "cannot be passed on; cure: pass it before it is used, or make another pipe"
            )
        return self._handles

    def _forked(self) -> None:
        """In a child: an unclaimed end is the child's, too."""
        self._lock = threading.RLock()
        self._steps = False
        self._bell.forked()  # the parent's, as is the next one
        self._poller.forget()
        if self.state in (State.CLAIMED, State.MET, State.THROUGH):
            self.state = State.FORKED
            self._handshake = None
            self._chan = None
            self._posts.fail_all(error_for(FORKED))
            self._let_go()

    # The handshake

    def advance(self) -> None:
        """Go on with the handshake as far as the other end has. Never waits for it."""
        if self._handshake is None:
            return
        with self._lock, forks.held_off():
            handshake = self._handshake
            if handshake is None or self._steps:  # a signal handler's call, in the middle of it
                return
            self._steps = True
            try:
                link = handshake.step()
                if link is not None:
                    self._begin_channel(link)
                elif not self.peer_pid:
                    self._note_peer(handshake)
            except Exception as error:
                self._handshake, self._failure = None, error
                self._handles.distrust()
                self._bell.ring()
            except BaseException:
                self._handshake = None
                self._bell.ring()
                self._failure = ConnectionAbortedError(
                    "a signal's exception interrupted the handshake of this pipe"
                )
                raise
            finally:
                self._steps = False

    def _note_peer(self, handshake: Handshake) -> None:
        """The other end has said hello. Copies of it elsewhere do not hide its process's death."""
        pid = handshake.peer_pid
        if pid:
            self.peer_pid = pid
            self._handles.notes.forget()
            self._pidfd = processes.pidfd_open(pid)
            if self._pidfd == -errno.ESRCH:
                self._fail()
            elif self._pidfd >= 0:
                self._poller.add(self._pidfd)

    def _begin_channel(self, link: Link) -> None:
        self._handshake = None
        self.peer_pid = link.pid
        self._chan = self._end_object._make_channel(link)
        at_exit.delist(self)
        self._close_pidfd()
        self._handles.notes.forget()
        if self._watched_sock >= 0:
            self._poller.remove(self._watched_sock)
        if self._poller.is_open:
            self._watch_channel()
        self._met()

    def _peer_is_gone(self) -> bool:
        """The process that has claimed the other end: has it died, be it before it said hello?"""
        if self._pidfd >= 0:
            return bool(poll([(self._pidfd, select.POLLIN)], 0))
        return self._waits_for_hello and self._handles.is_other_lost()

    @property
    def _waits_for_hello(self) -> bool:
        return self.state is State.CLAIMED and not self.peer_pid

    def _fail(self) -> None:
        if self._handshake is not None:
            self._handshake.abandon()
            self._handshake = None
        self._failure = PeerDied("the process at the other end of the pipe is gone")

    # Waiting

    def wait(self, deadline: float | None, *, room: bool = False, reads: bool = True) -> bool:
        """Sleep until it is worth looking again. False: the deadline has passed.

        `room`: wait for room on the line; `reads`: for what comes on it. What is queued is
        waited for as well, since the other end may wait for that in turn.
        """
        left = remaining(deadline)
        if left == 0:
            return False
        with self.sleeping(room=room, reads=reads) as watched:
            if watched and self.state is State.MET:
                self._wait_for_channel(watched, deadline)
            elif watched:
                poll(watched, left)
        return True

    @contextmanager
    def sleeping(self, *, reads: bool, room: bool = False) -> Iterator[list[tuple[int, int]]]:
        """A thread sleeps in here on these descriptors. There are none if the state has changed."""
        with self._lock:
            if self.state not in (*LIVE, State.MET):
                yield []
                return
            bell = self._bell.enter()
            watched = self._watched(room=room, reads=reads)
        try:
            yield [(bell, select.POLLIN), *watched]
        finally:
            with self._lock:
                self._bell.leave(close=self.state not in LIVE)

    def _watched(self, *, room: bool, reads: bool) -> list[tuple[int, int]]:
        room |= self._posts.needs_room
        reads |= bool(self._posts.reads)
        events = (select.POLLOUT if room else 0) | (select.POLLIN if reads else 0)
        watched = [(self._handles.line.fileno(), events)]
        if self._handshake is not None:
            watched.append((self._handles.sock.fileno(), self._handshake.events))
        if self._pidfd >= 0:
            watched.append((self._pidfd, select.POLLIN))
        if self._waits_for_hello:
            watched += [(fd, select.POLLIN) for fd in self._handles.notes.watched]
        return watched

    def _wait_for_channel(self, watched: list[tuple[int, int]], deadline: float | None) -> None:
        """For these, and for the channel."""
        chan = self._chan
        if chan is None:
            return
        with select.epoll() as both:
            for fd, events in watched:
                both.register(fd, events)
            waiter = ManyWaiter([chan], (), 0, also=both.fileno())
            try:
                waiter.step(deadline, spins=True)
            finally:
                waiter.give_up()

    # A descriptor for event loops

    def fileno(self) -> int:
        """A descriptor that is readable when a message waits, before and after there is a channel.

        It is an epoll(7) of its own, so that it stays the same.
        """
        with self._lock:
            self.check_unclaimed()
            if not self._poller.is_open:
                with forks.held_off():
                    if self._chan is not None:
                        self._watch_channel()
                    return self._poller.fileno()
            return self._poller.fileno()

    def _watch_handshake(self) -> None:
        """Its steps are news."""
        self._watched_sock = self._handles.sock.fileno()
        self._poller.add(self._watched_sock)

    def _watch_channel(self) -> None:
        """Where somebody sleeps on the descriptor. It costs the channel one of its own."""
        assert self._chan is not None
        fd = core.fileno(self._chan)
        if fd < 0:
            raise error_for(fd)
        self._poller.add(fd)

    # Ending

    def _let_go(self) -> None:
        self._bell.ring()
        self._bell.close()
        self._poller.close()
        self._handles.close()
        self._close_pidfd()

    def _close_pidfd(self) -> None:
        fd, self._pidfd = self._pidfd, -1
        if fd >= 0:
            self._poller.remove(fd)
            os.close(fd)

    # At the end of the interpreter

    def begin_drain(self) -> None:
        """See `exit.End`. What is on the line stays there."""
        self._leave_by = time.monotonic() + at_exit.TIMEOUT

    def handles(self) -> tuple[list[Chan], list[Worker]]:
        """See `exit.End`."""
        return [], []

    def cut_off(self) -> None:
        """See `exit.End`. What was posted is given the time that is left to both ends to meet."""
        if self.state is not State.CLAIMED:
            return
        owner = self._owner()
        if owner is not None and self._posts.writes:
            with contextlib.suppress(TimeoutError):
                owner.close(max(0.0, self._leave_by - time.monotonic()))
        else:
            self.close(time.monotonic())
