# SPDX-License-Identifier: BSD-3-Clause
"""Requests that were posted before both ends of a pipe had met.

Such a request waits in a queue of its end (`posts.py`). It is done over the line, or else the
channel takes it over, and then it stands for the channel's own request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from .._core.operation import Operation
from ..arguments import deadline_of, remaining
from ..errors import Cancelled, MessageTooLong, WrongKind
from ..messages.arrival import ReceiveRequest
from ..messages.channel_request import ChannelRequest
from ..messages.persistent import ObjectStarter, PersistentRequest
from ..request import Watched

if TYPE_CHECKING:
    from ..messages.endpoint import Endpoint

__all__ = ["EarlyRequest", "EarlyStarter", "End", "Pending"]

_NO_TIMES: Final = ("post", "match", "start", "copy", "complete")


class Pending(Protocol):
    """The end on which it was posted."""

    def go_on(self) -> None:
        """Go on with the handshake and with what was posted. Never waits."""

    def withdraw(self, request: EarlyRequest) -> bool:
        """Take it out of its queue. False: it is not there any more."""

    def sleeping(self, *, reads: bool) -> AbstractContextManager[list[tuple[int, int]]]:
        """Descriptors, with events of poll(2): one of them tells when to look again."""

    def wait(self, deadline: float | None, *, reads: bool) -> bool:
        """Sleep until it is worth looking again. False: the deadline has passed."""


class _Watch:
    """What an event loop has of requests that no channel has yet: a timer looks at them.

    They are in this state for as long as it takes both ends to meet.
    """

    timed: Final = True

    def event_fd(self) -> int:
        """See `request.Watched`."""
        return -1

    def advance(self, requests: Iterable[EarlyRequest]) -> bool:
        """See `request.Watched`. Whoever awaits what a channel has taken over begins anew."""
        for request in requests:
            if not request._done and request._unmet is None:
                raise _TakenOver
        return False


class _TakenOver(Exception):
    pass


_watch: Final = _Watch()


class EarlyRequest(ReceiveRequest):
    """A read or a write that was posted before both ends of a pipe had met."""

    __slots__ = (
        "__weakref__",
        "_end",
        "_failure",
        "_is_queued",
        "_is_read",
        "_later",
        "_load",
        "_over_channel",
        "_size",
        "_value",
        "_verb",
        "_what",
    )

    def __init__(
        self,
        end: Pending,
        verb: str,
        what: Any,
        over_channel: Callable[[], Any],
        *,
        is_read: bool,
        load: Callable[[Any], Any] | None = None,
    ) -> None:
        """`what` goes over the line; `over_channel` posts it on the channel, if it is there.

        `load` makes an object of what came over the line, in the thread that asks for it.
        """
        self._end = end
        self._verb = verb
        self._is_read = is_read
        self._what = what
        self._over_channel: Callable[[], Any] | None = over_channel
        self._is_queued = True
        self._later: ChannelRequest | None = None  # the channel's request
        self._failure: Exception | None = None
        self._value: Any = None
        self._load = load
        self._size: int | None = None

    # What becomes of it. The end's lock is held.

    def finish(self, value: Any) -> None:
        """It was done over the line: so many bytes, or these ones came."""
        self._value = value
        self._size = value if isinstance(value, int) else len(value)
        self._leave()

    def fail(self, error: Exception) -> None:
        """Nothing of it happened, or will."""
        self._failure = error
        self._leave()

    def take_over(self) -> None:
        """The channel is there: post it there."""
        post = self._over_channel
        assert post is not None
        try:
            self._later = post()
        except Exception as error:
            self._failure = error
        self._leave()

    @property
    def outcome(self) -> ChannelRequest:
        """What a post returns: the channel's request, where that has it already.

        Raises why it could not be posted. What is wrong with the message that it met is told by
        its own `check` and `wait`.
        """
        if self._failure is not None and not isinstance(self._failure, MessageTooLong | WrongKind):
            raise self._failure.with_traceback(None)
        return self if self._later is None else self._later

    def _leave(self) -> None:
        self._is_queued = False
        self._what = self._over_channel = None  # the buffers are their owner's again

    @property
    def what(self) -> Any:
        """What goes over the line."""
        return self._what

    # What requests do

    @property
    def _unmet(self) -> EarlyRequest | None:
        return self if self._is_queued else None

    def _sleeping(self) -> AbstractContextManager[list[tuple[int, int]]]:
        return self._end.sleeping(reads=self._is_read)

    def check(self) -> bool:
        """See `Request.check`. Before both ends have met, this makes steps of the handshake."""
        if self._is_queued:
            self._end.go_on()
        if self._later is not None:
            return self._later.check()
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        return not self._is_queued

    def wait(self, timeout: float | None = None) -> Any:
        """See `Request.wait`."""
        deadline = deadline_of(timeout, "wait")
        while not self.check():
            if self._later is not None:
                return self._later.wait(remaining(deadline))
            if not self._end.wait(deadline, reads=self._is_read):
                self._late(timeout)
        if self._later is not None:
            return self._later.wait()
        if self._load is not None:
            self._value, self._load = self._load(self._value), None
        return self._value

    def cancel(self) -> bool:
        """See `ChannelRequest.cancel`."""
        if self._is_queued and self._end.withdraw(self):
            return True
        if self._later is not None:
            return self._later.cancel()
        return isinstance(self._failure, Cancelled)

    def withdrawn(self) -> None:
        """It was taken out of its queue."""
        self.fail(Cancelled(f"the {self._verb} was cancelled"))

    def times(self) -> dict[str, int]:
        """See `ChannelRequest.times`. Over the line nothing was measured: all are 0."""
        if self._later is not None:
            return self._later.times()
        if self._is_queued:
            raise ValueError(f"{self!r}: what it took is known once it is done")
        return dict.fromkeys(_NO_TIMES, 0)

    @property
    def _done(self) -> bool:
        if self._is_queued:
            self._end.go_on()
        return not self._is_queued and (self._later is None or self._later._done)

    @property
    def _endpoint(self) -> Endpoint:  # type: ignore[override]
        assert self._later is not None
        return self._later._endpoint

    @property
    def _operations(self) -> Sequence[Operation]:  # type: ignore[override]
        return self._later._operations if self._later is not None else ()

    @property  # type: ignore[misc]
    def _nbytes(self) -> int | None:
        if self._later is not None:
            return self._later._nbytes
        return self._size

    def _seen(self) -> None:
        if self._later is not None:
            self._later._seen()

    def _let_go(self) -> None:
        if self._later is not None:
            self._later._let_go()

    def _watched(self) -> Watched:
        return _watch if self._later is None else self._later._watched()

    def _notify(self) -> bool:
        return self._done if self._later is None else self._later._notify()

    def __repr__(self) -> str:
        if self._later is not None:
            return repr(self._later)
        state = "queued" if self._is_queued else "failed" if self._failure else "done"
        return f"<{self._verb} on an end of a pipe, {state}>"


class End(Protocol):
    """An end of a pipe, as its persistent requests know it."""

    _is_early: ClassVar[bool]


class EarlyStarter(ObjectStarter):
    """A persistent request that was made before the end was a plain channel.

    Until then each `start` posts a request of its own. After that it is the channel's.
    """

    __slots__ = ("_end", "_of_channel", "_plain")

    def __init__(
        self,
        end: End,
        verb: str,
        post: Callable[[object], Any],
        of_channel: Callable[[], PersistentRequest],
        what: object,
    ) -> None:
        """`post` starts it early; `of_channel` makes the channel's."""
        self._end = end
        self._verb = verb
        self._isend = post
        self._object = what
        self._begun = None
        self._of_channel = of_channel
        self._plain: PersistentRequest | None = None

    def start(self) -> None:
        """See `PersistentRequest.start`."""
        if self._end._is_early:
            super().start()
            return
        if self._plain is None:
            self._check_startable()
            self._plain = self._of_channel()
        self._plain.start()
        self._begun = self._plain

    @property
    def _endpoint(self) -> Endpoint:  # type: ignore[override]
        return self._started()._endpoint

    def __repr__(self) -> str:
        if self._begun is None:
            return f"<{self._verb} on {self._end!r}, not started>"
        return repr(self._begun)
