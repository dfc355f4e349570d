# SPDX-License-Identifier: BSD-3-Clause
"""The two ends of a pipe, and `pipe`, which makes them.

An end is a `Channel` from the first moment on, and becomes a plain one step by step: its class is
first `PipeEnd`, then `MetEnd`, then `PipedChannel`, which adds nothing to the calls for messages.
"""

from __future__ import annotations

import errno
import os
import socket
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, SupportsIndex

from .. import forks, mechanisms
from .._core.calls import dump
from .._core.constants import BYTES, OBJECT
from .._core.results import KIND, error_for
from ..arguments import deadline_of, remaining
from ..buffer_types import Gathered, Readable, Scattered, Writable
from ..channel import Channel
from ..connect.line import Head, What
from ..errors import ChannelEnded, MessageTooLong
from ..messages.arrival import ReceiveRequest
from ..messages.explanation import Explanation
from ..messages.into import Targets
from ..messages.message import KINDS, Message, bytes_of, load
from ..messages.persistent import PersistentRequest
from ..request import Request
from . import handles
from .buffers import Destination, parts_of
from .early import Early, State
from .handles import Handles
from .kept import Kept

if TYPE_CHECKING:
    from .._core.types import Chan
    from ..handshake.link import Link

__all__ = ["PipeEnd", "PipedChannel", "pipe", "rebuild", "take_end"]

_NOW: Final = 0.0  # a moment that has passed


class PipedChannel(Channel):
    """An end of a pipe that has become a channel."""

    _is_early: ClassVar[bool] = False
    _early: Early

    def _now_through(self) -> None:
        """See `early.Owner`."""
        _become(self, PipedChannel)

    def fileno(self, what: Literal["messages", "completions"] = "messages") -> int:
        """See `Channel.fileno`."""
        if what != "messages":
            return Channel.fileno(self, what)
        return -1 if self._early.state is State.CLOSED else self._early.fileno()

    def stats(self) -> dict[str, int]:
        """See `Channel.stats`. Messages that went over the line are `line_out` and `line_in`."""
        return Channel.stats(self) | self._line_stats()

    def _line_stats(self) -> dict[str, int]:
        return {"line_out": self._early.sent, "line_in": self._early.taken}

    def close(self, timeout: float | None = 5) -> None:
        """See `Channel.close`."""
        deadline = deadline_of(timeout, "close")
        try:
            Channel.close(self, timeout)
        finally:
            self._early.close(deadline)

    def close_without_waiting(self) -> None:
        """Close it, and let a thread of the library deliver what was posted, for 5 s at most.

        The end of the program waits for that, and tells of what is lost. Nobody may use the
        channel after this.
        """
        self._endpoint.close_when_dropped()
        self._early.close(_NOW)

    def __reduce__(self) -> Any:
        """For multiprocessing. ValueError: the end is claimed."""
        from multiprocessing.reduction import DupFd

        return rebuild, ([DupFd(fd) for fd in self._early.copy().fds()],)


