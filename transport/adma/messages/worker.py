# SPDX-License-Identifier: BSD-3-Clause
"""A worker: one process, many peers, messages that match by source and tag.

This is the private binding of the core's worker, for layers that are built on it, tests and
benchmarks. Programs use channels.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from .. import mechanisms
from .._core import worker as core
from .._core.constants import IDLE, TELL
from .._core.holds import any_finished, let_go_finished
from .._core.operation import EndpointBase, Operation
from .._core.results import CLOSED_HERE, MEMORY_HERE, MEMORY_PEER, error_for, memory_error
from .._core.selection import of_endpoint
from .._core.waiting import ManyWaiter, drain
from ..arguments import deadline_of, whole_between
from ..closing import Closing
from ..connect import access
from ..errors import failure
from ..handshake.handshake import Terms, shake_into
from ..request import Watched, suspend
from . import exit as at_exit
from . import selection

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from .._core import types
    from .._core.types import Arrived, Req
    from ..handshake.link import Link
    from .explanation import Explanation

__all__ = ["ALL_BITS", "ANY_SOURCE", "Message", "TagRequest", "WholeReceive", "Worker"]

ANY_SOURCE: Final = core.ANY_SOURCE
ALL_BITS: Final = (1 << 64) - 1
#: The most that these arguments may be, and what to pass.
_NUMBERS: Final = {
    "number": (ANY_SOURCE, "pass what connect() returned"),
    "source": (ANY_SOURCE, "pass what connect() returned, or ANY_SOURCE"),
    "tag": (ALL_BITS, "a tag has 64 bits"),
    "mask": (ALL_BITS, "it has the bits of the tag that have to be equal"),
}
_CLOSE_SLICE_NS: Final = 50_000_000  # between looks at signals while closing


class TagRequest:
    """A send or a receive that was posted."""

    __slots__ = ("_worker", "operation")

    def __init__(self, worker: Worker, operation: Operation) -> None:
        self._worker = worker
        self.operation = operation

    @property
    def done(self) -> bool:
        """Is it complete?"""
        return self.operation.done

    @property
    def source(self) -> int:
        """The endpoint: of a receive that is complete, the one that the message came from."""
        return int(self.operation.req.source)

    @property
    def tag(self) -> int:
        """The tag: of a receive that is complete, the message's."""
        return int(self.operation.req.tag)

    def result(self) -> int:
        """Bytes of the message, once it is complete. Raises what went wrong."""
        req = self.operation.req
        self._worker.release(self.operation)
        if not req.error:
            return int(req.done_bytes)
        if req.error in (MEMORY_HERE, MEMORY_PEER):
            mechanism = mechanisms.NAMES.get(req.mechanism, "the kernel")
            raise memory_error(req.error, mechanism, is_read=bool(req.is_read))
        raise error_for(-req.error, needed=req.needed)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it is complete; returns the bytes of the message. TimeoutError: it goes on."""
        if not self._worker.wait([self], timeout):
            raise TimeoutError("the request is not complete, and stays posted")
        return self.result()

    def cancel(self) -> bool:
        """Withdraw it. False: too late, it happens."""
        won = bool(core.cancel(self._worker.handle, self.operation.req))
        if won:
            self._worker.release(self.operation)
        return won

    def __await__(self) -> Generator[Any, None, int]:
        """Wait for it in a task of asyncio; returns the bytes of the message.

        Cancelling the task cancels the request, unless other tasks await it, too. If that is too
        late, the request stays as it is.
        """
        while not self.done:
            if not self._worker.handle:
                raise error_for(CLOSED_HERE)
            yield from suspend(self)
        return self.result()

    @property
    def _done(self) -> bool:
        return self.operation.done

    def _watched(self) -> Watched:
        return self._worker

    def _notify(self) -> bool:
        return bool(core.notify(self._worker.handle, self.operation.req))


class Message:
    """A message that a matched probe, or a receive that takes it whole, took out of the queue.

    It has to be received: until then, or until its endpoint goes, its sender may wait.
    """

    __slots__ = ("_taken", "found")

    def __init__(self, found: core.Found, taken: Arrived) -> None:
        self.found = found
        self._taken: Arrived | None = taken

    @property
    def taken(self) -> Arrived:
        """The core's object, until it was received."""
        if self._taken is None:
            raise ValueError("this message was received already")
        return self._taken

    def spend(self) -> None:
        """It was received."""
        self._taken = None


