# SPDX-License-Identifier: BSD-3-Clause
"""This process's end of a channel: the core's channel, what is posted on it, how it ends."""

from __future__ import annotations

import contextlib
import errno
import os
import time
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from .. import mechanisms
from .._core import channel as core
from .._core.constants import IDLE
from .._core.holds import any_finished, let_go_finished
from .._core.operation import EndpointBase, Operation, advance, post, whose_memory_is_gone
from .._core.results import (
    CLOSED_HERE,
    FORKED,
    LOST,
    MEMORY_HERE,
    MEMORY_PEER,
    NO_MECHANISM,
    TOO_LONG,
    error_for,
    memory_error,
)
from .._core.types import NO_CHANNEL
from .._core.waiting import drain
from ..arguments import remaining
from ..errors import MessagesLost, MessageTooLong, failure
from ..request import size_text
from . import exit as at_exit
from . import selection

if TYPE_CHECKING:
    from .._core.types import Chan, Worker
    from ..handshake.link import Link
    from .channel_request import ChannelRequest

__all__ = ["Endpoint", "free_drained"]

_CLOSE_SLICE_NS: Final = 50_000_000  # between looks at signals while closing

_CUT_OFF: Final = 0.1  # seconds of a close, at most, in which the peer ends its chunks

#: Dropped without being closed, and not drained yet. The progress thread carries what was posted.
_lingering: set[Endpoint] = set()


class Endpoint(EndpointBase):
    """One end of a channel, shared by the channel and the requests that were posted on it.

    It lives as long as any of them. It owns the operations that are posted, and their buffers,
    until they are done.
    """

    def __init__(self, link: Link) -> None:
        super().__init__()
        self.link = link
        self.made_by = os.getpid()
        self._closed = False
        self._losses_told = False
        self._may_be_dropped = False  # without a close, and without a warning
        # Freed by __del__, which leaves NO_CHANNEL. (ffi.gc would free it too early where a
        # cycle of this and other objects is collected.)
        place = core.place()
        try:
            core.make(selection.configuration(link), place)
        finally:  # also if a signal strikes as that returns
            self.chan = place[0]
            if self.chan:
                link.owners.append(self.chan)
        at_exit.enlist(self)
        free_drained()

    # Posting

    def post(self, operations: Sequence[Operation]) -> None:
        """Post in order, all or none, and keep them until they are done. Raises why it cannot.

        The buffers of those that are done when this returns are their owners' again.
        """
        rc = CLOSED_HERE
        try:
            for operation in operations:
                operation.keep(self)
            rc = post(self.chan, operations)
        finally:  # also if a signal strikes as that returns
            for operation in operations:
                if operation.done or (rc and operation.req.state == IDLE):
                    operation.release()
            if any_finished():
                let_go_finished()
        if rc:
            raise self.error(rc)
        _tell_of_no_progress()

    def bring_segment(self, nbytes: int) -> None:
        """Make the segment that a write of `nbytes` needs, if there is one that is not there yet.

        OSError when there is no room for it and no other mechanism may carry the message. The
        next write tries again then.
        """
        wanted = core.wanted_segment(self.chan, nbytes)
        if not wanted:
            return
        mechanism = mechanisms.of_id(wanted)
        try:
            fd = mechanism.make_segment(self.link.takes_unsealed)
            rc = core.give_bulk(self.chan, fd)  # whose descriptor it is from now on
            if -rc in errno.errorcode:
                raise failure("bulk segment", -rc)
        except OSError as error:
            if self.link.forced == mechanism.name:
                raise
            core.refuse_bulk(self.chan, error.errno or 0)
            return  # another mechanism carries it
        if rc:
            raise self.error(rc)

    def tell_of_no_progress(self) -> None:
        """Say once if there is no progress thread: then messages arrive only in calls."""
        _tell_of_no_progress(stacklevel=3)

    # In an event loop, which has it in a poll set

    @property
    def timed(self) -> bool:
        """See `request.Watched`. Without a progress thread nothing is told of some mechanisms."""
        return core.progress_error() != 0

    def event_fd(self) -> int:
        """See `request.Watched`."""
        return -1

    def advance(self, requests: Iterable[ChannelRequest]) -> bool:
        """See `request.Watched`."""
        pending = (operation for request in requests for operation in request._operations)
        return advance(self.chan, pending)

    # Ending

    @property
    def closed(self) -> bool:
        """Was it closed by this process, or is it a forked child's copy?"""
        return self._closed or os.getpid() != self.made_by

    @property
    def closed_here(self) -> bool:
        """Was it closed by this process, or its parent before the fork?"""
        return self._closed

    def close(self, deadline: float | None) -> None:
        """Close in order; TimeoutError when a stopped peer keeps a chunk (see Channel.close)."""
        late = deadline is not None and time.monotonic() >= deadline
        self._losses_told |= late  # who cuts it off knows
        self._closed = True
        try:
            if not late:
                core.drain(self.chan)
                drain([self.chan], [], _before(deadline))
        except BaseException:
            self._close_quietly()
            raise
        try:
            self._shut(deadline)
        finally:
            if not late:
                self._warn_of_losses()

    def close_when_dropped(self) -> None:
        """Whoever drops it has closed it, and a thread delivers what was posted."""
        self._may_be_dropped = True

    def begin_drain(self) -> None:
        """Stop reading, and tell the peer. What was posted is carried on."""
        self._closed = True
        core.drain(self.chan)

    def handles(self) -> tuple[list[Chan], list[Worker]]:
        """What has to be driven until it is drained."""
        return [self.chan], []

    def cut_off(self) -> None:
        """Close without waiting any longer. Warns of what could not be delivered."""
        self._close_quietly()
        self._warn_of_losses()

    def free_if_drained(self) -> None:
        """Nobody uses it any more: close and free it, once the peer has what was posted."""
        if core.linger(self.chan):
            self._free()

    def _shut(self, deadline: float | None) -> None:
        """Close it, and take back what was not read."""
        while core.close(self.chan, _slice(deadline)):
            if deadline is not None and time.monotonic() >= deadline:
                self._abandon()
                break
        at_exit.delist(self)
        self.reap()

    def _warn_of_losses(self) -> None:
        loss = core.loss(self.chan)
        if loss.messages and not self._losses_told:
            self._losses_told = True
            warnings.warn(
                f"{self.peer_text} did not read everything before the channel was closed: "
                f"{loss.messages} messages ({size_text(loss.nbytes)}) are lost; wait for them "
                "before you close, or close with a longer timeout",
                ResourceWarning,
                stacklevel=4,
            )

    def _abandon(self) -> None:
        nbytes = core.abandon(self.chan)
        at_exit.delist(self)
        self.reap()
        if nbytes:
            raise TimeoutError(
                f"a copy between this process and {self.peer_text} is stopped: the channel is "
                f"closed, buffers of {nbytes} bytes stay quarantined, since they may still be "
                "touched when it goes on"
            )

    def _close_quietly(self) -> None:
        self._closed = True
        with contextlib.suppress(TimeoutError):
            self._shut(time.monotonic())

    def _free(self) -> None:
        self._close_quietly()
        chan, self.chan = self.chan, NO_CHANNEL
        core.free(chan)
        _lingering.discard(self)

    def __del__(self) -> None:
        if not self.chan:
            return
        open_here = not self.closed
        try:
            if open_here and not self._may_be_dropped:
                warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=1)
        finally:  # a warning may be an error
            if open_here and not core.linger(self.chan):
                _lingering.add(self)
                at_exit.enlist(self)
            else:
                self._free()

    # Words

    def __repr__(self) -> str:
        """The channel's, whose end this is."""
        state = "closed" if self._closed else self.link.forced or "auto"
        if not self._closed:
            health = core.health(self.chan)
            if health == -FORKED:
                state = "copy of a forked child"
            elif health:
                state = f"over: {type(error_for(health)).__name__}"
        return f"<adma.Channel to {self.peer_text} over {self.link.label}, {state}>"

    @property
    def peer_text(self) -> str:
        """The peer, for people."""
        return f"pid {self.link.pid}" if self.link.pid else "a peer of another pid namespace"

    def error(self, code: int, *, space: int = 0, operation: Operation | None = None) -> Exception:
        """The exception for a result; `space`: bytes of the buffer that was too small.

        `operation`: the one that failed, if there is one.
        """
        code = abs(code)
        if code in (MEMORY_HERE, MEMORY_PEER) and operation is not None:
            req = operation.req
            mechanism = mechanisms.NAMES.get(req.mechanism, "the kernel")
            return memory_error(code, mechanism, is_read=bool(req.is_read))
        if code == TOO_LONG:
            needed = core.needed()
            return MessageTooLong(
                f"the next message has {needed} bytes, the buffer {space}: "
                "it stays, read it into a larger one",
                needed=needed,
            )
        if code == NO_MECHANISM:
            return selection.unavailable(self.chan, self.link)
        if code in (errno.EMFILE, errno.ENFILE):
            return failure("shared", code)
        if code == LOST:
            loss = core.loss(self.chan)
            return MessagesLost(
                f"{self.peer_text} closed the channel before this end had read everything: "
                f"{loss.peer_withdrawn} of {loss.peer_posted} messages are lost, this one first",
                posted=loss.peer_posted,
                withdrawn=loss.peer_withdrawn,
            )
        if code == errno.EFAULT and operation is not None:
            return error_for(code, _fault(operation))
        return error_for(code)