class MetEnd(PipedChannel):
    """An end whose channel is there, while the other one may still use the line.

    Another thread may change the class while a call of this one runs. So what these calls need of
    it is named by the class.
    """

    _is_early: ClassVar[bool] = True

    # What is read may be on the line.

    def _take(
        self,
        take: Callable[[Head], Any],
        deadline: float | None,
        call: str,
        kind: int,
        max_bytes: SupportsIndex | None = None,
    ) -> list[Any]:
        """See `Early.take`. WrongKind: the next message is of another kind."""
        limit = None if max_bytes is None else bytes_of(max_bytes, f"{call}(max_bytes)")

        def judge(head: Head) -> Any:
            if head.kind != kind:
                raise error_for(KIND)
            if limit is not None and head.nbytes > limit:
                raise _too_long(head.nbytes, f"max_bytes allows {limit}")
            return take(head)

        return self._early.take(judge, deadline, call)

    def read(self, buf: Scattered, timeout: float | None = None) -> int:
        """See `Channel.read`."""
        deadline = deadline_of(timeout, "read")
        found = MetEnd._take(self, MetEnd._reader(self, buf, "read"), deadline, "read", BYTES)
        if found:
            return int(found[0])
        return Channel.read(self, buf, remaining(deadline))

    def iread(self, buf: Scattered) -> Request:
        """See `Channel.iread`. Waits until a message or the channel is there."""
        found = MetEnd._take(self, MetEnd._reader(self, buf, "iread"), None, "iread", BYTES)
        return Kept(found[0]) if found else Channel.iread(self, buf)

    def _reader(self, buf: Scattered, call: str) -> Callable[[Head], int]:
        space = Destination(buf, call)
        line = self._early.line

        def take(head: Head) -> int:
            if head.nbytes > space.nbytes:
                raise _too_long(head.nbytes, f"the buffer {space.nbytes}")
            return space.fill(line.take(head))

        return take

    def read_bytes(self, max_bytes: int | None = None, timeout: float | None = None) -> bytes:
        """See `Channel.read_bytes`."""
        deadline = deadline_of(timeout, "read_bytes")
        line = self._early.line
        found = MetEnd._take(self, line.take, deadline, "read_bytes", BYTES, max_bytes)
        if found:
            return bytes(found[0])
        return Channel.read_bytes(self, max_bytes, remaining(deadline))

    def recv(
        self,
        timeout: float | None = None,
        max_bytes: int | None = None,
        *,
        allow_pickle: bool = False,
        into: Any = None,
    ) -> Any:
        """See `Channel.recv`."""
        deadline = deadline_of(timeout, "recv")
        if into is not None:
            targets = Targets(into)
            fill = MetEnd._filler(self, targets)
            if MetEnd._take(self, fill, deadline, "recv", OBJECT, max_bytes):
                targets.finish()
                return into
        else:
            line = self._early.line
            if found := MetEnd._take(self, line.take, deadline, "recv", OBJECT, max_bytes):
                return load(found[0], ())
        return Channel.recv(
            self, remaining(deadline), max_bytes, allow_pickle=allow_pickle, into=into
        )

    def _filler(self, targets: Targets) -> Callable[[Head], None]:
        line = self._early.line

        def take(head: Head) -> None:
            targets.judge(line.take(head, leave=True), (), ())
            line.drop()

        return take

    def irecv(
        self, max_bytes: SupportsIndex | None = None, *, allow_pickle: bool = False
    ) -> ReceiveRequest:
        """See `Channel.irecv`. Waits until a message or the channel is there."""
        line = self._early.line
        if found := MetEnd._take(self, line.take, None, "irecv", OBJECT, max_bytes):
            return Kept(load(found[0], ()))
        return Channel.irecv(self, max_bytes, allow_pickle=allow_pickle)

    def read_init(self, buf: Writable) -> PersistentRequest:
        """See `Channel.read_init`. BlockingIOError: there may be messages on the line."""
        if self._early.look() is not True:
            raise _not_yet("read_init")
        return Channel.read_init(self, buf)

    def skip(self, timeout: float | None = None) -> Message:
        """See `Channel.skip`."""
        deadline = deadline_of(timeout, "skip")
        line = self._early.line

        def take(head: Head) -> Message:
            line.drop()
            return _message(head)

        found = self._early.take(take, deadline, "skip")
        return found[0] if found else Channel.skip(self, remaining(deadline))

    def iprobe(self) -> Message | None:
        """See `Channel.iprobe`."""
        found = self._early.look()
        if isinstance(found, Head):
            return _message(found)
        return Channel.iprobe(self) if found else None

    def probe(self, timeout: float | None = None) -> Message:
        """See `Channel.probe`."""
        deadline = deadline_of(timeout, "probe")
        while True:
            found = self._early.look()
            if isinstance(found, Head):
                return _message(found)
            if found:
                return Channel.probe(self, remaining(deadline))
            if not self._early.wait(deadline):
                raise TimeoutError(f"no message came within {timeout} s")

    def poll(self, timeout: float | None = 0) -> bool:
        """See `Channel.poll`."""
        deadline = deadline_of(timeout, "poll")
        early = self._early
        try:
            while not (found := early.look()):
                if not early.wait(deadline):
                    return False
        except ChannelEnded:
            early.check()
            return True
        return isinstance(found, Head) or Channel.poll(self, remaining(deadline))

    # What is written may go over the line, or has to be announced there.

    def write(self, buf: Gathered, timeout: float | None = None) -> None:
        """See `Channel.write`."""
        deadline = deadline_of(timeout, "write")
        if not MetEnd._put(self, buf, deadline, "write")[0]:
            Channel.write(self, buf, remaining(deadline))

    def iwrite(self, buf: Gathered) -> Request:
        """See `Channel.iwrite`. A message that is too long for now waits for the channel."""
        done, nbytes = MetEnd._put(self, buf, None, "iwrite")
        return Kept(nbytes) if done else Channel.iwrite(self, buf)

    def _put(self, buf: Gathered, deadline: float | None, call: str) -> tuple[bool, int]:
        parts = parts_of(buf, call)
        nbytes = sum(part.nbytes for part in parts or ())
        return self._early.put(BYTES, parts, nbytes, deadline, call), nbytes

    def send(self, obj: object, timeout: float | None = None) -> None:
        """See `Channel.send`."""
        deadline = deadline_of(timeout, "send")
        if not MetEnd._put_object(self, obj, deadline, "send")[0]:
            Channel.send(self, obj, remaining(deadline))

    def isend(self, obj: object) -> Request:
        """See `Channel.isend`. An object that is too long for now waits for the channel."""
        done, nbytes = MetEnd._put_object(self, obj, None, "isend")
        return Kept(nbytes) if done else Channel.isend(self, obj)

    def _put_object(self, obj: object, deadline: float | None, call: str) -> tuple[bool, int]:
        body, parts = dump(obj)
        over_line = None if parts else [body]
        return self._early.put(OBJECT, over_line, len(body), deadline, call), len(body)

    def write_init(self, buf: Readable) -> PersistentRequest:
        """See `Channel.write_init`. Waits for the channel."""
        self._early.meet(None, "write_init")
        return Channel.write_init(self, buf)

    def send_init(self, obj: object) -> PersistentRequest:
        """See `Channel.send_init`. Waits for the channel."""
        self._early.meet(None, "send_init")
        return Channel.send_init(self, obj)


