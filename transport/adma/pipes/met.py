# SPDX-License-Identifier: BSD-3-Clause
"""An end of a pipe whose channel is there, and its calls while the line is used, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, Literal, SupportsIndex

from .._core.calls import dump
from .._core.constants import BYTES, OBJECT
from .._core.operation import Operation
from .._core.results import KIND, error_for
from ..arguments import deadline_of, remaining
from ..buffer_types import Gathered, Readable, Scattered, Writable
from ..channel import Channel
from ..connect.line import Head, What
from ..errors import ChannelEnded, MessageTooLong
from ..messages.arrival import ReceiveRequest
from ..messages.blocking import Blocking
from ..messages.channel_request import ChannelRequest
from ..messages.into import Targets
from ..messages.message import KINDS, Message, bytes_of, frames_of, load
from ..messages.persistent import PersistentRequest
from ..request import Request
from .buffers import Destination, parts_of
from .early import Early
from .posts import Outgoing
from .requests import EarlyRequest, EarlyStarter
from .state import State

__all__ = ["NOW", "MetEnd", "PipedChannel", "become"]

NOW: Final = 0.0  # a moment that has passed


class PipedChannel(Channel):
    """An end of a pipe that has become a channel."""

    _is_early: ClassVar[bool] = False
    _early: Early

    def _now_through(self) -> None:
        """See `early.Owner`."""
        become(self, PipedChannel)

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
        self._early.close(NOW)

    def __reduce__(self) -> Any:
        """ValueError: the end is claimed."""
        return self._early.copy()  # raises it


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
        return self._early.take(_judged(take, call, kind, max_bytes), deadline, call)

    def _post_read(
        self,
        take: Callable[[Head], Any],
        verb: str,
        over_channel: Callable[[], Any],
        load: Callable[[Any], Any] | None = None,
    ) -> ChannelRequest:
        """Post a read, which takes its message from the line or from the channel."""
        self._early.claim()
        request = EarlyRequest(self._early, verb, take, over_channel, is_read=True, load=load)
        self._early.post_read(request)
        return request.outcome

    def read(self, buf: Scattered, timeout: float | None = None) -> int:
        """See `Channel.read`."""
        deadline = deadline_of(timeout, "read")
        found = MetEnd._take(self, MetEnd._reader(self, buf, "read"), deadline, "read", BYTES)
        if found:
            return int(found[0])
        return Channel.read(self, buf, remaining(deadline))

    def iread(self, buf: Scattered) -> Request:
        """See `Channel.iread`."""
        take = _judged(MetEnd._reader(self, buf, "iread"), "iread", BYTES)
        return MetEnd._post_read(self, take, "read", lambda: Channel.iread(self, buf))

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
        """See `Channel.irecv`."""
        take = _judged(self._early.line.take, "irecv", OBJECT, max_bytes)

        def over_channel() -> ReceiveRequest:
            return Channel.irecv(self, max_bytes, allow_pickle=allow_pickle)

        posted = MetEnd._post_read(self, take, "recv", over_channel, lambda data: load(data, ()))
        assert isinstance(posted, ReceiveRequest)
        return posted

    def read_init(self, buf: Writable) -> PersistentRequest:
        """See `Channel.read_init`."""
        memory: Any = buf  # mypy does not know that arrays are buffers
        Operation(memory, read=True, kind=BYTES, call="read_init").release()

        def of_channel() -> PersistentRequest:
            return Channel.read_init(self, buf)

        return EarlyStarter(self, "read", lambda _: self.iread(buf), of_channel, buf)

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
        if not self._early.put(_of_bytes(buf, "write"), deadline, "write"):
            Channel.write(self, buf, remaining(deadline))

    def iwrite(self, buf: Gathered) -> Request:
        """See `Channel.iwrite`."""
        message = _of_bytes(buf, "iwrite")
        return MetEnd._post_write(self, message, "write", lambda: Channel.iwrite(self, buf))

    def _post_write(
        self, message: Outgoing, verb: str, over_channel: Callable[[], Any]
    ) -> ChannelRequest:
        """Post a write, which goes over the line or over the channel."""
        self._early.claim()
        request = EarlyRequest(self._early, verb, message, over_channel, is_read=False)
        self._early.post_write(request)
        return request.outcome

    def send(self, obj: object, timeout: float | None = None) -> None:
        """See `Channel.send`."""
        deadline = deadline_of(timeout, "send")
        body, parts = dump(obj)
        if not self._early.put(_of_object(body, parts), deadline, "send"):
            Blocking(self._endpoint).send(body, parts, timeout, deadline)

    def isend(self, obj: object) -> Request:
        """See `Channel.isend`."""
        body, parts = dump(obj)

        def over_channel() -> ChannelRequest:
            return Blocking(self._endpoint).isend(body, parts)

        return MetEnd._post_write(self, _of_object(body, parts), "send", over_channel)

    def write_init(self, buf: Readable) -> PersistentRequest:
        """See `Channel.write_init`."""
        memory: Any = buf
        Operation(memory, read=False, kind=BYTES, call="write_init").release()

        def of_channel() -> PersistentRequest:
            return Channel.write_init(self, buf)

        return EarlyStarter(self, "write", lambda _: self.iwrite(buf), of_channel, buf)

    def send_init(self, obj: object) -> PersistentRequest:
        """See `Channel.send_init`."""

        def of_channel() -> PersistentRequest:
            return Channel.send_init(self, obj)

        return EarlyStarter(self, "send", lambda thing: self.isend(thing), of_channel, obj)


def become(end: PipedChannel, kind: type[PipedChannel]) -> None:
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


def _judged(
    take: Callable[[Head], Any], call: str, kind: int, max_bytes: SupportsIndex | None = None
) -> Callable[[Head], Any]:
    """Take a message only if it is of this kind, and not longer than that."""
    limit = None if max_bytes is None else bytes_of(max_bytes, f"{call}(max_bytes)")

    def judge(head: Head) -> Any:
        if head.kind != kind:
            raise error_for(KIND)
        if limit is not None and head.nbytes > limit:
            raise _too_long(head.nbytes, f"max_bytes allows {limit}")
        return take(head)

    return judge


def _of_bytes(buf: Gathered, call: str) -> Outgoing:
    parts = parts_of(buf, call)
    return Outgoing(BYTES, parts, sum(part.nbytes for part in parts or ()))


def _of_object(body: bytes, parts: Sequence[memoryview]) -> Outgoing:
    """An object that was pickled. One with large buffers can only travel over the channel."""
    return Outgoing(OBJECT, None if parts else [body], frames_of(body, parts).nbytes)
