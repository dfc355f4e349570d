# SPDX-License-Identifier: BSD-3-Clause
"""An end of a pipe before it is a channel: who owns it, and what comes over the line meanwhile.

An end is unclaimed, then claimed, then met: then the handshake is over here, and what this end
writes goes over the channel. It is through once it has read all that the other end put on the
line. What is left then is a channel like any other.

A handshake takes steps of both ends, and they are made in calls. So until it is over, messages go
over the line as far as they fit there. No call has to wait for a process that computes.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import select
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from .. import forks
from .._core import channel as core
from .._core import handshake as processes
from .._core.results import CLOSED_HERE, FORKED, error_for
from .._core.waiting import ManyWaiter
from ..arguments import FOREVER, remaining
from ..connect import counter
from ..connect.line import Head, Line, Put, What
from ..errors import ChannelClosed, PeerDied
from ..handshake.handshake import Handshake, Terms
from ..messages import exit as at_exit
from .handles import Handles

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from .._core.types import Chan, Worker
    from ..handshake.link import Link

__all__ = ["Early", "State"]

T = TypeVar("T")

_TERMS: Final = Terms("pipe", client=False)

_ELSEWHERE: Final = (
    "another process has claimed this end of the pipe, by moving a message: only that process "
    "uses it; cure: make a pipe for each pair of processes, and close the copies that are not used"
)


class State(enum.Enum):
    """Of this copy of an end."""

    UNCLAIMED = enum.auto()
    CLAIMED = enum.auto()  # by this process
    MET = enum.auto()  # the channel is there
    THROUGH = enum.auto()  # and nothing is left on the line
    CLOSED = enum.auto()
    ELSEWHERE = enum.auto()  # another process has claimed it
    FORKED = enum.auto()  # this is a child of the process that had claimed it


_LIVE: Final = (State.UNCLAIMED, State.CLAIMED)


class Owner(Protocol):
    """An end, as this module knows it. Its methods are called under the lock."""

    def _make_channel(self, link: Link) -> Chan:
        """The channel is there from now on. An error lets go of the link."""

    def _now_met(self) -> None:
        """What is written goes over the channel."""

    def _now_through(self) -> None:
        """What is read comes over the channel, too."""


class Early:
    """What an end of a pipe has beside its channel.

    `owner` is the end. All methods may be called by several threads.
    """

    def __init__(self, handles: Handles, owner: Owner) -> None:
        self.state = State.UNCLAIMED
        self.sent = 0  # messages that went over the line
        self.taken = 0
        self.peer_pid = 0  # 0: it is not known yet
        self.made_by = 0  # the process that has claimed it
        self._handles = handles
        self._owner = weakref.ref(owner)  # whose calls these are, and so it is alive in them
        self._lock = threading.RLock()  # a signal handler may close
        self._handshake: Handshake | None = None
        self._steps = False  # a thread makes a step of it
        self._failure: Exception | None = None  # of the handshake
        self._coming = False  # a message is, by the channel
        self._announced = False  # the other end was told that one of ours is
        self._expected: int | None = None  # so many messages the other end has put on the line
        self._pidfd = -1  # of the other end's process
        self._chan: Chan | None = None
        self._epoll: select.epoll | None = None
        self._watched_sock = -1
        self._bell = -1  # an eventfd for threads that wait here
        self._waiting = 0  # so many of them
        forks.in_child(self, Early._forked)

    @property
    def _end_object(self) -> Owner:
        owner = self._owner()
        assert owner is not None
        return owner

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
            raise ChannelClosed(_ELSEWHERE)

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
        self._waiting = 0
        if self._bell >= 0:
            os.close(self._bell)  # the parent's, as is the next one
            self._bell = -1
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None
        if self.state in (State.CLAIMED, State.MET, State.THROUGH):
            self.state = State.FORKED
            self._handshake = None
            self._chan = None
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
                self._ring()
            except BaseException:
                self._handshake = None
                self._ring()
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
            elif self._epoll is not None:
                self._watch_peer(self._epoll)

    def _begin_channel(self, link: Link) -> None:
        self._handshake = None
        self.peer_pid = link.pid
        self._chan = self._end_object._make_channel(link)
        at_exit.delist(self)
        self._close_pidfd()
        self._handles.notes.forget()
        self._handles.notes.tell(self.sent)
        self.state = State.MET
        self._ring()
        self._close_bell()
        self._end_object._now_met()
        if self._epoll is not None:
            if self._watched_sock >= 0:
                self._epoll.unregister(self._watched_sock)
            self._watch_channel(self._epoll)
        self._look_whether_through()

    def _look_whether_through(self) -> bool:
        if self._expected is None:
            self._handles.notes.listen()
            self._expected = self._handles.notes.told
        if self._expected is None or self.taken < self._expected:
            return False
        self._finish()
        return True

    def _finish(self) -> None:
        """Nothing is left on the line. It stays open: its end would look like news to the other.

        That one may announce something just now, which is no news any more.
        """
        self.state = State.THROUGH
        if self._epoll is not None:
            self._epoll.unregister(self._handles.line.fileno())
        self._handles.close_all_but_line()
        self._end_object._now_through()

    # Reading

    def take(self, take: Callable[[Head], T], deadline: float | None, call: str) -> list[T]:
        """Take the next message: what `take` makes of it, in a list, is returned.

        An empty list: it comes by the channel. What `take` raises leaves the message where it
        is, if it has not read it. TimeoutError: none came. ChannelEnded: none will.
        """
        self.claim()
        while True:
            with self._lock:
                found = self._look(claims=True)
                if isinstance(found, Head):
                    result = take(found)
                    self._count_taken()
                    return [result]
                if found:
                    return []
            if not self.wait(deadline):
                raise TimeoutError(f"{call} met no counterpart in time: nothing came")

    @property
    def line(self) -> Line:
        """Where `take` finds the message."""
        return self._handles.line

    def _count_taken(self) -> None:
        self.taken += 1
        if self.state is State.MET:
            self._look_whether_through()

    def look(self) -> Head | bool:
        """The next message, or that one which comes by the channel, is there. Takes nothing.

        True: the channel has it. False: there is none yet. ChannelEnded: none will come.
        """
        with self._lock:
            self.check_unclaimed()
            return self._look(claims=False)

    def _look(self, *, claims: bool) -> Head | bool:
        self.check()
        self.advance()
        while self.state is not State.THROUGH:
            if self.state is State.MET and self._look_whether_through():
                break
            head = self._handles.line.head()
            if head is None:
                return self._nothing()
            if head.what is What.MESSAGE:
                return head
            if head.what is What.COMING:
                if not claims and self.state is not State.MET:
                    return head
                self._handles.line.drop()
                self._expect_by_channel()
                continue
            self.advance()  # the last words of the other end's handshake came before that
            if self.state is not State.MET:
                raise self._ended(head.what)
            self._finish()
        return True

    def _expect_by_channel(self) -> None:
        """A message comes by the channel. Who has the channel, and says so, is through with it.

        Until it is there, its handshake is news for those who wait for the message.
        """
        self.advance()
        if self.state is State.CLAIMED and not self._coming:
            self._coming = True
            if self._epoll is not None:
                self._watch_handshake(self._epoll)

    def _nothing(self) -> bool:
        """The line is empty. True: it will stay so."""
        if self.state is State.MET:
            assert self._chan is not None
            rc, kind, _ = core.peek(self._chan)
            if (rc or kind) and self._handles.line.head() is None:
                self._finish()
                return True
            return False
        if self._failure is None and self._peer_is_gone() and self._handles.line.head() is None:
            self._fail()
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        return False

    def _peer_is_gone(self) -> bool:
        """The process that has claimed the other end: has it died, be it before it said hello?"""
        if self._pidfd >= 0:
            return bool(_ready([(self._pidfd, select.POLLIN)], 0))
        return self._waits_for_hello and self._handles.is_other_lost()

    @property
    def _waits_for_hello(self) -> bool:
        return self.state is State.CLAIMED and not self.peer_pid

    def _fail(self) -> None:
        if self._handshake is not None:
            self._handshake.abandon()
            self._handshake = None
        self._failure = PeerDied("the process at the other end of the pipe is gone")

    def _ended(self, what: What) -> Exception:
        """Why nothing will come, at the end of the line."""
        if what is What.END or not (self.peer_pid or self._peer_is_gone()):
            return ChannelClosed("the peer closed its end of the pipe; all it wrote was read")
        return PeerDied("the process at the other end of the pipe ended without closing it")

    # Writing

    def put(
        self,
        kind: int,
        parts: Sequence[ReadableBuffer] | None,
        nbytes: int,
        deadline: float | None,
        call: str,
    ) -> bool:
        """Write a message, and wait until it is on the line.

        False: write it to the channel, which is there. `parts` of None means that the message
        cannot travel over the line. TimeoutError: nothing of it was written.
        """
        self.claim()
        told = False  # the other end knows that something comes
        while True:
            self.advance()
            with self._lock:
                self.check()
                if self.state is not State.CLAIMED:
                    self._announce(kind, nbytes)
                    return False
                if self._failure is not None:
                    raise self._cannot_write()
                done = Put.TOO_LONG
                if parts is not None:
                    done = self._handles.line.put(What.MESSAGE, kind, nbytes, parts)
                if done is Put.SENT:
                    self.sent += 1
                    return True
                if done is Put.TOO_LONG and not told:
                    done = self._handles.line.put(What.COMING, kind, nbytes)
                    told = done is Put.SENT
                if self._peer_is_gone():
                    self._fail()
                if self._failure or done is Put.GONE or self._handles.line.is_hung_up():
                    raise self._cannot_write()
            if not self.wait(deadline, room=done is Put.FULL, reads=False):
                raise TimeoutError(f"{call} met no counterpart in time: nothing was written")

    def _announce(self, kind: int, nbytes: int) -> None:
        """Say once that a message comes by the channel, of which the other end may know nothing.

        Where the line is full, it has something to read there, and sees the channel when it does.
        """
        if self.state is State.MET and not self._look_whether_through() and not self._announced:
            self._announced = True
            if self._expected is None:
                self._handles.line.put(What.COMING, kind, nbytes)

    def _cannot_write(self) -> Exception:
        if self._failure is not None and not isinstance(self._failure, PeerDied):
            return self._failure.with_traceback(None)
        head = self._handles.line.head()
        closed = head is not None and head.what is not What.GONE
        if closed and head != Head(What.END) and self._peer_is_gone():
            closed = False  # what it says last is not known yet
        return self._ended(What.END if closed else What.GONE)

    def meet(self, deadline: float | None, call: str) -> None:
        """Wait until the channel is there."""
        self.put(0, None, 0, deadline, call)

    # Waiting

    def wait(self, deadline: float | None, *, room: bool = False, reads: bool = True) -> bool:
        """Sleep until it is worth looking again. False: the deadline has passed.

        `room`: wait for room on the line; `reads`: for what comes on it.
        """
        left = remaining(deadline)
        if left == 0:
            return False
        if self.state is State.MET:
            self._wait_for_both(deadline)
            return True
        with self._lock:
            watched = self._watched(room=room, reads=reads)
            if not watched:
                return True
            self._waiting += 1
        try:
            _ready(watched, left)
        finally:
            with self._lock:
                self._waiting -= 1
                self._close_bell()
        return True

    def _watched(self, *, room: bool, reads: bool) -> list[tuple[int, int]]:
        """What a thread waits for; nothing if the state has changed."""
        if self.state not in _LIVE:
            return []
        if self._bell < 0:
            self._bell = counter.make(0)
        events = (select.POLLOUT if room else 0) | (select.POLLIN if reads else 0)
        watched = [(self._bell, select.POLLIN), (self._handles.line.fileno(), events)]
        if self._handshake is not None:
            watched.append((self._handles.sock.fileno(), self._handshake.events))
        if self._pidfd >= 0:
            watched.append((self._pidfd, select.POLLIN))
        if self._waits_for_hello:
            watched += [(fd, select.POLLIN) for fd in self._handles.notes.watched]
        return watched

    def _ring(self) -> None:
        """Threads that wait have to look again: what they wait for will not happen there."""
        if self._bell >= 0:
            counter.add(self._bell, 1)

    def _close_bell(self) -> None:
        """Once nobody waits for it any more."""
        if self._bell >= 0 and not self._waiting and self.state not in _LIVE:
            fd, self._bell = self._bell, -1
            os.close(fd)

    def _wait_for_both(self, deadline: float | None) -> None:
        """For the line, and for the channel."""
        chan = self._chan
        if chan is None:
            return
        waiter = ManyWaiter([chan], (), 0, also=self._handles.line.fileno())
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
            if self._epoll is None:
                with forks.held_off():
                    epoll = select.epoll()
                    if self.state is not State.THROUGH:
                        epoll.register(self._handles.line.fileno(), select.EPOLLIN)
                    if self._chan is not None:
                        self._watch_channel(epoll)
                    else:
                        self._watch_peer(epoll)
                        if self._coming:
                            self._watch_handshake(epoll)
                    self._epoll = epoll
            return self._epoll.fileno()

    def _watch_peer(self, epoll: select.epoll) -> None:
        """Its death is the end: copies of the other end may live on elsewhere."""
        if self._pidfd >= 0:
            epoll.register(self._pidfd, select.EPOLLIN)

    def _watch_handshake(self, epoll: select.epoll) -> None:
        epoll.register(self._handles.sock.fileno(), select.EPOLLIN)
        self._watched_sock = self._handles.sock.fileno()

    def _watch_channel(self, epoll: select.epoll) -> None:
        assert self._chan is not None
        fd = core.fileno(self._chan)
        if fd < 0:
            raise error_for(fd)
        epoll.register(fd, select.EPOLLIN)

    # Ending

    def close(self, deadline: float | None) -> None:
        """Close this copy; if this process has claimed the end, close the end.

        Once there is a channel, that is closed before. Closing twice is no error.
        """
        while True:
            with self._lock:
                state = self.state
                if state in (State.CLOSED, State.ELSEWHERE, State.FORKED):
                    return
                full = state is State.CLAIMED and (self._handles.line.put(What.END) is Put.FULL)
                if not full or remaining(deadline) == 0:
                    self._end(state)
                    return
            self.wait(deadline, room=True, reads=False)

    def _end(self, state: State) -> None:
        self.state = State.CLOSED
        at_exit.delist(self)
        self._chan = None
        if self._handshake is not None:
            self._handshake.abandon()
            self._handshake = None
        if state is State.CLAIMED:
            # For all copies of the end, since nobody else may use them.
            with contextlib.suppress(OSError):
                self._handles.sock.shutdown(2)
        if state is State.MET:
            self._handles.line.put(What.END)
        if state is State.UNCLAIMED:
            self._handles.line.close()
        else:
            self._handles.line.hang_up()
        self._let_go()

    def _let_go(self) -> None:
        self._ring()
        self._close_bell()
        self._handles.close()
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None
        self._close_pidfd()

    def _close_pidfd(self) -> None:
        fd, self._pidfd = self._pidfd, -1
        if fd >= 0:
            if self._epoll is not None:  # a forked child's copy would keep it there
                self._epoll.unregister(fd)
            os.close(fd)

    # At the end of the interpreter

    def begin_drain(self) -> None:
        """See `exit.End`. What is on the line stays there."""

    def handles(self) -> tuple[list[Chan], list[Worker]]:
        """See `exit.End`."""
        return [], []

    def cut_off(self) -> None:
        """See `exit.End`."""
        if self.state is State.CLAIMED:
            self.close(time.monotonic())


def _ready(watched: list[tuple[int, int]], seconds: float | None) -> list[tuple[int, int]]:
    """Those descriptors that are ready, at the latest after so many seconds."""
    poll = select.poll()
    for fd, events in watched:
        if fd >= 0:
            poll.register(fd, events)
    return poll.poll(None if seconds is None else min(seconds, FOREVER) * 1000)
