# SPDX-License-Identifier: BSD-3-Clause
"""What the user holds of messages under way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .._core import operation as core
from .._core.constants import DONE, MATCHED, POSTED
from .._core.operation import Operation
from .._core.results import CANCELLED, TOO_LONG, error_for
from .._core.waiting import OneWaiter
from ..arguments import deadline_of
from ..errors import Cancelled
from ..mechanisms import NAMES
from ..request import Request, size_text

if TYPE_CHECKING:
    from .endpoint import Endpoint

__all__ = ["ChannelRequest"]


class ChannelRequest(Request):
    """A read or write under way.

    Made by `Channel.iread` and `Channel.iwrite`, and found as `.request` on an
    exception that could not take back what the call had posted. It may be
    dropped: what was posted happens all the same.
    """

    __slots__ = ("_endpoint", "_nbytes", "_operations", "_verb")

    def __init__(self, endpoint: Endpoint, verb: str, operations: Sequence[Operation]) -> None:
        self._endpoint = endpoint
        self._verb = verb
        self._operations = tuple(operations)
        self._nbytes: int | None = None  # once seen to be done without error

    @classmethod
    def _of_result(cls, endpoint: Endpoint, verb: str, nbytes: int) -> ChannelRequest:
        """A request that is done already: the result of a call that was interrupted just then."""
        request = cls(endpoint, verb, ())
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
                state = core.drive(self._endpoint.chan, operation.req, 0, 0)
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
            return bool(first.req.error == CANCELLED)
        won = bool(core.cancel(self._endpoint.chan, first.req))
        if won:
            # The parts of an object are never matched without their head.
            for operation in self._operations:
                core.cancel(self._endpoint.chan, operation.req)
                core.observe(self._endpoint.chan, operation.req)
                self._endpoint.forget(operation)
        return won

    def times(self) -> dict[str, int]:
        """Where the time of a message that is done went, in nanoseconds: the paper's figure 7.

        `post`: until it stood in line; `match`: until it met its other side;
        `start`: until this end began to copy, 0 if it did not; `copy`: until the
        last byte was there; `complete`: until `check` or `wait` saw it. All 0
        for what a blocking call had posted. ValueError while it is pending.

        With the kernel helper they are the kernel's: `post`: in its call; `pin`:
        pinning this end's pages; `start`: from the match to the first piece, without
        pinning; `copy`: to the last; `complete`: until the result was stored, and seen.
        `match` is all else: waiting for the other side, for a turn, or for somebody here to look.
        The kernel is asked by the first call, and knows for 512 more posts of this direction,
        until the channel is closed; after that there is no `pin`, and `copy` holds all from
        `post` to the end.
        """
        if not self._done:
            raise ValueError(f"{self!r}: what it took is known once it is done")
        return core.stage_times(self._endpoint.chan, self._operations)

    @property
    def _done(self) -> bool:
        return all(operation.done for operation in self._operations)

    def _wait_until(self, deadline: float | None) -> bool:
        """Wait without judging the result. False when the deadline passed before."""
        chan = self._endpoint.chan
        return all(
            operation.done or OneWaiter(chan, operation.req).wait(deadline)
            for operation in self._operations
        )

    def _settle(self) -> int:
        """Take the result of what is done: bytes, or the request's error."""
        for operation in self._operations:
            # Takes the channel's lock: what is read after it was written before it.
            core.observe(self._endpoint.chan, operation.req)
        failed = next((op for op in self._operations if op.req.error), None)
        for operation in self._operations:
            self._endpoint.forget(operation)
        if failed is not None:
            raise self._error(failed)
        self._nbytes = sum(operation.req.done_bytes for operation in self._operations)
        return self._nbytes

    def _error(self, operation: Operation) -> Exception:
        req = operation.req
        if req.error == TOO_LONG:
            return error_for(
                req.error,
                f"the message in line has {req.needed} bytes, the buffer {req.length}: "
                "it stays first in line, read it into a larger one",
                needed=req.needed,
            )
        if req.error == CANCELLED:
            return Cancelled(f"the {self._verb} was cancelled")
        return self._endpoint.error(req.error)

    def __repr__(self) -> str:
        verb = self._verb
        if not self._operations:
            return f"<{verb} of {size_text(self._nbytes or 0)}, done>"
        total = sum(operation.req.length for operation in self._operations)
        preposition = "from" if self._operations[0].req.is_read else "to"
        return (
            f"<{verb} {size_text(total)} {preposition} {self._endpoint.peer_text}, "
            f"{self._state_text(total)}>"
        )

    def _state_text(self, total: int) -> str:
        first = self._operations[0].req
        failed = next((op.req.error for op in self._operations if op.req.error), 0)
        if failed == CANCELLED:
            return "cancelled"
        if failed:
            return f"failed: {type(error_for(failed)).__name__}"
        if all(operation.done for operation in self._operations):
            return "done"
        for operation in self._operations:
            core.refresh(self._endpoint.chan, operation.req)
        if first.state in (MATCHED, DONE):
            moved = sum(operation.req.done_bytes for operation in self._operations)
            percent = 100 * moved // total if total else 100
            return f"{NAMES.get(first.mechanism, 'eager')}, {percent} %"
        return "in line" if first.state == POSTED else "queued"

    def __del__(self) -> None:
        # Nobody will look at the result: it must not keep fileno() readable.
        if getattr(self, "_nbytes", 0) is None:
            for operation in self._operations:
                core.observe(self._endpoint.chan, operation.req)
