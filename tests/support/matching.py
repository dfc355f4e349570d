# SPDX-License-Identifier: BSD-3-Clause
"""A reference model of a worker that matches by source and tag, and scripts to compare with it.

:class:`ReferenceWorker` says what has to become of every message. :func:`play` carries out a
script both on it and on a :class:`Driver`, which stands for the worker under test, and compares
them after each step: which message each receive got, what each probe saw, which cancel was in
time. :func:`scripts` draws such scripts for hypothesis.

The driver is one worker with :data:`ENDPOINTS` endpoints, and the peers that send to it. How soon
a message arrives is left to the driver. So whatever depends on that is preceded by
:meth:`Driver.settle`: a probe, a cancel, and a send to one endpoint after a send to another one.
It does not matter whether a message arrives before or after a receive is posted, as long as the
messages of one endpoint arrive in order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

from hypothesis import strategies as st

ENDPOINTS = 3
WHOLE_TAG = 2**64 - 1
CONTEXT = 0xFFFFFFFF << 32  # the bits of a tag that say to which context it belongs
LONGEST = 70_000

Handle: TypeAlias = Any
_T = TypeVar("_T")


class Mismatch(AssertionError):
    """The worker under test did what the reference does not allow."""


class TooLong(Enum):
    """What becomes of a message that is longer than its receive."""

    KEEP = "keep"  # the receive fails, and the message stays where it was
    CONSUME = "consume"  # it is truncated, and is gone


class State(Enum):
    PENDING = "pending"
    DONE = "done"
    TRUNCATED = "truncated"
    TOO_LONG = "too long"
    CANCELLED = "cancelled"


class Envelope(NamedTuple):
    source: int
    tag: int
    nbytes: int


class Result(NamedTuple):
    """Of a request. `envelope` and `data` are those of a message that was received.

    A receive that was too short has the envelope, too. If the message was truncated, `data` is
    what fitted, or nothing if its sender waited for the match.
    """

    state: State
    envelope: Envelope | None = None
    data: bytes = b""


class Driver(Protocol):
    """A worker under test. Sources are the numbers of endpoints; None is any of them."""

    eager_sure: int
    """So many bytes, counting :data:`COST` for each message, every endpoint may hold unreceived
    before its peer is told to send by rendezvous."""

    def send(self, endpoint: int, tag: int, data: bytes, *, rendezvous: bool, sync: bool) -> Handle:
        """The peer of this endpoint sends. Without `rendezvous` the data are at most 8 KiB."""

    def post(self, source: int | None, tag: int, mask: int, nbytes: int) -> Handle:
        """Post a receive with a buffer of `nbytes`."""

    def post_whole(self, source: int | None, tag: int, mask: int) -> Handle:
        """Post a receive without a buffer, which takes its message as take() does."""

    def taken_by(self, request: Handle) -> Handle:
        """What a receive that post_whole() returned, and that is done, has taken."""

    def probe(self, source: int | None, tag: int, mask: int) -> Envelope | None:
        """The message that a receive would get."""

    def take(self, source: int | None, tag: int, mask: int) -> tuple[Handle, Envelope] | None:
        """A matched probe: the message leaves the queue."""

    def receive(self, taken: Handle, nbytes: int) -> Handle:
        """Receive what take() or taken_by() returned. One that is kept stays taken."""

    def cancel(self, request: Handle) -> bool:
        """Cancel what send(), post() or post_whole() returned. False: it is done, or will be."""

    def settle(self) -> None:
        """Make progress on all sides until nothing changes any more."""

    def result(self, request: Handle) -> Result:
        """The result of a send, a posted receive, or a receive of what was taken."""


COST = 256  # no worker counts more for a message beside its payload


# The reference


@dataclass(eq=False)
class Message:
    """A send, and what became of its message."""

    envelope: Envelope
    data: bytes
    waits: bool  # rendezvous or synchronous: it is complete at the match
    sure: bool  # it travels as it was asked to; if not, its peer may have been told otherwise
    state: State = State.PENDING
    taken: bool = False

    def results(self) -> list[Result]:
        """What the send may report once all is settled."""
        if self.state is State.PENDING and not self.waits:
            done = [Result(State.DONE)]
            return done if self.sure else [*done, Result(State.PENDING)]
        return [Result(self.state)]

    def cancels(self) -> list[bool]:
        """What a cancel may answer."""
        if self.state is not State.PENDING or self.taken or (not self.waits and self.sure):
            return [False]
        return [True] if self.waits else [True, False]


@dataclass(eq=False)
class Receive:
    source: int | None
    tag: int
    mask: int
    nbytes: int
    outcome: Result = field(default=Result(State.PENDING))
    may_lack_data: bool = False  # it was truncated, and its sender may have waited for the match
    whole: bool = False  # it takes its message, which is received later
    took: Message | None = None

    def accepts(self, message: Message) -> bool:
        source, tag, _ = message.envelope
        return self.source in (None, source) and not (self.tag ^ tag) & self.mask

    def results(self) -> list[Result]:
        if self.may_lack_data:
            return [self.outcome, self.outcome._replace(data=b"")]
        return [self.outcome]

    def cancels(self) -> list[bool]:
        return [self.outcome.state is State.PENDING]


class ReferenceWorker:
    """What has to happen, one step after the other. Messages arrive when they are sent."""

    def __init__(self, too_long: TooLong, eager_sure: int) -> None:
        self.too_long = too_long
        self.eager_sure = eager_sure
        self.posted: list[Receive] = []  # in post order
        self.unexpected: list[Message] = []  # in the order of their arrival
        self.taken: list[Message] = []
        self._strained = [False] * ENDPOINTS  # its peer may have been told to send by rendezvous

    def send(
        self, endpoint: int, tag: int, data: bytes, *, rendezvous: bool, sync: bool
    ) -> Message:
        envelope = Envelope(endpoint, tag, len(data))
        waits = rendezvous or sync
        message = Message(envelope, data, waits, sure=not self._is_strained(endpoint, len(data)))
        for receive in list(self.posted):
            if receive.accepts(message):
                self.posted.remove(receive)
                if self._deliver(message, receive):
                    return message
        self.unexpected.append(message)
        return message

    def post(self, source: int | None, tag: int, mask: int, nbytes: int) -> Receive:
        return self._post(Receive(source, tag, mask, nbytes))

    def post_whole(self, source: int | None, tag: int, mask: int) -> Receive:
        return self._post(Receive(source, tag, mask, 0, whole=True))

    def _post(self, receive: Receive) -> Receive:
        message = self._oldest(receive)
        if message is None:
            self.posted.append(receive)
        elif self._deliver(message, receive):
            self.unexpected.remove(message)
        return receive

    def probe(self, source: int | None, tag: int, mask: int) -> Envelope | None:
        message = self._oldest(Receive(source, tag, mask, 0))
        return message.envelope if message else None

    def take(self, source: int | None, tag: int, mask: int) -> Message | None:
        message = self._oldest(Receive(source, tag, mask, 0))
        if message:
            self.unexpected.remove(message)
            self._take(message)
        return message

    def receive(self, taken: Message, nbytes: int) -> Receive:
        receive = Receive(*taken.envelope[:2], WHOLE_TAG, nbytes)
        if self._deliver(taken, receive):
            self.taken.remove(taken)
        return receive

    def cancel(self, request: Message | Receive) -> None:
        """A cancel was in time."""
        if isinstance(request, Receive):
            self.posted.remove(request)
            request.outcome = Result(State.CANCELLED)
        else:
            self.unexpected.remove(request)
            request.state = State.CANCELLED

    def _oldest(self, receive: Receive) -> Message | None:
        return next(filter(receive.accepts, self.unexpected), None)

    def _deliver(self, message: Message, receive: Receive) -> bool:
        """False: the message is kept."""
        if receive.whole:
            receive.outcome = Result(State.DONE, message.envelope)
            receive.took = message
            self._take(message)
            return True
        fits = len(message.data) <= receive.nbytes
        if not fits and self.too_long is TooLong.KEEP:
            receive.outcome = Result(State.TOO_LONG, message.envelope)
            return False
        state = State.DONE if fits else State.TRUNCATED
        receive.outcome = Result(state, message.envelope, message.data[: receive.nbytes])
        receive.may_lack_data = not fits and (message.waits or not message.sure)
        message.state = State.DONE
        return True

    def _take(self, message: Message) -> None:
        self.taken.append(message)
        message.taken = True

    def _is_strained(self, endpoint: int, nbytes: int) -> bool:
        """May the peer have been told to send by rendezvous, when it sends so many bytes more?"""
        held = [m for m in self.unexpected + self.taken if m.envelope.source == endpoint]
        if not held:
            self._strained[endpoint] = False
        if sum(len(m.data) + COST for m in held) + nbytes + COST > self.eager_sure:
            self._strained[endpoint] = True
        return self._strained[endpoint]


# Scripts


@dataclass(frozen=True)
class Send:
    endpoint: int
    tag: int
    nbytes: int
    rendezvous: bool
    sync: bool


@dataclass(frozen=True)
class Want:
    """What a receive or a probe asks for. `action` is a method of the driver."""

    action: str  # post, post_whole, probe or take
    source: int | None
    tag: int
    mask: int
    nbytes: int = 0


@dataclass(frozen=True)
class Use:
    """Use something that there is: of n of them, the youngest but `which` modulo n."""

    action: str  # cancel_send, cancel_receive or receive
    which: int
    nbytes: int = 0


@dataclass(frozen=True)
class Settle:
    pass


Step: TypeAlias = Send | Want | Use | Settle


def scripts() -> st.SearchStrategy[list[Step]]:
    """Scripts with all classes of wildcards, and bursts of receives, and of sends to one endpoint.

    Sources and tags are few, so that a message is often accepted by several receives.
    """
    small = st.sampled_from([0, 1, 8, 33, 1000, 8192])
    large = st.sampled_from([0, 8, 8192, 9000, LONGEST])
    endpoint = st.integers(0, ENDPOINTS - 1)
    tag = st.builds(lambda context, tag: context << 32 | tag, st.integers(0, 1), st.integers(0, 1))
    flag = st.booleans()
    send = st.one_of(
        st.builds(Send, endpoint, tag, small, st.just(False), flag),
        st.builds(Send, endpoint, tag, large, st.just(True), flag),
    )
    source = st.none() | endpoint
    mask = st.sampled_from([WHOLE_TAG, WHOLE_TAG, CONTEXT, 0, WHOLE_TAG ^ CONTEXT])
    room = st.sampled_from([0, 1, 1000, 8192, LONGEST, LONGEST, LONGEST])
    which = st.one_of(st.integers(0, 2), st.integers(0, 1000))
    with_room = st.builds(Want, st.just("post"), source, tag, mask, room)
    whole = st.builds(Want, st.just("post_whole"), source, tag, mask)
    post = st.one_of(with_room, with_room, whole)
    look = st.builds(Want, st.sampled_from(["probe", "take"]), source, tag, mask)
    cancel = st.builds(Use, st.sampled_from(["cancel_send", "cancel_receive"]), which)
    receive = st.builds(Use, st.just("receive"), which, room)
    step: st.SearchStrategy[Step] = st.one_of(
        send, post, look, look, cancel, cancel, receive, st.just(Settle())
    )
    burst_of_sends = st.builds(
        lambda endpoint, sends: [replace(send, endpoint=endpoint) for send in sends],
        endpoint,
        st.lists(send, min_size=2, max_size=6),
    )
    burst_of_posts = st.lists(post, min_size=2, max_size=6)
    one = step.map(lambda step: [step])
    some = st.one_of(one, one, one, one, one, one, burst_of_sends, burst_of_posts)
    # A list is 5 long on average, unless it has to be longer.
    lists = st.one_of(st.lists(some, max_size=10), st.lists(some, min_size=12, max_size=40))
    return lists.map(lambda parts: [step for part in parts for step in part])


class _Play:
    """A script being played on a driver and on the reference."""

    def __init__(self, driver: Driver, too_long: TooLong) -> None:
        self.driver = driver
        self.reference = ReferenceWorker(too_long, driver.eager_sure)
        self.sends: list[tuple[Handle, Message]] = []
        self.receives: list[tuple[Handle, Receive]] = []
        self.taken: dict[Message, Handle] = {}
        self.sent_to: int | None = None  # the endpoint of sends that may not have arrived yet
        self.done: set[Message] = set()  # sends that the driver called done

    def step(self, step: Step) -> None:
        match step:
            case Send():
                self.send(step)
            case Want(action="post"):
                self.post(step)
            case Want(action="post_whole"):
                self.post_whole(step)
            case Want():
                self.look(step)
            case Use(action="receive"):
                self.receive(step)
            case Use():
                self.cancel(self.sends if step.action == "cancel_send" else self.receives, step)
            case Settle():
                self.settle()

    def settle(self) -> None:
        self.driver.settle()
        self.sent_to = None
        for handle, message in self.sends:
            result = self.driver.result(handle)
            self.demand("a send", result, message.results())
            if result.state is State.DONE:
                self.done.add(message)
            elif message in self.done:
                raise Mismatch(f"a send was done, and is {result.state.value} now: {message}")
        for handle, receive in self.receives:
            self.demand("a receive", self.driver.result(handle), receive.results())
            if receive.took and receive.took not in self.taken:
                self.taken[receive.took] = self.driver.taken_by(handle)

    def send(self, step: Send) -> None:
        if self.sent_to not in (None, step.endpoint):
            self.settle()
        serial = len(self.sends) + 1
        data = (serial.to_bytes(2, "little") * (step.nbytes // 2 + 1))[: step.nbytes]
        way = {"rendezvous": step.rendezvous, "sync": step.sync}
        handle = self.driver.send(step.endpoint, step.tag, data, **way)
        self.sends.append((handle, self.reference.send(step.endpoint, step.tag, data, **way)))
        self.sent_to = step.endpoint

    def post(self, step: Want) -> None:
        wanted = (step.source, step.tag, step.mask, step.nbytes)
        self.receives.append((self.driver.post(*wanted), self.reference.post(*wanted)))

    def post_whole(self, step: Want) -> None:
        wanted = (step.source, step.tag, step.mask)
        handle, receive = self.driver.post_whole(*wanted), self.reference.post_whole(*wanted)
        self.receives.append((handle, receive))

    def look(self, step: Want) -> None:
        self.settle()
        wanted = (step.source, step.tag, step.mask)
        if step.action == "probe":
            self.demand("a probe", self.driver.probe(*wanted), [self.reference.probe(*wanted)])
            return
        message, found = self.reference.take(*wanted), self.driver.take(*wanted)
        seen = found[1] if found else None
        self.demand("a matched probe", seen, [message.envelope if message else None])
        if message and found:
            self.taken[message] = found[0]

    def receive(self, step: Use) -> None:
        if not self.reference.taken:
            return
        self.settle()
        message = _youngest_but(self.reference.taken, step.which)
        handle = self.driver.receive(self.taken[message], step.nbytes)
        self.receives.append((handle, self.reference.receive(message, step.nbytes)))

    def cancel(self, requests: list[tuple[Handle, Any]], step: Use) -> None:
        if not requests:
            return
        self.settle()
        handle, expected = _youngest_but(requests, step.which)
        answers = [False] if expected in self.done else expected.cancels()
        answer = self.driver.cancel(handle)
        self.demand(f"a cancel of {expected}", answer, answers)
        if answer:
            self.reference.cancel(expected)

    def demand(self, what: str, found: Any, allowed: list[Any]) -> None:
        if found not in allowed:
            raise Mismatch(f"{what}: {_short(found)}, where the reference has {_short(allowed)}")

    def finish(self) -> None:
        """Receive what is left, in order, and cancel what still waits for a message."""
        self.settle()
        for number, (_, receive) in enumerate(self.receives):
            if receive.outcome.state is State.PENDING:
                self.cancel(self.receives, Use("cancel_receive", len(self.receives) - 1 - number))
        while self.reference.taken:
            self.receive(Use("receive", 0, LONGEST))
        for _ in range(len(self.reference.unexpected)):
            self.post(Want("post", None, 0, 0, LONGEST))
        self.look(Want("probe", None, 0, 0))
        self.settle()


def _youngest_but(things: list[_T], which: int) -> _T:
    return things[-1 - which % len(things)]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 400 else f"{text[:400]}..."


def play(make: Callable[[TooLong], Driver], too_long: TooLong, script: list[Step]) -> None:
    """Carry out a script on a new driver. Raises Mismatch when it is not as the reference has it.

    At the end nothing is left in the driver: no message, and no receive that waits.
    """
    comparison = _Play(make(too_long), too_long)
    for step in script:
        comparison.step(step)
    comparison.finish()
