# SPDX-License-Identifier: BSD-3-Clause
"""The messages of an end of a pipe before all of them go over its channel.

An end is through once it has met, and has read all that the other end put on the line. What is
left then is a channel like any other.

A handshake takes steps of both ends, and they are made in calls. So until it is over, messages go
over the line as far as they fit there. No call has to wait for a process that computes. What was
posted and cannot go yet waits in a queue, and the channel takes it over in order: writes when this
end has met, and reads when it is through. Whoever makes a call that waits comes after what was
posted before, by this thread or another.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from .._core import channel as core
from .._core.results import CLOSED_HERE, error_for
from ..arguments import remaining
from ..connect.line import Head, Line, Put, What
from ..errors import ChannelClosed, MessagesLost, PeerDied
from ..messages import exit as at_exit
from .claim import Claim, Owner
from .handles import Handles
from .posts import Outgoing
from .requests import EarlyRequest
from .state import State

__all__ = ["Early"]

T = TypeVar("T")


class Early(Claim):
    """What an end of a pipe has beside its channel."""

    def __init__(self, handles: Handles, owner: Owner) -> None:
        super().__init__(handles, owner)
        self.sent = 0  # messages that went over the line
        self.taken = 0
        self._coming = False  # a message is, by the channel
        self._announced = False  # the other end was told that one of ours is
        self._expected: int | None = None  # so many messages the other end has put on the line

    # From the line to the channel

    def _met(self) -> None:
        self._handles.notes.tell(self.sent)
        self.state = State.MET
        self._bell.ring()
        self._bell.close()
        self._end_object._now_met()
        self._push()
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
        self._poller.remove(self._handles.line.fileno())
        self._handles.close_all_but_line()
        while self._posts.reads:
            self._posts.reads.popleft().take_over()
        self._bell.ring()
        self._end_object._now_through()

    # Posts

    def post_read(self, request: EarlyRequest) -> None:
        """Queue a read, and take what is there for it. ChannelClosed: the end is not usable."""
        with self._lock:
            self.check()
            if self.state is State.THROUGH:
                request.take_over()
                return
            self._posts.add(request, self._posts.reads)
            self._pull()

    def post_write(self, request: EarlyRequest) -> None:
        """Queue a write, and put it on the line if there is room. See `post_read`."""
        self.advance()
        with self._lock:
            self.check()
            self._posts.add(request, self._posts.writes)
            self._push()

    def go_on(self) -> None:
        """See `requests.Pending`."""
        self.advance()
        with self._lock:
            self._push()
            self._pull()

    def withdraw(self, request: EarlyRequest) -> bool:
        """See `requests.Pending`."""
        with self._lock:
            if request._unmet is None:
                return False
            self._posts.remove(request)
            request.withdrawn()
            self._bell.ring()
            self._push()  # what comes behind it may fit
            return True

    def _pull(self) -> None:
        """Take messages from the line for the reads that are queued."""
        reads = self._posts.reads
        while reads:
            try:
                found = self._look(claims=True)
            except Exception as error:
                self._posts.fail(reads, error)
                self._bell.ring()
                return
            if not isinstance(found, Head):
                return  # there is none; or the channel has taken them over
            request = reads.popleft()
            take: Callable[[Head], Any] = request.what
            try:
                value = take(found)
            except Exception as error:  # the message stays, for the next one
                request.fail(error)
            else:
                request.finish(value)
                self._count_taken()
            self._bell.ring()

    def _push(self) -> None:
        """Write what is queued, as far as that is possible."""
        writes = self._posts.writes
        self._posts.needs_room = False
        while writes:
            message: Outgoing = writes[0].what
            if self.state is not State.CLAIMED:
                self._announce(message)
                writes.popleft().take_over()
            elif (done := self._put(message)) is Put.SENT:
                writes.popleft().finish(message.nbytes)
            elif done is Put.GONE:
                self._posts.fail(writes, self._cannot_write())
            else:
                self._posts.needs_room = done is Put.FULL
                return
            self._bell.ring()

    def _put(self, message: Outgoing) -> Put:
        """Put it on the line. GONE: nobody will ever read it."""
        if self._failure is None:
            # Counted before, as a signal's exception may come once it is there. A reader that
            # expects more than there is sees that the line is empty.
            self.sent += 1
            done = message.put(self._handles.line)
            if done is Put.SENT:
                return done
            self.sent -= 1
            if self._peer_is_gone():
                self._fail()
            elif not self._handles.line.is_hung_up():
                return done
        return Put.GONE

    # Reading

    def take(self, take: Callable[[Head], T], deadline: float | None, call: str) -> list[T]:
        """Take the next message: what `take` makes of it, in a list, is returned.

        An empty list: it comes by the channel. What `take` raises leaves the message where it
        is, if it has not read it. TimeoutError: none came. ChannelEnded: none will.
        """
        self.claim()
        before = self._posts.last_read()
        while True:
            with self._lock:
                self._push()
                self._pull()
                self.check()
                if before is None or before._unmet is None:
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

        It is none that a read which was posted gets. True: the channel has it. False: there is
        none yet. ChannelEnded: none will come.
        """
        with self._lock:
            self.check_unclaimed()
            self._push()
            self._pull()
            return self._look(claims=False) if not self._posts.reads else False

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
                raise self._ended(head)
            self._finish()
        return True

    def _expect_by_channel(self) -> None:
        """A message comes by the channel. Who has the channel, and says so, is through with it.

        Until it is there, its handshake is news for those who wait for the message.
        """
        self.advance()
        if self.state is State.CLAIMED and not self._coming:
            self._coming = True
            if self._handshake is not None:
                self._watch_handshake()

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

    def _ended(self, head: Head) -> Exception:
        """Why nothing will come, at the end of the line."""
        if head.what is What.END and head.nbytes:
            return MessagesLost(
                f"the peer closed its end of the pipe before it was used here: {head.nbytes} of "
                f"{head.kind} messages are lost",
                posted=head.kind,
                withdrawn=head.nbytes,
            )
        if head.what is What.END or not (self.peer_pid or self._peer_is_gone()):
            return ChannelClosed("the peer closed its end of the pipe; all it wrote was read")
        return PeerDied("the process at the other end of the pipe ended without closing it")

    # Writing

    def put(self, message: Outgoing, deadline: float | None, call: str) -> bool:
        """Write a message, and wait until it is on the line.

        False: write it to the channel, which is there. TimeoutError: nothing of it was written.
        """
        self.claim()
        before = self._posts.last_write()
        while True:
            self.advance()
            with self._lock:
                self.check()
                self._push()
                self._pull()
                room = False
                if before is None or before._unmet is None:
                    if self.state is not State.CLAIMED:
                        self._announce(message)
                        return False
                    done = self._put(message)
                    if done is Put.SENT:
                        return True
                    if done is Put.GONE:
                        raise self._cannot_write()
                    room = done is Put.FULL
            if not self.wait(deadline, room=room, reads=False):
                raise TimeoutError(f"{call} met no counterpart in time: nothing was written")

    def _announce(self, message: Outgoing) -> None:
        """Say once that a message comes by the channel, of which the other end may know nothing.

        Where the line is full, it has something to read there, and sees the channel when it does.
        """
        if self.state is State.MET and not self._look_whether_through() and not self._announced:
            self._announced = True
            if self._expected is None:
                self._handles.line.put(What.COMING, message.kind, message.nbytes)

    def _cannot_write(self) -> Exception:
        if self._failure is not None and not isinstance(self._failure, PeerDied):
            return self._failure.with_traceback(None)
        head = self._handles.line.head()
        closed = head is not None and head.what is not What.GONE
        if closed and head is not None and head.what is not What.END and self._peer_is_gone():
            closed = False  # what it says last is not known yet
        return self._ended(Head(What.END if closed else What.GONE))

    # Ending

    def deliver(self, deadline: float | None) -> bool:
        """Before a close, wait until what was posted is written. True: there is a channel."""
        while self._posts.writes:
            self.go_on()
            if not self._posts.writes or not self.wait(deadline, reads=False):
                break
        return self.state in (State.MET, State.THROUGH)

    def close(self, deadline: float | None, *, tells: bool = False) -> None:
        """Close this copy; if this process has claimed the end, close the end.

        Once there is a channel, that is closed before. Closing twice is no error. `tells`: warn
        if something that was posted is lost.
        """
        while True:
            with self._lock:
                state = self.state
                if state in (State.CLOSED, State.ELSEWHERE, State.FORKED):
                    return
                full = state is State.CLAIMED and self._put_end() is Put.FULL
                if not full or remaining(deadline) == 0:
                    self._end(state, tells)
                    return
            self.wait(deadline, room=True, reads=False)

    def _put_end(self) -> Put:
        """Say that nothing follows, and how much is lost of what was posted."""
        lost = len(self._posts.writes)
        return self._handles.line.put(What.END, self.sent + lost if lost else 0, lost)

    def _end(self, state: State, tells: bool) -> None:
        self.state = State.CLOSED
        at_exit.delist(self)
        self._chan = None
        lost = len(self._posts.writes)
        self._posts.fail_all(error_for(CLOSED_HERE))
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
        if lost and tells:
            warnings.warn(
                f"both ends of a pipe had not met before this one was closed: {lost} messages that "
                "were posted are lost; wait for them before you close, or close with a longer "
                "timeout",
                ResourceWarning,
                stacklevel=4,
            )
