# SPDX-License-Identifier: BSD-3-Clause
"""A channel: this process's end of a connected pair that exchanges messages."""

from __future__ import annotations

import errno
from typing import Final, Literal, NoReturn, SupportsIndex

from ._core import channel as core
from ._core.buffers import empty
from ._core.calls import Calls
from ._core.constants import PENDING_MAX, TELL
from ._core.holds import any_finished, let_go_finished
from ._core.results import CLOSED_HERE, FORKED, error_for
from ._core.selection import of_channel
from ._core.waiting import OneWaiter
from .arguments import deadline_of, remaining, whole_between
from .closing import Closing
from .copying import engine
from .errors import ChannelEnded, MessageTooLong, Stalled, WrongKind, failure
from .handshake.link import Link
from .messages import selection
from .messages.arrival import Arrival, ReceiveRequest
from .messages.blocking import Blocking
from .messages.endpoint import Endpoint
from .messages.explanation import Explanation
from .messages.incoming import Incoming, Receiver
from .messages.message import KINDS, Message, bytes_of
from .messages.persistent import ObjectStarter, PersistentRequest
from .messages.source import Source
from .request import size_text

__all__ = ["Channel"]

_OUTSTANDING_MAX: Final = 1 << 20  # requests of a direction; each takes some memory

_DESCRIPTORS: Final = {"messages": core.fileno, "completions": core.completions_fileno}


