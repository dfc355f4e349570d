# SPDX-License-Identifier: BSD-3-Clause
"""Workers in this process that are connected, and the core's worker as a driver of the reference.

A worker of the reference model has a few endpoints. Here they are endpoints of one receiving
worker, each connected over a socket pair to a sending worker of its own, or to the receiving
worker itself. Nothing sleeps: :meth:`Rig.settle` makes progress on all of them in turn.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from adma._core import results
from adma._core import worker as core
from adma._core.constants import MATCHED
from adma.errors import MessageTooLong
from adma.messages.worker import ANY_SOURCE, Message, TagRequest, WholeReceive, Worker
from adma.testing import observe
from adma.testing.limits import EAGER, HANG
from support.endpoints import InThread, pair
from support.matching import ENDPOINTS, Driver, Envelope, Result, State, TooLong

_UNTOUCHED = 0xEE  # what receive buffers are filled with; no message of a script has such bytes


QUIET_ROUNDS = 4


def connect(one: Worker, other: Worker, mechanism: str = "auto") -> tuple[int, int]:
    """Connect two workers; returns the numbers of their endpoints."""
    left, right = pair()
    with left, right:
        theirs = InThread(lambda: other.connect(right, HANG, mechanism))
        return one.connect(left, HANG, mechanism), theirs.result()


def settle(workers: Iterable[Worker], requests: Iterable[TagRequest] = ()) -> None:
    """Make progress until nothing changes any more. A matched transfer changes until it is over.

    The progress thread may do the next step between two looks of ours. So several rounds in
    a row have to find nothing. The progress threads of two ends may even take turns with us for
    many rounds, one filling a ring and the other draining it, each before we look: then what the
    endpoints counted tells that something moved.
    """
    workers, requests = list(workers), list(requests)
    end = time.monotonic() + HANG
    quiet, counted = 0, _counted(workers)
    while quiet < QUIET_ROUNDS:
        assert time.monotonic() < end, "the workers do not come to rest"
        moved = sum(worker.progress() for worker in workers) or _is_moving(requests)
        before, counted = counted, _counted(workers)
        quiet = 0 if moved or counted != before else quiet + 1


def _counted(workers: Sequence[Worker]) -> list[dict[str, int]]:
    """What the endpoints to others counted."""
    return [
        core.stats(worker.handle, number)
        for worker in workers
        for number, link in worker.links.items()
        if link
    ]


def _is_moving(requests: Sequence[TagRequest]) -> bool:
    return any(request.operation.req.state == MATCHED for request in requests)


class Peer:
    """Who sends to an endpoint of the receiving worker: `number` is the sender's endpoint."""

    def __init__(self, worker: Worker, number: int) -> None:
        self.worker = worker
        self.number = number


class Rig:
    """A receiving worker with endpoints for the reference, and idle ones beside them."""

    def __init__(self, mechanism: str = "auto", *, idle: int = 0, selves: int = 0) -> None:
        self.mechanism = mechanism
        self.receiver = Worker()
        self.senders = [Worker() for _ in range(ENDPOINTS)]
        self.idle = [Worker() for _ in range(idle)]
        for worker in self.idle:
            connect(self.receiver, worker, mechanism)
        self.numbers: list[int] = []  # of the receiver, by the reference's numbers
        self.peers: list[Peer] = []
        for source in range(ENDPOINTS):
            self._join(source, to_itself=source < selves)
        self._selves = selves
        self._come_to_rest()

    @property
    def workers(self) -> list[Worker]:
        return [self.receiver, *self.senders, *self.idle]

    def reconnect(self, source: int) -> None:
        """Drop an endpoint, and make a new one in its place."""
        peer = self.peers.pop(source)
        to_itself = peer.worker is self.receiver
        self.receiver.drop(self.numbers.pop(source), HANG)
        peer.worker.drop(peer.number, HANG)
        self._join(source, to_itself=to_itself)
        self._come_to_rest()

    def close(self) -> None:
        for worker in self.workers:
            worker.close(HANG)

    def _come_to_rest(self) -> None:
        """Where there are idle endpoints, all peers use the summary from now on."""
        settle(self.workers)
        if self.idle:
            observe.until("the summary is used", self._is_summarised)

    def _is_summarised(self) -> bool:
        settle(self.workers)
        return core.counts(self.receiver.handle)[1] == self._selves

    def _join(self, source: int, *, to_itself: bool) -> None:
        if to_itself:
            number = theirs = self.receiver.connect_self()
        else:
            number, theirs = connect(self.receiver, self.senders[source], self.mechanism)
        sender = self.receiver if to_itself else self.senders[source]
        self.numbers.insert(source, number)
        self.peers.insert(source, Peer(sender, theirs))