def _fault(operation: Operation) -> str:
    name = mechanisms.NAMES.get(operation.req.mechanism)
    by = f" by {name}" if name else ""
    return (
        f"the copy{by} met a page of {whose_memory_is_gone(operation)} that is not there: it was "
        "unmapped, or is beyond the end of its file; keep it until the request is done"
    )


def _tell_of_no_progress(stacklevel: int = 4) -> None:
    """Say once that there is no progress thread: messages arrive, but only while calls are made."""
    error = core.progress_error()
    if error and not _told:
        _told.append(error)
        text = f"{failure('progress thread', error).strerror}; until then requests go on only "
        warnings.warn(
            text + "while this process is in a call of adma",
            RuntimeWarning,
            stacklevel=stacklevel,
        )


_told: list[int] = []


def _slice(deadline: float | None) -> int:
    left = remaining(deadline)
    return _CLOSE_SLICE_NS if left is None else min(_CLOSE_SLICE_NS, int(left * 1e9))


def _before(deadline: float | None) -> float | None:
    """A moment before the deadline: the rest is for the end of the close."""
    left = remaining(deadline)
    return None if left is None else time.monotonic() + left - min(_CUT_OFF, left / 10)


def free_drained() -> bool:
    """Free the channels that were dropped and are drained by now. True: no other is left."""
    for endpoint in list(_lingering):
        if endpoint.made_by != os.getpid():
            continue
        try:
            _lingering.remove(endpoint)  # one thread alone has it
        except KeyError:
            continue
        try:
            endpoint.free_if_drained()
        finally:
            if endpoint.chan:
                _lingering.add(endpoint)
    return not _lingering