class Channel(Source, Calls, Closing):
    """This end of a connected pair: ordered in both directions, message boundaries kept.

    `connect`, `Listener.accept`, `from_socket` and `pipe` make channels. Each write is one message,
    for one read at the other end; messages are read in the order in which they were posted.
    Threads may share a channel. It is a context manager, which closes it.

    Every call that blocks has a `timeout` in seconds. None means no limit, and 0 means to try
    without waiting. When the peer is gone, a call fails at once: first the messages that the
    peer published are delivered, then `ChannelClosed` is raised after an orderly close,
    `MessagesLost` if that close took messages back, and `PeerDied` otherwise. All three are
    `ChannelEnded`.

    A timeout bounds waiting, not copying. A call whose time is over takes back what it posted,
    and raises TimeoutError: nothing of it happened. If the message was matched before that, the
    call goes on while bytes move. It raises `Stalled` once less than 1 MB moved in a full second
    after its time, because the peer is stopped, say. A call without a timeout never raises it.

    A call that a signal's exception interrupts ends at once, and takes back what it posted.
    What was matched cannot be taken back. Then the exception has the request as `.request`, as
    `Stalled` has it: it is still pending and owns its buffer.
    """

    def __init__(self, link: Link) -> None:
        """This is not public: `connect`, `Listener.accept` and `from_socket` make channels."""
        if not isinstance(link, Link):
            raise TypeError("Channel() is not public: use connect(), listen() or from_socket()")
        engine.prepare_to_help()
        endpoint = Endpoint(link)
        self._receiver = Receiver(endpoint)
        self._unpickles = link.allow_pickle
        self._max_outstanding = PENDING_MAX
        super().__init__(endpoint, Blocking(endpoint), self._receiver, link.allow_pickle)

    # write, read, read_bytes, iwrite, iread, write_init, read_init, send, isend and recv are
    # compiled: binding/calls.c

    def irecv(
        self, max_bytes: SupportsIndex | None = None, *, allow_pickle: bool = False
    ) -> ReceiveRequest:
        """Post a read for the next object, of any size; returns a request whose `wait` returns it.

        Such reads are matched in post order, as all reads are, and may be as many as
        `max_outstanding` allows (BlockingIOError). The memory for an object is taken when it is
        matched: by whatever call of this library comes next, or between two instructions of the
        main thread. So a message behind it may wait for that. An object of which an interrupted
        `recv` has received a part is the first one.

        The request fails with `MessageTooLong` if the object has more than `max_bytes`, with
        `WrongKind` if bytes come, and with PermissionError, at once, where `recv` raises it.
        Then the message stays and is the next one again. See `recv` for `allow_pickle`.
        """
        if not (self._unpickles or allow_pickle):
            self._receiver.refuse_to_unpickle()
        limit = None if max_bytes is None else bytes_of(max_bytes, "irecv(max_bytes)")
        incoming = self._receiver.adopt()
        if incoming is None:
            incoming = Incoming(self._endpoint, flags=TELL)
            incoming.limit_to(limit)
        else:
            incoming.tell()
        arrival = Arrival(self._endpoint, "recv", incoming)
        incoming.head.feed_by(arrival._advance)
        arrival.post()
        return arrival

    def send_init(self, obj: object) -> PersistentRequest:
        """Prepare sends of one object; returns a request, which does nothing before its `start`.

        Each `start` pickles the object as it is then, and posts it, as `isend` does.
        """
        return ObjectStarter(self._endpoint, self.isend, obj)

    @property
    def max_outstanding(self) -> int:
        """How many requests of each direction may be outstanding: 1024, unless it is set.

        A post that would exceed it raises BlockingIOError. Calls that wait are not counted. When
        it is set to less than is outstanding, that goes on, and the next post is refused. An
        object counts as one request. Setting raises ValueError for less than 1 or more than
        1048576, and TypeError for what is no whole number.
        """
        return self._max_outstanding

    @max_outstanding.setter
    def max_outstanding(self, limit: int) -> None:
        checked = whole_between(
            limit,
            1,
            _OUTSTANDING_MAX,
            "max_outstanding is a whole number of requests",
            f"max_outstanding={{}}: it is from 1 to {_OUTSTANDING_MAX}",
        )
        if not core.limit_pending(self._endpoint.chan, checked):
            raise self._endpoint.error(core.health(self._endpoint.chan))
        self._max_outstanding = checked

    # Looking

    def poll(self, timeout: float | None = 0) -> bool:
        """Is there something to read? Waits for that up to `timeout` seconds; None: for ever.

        True: a message waits, so that `iprobe` finds it, or none will come any more, so that a
        read raises why at once. False: there is neither. Nothing is taken, and a timeout leaves
        nothing behind. `ChannelClosed`: the channel was closed in this process.
        """
        deadline = deadline_of(timeout, "poll")
        try:
            return self.iprobe() is not None or (
                remaining(deadline) != 0 and self._await_message(deadline) is not None
            )
        except ChannelEnded:
            if self._endpoint.closed:
                raise
            return True

    def probe(self, timeout: float | None = None) -> Message:
        """Wait until there is a message to read; returns its kind and length, and leaves it."""
        deadline = deadline_of(timeout, "probe")
        message = self.iprobe() or self._await_message(deadline)
        if message is None:
            raise TimeoutError(f"no message came within {timeout} s")
        return message

    def _await_message(self, deadline: float | None) -> Message | None:
        """Wait until there is a message to read. None: the deadline passed before."""
        core.count_probing(self._endpoint.chan, 1)
        try:
            while (message := self.iprobe()) is None:
                # A peer may publish messages and withdraw them, as long as somebody looks.
                if not OneWaiter(self._endpoint.chan).wait(deadline) or remaining(deadline) == 0:
                    break
            return message or self.iprobe()
        finally:
            core.count_probing(self._endpoint.chan, -1)

    def iprobe(self) -> Message | None:
        """The next message to read, or None. Never waits.

        Raises `ChannelEnded` when no message can come any more.
        """
        begun = self._receiver.begun
        if begun is not None and not self._endpoint.closed:
            return Message("object", begun)
        rc, kind, nbytes = core.peek(self._endpoint.chan)
        if any_finished():
            let_go_finished()
        if rc:
            raise self._endpoint.error(rc)
        return Message(KINDS[kind], nbytes) if kind else None

    def skip(self, timeout: float | None = None) -> Message:
        """Drop the next message, of any kind and size, and wait for it; returns what it was.

        To the peer it is as if it had been read. It costs no copy and no memory, so it gets past
        an object that there is no memory for. With `dma` or `mapped:helper` forced the kernel
        holds the messages, and the call reads what it drops: MemoryError if there is no memory
        for that. Of an object that an interrupted `recv` has begun it drops the rest.
        """
        deadline = deadline_of(timeout, "skip")
        try:
            while (message := self._receiver.skip(deadline)) is None:
                message = self._read_away(deadline)
                if message is not None:
                    return message
        except Stalled:
            raise
        except TimeoutError as late:
            late.args = (f"no message came within {timeout} s",)
            raise
        return message

    def _read_away(self, deadline: float | None) -> Message | None:
        """Read the next message, and forget it. None: another thread took it meanwhile."""
        message = self.probe(remaining(deadline))
        try:
            if message.kind == "object":
                self._receiver.receive_away(deadline)
            else:
                self.read(empty(message.nbytes), remaining(deadline))
        except (MessageTooLong, WrongKind):
            return None
        except MemoryError:
            raise MemoryError(
                f"no memory to read {size_text(message.nbytes)} away: with "
                f"mechanism={self._endpoint.link.forced!r} a message is dropped by reading it"
            ) from None
        return message

    def explain(self, nbytes: int) -> Explanation:
        """How a `write` of `nbytes` would travel now: by what, why, and why not by the others."""
        wanted = bytes_of(nbytes, "explain(nbytes)")
        return selection.explain(of_channel(self._endpoint.chan), self._endpoint.link, wanted)

    def stats(self) -> dict[str, int]:
        """Counters since the channel was made, by name.

        `writes`, `reads`, `bytes_out`, `bytes_in`: messages that were carried, and their bytes.
        `inlined`, `eager`, `rendezvous`: messages written, by the `carry` of `explain`.
        `mechanism:NAME`: transfers over a mechanism, in both directions.
        `redone`: of these, transfers that another mechanism could not make before.
        `chunks_copied`, `chunks_peer`: chunks that this end and the peer copied; of the former,
        `chunks_mover` by the progress thread and `chunks_queues` by copy worker threads.
        `wakes_sent`, `sleeps`: wake-ups of the peer; times that a thread slept in a call.
        `pending_reads`, `pending_writes`: requests that are not done.
        `*_ns`: sums of `Request.times` over `timed` requests.
        """
        return selection.stats(self._endpoint.chan)

    def fileno(self, what: Literal["messages", "completions"] = "messages") -> int:
        """A descriptor for select(2), poll(2) and epoll(7). The channel owns it.

        "messages": it is readable while a message waits to be read, so that `iprobe` finds it,
        and for ever once none will come any more, so that `iprobe` raises why.

        "completions": it is readable while a request is done that nobody has looked at. A
        request was looked at when it was checked, waited for, awaited, reported by a `wait_*` or
        `wait`, cancelled or dropped. It is also readable while a request waits for this process
        to go on: `check` does that. So a program that waits for its own write, and is not ready
        for the next message, polls this one and not the other.

        Either may be readable for a moment although there is nothing to do, as with a socket:
        then `iprobe`, or the `check` of any pending request, ends that. Do not read from it.

        The first call for each makes the descriptor, and later ones return the same. Once the
        channel was closed it is -1, as for a closed socket, so that selectors and event loops can
        unregister it. OSError: no descriptor is left. ValueError: there is no such descriptor.
        """
        if what not in _DESCRIPTORS:
            raise ValueError(f'fileno({what!r}): there are "messages" and "completions"')
        self._endpoint.expose()
        fd = _DESCRIPTORS[what](self._endpoint.chan)
        if fd >= 0:
            return fd
        if self._endpoint.closed_here or fd == -CLOSED_HERE:
            return -1
        if fd == -FORKED:
            raise error_for(fd)
        if -fd in errno.errorcode:
            raise failure("poll descriptor", -fd)
        raise self._endpoint.error(fd)

    @property
    def closed(self) -> bool:
        """Was the channel closed by this process? Also True for a forked child's copy of it."""
        return self._endpoint.closed

    @property
    def peer_pid(self) -> int:
        """The peer's process id as seen from here; 0 if it has none in this pid namespace."""
        return self._endpoint.link.pid

    # Ending

    def close(self, timeout: float | None = 5) -> None:
        """Deliver what was posted, and close.

        It first stops reading: pending reads fail with `ChannelClosed`, calls that wait for a
        message in other threads wake, and a peer that is in a write to this end fails at once.
        Then it waits, up to `timeout` seconds, until the peer has taken what was posted. It does
        not wait for a peer that is gone, or that closes as well.

        What is left is taken back: its requests fail with `ChannelClosed`, the peer reads
        what came before it and then gets `MessagesLost`, and a ResourceWarning tells how much it
        was. With `timeout=0` nothing is waited for, and there is no warning.

        TimeoutError: the peer is stopped in the middle of a copy, or a page of a buffer does
        not come. The channel is closed all the same, and the buffer is kept for ever, since it
        may still be touched. Closing twice is no error. At the end of the interpreter all open
        channels are closed in this way, with 5 seconds for all of them together.
        """
        self._endpoint.close(deadline_of(timeout, "close"))

    def __enter__(self) -> Channel:
        if self._endpoint.closed_here:
            raise error_for(CLOSED_HERE)
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Channel cannot be copied or pickled: connect anew, or pass an end of pipe()"
        )

    def __repr__(self) -> str:
        return repr(self._endpoint)