@dataclass(eq=False)
class Handle:
    """A request of a script, and the buffer of a receive."""

    worker: Worker
    request: TagRequest | None  # None: a receive of what was taken, which was refused
    buffer: bytearray
    receives: bool
    refused: Envelope | None = None


@dataclass(eq=False)
class Taken:
    message: Message
    envelope: Envelope


class WorkerDriver(Driver):
    """The core's worker under test. Scripts leave nothing behind, so that a rig serves many."""

    #: A peer is told to send by rendezvous a little before 1 MiB.
    eager_sure = 900_000

    def __init__(self, rig: Rig, too_long: TooLong) -> None:
        self.rig = rig
        self.consume = too_long is TooLong.CONSUME
        self.handles: list[Handle] = []

    def send(self, endpoint: int, tag: int, data: bytes, *, rendezvous: bool, sync: bool) -> Handle:
        peer = self.rig.peers[endpoint]
        # A send that waits for its match is one by rendezvous, whatever its size.
        waits = sync or (rendezvous and len(data) <= EAGER)
        request = peer.worker.send(peer.number, tag, data, synchronous=waits)
        return self._keep(Handle(peer.worker, request, bytearray(), receives=False))

    def post(self, source: int | None, tag: int, mask: int, nbytes: int) -> Handle:
        buffer = _untouched(nbytes)
        worker = self.rig.receiver
        request = worker.receive(self._number(source), tag, buffer, mask=mask, consume=self.consume)
        return self._keep(Handle(worker, request, buffer, receives=True))

    def post_whole(self, source: int | None, tag: int, mask: int) -> Handle:
        worker = self.rig.receiver
        request = worker.receive_whole(self._number(source), tag, mask=mask)
        return self._keep(Handle(worker, request, bytearray(), receives=True))

    def taken_by(self, request: Handle) -> Taken:
        assert isinstance(request.request, WholeReceive)
        message = request.request.message()
        return Taken(message, self._envelope(message.found))

    def probe(self, source: int | None, tag: int, mask: int) -> Envelope | None:
        found = self.rig.receiver.probe(self._number(source), tag, mask)
        return self._envelope(found) if found else None

    def take(self, source: int | None, tag: int, mask: int) -> tuple[Taken, Envelope] | None:
        message = self.rig.receiver.take(self._number(source), tag, mask)
        if message is None:
            return None
        taken = Taken(message, self._envelope(message.found))
        return taken, taken.envelope

    def receive(self, taken: Taken, nbytes: int) -> Handle:
        buffer = _untouched(nbytes)
        worker = self.rig.receiver
        try:
            request = worker.receive_taken(taken.message, buffer, consume=self.consume)
        except MessageTooLong as error:
            if error.needed != taken.envelope.nbytes:
                raise
            return Handle(worker, None, buffer, receives=True, refused=taken.envelope)
        return self._keep(Handle(worker, request, buffer, receives=True))

    def cancel(self, request: Handle) -> bool:
        return request.request is not None and request.request.cancel()

    def settle(self) -> None:
        requests = [handle.request for handle in self.handles if handle.request]
        settle(self.rig.workers, requests)

    def result(self, request: Handle) -> Result:
        if request.request is None:
            return Result(State.TOO_LONG, request.refused)
        if not request.request.done:
            return Result(State.PENDING)
        req, room = request.request.operation.req, request.buffer
        request.worker.release(request.request.operation)
        if req.error == results.CANCELLED:
            return Result(State.CANCELLED)
        envelope = None
        if request.receives:
            envelope = self._envelope(core.Found(req.source, req.tag, req.needed))
        if not req.error:
            nbytes = req.done_bytes
            assert room[nbytes:] == _untouched(len(room) - nbytes)
            return Result(State.DONE, envelope, bytes(room[:nbytes]))
        assert req.error == results.TOO_LONG, req.error
        came = room != _untouched(len(room))
        if self.consume:
            return Result(State.TRUNCATED, envelope, bytes(room) if came else b"")
        assert not came
        return Result(State.TOO_LONG, envelope)

    def _keep(self, handle: Handle) -> Handle:
        self.handles.append(handle)
        return handle

    def _number(self, source: int | None) -> int:
        return ANY_SOURCE if source is None else self.rig.numbers[source]

    def _envelope(self, found: core.Found) -> Envelope:
        return Envelope(self.rig.numbers.index(found.source), found.tag, found.nbytes)


def _untouched(nbytes: int) -> bytearray:
    return bytearray([_UNTOUCHED]) * nbytes