class PipeEnd(MetEnd):
    """An end of a pipe that is no channel yet. `pipe` makes two.

    The process that first moves a message over an end, or tries to, owns it: it has *claimed* the
    end, and another process's copy raises ChannelClosed. Looking (`poll`, `iprobe`, `probe`,
    `fileno`), closing and passing an end on do not claim it. Until then the end is passed on
    by a fork, to children of multiprocessing as an argument, in its queues and pools, or over a
    socket (`pass_over`, `take_end`).

    Closing an end that was not claimed closes this copy. The other end is told when nobody has a
    copy left, or when the process closes it that has claimed it.

    The channel is made when both ends are claimed, in steps that calls on both ends make. Until
    then messages are kept for the other end, as by a pipe of the system, as far as they fit there:
    about 200 KiB. A longer one waits for the channel. So do `explain` and the calls that
    make requests, where `iwrite`, `isend`, `iread` and `irecv` cannot be done at once.
    """

    def __init__(self, copy: Handles) -> None:
        """This is not public: `pipe` and `take_end` make ends."""
        if not isinstance(copy, Handles):
            raise TypeError("PipeEnd() is not public: use pipe()")
        self._early = Early(copy, self)

    # The steps to a channel

    def _make_channel(self, link: Link) -> Chan:
        """See `early.Owner`."""
        try:
            Channel.__init__(self, link)
        except BaseException:
            link.discard()
            raise
        return self._endpoint.chan

    def _now_met(self) -> None:
        """See `early.Owner`."""
        _become(self, MetEnd)

    # What there is to be known

    @property
    def max_outstanding(self) -> int:
        """See `Channel.max_outstanding`. BlockingIOError: the channel is not there yet."""
        raise _not_yet("max_outstanding")

    @max_outstanding.setter
    def max_outstanding(self, limit: int) -> None:
        raise _not_yet("max_outstanding")

    @property
    def peer_pid(self) -> int:
        """See `Channel.peer_pid`. 0 also while the other end is not known to be claimed."""
        return self._early.peer_pid

    @property
    def closed(self) -> bool:
        """Was this copy closed, or has another process claimed the end?"""
        return self._early.state not in (State.UNCLAIMED, State.CLAIMED)

    def explain(self, nbytes: int) -> Explanation:
        """See `Channel.explain`. BlockingIOError: the channel is not there yet."""
        raise _not_yet("explain")

    def stats(self) -> dict[str, int]:
        """Messages that went over the line: `line_out` and `line_in`."""
        return self._line_stats()

    def fileno(self, what: Literal["messages", "completions"] = "messages") -> int:
        """See `Channel.fileno`. There are no "completions" yet: BlockingIOError."""
        if what == "completions":
            raise _not_yet('fileno("completions")')
        return PipedChannel.fileno(self, what)

    # Passing it on

    def pass_over(self, sock: socket.socket) -> None:
        """Pass a copy over a connected AF_UNIX socket, where `take_end` takes it.

        This process keeps its own copy: close it if it is not used. ValueError: this process has
        claimed the end. ChannelClosed: another one has, or this copy was closed.
        """
        _check_socket(sock, "pass_over")
        handles.send(sock, self._early.copy())

    # Ending

    def close(self, timeout: float | None = 5) -> None:
        """Close this copy of the end; or the end, if this process has claimed it.

        What was written stays there for the other end. `timeout`, in seconds, is for room to
        tell that end that nothing follows; without it, it gets PeerDied at last.
        """
        self._early.close(deadline_of(timeout, "close"))

    def close_without_waiting(self) -> None:
        """As `close(timeout=0)`."""
        self._early.close(_NOW)

    def __enter__(self) -> PipeEnd:
        self._early.check()
        return self

    def __repr__(self) -> str:
        return f"<adma.PipeEnd, {self._early.state.name.lower()}>"

    def __del__(self) -> None:
        early = getattr(self, "_early", None)
        if early is None:
            return
        try:
            if early.state is State.CLAIMED:
                warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
        finally:
            early.close(_NOW)


