# SPDX-License-Identifier: BSD-3-Clause
"""Requests: what a post returns, and waiting for several of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NoReturn

from ._native import ffi, lib
from .errors import Cancelled, error_for
from .mechanisms import NAMES
from .waiting import ManyWaiter, OneWaiter, deadline_of

if TYPE_CHECKING:
    from ._native import CData
    from .channel import Channel

__all__ = ["Operation", "Request", "wait_all", "wait_any"]

# enum adma_req_state
_QUEUED, _POSTED, _MATCHED, _NEED, _DONE = 1, 2, 3, 4, 5


class Operation:
    """One message under way: the core's request and the buffer it may touch.

    The channel keeps it until it is done, also when nobody else does: what is
    posted happens, and its buffer stays for as long.
    """

    __slots__ = ("hold", "req")

    def __init__(self, hold: CData | None, *, read: bool, kind: int, flags: int = 0) -> None:
        self.hold = hold
        self.req = req = ffi.new("struct adma_req *")
        req.kind = kind
        req.is_read = read
        req.flags = flags
        if hold is not None:
            self.aim(hold)

    def aim(self, hold: CData) -> None:
        """The buffer that the message is in, or will be."""
        self.hold = hold
        self.req.address = hold
        self.req.length = len(hold)

    @property
    def done(self) -> bool:
        """Will the core not touch it any more?"""
        return bool(self.req.state == _DONE)

    def let_go(self) -> None:
        """The core is through: the buffer is its owner's again.

        Released by hand: a traceback, too, may hold what holds the buffer.
        """
        if not self.req.held:
            hold, self.hold = self.hold, None  # two threads may come by at once
            if hold is not None:
                ffi.release(hold)


class Request:
    """A read or write under way: check it, wait for it, cancel it.

    Made by `Channel.iread` and `Channel.iwrite`, and found as `.request` on an
    exception that could not take back what the call had posted. It may be
    dropped: what was posted happens all the same. Nobody has to call for that:
    a thread of the library copies while the program computes.
    """

    __slots__ = ("__weakref__", "_channel", "_nbytes", "_operations", "_verb")

    def __init__(self, channel: Channel, verb: str, operations: Sequence[Operation]) -> None:
        self._channel = channel
        self._verb = verb
        self._operations = tuple(operations)
        self._nbytes: int | None = None  # once seen to be done without error

    @classmethod
    def _of_result(cls, channel: Channel, verb: str, nbytes: int) -> Request:
        """A request that is done already: the result of a call that was interrupted just then."""
        request = cls(channel, verb, ())
        request._nbytes = nbytes
        return request

    def check(self) -> bool:
        """True when it is done, False while it is not. Never blocks, but may copy for a moment.

        Raises the request's own error: `MessageTooLong`, `WrongKind`,
        `Cancelled`, `ChannelClosed`, `PeerDied`, OSError of a failed copy.
        (The paper's table 2: adma_check.)
        """
        if self._nbytes is not None:
            return True
        for operation in self._operations:
            if not operation.done:
                state = lib.adma_drive_one(self._channel._chan, operation.req, 0, 0)
                if state < 0 and not operation.done:
                    raise error_for(state)
                if not operation.done:
                    return False
        self._settle()
        return True

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it is done; the bytes of the message.

        `timeout` in seconds, None: for ever. TimeoutError leaves it pending
        and its buffer owned by it, as does an interruption. Raises the
        request's own error as `check` does. (Table 2: adma_wait.)
        """
        deadline = deadline_of(timeout, "wait")
        if self._nbytes is not None:
            return self._nbytes
        if not self._wait_until(deadline):
            raise TimeoutError(f"{self!r} is not done after {timeout} s; it stays pending")
        return self._settle()

    def cancel(self) -> bool:
        """Take it back. True only if nothing of it will happen any more.

        False: it is done, or was matched and is being copied; wait for it.
        After True, `check` and `wait` raise `Cancelled`. Wakes those who wait.
        """
        if not self._operations:
            return False
        first = self._operations[0]
        if first.done:
            return bool(first.req.error == lib.ADMA_E_CANCELLED)
        won = bool(lib.adma_cancel(self._channel._chan, first.req))
        if won:
            # The parts of an object are never matched without their head.
            for operation in self._operations:
                lib.adma_cancel(self._channel._chan, operation.req)
                lib.adma_observe(self._channel._chan, operation.req)
                self._channel._forget(operation)
        return won

    def _wait_until(self, deadline: float | None) -> bool:
        """Wait without judging the result. False when the deadline passed before."""
        chan = self._channel._chan
        return all(
            operation.done or OneWaiter(chan, operation.req).wait(deadline)
            for operation in self._operations
        )

    def _settle(self) -> int:
        """Take the result of what is done: bytes, or the request's error."""
        for operation in self._operations:
            # Takes the channel's lock: what is read after it was written before it.
            lib.adma_observe(self._channel._chan, operation.req)
        failed = next((op for op in self._operations if op.req.error), None)
        for operation in self._operations:
            self._channel._forget(operation)
        if failed is not None:
            raise self._error(failed)
        self._nbytes = sum(operation.req.done_bytes for operation in self._operations)
        return self._nbytes

    def _error(self, operation: Operation) -> Exception:
        req = operation.req
        if req.error == lib.ADMA_E_TOOLONG:
            return error_for(
                req.error,
                f"the message in line has {req.needed} bytes, the buffer {req.length}: "
                "it stays first in line, read it into a larger one",
                needed=req.needed,
            )
        if req.error == lib.ADMA_E_CANCELLED:
            return Cancelled(f"the {self._verb} was cancelled")
        return self._channel._explain_error(req.error)

    def __repr__(self) -> str:
        verb, channel = self._verb, self._channel
        if not self._operations:
            return f"<{verb} of {_size(self._nbytes or 0)}, done>"
        total = sum(operation.req.length for operation in self._operations)
        preposition = "from" if self._operations[0].req.is_read else "to"
        return (
            f"<{verb} {_size(total)} {preposition} {channel._peer_text}, {self._state_text(total)}>"
        )

    def _state_text(self, total: int) -> str:
        first = self._operations[0].req
        failed = next((op.req.error for op in self._operations if op.req.error), 0)
        if failed == lib.ADMA_E_CANCELLED:
            return "cancelled"
        if failed:
            return f"failed: {type(error_for(failed)).__name__}"
        if all(operation.done for operation in self._operations):
            return "done"
        for operation in self._operations:
            lib.adma_refresh(self._channel._chan, operation.req)
        if first.state in (_MATCHED, _DONE):
            moved = sum(operation.req.done_bytes for operation in self._operations)
            percent = 100 * moved // total if total else 100
            return f"{NAMES.get(first.mechanism, 'eager')}, {percent} %"
        return "in line" if first.state == _POSTED else "queued"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Request cannot be copied or pickled: it belongs to its channel")

    def __del__(self) -> None:
        # Nobody will look at the result: it must not keep fileno() readable.
        if getattr(self, "_nbytes", 0) is None:
            for operation in self._operations:
                lib.adma_observe(self._channel._chan, operation.req)


def _size(nbytes: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if nbytes >= factor:
            return f"{nbytes / factor:.4g} {unit}"
    return f"{nbytes} B"


def _pending(requests: Sequence[Request]) -> list[tuple[Channel, Operation]]:
    return [
        (request._channel, operation)
        for request in requests
        for operation in request._operations
        if not operation.done
    ]


def _waiter(pending: Sequence[tuple[Channel, Operation]], need: int) -> ManyWaiter:
    channels = {id(channel): channel._chan for channel, _ in pending}
    return ManyWaiter(list(channels.values()), [op.req for _, op in pending], need)


def _checked(reqs: Iterable[Request], call: str) -> list[Request]:
    try:
        requests = list(reqs)
    except TypeError:
        kind = type(reqs).__name__
        raise TypeError(f"{call}(reqs): pass a list of requests, not {kind}") from None
    for request in requests:
        if not isinstance(request, Request):
            kind = type(request).__name__
            raise TypeError(f"{call}(reqs): an iterable of requests, found {kind}")
    return requests


def wait_all(reqs: Iterable[Request], timeout: float | None = None) -> list[int]:
    """Wait until all are done; the bytes of each, in order.

    They may belong to different channels; all of these are served meanwhile.
    When some failed, the first one's error is raised, after all are done.
    TimeoutError leaves those that are not done pending.
    """
    requests = _checked(reqs, "wait_all")
    deadline = deadline_of(timeout, "wait_all")
    while pending := _pending(requests):
        if not _waiter(pending, len(pending)).wait(deadline):
            raise TimeoutError(f"{len(pending)} of {len(requests)} requests are still pending")
    return [request.wait() for request in requests]


def wait_any(reqs: Iterable[Request], timeout: float | None = None) -> int:
    """Wait until one is done; its index (the first, when several are).

    Whether it failed is told by its own `check` or `wait`. ValueError for no
    requests; TimeoutError leaves all pending.
    """
    requests = _checked(reqs, "wait_any")
    if not requests:
        raise ValueError("wait_any(reqs): no requests, so none will ever be done")
    deadline = deadline_of(timeout, "wait_any")
    while True:
        for index, request in enumerate(requests):
            if all(operation.done for operation in request._operations):
                return index
        if not _waiter(_pending(requests), 1).wait(deadline):
            raise TimeoutError(f"none of {len(requests)} requests is done")


# Kept for ever: buffers that a stopped peer may still touch.
quarantine: list[Operation] = []
