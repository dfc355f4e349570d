# SPDX-License-Identifier: BSD-3-Clause
"""Ranks of other nodes, which MPI reaches, and receives that may be met from there and from here.

Messages between nodes go through a communicator of adma's own, the shadow, so that they meet
receives of adma's only. A receive from a rank there is MPI's own receive, unless a receive from
anybody is outstanding before it that might get the same message. Those wait here in their order:
MPI's messages are taken out of its queue in the order in which they came (`Improbe`), and each
goes to the first receive that accepts it. A receive from anybody is posted in the worker as well.
When a message from elsewhere is for it, it is withdrawn there; if it is too late for that, the
message stays for the next receive.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from mpi4py import MPI

from .activity import Activity, ByMPI, Result
from .context import Context
from .found import Found, Taken
from .processes import here

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..messages.worker import TagRequest
    from .activity import Sendable
    from .processes import Process
    from .spec import Memory

__all__ = ["Waiting", "may_meet", "probe", "receive", "receive_by", "send", "take"]

_lock = threading.RLock()  # of the queues of all communicators; nothing blocks under it


def may_meet(context: Context, source: int) -> bool:
    """May a receive from this source be met by a rank of another node?"""
    return source == MPI.ANY_SOURCE or context.peers[source] is None


def send(context: Context, memory: Sendable, dest: int, tag: int, *, synchronous: bool) -> Activity:
    """Send bytes to a rank of another node."""
    shadow = context.shadow
    assert shadow is not None
    here().by_mpi += 1
    post = shadow.Issend if synchronous else shadow.Isend
    return ByMPI(context, post([memory.view, MPI.BYTE], dest, tag), keep=memory)


def receive(
    context: Context, memory: Memory, source: int, tag: int, post: Callable[[], Activity]
) -> Activity:
    """Receive bytes that may come from another node. `post` posts the receive in the worker."""
    shadow = context.shadow
    assert shadow is not None
    with _lock:
        if source != MPI.ANY_SOURCE and not _overlaps(context, source, tag):
            request = shadow.Irecv([memory.view, MPI.BYTE], source, tag)
            return ByMPI(context, request, memory)

    def by_mpi(_found: Found, message: MPI.Message) -> Activity:
        return ByMPI(context, message.Irecv([memory.view, MPI.BYTE]), memory)

    return receive_by(context, source, tag, post, by_mpi)


def receive_by(
    context: Context,
    source: int,
    tag: int,
    post: Callable[[], Activity],
    by_mpi: Callable[[Found, MPI.Message], Activity],
) -> Activity:
    """Queue a receive. `post` posts it in the worker; `by_mpi` receives a message of MPI's."""
    here_too = source == MPI.ANY_SOURCE and bool(context.ranks)
    with _lock:
        waiting = Waiting(context, source, tag, by_mpi)
        waiting.local = post() if here_too else None
        context.pending.append(waiting)
        _serve(context)
    return waiting


class Waiting(Activity):
    """A receive that waits for a message of MPI's, and for one of the worker's as well."""

    __slots__ = ("_by_mpi", "actual", "local", "source", "tag", "withdrawn")

    def __init__(
        self,
        context: Context,
        source: int,
        tag: int,
        by_mpi: Callable[[Found, MPI.Message], Activity],
    ) -> None:
        super().__init__(context)
        self.source = source
        self.tag = tag
        self.local: Activity | None = None  # in the worker
        self.actual: Activity | None = None  # what became of it
        self.withdrawn = False
        self._by_mpi = by_mpi

    def accepts(self, source: int, tag: int) -> bool:
        """Is this message for it?"""
        return self.source in (source, MPI.ANY_SOURCE) and self.tag in (tag, MPI.ANY_TAG)

    def is_met(self) -> bool:
        """Has it met a message, in the worker if not before?"""
        if self.actual is None and self.local is not None and self.local.poll():
            self.actual = self.local
        return self.actual is not None

    def give(self, found: Found, message: MPI.Message) -> bool:
        """Take this message of MPI's. False: one of the worker's was first."""
        if self.local is not None:
            self.local.cancel()
            if not self.local.poll() or not _was_cancelled(self.local):
                self.actual = self.local
                return False
        self.actual = self._by_mpi(found, message)
        return True

    def poll(self) -> bool:
        if self.result is not None:
            return True
        assert self.context is not None
        with _lock:
            _serve(self.context)
        if self.actual is None or not self.actual.poll():
            return False
        self.result = self.actual.result
        return True

    def waited(self) -> Sequence[TagRequest]:
        under_way = self.actual or self.local
        return () if under_way is None else under_way.waited()

    @property
    def asks_mpi(self) -> bool:
        return self.result is None and (self.actual is None or self.actual.asks_mpi)

    @property
    def mourns(self) -> Sequence[Process]:
        return () if self.actual is not None or self.local is None else self.local.mourns

    def cancel(self) -> None:
        assert self.context is not None
        with _lock:
            _serve(self.context)
            if self.actual is not None:
                self.actual.cancel()
                return
            self.context.pending.remove(self)
            if self.local is None:
                self.end(Result(cancelled=True))
            else:
                self.local.cancel()
                self.actual = self.local


def _was_cancelled(activity: Activity) -> bool:
    return activity.result is not None and activity.result.cancelled


def _overlaps(context: Context, source: int, tag: int) -> bool:
    """Is there a receive, or a message, before this one that MPI's queue does not know?"""
    _serve(context)
    if any(seen.source == source and _tags_meet(seen.tag, tag) for seen, _ in context.held):
        return True
    return any(
        each.source in (source, MPI.ANY_SOURCE) and _tags_meet(each.tag, tag)
        for each in context.pending
    )


def _tags_meet(one: int, other: int) -> bool:
    return one == other or MPI.ANY_TAG in (one, other)


def _serve(context: Context) -> None:
    """Give the messages of MPI's to the receives that wait."""
    context.pending[:] = [each for each in context.pending if not each.is_met()]
    if not context.pending:
        return
    _collect(context)
    for entry in list(context.held):
        seen, message = entry
        for waiting in list(context.pending):
            if not waiting.accepts(seen.source, seen.tag):
                continue
            context.pending.remove(waiting)
            if waiting.give(seen, message):
                context.held.remove(entry)
                break


def _collect(context: Context) -> None:
    """Take the messages that have come out of MPI's queue, in their order."""
    shadow = context.shadow
    assert shadow is not None
    status = MPI.Status()
    while (message := shadow.Improbe(MPI.ANY_SOURCE, MPI.ANY_TAG, status)) is not None:
        found = Found(status.source, status.tag, status.Get_elements(MPI.BYTE))
        context.held.append((found, message))


# Probes


def _look(context: Context, source: int, tag: int) -> Any:
    """The first message that such a receive would get from another node, as it is held."""
    _serve(context)
    _collect(context)
    for entry in context.held:
        seen = entry[0]
        if source in (seen.source, MPI.ANY_SOURCE) and tag in (seen.tag, MPI.ANY_TAG):
            return entry
    return None


def probe(context: Context, source: int, tag: int) -> Found | None:
    """The message that a receive would get now."""
    with _lock:
        entry = _look(context, source, tag)
        found: Found | None = entry and entry[0]
        return found


def take(context: Context, source: int, tag: int) -> Taken | None:
    """The same, and nobody else gets it."""
    with _lock:
        entry = _look(context, source, tag)
        if entry is None:
            return None
        context.held.remove(entry)
        return Taken(context, entry[0], None, entry[1])
