# SPDX-License-Identifier: BSD-3-Clause
"""Requests for messages under way."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NoReturn

from .._core import operation as core
from .._core.calls import request_type_on
from .._core.constants import DONE, MATCHED, POSTED
from .._core.holds import any_finished, let_go_finished
from .._core.operation import Operation
from .._core.results import CANCELLED, TOO_LONG, error_for
from ..arguments import deadline_of
from ..errors import Cancelled
from ..mechanisms import NAMES
from ..request import Request, Watched, size_text
from .endpoint import Endpoint
from .overtime import wait_until

__all__ = ["ChannelRequest", "ManyRequest", "MessageRequest"]


class ChannelRequest(Request):
    """A read or a write under way.

    `Channel.iread` and `Channel.iwrite` make it. An exception has it as `.request` when the
    call could not take back what it had posted. A program may drop it: what was posted happens
    all the same.
    """

    __slots__ = ()

    _endpoint: Endpoint
    _operations: Sequence[Operation]
    _verb: str

    @property
    def _nbytes(self) -> int | None:
        """Bytes of the message, once it was seen to be done without an error."""
        raise NotImplementedError

    @_nbytes.setter
    def _nbytes(self, nbytes: int | None) -> None:
        raise NotImplementedError

    def cancel(self) -> bool:
        """Take it back. True: nothing of it happened, or will.

        False: it is done, or was matched and is being copied; wait for it. After True, `check`
        and `wait` raise `Cancelled`, and so do calls that wait in other threads.
        """
        if not self._operations:
            return False
        first = self._operations[0]
        if first.done:
            self._seen()
            return bool(first.req.error == CANCELLED)
        won = bool(core.cancel(self._endpoint.chan, first.req))
        if won:
            # The parts of an object are never matched without their head.
            for operation in self._operations:
                core.cancel(self._endpoint.chan, operation.req)
                core.observe(self._endpoint.chan, operation.req)
                operation.let_go_if_done()
        return won

    def times(self) -> dict[str, int]:
        """Nanoseconds that each stage of a message took, once it is done. (Paper, figure 7.)

        `post`: until it was published. `match`: until it met its counterpart. `start`: until
        this end began to copy, 0 if it never did. `copy`: until the last byte was there.
        `complete`: until `check` or `wait` saw it. All are 0 for a message that a blocking
        call posted. ValueError: it is pending.

        With the kernel helper the kernel measures. `post`: in its call. `pin`: pinning this
        end's pages. `start`: from the match to the first piece, without pinning. `copy`: to
        the last piece. `complete`: until the result was stored, and seen. `match` is the rest:
        waiting for the counterpart, for earlier transfers, or for a thread here to look.

        The first call asks the kernel, which remembers 512 more posts of this direction, and
        only while the channel is open. After that there is no `pin`, and `copy` is all the
        time from `post` to the end.
        """
        if not self._done:
            raise ValueError(f"{self!r}: what it took is known once it is done")
        return core.stage_times(self._endpoint.chan, self._operations)

    @property
    def _done(self) -> bool:
        return all(operation.done for operation in self._operations)

    @property
    def _unmet(self) -> ChannelRequest | None:
        """What is left to be waited for before a channel has it; None: a channel has it."""
        return None

    def _sleeping(self) -> AbstractContextManager[list[tuple[int, int]]]:
        """Descriptors with events of poll(2), of a request that no channel has yet.

        One of them tells when to look again. There are none if that is now.
        """
        raise NotImplementedError

    def _let_go(self) -> None:
        for operation in self._operations:
            operation.let_go_if_done()

    def _wait_until(self, deadline: float | None) -> bool:
        """Wait; its result is not looked at. False: the deadline passed before."""
        return wait_until(self._endpoint.chan, self._operations, deadline)

    def _late(self, timeout: float | None) -> NoReturn:
        raise TimeoutError(f"{self!r} is not done after {timeout} s; it stays pending")

    def _seen(self) -> None:
        for operation in self._operations:
            if operation.done:
                core.observe(self._endpoint.chan, operation.req)

    def _watched(self) -> Watched:
        return self._endpoint

    def _notify(self) -> bool:
        chan = self._endpoint.chan
        done = [core.notify(chan, operation.req) for operation in self._operations]
        return all(done)

    def _settle(self) -> int:
        """The result of what is done: its bytes, or the request's error."""
        for operation in self._operations:
            # This takes the channel's lock. So what is read below was written before.
            core.observe(self._endpoint.chan, operation.req)
        failed = next((op for op in self._operations if op.req.error), None)
        for operation in self._operations:
            operation.let_go_if_done()
        if any_finished():
            let_go_finished()
        if failed is not None:
            raise self._error(failed)
        self._nbytes = nbytes = sum(operation.req.done_bytes for operation in self._operations)
        return nbytes

    def _error(self, operation: Operation) -> Exception:
        req = operation.req
        if req.error == TOO_LONG:
            return error_for(
                req.error,
                f"the next message has {req.needed} bytes, the buffer {req.length}: "
                "it stays, read it into a larger one",
                needed=req.needed,
            )
        if req.error == CANCELLED:
            return Cancelled(f"the {self._verb} was cancelled")
        return self._endpoint.error(req.error, operation=operation)

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
        return "posted" if first.state == POSTED else "queued"


class ManyRequest(ChannelRequest):
    """A request of several operations: an object and its parts."""

    __slots__ = ("__weakref__", "_endpoint", "_nbytes", "_operations", "_verb")

    def __init__(self, endpoint: Endpoint, verb: str, operations: Sequence[Operation]) -> None:
        self._endpoint = endpoint
        self._verb = verb
        self._operations = tuple(operations)
        self._nbytes = None

    def check(self) -> bool:
        """Is it done? Never blocks, but may copy for a moment. (Paper, table 2: adma_check.)

        It copies only what is in memory, and leaves the rest to a thread of the library: a
        page may be slow to come.

        Raises the request's own error: `MessageTooLong`, `WrongKind`, `Cancelled`,
        `ChannelClosed`, `PeerDied`, or the OSError of a copy that failed.
        """
        if self._nbytes is not None:
            return True
        for operation in self._operations:
            if not operation.done:
                state = core.check(self._endpoint.chan, operation.req)
                if not operation.done:
                    if any_finished():
                        let_go_finished()
                    if state < 0:
                        raise error_for(state)
                    return False
        self._settle()
        return True

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it is done; returns the message's bytes. (Paper, table 2: adma_wait.)

        `timeout` is in seconds; None means no limit. After a TimeoutError, or the exception of
        a signal handler, the request is still pending and owns its buffer. Raises the
        request's own error, as `check` does.
        """
        deadline = deadline_of(timeout, "wait")
        if self._nbytes is not None:
            return self._nbytes
        if not self._wait_until(deadline):
            self._late(timeout)
        return self._settle()

    def __del__(self) -> None:
        # A result that nobody will look at must not keep fileno() readable, nor a buffer.
        if getattr(self, "_nbytes", 0) is None:
            for operation in self._operations:
                core.observe(self._endpoint.chan, operation.req)
                operation.let_go_if_done()


#: A request of one operation, which is that operation. The calls of a channel make it.
MessageRequest = request_type_on(ChannelRequest)
