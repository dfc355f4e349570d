# SPDX-License-Identifier: BSD-3-Clause
"""A worker that is too simple to be wrong: by this the comparison with the reference is tested.

It keeps a log of all that happened, and after every entry it goes through the whole log again.
Small methods stand for single rules, so that a test can break one of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from support.matching import ENDPOINTS, Envelope, Result, State, TooLong


@dataclass(eq=False)
class Sent:
    source: int
    tag: int
    data: bytes
    rendezvous: bool
    sync: bool

    @property
    def envelope(self) -> Envelope:
        return Envelope(self.source, self.tag, len(self.data))


@dataclass(eq=False)
class Asked:
    source: int | None
    tag: int
    mask: int
    nbytes: int
    whole: bool = False


Request = Sent | Asked
Entry = tuple[str, Sent | None, Asked | None]  # what happened, to which message and which receive


@dataclass
class Moment:
    """How things stand at a point of the log."""

    waiting: list[Asked] = field(default_factory=list)
    arrived: list[Sent] = field(default_factory=list)
    results: dict[Request, Result] = field(default_factory=dict)
    took: dict[Asked, Sent] = field(default_factory=dict)  # by receives that take messages whole


class NaiveWorker:
    eager_sure = 20_000

    def __init__(self, too_long: TooLong) -> None:
        self.too_long = too_long
        self.log: list[Entry] = []
        self._moment = Moment()
        self._seen = 0  # of the log, when _moment was made
        self.wires: list[list[Sent]] = [[] for _ in range(ENDPOINTS)]

    # The rules

    def accepts(self, asked: Asked, sent: Sent) -> bool:
        return (
            asked.source in (None, sent.source) and asked.tag & asked.mask == sent.tag & asked.mask
        )

    def first_receive(self, asked: list[Asked]) -> Asked:
        return asked[0]

    def first_message(self, sent: list[Sent]) -> Sent:
        return sent[0]

    def keeps(self, sent: Sent, asked: Asked) -> bool:
        return len(sent.data) > asked.nbytes and self.too_long is TooLong.KEEP

    def is_done_early(self, sent: Sent) -> bool:
        """Is the send complete before its message is matched?"""
        return not sent.rendezvous and not sent.sync

    # The log

    def now(self) -> Moment:
        if self._seen != len(self.log):
            self._moment = Moment()
            for what, sent, asked in self.log:
                getattr(self, f"_{what}")(self._moment, sent, asked)
            self._seen = len(self.log)
        return self._moment

    def _arrive(self, moment: Moment, sent: Sent, _: None) -> None:
        while fitting := [asked for asked in moment.waiting if self.accepts(asked, sent)]:
            asked = self.first_receive(fitting)
            moment.waiting.remove(asked)
            if self._meet(moment, sent, asked):
                return
        moment.arrived.append(sent)

    def _post(self, moment: Moment, _: None, asked: Asked) -> None:
        fitting = [sent for sent in moment.arrived if self.accepts(asked, sent)]
        if not fitting:
            moment.waiting.append(asked)
            return
        sent = self.first_message(fitting)
        if self._meet(moment, sent, asked):
            moment.arrived.remove(sent)

    def _take(self, moment: Moment, sent: Sent, _: None) -> None:
        moment.arrived.remove(sent)

    def _receive(self, moment: Moment, sent: Sent, asked: Asked) -> None:
        self._meet(moment, sent, asked)

    def _cancel(self, moment: Moment, sent: Sent | None, asked: Asked | None) -> None:
        if sent:
            moment.arrived.remove(sent)
            moment.results[sent] = Result(State.CANCELLED)
        if asked:
            moment.waiting.remove(asked)
            moment.results[asked] = Result(State.CANCELLED)

    def _meet(self, moment: Moment, sent: Sent, asked: Asked) -> bool:
        if asked.whole:
            moment.results[asked] = Result(State.DONE, sent.envelope)
            moment.took[asked] = sent
            return True
        if self.keeps(sent, asked):
            moment.results[asked] = Result(State.TOO_LONG, sent.envelope)
            return False
        state = State.DONE if len(sent.data) <= asked.nbytes else State.TRUNCATED
        moment.results[asked] = Result(state, sent.envelope, sent.data[: asked.nbytes])
        moment.results[sent] = Result(State.DONE)
        return True

    # The driver

    def send(self, endpoint: int, tag: int, data: bytes, *, rendezvous: bool, sync: bool) -> Sent:
        sent = Sent(endpoint, tag, data, rendezvous, sync)
        self.wires[endpoint].append(sent)
        return sent

    def post(self, source: int | None, tag: int, mask: int, nbytes: int) -> Asked:
        asked = Asked(source, tag, mask, nbytes)
        self.log.append(("post", None, asked))
        return asked

    def post_whole(self, source: int | None, tag: int, mask: int) -> Asked:
        asked = Asked(source, tag, mask, 0, whole=True)
        self.log.append(("post", None, asked))
        return asked

    def taken_by(self, asked: Asked) -> Sent:
        return self.now().took[asked]

    def find(self, source: int | None, tag: int, mask: int) -> Sent | None:
        asked = Asked(source, tag, mask, 0)
        fitting = [sent for sent in self.now().arrived if self.accepts(asked, sent)]
        return self.first_message(fitting) if fitting else None

    def probe(self, source: int | None, tag: int, mask: int) -> Envelope | None:
        sent = self.find(source, tag, mask)
        return sent.envelope if sent else None

    def take(self, source: int | None, tag: int, mask: int) -> tuple[Sent, Envelope] | None:
        sent = self.find(source, tag, mask)
        if sent is None:
            return None
        self.log.append(("take", sent, None))
        return sent, sent.envelope

    def receive(self, taken: Sent, nbytes: int) -> Asked:
        asked = Asked(taken.source, taken.tag, 2**64 - 1, nbytes)
        self.log.append(("receive", taken, asked))
        return asked

    def cancel(self, request: Request) -> bool:
        moment = self.now()
        if isinstance(request, Asked):
            in_time = request in moment.waiting
            entry: Entry = ("cancel", None, request)
        else:
            in_time = request in moment.arrived and not self.is_done_early(request)
            entry = ("cancel", request, None)
        if in_time:
            self.log.append(entry)
        return in_time

    def settle(self) -> None:
        for wire in self.wires:
            self.log += [("arrive", sent, None) for sent in wire]
            wire.clear()

    def result(self, request: Request) -> Result:
        early = isinstance(request, Sent) and self.is_done_early(request)
        pending = Result(State.DONE if early else State.PENDING)
        return self.now().results.get(request, pending)