def _become(end: PipedChannel, kind: type[PipedChannel]) -> None:
    end.__class__ = kind


def _message(head: Head) -> Message:
    """What the line has next. A message that is announced comes by the channel."""
    assert head.what in (What.MESSAGE, What.COMING)
    return Message(KINDS[head.kind], head.nbytes)


def _too_long(nbytes: int, limit: str) -> MessageTooLong:
    return MessageTooLong(
        f"the next message has {nbytes} bytes, {limit}: it stays, read it into a larger one",
        needed=nbytes,
    )


def _check_socket(sock: socket.socket, call: str) -> None:
    if not isinstance(sock, socket.socket) or sock.family != socket.AF_UNIX:
        raise TypeError(f"{call}(sock): sock must be a connected AF_UNIX socket")


def _not_yet(call: str) -> BlockingIOError:
    return BlockingIOError(
        errno.EAGAIN,
        f"{call}: this end of a pipe is no channel yet; cure: first send a message each way",
    )


def pipe() -> tuple[PipeEnd, PipeEnd]:
    """Make two ends of a channel, one of which is for another process, or for a thread.

    No end belongs to a process yet: the one that first moves a message over it owns it. Give an
    end to a process that this one forks, or to a child of multiprocessing (spawn, forkserver,
    pools, queues), and close the copy here. See `PipeEnd`.

    OSError: no descriptors are left; an end takes five, and fewer once both are claimed.
    """
    mechanisms.sweep()
    with forks.held_off():
        one, other = Handles.pair()
        return PipeEnd(one), PipeEnd(other)


def take_end(sock: socket.socket, timeout: float | None = 5) -> PipeEnd:
    """Take an end of a pipe that `PipeEnd.pass_over` has passed over a connected AF_UNIX socket.

    `timeout` is in seconds; None means no limit. TimeoutError: nothing came. PeerDied: the
    other end of the socket hung up. PermissionError: it belongs to another user. ProtocolError:
    what came is no end of a pipe. The socket stays the caller's.
    """
    _check_socket(sock, "take_end")
    return PipeEnd(handles.receive(sock, deadline_of(timeout, "take_end")))


def rebuild(copies: list[Any]) -> PipeEnd:
    """An end that was pickled."""
    fds: list[int] = []
    try:
        for copy in copies:
            fds.append(copy.detach())
            os.set_inheritable(fds[-1], False)  # a child of `spawn` has inherited it
        return PipeEnd(Handles.passed(fds))
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
