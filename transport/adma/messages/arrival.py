# SPDX-License-Identifier: BSD-3-Clause
"""A message that is received whole, by a request: an object for `irecv`, or bytes.

Its size is known once its head is matched, and the sizes of its parts once the head has come. So a
request for it goes through several steps, and makes the next one in whatever call looks at it.
Where nobody does, the core lists its head as it lists what is done (`Operation.feed_by`): then the
main thread makes the step between two of its instructions, or any call of this library does.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from typing import Any

from .._core import operation as core
from .._core.constants import BLOCKING, BYTES, IDLE, NEED
from .._core.holds import any_finished, let_go_finished
from .._core.notification import tell_notifications
from .._core.operation import Operation
from .._core.results import error_for
from ..arguments import deadline_of
from ..errors import Cancelled
from ..request import suspend
from .channel_request import ChannelRequest
from .endpoint import Endpoint
from .incoming import Incoming
from .overtime import wait_until

__all__ = ["Arrival", "ReceiveRequest", "bytes_to_come"]


class ReceiveRequest(ChannelRequest):
    """An object on its way here. `Channel.irecv` makes it.

    `wait`, and so `await`, returns the object. It is unpickled then, in the thread that asks. A
    program may drop the request: then the object is received and forgotten.
    """

    __slots__ = ()

    def wait(self, timeout: float | None = None) -> Any:
        """Wait until the object is there; returns it, the same one each time.

        `timeout` is in seconds; None means no limit. After a TimeoutError, or the exception of
        a signal handler, the request is still pending. Raises the request's own error, as
        `check` does, and what unpickling raises.
        """
        raise NotImplementedError

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait for it in a task of asyncio; returns the object. See `Request.__await__`."""
        while not self.check():
            yield from suspend(self)
        return self.wait()


class Arrival(ReceiveRequest):
    """The only kind of `ReceiveRequest`."""

    __slots__ = (
        "__weakref__",
        "_again",
        "_busy",
        "_endpoint",
        "_failure",
        "_incoming",
        "_loaded",
        "_nbytes",
        "_notifies",
        "_over",
        "_value",
        "_verb",
    )

    def __init__(self, endpoint: Endpoint, verb: str, incoming: Incoming) -> None:
        self._endpoint = endpoint
        self._verb = verb
        self._incoming = incoming
        self._nbytes = None
        self._value: Any = None
        self._loaded = False  # the value is there
        self._over = False  # nothing is left to be done, or can be
        self._failure: Exception | None = None
        self._notifies = False
        self._busy = threading.Lock()  # is held by whoever makes a step
        self._again = False  # somebody else wanted to, meanwhile

    @property
    def _operations(self) -> Sequence[Operation]:  # type: ignore[override]
        return self._incoming.operations

    # Steps

    def post(self) -> None:
        """Post the read for its head. Raises why it cannot be posted."""
        self._advance()
        if self._failure is not None and self._incoming.head.req.state == IDLE:
            raise self._failure

    def _advance(self) -> bool:
        """Go on as far as that is possible without waiting. True: it is done, or has failed."""
        while not self._over and self._failure is None:
            self._again = True
            if not self._busy.acquire(blocking=False):
                return False  # whoever has it makes this step, too
            try:
                self._again = False
                if not self._over:
                    self._step()
            finally:
                self._busy.release()
            if not self._again:
                break
        over = self._over or self._failure is not None
        if over and self._notifies:
            self._notifies = False
            tell_notifications()  # this may be another thread's step than the event loop's
        return over

    def _step(self) -> None:
        try:
            pending = self._incoming.step()
        except MemoryError as error:
            self._failure = error  # and it stays as it is: it is tried again once that was told
            return
        except Exception as error:
            self._failure, self._over = error, True
            return
        self._over = not pending
        if self._notifies:
            for operation in pending:
                # One that is done already is told of by nobody: the next step follows at once.
                self._again |= bool(core.notify(self._endpoint.chan, operation.req))

    # What requests do

    def check(self) -> bool:
        """Is it there? Never blocks, but may copy for a moment.

        Raises the request's own error: `MessageTooLong`, `WrongKind`, `Cancelled`,
        `ChannelClosed`, `PeerDied`, the OSError of a copy that failed, or MemoryError: then the
        object stays first in line, and the request pending.
        """
        while not self._advance():
            for operation in self._operations:
                if operation.done:
                    continue
                state = core.check(self._endpoint.chan, operation.req)
                if operation.done or operation.req.state == NEED:
                    break
                if any_finished():
                    let_go_finished()
                if state < 0:
                    raise error_for(state)
                return False
            else:
                return False  # another thread is about to go on with it
        self._settle()
        return True

    def wait(self, timeout: float | None = None) -> Any:
        """See `ReceiveRequest.wait`."""
        deadline = deadline_of(timeout, "wait")
        if not self._loaded:
            if not self._wait_until(deadline):
                self._late(timeout)
            self._settle()
            self._value = self._incoming.load()
            self._loaded = True
            self._incoming.forget()
        return self._value

    def cancel(self) -> bool:
        """Take it back. True: no object was received. See `ChannelRequest.cancel`."""
        if not super().cancel():
            return False
        self._failure, self._over = Cancelled(f"the {self._verb} was cancelled"), True
        return True

    @property
    def _done(self) -> bool:
        return self._advance()

    def _wait_until(self, deadline: float | None) -> bool:
        while not self._advance():
            pending = [each for each in self._operations if not each.done]
            if not wait_until(self._endpoint.chan, pending, deadline):
                return False
        return True

    def _notify(self) -> bool:
        self._notifies = True
        if self._advance():
            return True
        super()._notify()
        return self._advance()  # it may have gone on just before

    def _settle(self) -> int:
        """Its bytes, or its error."""
        if self._failure is not None:
            failure = self._failure
            if not self._over:
                self._failure = None
            raise failure.with_traceback(None)
        if any_finished():
            let_go_finished()
        self._nbytes = nbytes = self._incoming.nbytes
        return nbytes

    def _let_go(self) -> None:
        if self._over:
            super()._let_go()

    def __del__(self) -> None:
        # A result that nobody will look at must not keep fileno() readable.
        if getattr(self, "_nbytes", 0) is None:
            for operation in self._operations:
                core.observe(self._endpoint.chan, operation.req)
                operation.let_go_if_done()


def bytes_to_come(endpoint: Endpoint, limit: int | None) -> Arrival:
    """A read for the next message that finds its buffer itself, for a call that waits."""
    incoming = Incoming(endpoint, BYTES, BLOCKING)
    incoming.limit_to(limit)
    return Arrival(endpoint, "read_bytes", incoming)