class WholeReceive(TagRequest):
    """A receive that takes its message whole, and gets the buffer for it later."""

    __slots__ = ("_message",)

    def __init__(self, worker: Worker, operation: Operation) -> None:
        super().__init__(worker, operation)
        self._message: Message | None = None

    def result(self) -> int:
        """Bytes of the message, as its sender says. Raises what went wrong."""
        super().result()
        return int(self.operation.req.needed)

    def message(self) -> Message:
        """The message, to be received by `Worker.receive_taken`. Raises what went wrong."""
        if not self.done:
            raise RuntimeError("the receive has met no message yet: wait for it first")
        self.result()
        if self._message is None and (found := core.taken_by(self.operation.req)):
            self._message = Message(*found)
        assert self._message
        return self._message


class Worker(EndpointBase, Closing):
    """Endpoints, and one set of queues for all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.handle = core.NO_WORKER
        self.links: dict[int, Link | None] = {}  # by endpoint; the peer reads a nonce in them
        self.made_by = os.getpid()
        self.handle = core.make()
        self.serve(core.address(self.handle))
        at_exit.enlist(self)

    # Endpoints

    def connect(self, sock: socket.socket, timeout: float = 5, mechanism: str = "auto") -> int:
        """Add an endpoint over a connected AF_UNIX socket, at whose other end the same happens.

        Returns the endpoint's number. Errors as for `adma.from_socket`.
        """
        if not isinstance(sock, socket.socket):
            kind = type(sock).__name__
            raise TypeError(f"connect(sock): pass a connected socket.socket, not {kind}")
        forced = mechanisms.check_name(mechanism)
        terms = Terms("worker", client=False, forced=forced, admit=access.anybody)
        return shake_into(sock, terms, timeout, self._endpoint_of)

    def _endpoint_of(self, link: Link) -> int:
        try:
            number = core.connect(self.handle, selection.configuration(link))
        except BaseException:
            link.discard()
            raise
        self.links[number] = link
        return number

    def connect_self(self) -> int:
        """Add an endpoint to this worker itself."""
        number = core.connect_self(self.handle)
        self.links[number] = None
        return number

    def health(self, number: int) -> None:
        """Raise why the endpoint cannot be used, if it cannot."""
        try:
            rc = core.health(self.handle, number)
        except (TypeError, OverflowError):
            _judge("health", number=number)
            raise
        if rc:
            raise error_for(rc)

    def explain(self, number: int, nbytes: int) -> Explanation | None:
        """How a send of `nbytes` would travel now. None: the endpoint is this worker itself."""
        link = self.links.get(number)
        if link is None:
            return None
        return selection.explain(of_endpoint(self.handle, number), link, nbytes)

    def drop(self, number: int, timeout: float = 5) -> None:
        """Close an endpoint. TimeoutError: a copy is stopped in the middle."""
        deadline = time.monotonic() + timeout
        if timeout > 0:
            core.drain(self.handle, number)
            drain([], [self.handle], deadline)
        self._shut(number, timeout, deadline)

    def _shut(self, number: int, timeout: float, deadline: float) -> None:
        while core.drop(self.handle, number, _CLOSE_SLICE_NS if timeout > 0 else 0):
            if time.monotonic() >= deadline:
                held = core.abandon(self.handle, number)
                self.links.pop(number, None)
                if held:
                    raise TimeoutError(f"buffers of {held} bytes stay quarantined")
                return
        self.links.pop(number, None)

    def close(self, timeout: float = 5) -> None:
        """Close all endpoints, and free the worker. TimeoutError as for `drop`: it is closed."""
        if not self.handle:
            return
        try:
            if os.getpid() == self.made_by:
                self._close_endpoints(timeout)
        finally:
            at_exit.delist(self)
            handle, self.handle = self.handle, core.NO_WORKER
            self.serve(0)
            core.free(handle)
            self.release_all()
            self.links.clear()

    def _close_endpoints(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        if timeout > 0:
            self.begin_drain()
            drain([], [self.handle], deadline)
        for number in list(self.links):
            self._shut(number, timeout, deadline)

    def begin_drain(self) -> None:
        """Stop receiving at all endpoints, and tell the peers. What was posted is carried on."""
        for number in list(self.links):
            core.drain(self.handle, number)

    def handles(self) -> tuple[list[types.Chan], list[types.Worker]]:
        """What has to be driven until it is drained."""
        return [], [self.handle] if self.handle else []

    def cut_off(self) -> None:
        """Close it without waiting for peers."""
        with contextlib.suppress(TimeoutError):
            self.close(0)

    def __del__(self) -> None:
        """The core keeps nothing of the requests and buffers that go with this object."""
        if self.handle:
            self.cut_off()

    # Messages

    def send(
        self, number: int, tag: int, buf: ReadableBuffer, *, synchronous: bool = False
    ) -> TagRequest:
        """Post a send. Synchronous: it completes when it was matched, whatever its size."""
        flags = TELL | (core.SYNCHRONOUS if synchronous else 0)
        operation = Operation(buf, read=False, kind=core.TAGGED, flags=flags, call="send")
        req = operation.req
        try:
            req.source, req.tag = number, tag
        except (TypeError, OverflowError):
            operation.release()
            _judge("send", number=number, tag=tag)
            raise
        self.bring_segment(number, req.length)
        return TagRequest(self, self._post(operation, partial(core.send, self.handle)))

    def receive(
        self,
        source: int,
        tag: int,
        buf: WriteableBuffer,
        *,
        mask: int = ALL_BITS,
        consume: bool = False,
    ) -> TagRequest:
        """Post a receive. `consume`: a message that is too long for it does not stay."""
        operation = self._reception(buf, consume=consume)
        return TagRequest(self, self._post_receive(operation, source, tag, mask))

    def receive_whole(self, source: int, tag: int, *, mask: int = ALL_BITS) -> WholeReceive:
        """Post a receive that takes its message whole, whatever its length.

        It is matched in post order, like any receive.
        """
        operation = Operation(None, read=True, kind=core.TAGGED, flags=TELL | core.TAKE)
        return WholeReceive(self, self._post_receive(operation, source, tag, mask))

    def probe(self, source: int, tag: int, mask: int = ALL_BITS) -> core.Found | None:
        """The oldest message that such a receive would get, or None."""
        try:
            return core.probe(self.handle, source, tag, mask)
        except (TypeError, OverflowError):
            _judge("probe", source=source, tag=tag, mask=mask)
            raise

    def take(self, source: int, tag: int, mask: int = ALL_BITS) -> Message | None:
        """The same, and nobody else gets it."""
        try:
            found = core.take(self.handle, source, tag, mask)
        except (TypeError, OverflowError):
            _judge("take", source=source, tag=tag, mask=mask)
            raise
        return found and Message(*found)

    def receive_taken(
        self, message: Message, buf: WriteableBuffer, *, consume: bool = False
    ) -> TagRequest:
        """Receive a message that was taken."""
        operation = self._reception(buf, consume=consume)
        self._post(operation, partial(core.receive_taken, self.handle, message.taken))
        message.spend()
        return TagRequest(self, operation)

    # Waiting

    def progress(self) -> bool:
        """Make progress until there is nothing to do for now. Never sleeps."""
        return core.progress(self.handle)

    def wait(
        self, requests: Sequence[TagRequest], timeout: float | None = None, need: int | None = None
    ) -> bool:
        """Wait for `need` of the requests, all by default. False: not in time."""
        deadline = deadline_of(timeout, "wait")
        reqs = [request.operation.req for request in requests]
        most = len(reqs)
        wanted = most if need is None else _needed(need, most)
        if not ManyWaiter((), reqs, wanted, workers=[self.handle]).wait(deadline):
            return False
        for request in requests:
            request.operation.let_go_if_done()
        if any_finished():
            let_go_finished()
        return True

    def wait_message(self, timeout: float | None = None) -> bool:
        """Wait until a message has come that no receive was posted for. False: not in time."""
        return ManyWaiter((), (), 0, workers=[self.handle]).wait(deadline_of(timeout, "wait"))

    # In an event loop

    timed: Final = False

    def event_fd(self) -> int:
        """See `request.Watched`. -1: it was closed."""
        fd = core.fileno(self.handle)
        if -fd in errno.errorcode:
            raise failure("poll descriptor", -fd)
        return max(fd, -1)

    def advance(self, requests: Iterable[TagRequest]) -> bool:
        """See `request.Watched`."""
        del requests
        return core.advance(self.handle)

    # What the core is done with

    def release(self, operation: Operation) -> None:
        """The result of a request is looked at: let its buffer go, if it is complete."""
        if self.handle:
            core.observe(self.handle, operation.req)
        operation.let_go_if_done()
        if any_finished():
            let_go_finished()

    def _reception(self, buf: WriteableBuffer, *, consume: bool) -> Operation:
        flags = TELL | (core.CONSUME if consume else 0)
        return Operation(buf, read=True, kind=core.TAGGED, flags=flags, call="receive")

    def _post_receive(self, operation: Operation, source: int, tag: int, mask: int) -> Operation:
        req = operation.req
        try:
            req.source, req.tag, req.mask = source, tag, mask
        except (TypeError, OverflowError):
            operation.release()
            _judge("receive", source=source, tag=tag, mask=mask)
            raise
        return self._post(operation, partial(core.receive, self.handle))

    def _post(self, operation: Operation, post: Callable[[Req], int]) -> Operation:
        """Post it, and keep it until it is complete; its buffer is let go if it is so at once."""
        operation.keep(self)
        rc = -1
        try:
            rc = post(operation.req)
        finally:  # also if a signal strikes as that returns
            if operation.done or (rc and operation.req.state == IDLE):
                operation.release()
        if rc:
            raise _error(rc, operation.req.source, operation.req.needed)
        return operation

    def bring_segment(self, number: int, nbytes: int) -> None:
        """Make the memory that a send of `nbytes` needs, if it needs any."""
        wanted = core.wanted_segment(self.handle, number, nbytes)
        link = self.links.get(number)
        if not wanted or link is None:
            return
        try:
            fd = mechanisms.of_id(wanted).make_segment(link.takes_unsealed)
            rc = core.give_bulk(self.handle, number, fd)  # whose descriptor it is from now on
            if -rc in errno.errorcode:
                raise failure("bulk segment", -rc)
        except OSError as error:
            core.refuse_bulk(self.handle, number, error.errno or 0)
            return  # another mechanism carries it, or the send fails
        if rc:
            raise error_for(rc)


def _error(code: int, number: int, needed: int = 0) -> Exception:
    """The exception for a result of a call about an endpoint."""
    if code == -errno.ENOENT:
        return error_for(
            code,
            f"this worker has no endpoint {number}: it was dropped, or never was; "
            "use a number that connect() returned",
        )
    return error_for(code, needed=needed)


def _judge(call: str, **numbers: int) -> None:
    """Raise what is wrong with the arguments of a call that the core cannot be made with."""
    for name, value in numbers.items():
        most, cure = _NUMBERS[name]
        wanted = f"{call}({name}): a whole number from 0 to {most}"
        outside = f"{call}({name}): {{}} is not within 0 and {most}; {cure}"
        whole_between(value, 0, most, wanted, outside)


def _needed(need: int, most: int) -> int:
    wanted = f"wait(need): a whole number from 0 to {most}"
    outside = f"wait(need): {{}} of {most} requests cannot be done; pass at most {most}"
    return whole_between(need, 0, most, wanted, outside)
