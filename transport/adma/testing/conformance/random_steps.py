# SPDX-License-Identifier: BSD-3-Clause
"""Random posts, cancels and looks at both ends, against `adma.testing.model`.

Between two settlements the two processes run independently: the model does not say when a
message meets a read, only which ones have met once both ends have made progress.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

import adma

from ..calls import messages, model_steps
from ..endpoint import Endpoint
from ..limits import CELL, EAGER, INLINE
from ..model import Fifo, Read, Write
from ..observe import until
from ..payload import difference, pattern
from ..peer import Peer
from .base import Conformance

SIDES = st.sampled_from(["here", "there"])
SIZES = st.one_of(
    st.integers(0, 2 * INLINE),
    st.sampled_from([EAGER - 1, EAGER, EAGER + 1, CELL, CELL + 1, 3 * CELL + 5]),
    st.integers(0, 2 * CELL),
)


class Matching(RuleBasedStateMachine):
    """Two endpoints and, for each direction, a `Fifo`; `fifos["here"]` is what we write."""

    peer: Peer
    connect: Callable[[], adma.Channel]

    def __init__(self) -> None:
        super().__init__()
        self.endpoint = Endpoint()
        self.endpoint.channels.append(self.connect())
        self.fifos = {"here": Fifo(), "there": Fifo()}

    def run(self, side: str, function: Callable[..., Any], *arguments: Any) -> Any:
        if side == "here":
            return function(self.endpoint, *arguments)
        return self.peer.call(function, *arguments)

    @rule(writer=SIDES, nbytes=SIZES)
    def post_write(self, writer: str, nbytes: int) -> None:
        write = self.fifos[writer].post_write(nbytes)
        self.run(writer, messages.iwrite, f"write {write.seed}", nbytes, write.seed)

    @rule(writer=SIDES, room=SIZES)
    def post_read(self, writer: str, room: int) -> None:
        read = self.fifos[writer].post_read(room)
        self.run(other(writer), messages.iread, f"read {read.number}", room)

    @rule(writer=SIDES, choice=st.integers(0, 1000))
    def cancel_read(self, writer: str, choice: int) -> None:
        """At any time: the library says whether it was matched, and has to keep to that."""
        reads = [read for read in self.fifos[writer].reads if not read.over]
        if reads:
            read = reads[choice % len(reads)]
            won = self.run(other(writer), model_steps.cancel, f"read {read.number}")
            read.cancelled = won

    @rule(writer=SIDES, choice=st.integers(0, 1000))
    def cancel_write(self, writer: str, choice: int) -> None:
        """After a settlement: before it, a read that was too small may have met the write."""
        self.settle()
        writes = [write for write in self.fifos[writer].writes if not write.cancelled]
        if not writes:
            return
        write = writes[choice % len(writes)]
        won = self.run(writer, model_steps.cancel, f"write {write.seed}")
        if write.read is not None:
            assert not won, "cancelled after its match"
        elif write.nbytes > EAGER:
            assert won, "not cancelled though nothing met it"
        write.cancelled = won

    @rule(side=SIDES)
    def progress(self, side: str) -> None:
        self.run(side, messages.iprobe)

    @rule()
    def settle(self) -> None:
        """Let both ends make progress until what must be over is over, and compare."""
        for writer, fifo in self.fifos.items():
            fifo.match()
            self.until_over(writer, fifo)
            self.compare(writer, fifo)
            self.look(writer, fifo)

    def until_over(self, writer: str, fifo: Fifo) -> None:
        reads = [f"read {read.number}" for read in fifo.reads if read.over]
        writes = [f"write {w.seed}" for w in fifo.writes if w.read or w.cancelled]

        def over() -> bool:
            ends = (other(writer), reads), (writer, writes)
            return sum(not self.run(side, model_steps.all_over, names) for side, names in ends) == 0

        until("both ends finished what is matched", over)

    def compare(self, writer: str, fifo: Fifo) -> None:
        for read in fifo.reads:
            outcome = self.run(other(writer), model_steps.outcome, f"read {read.number}")
            assert outcome == expected_of_read(read), read
            if read.write is not None:
                content = self.run(other(writer), messages.content, f"read {read.number}")
                wanted = pattern(read.write.nbytes, read.write.seed)
                assert not difference(content[: len(wanted)], wanted), read
        for write in fifo.writes:
            outcome = self.run(writer, model_steps.outcome, f"write {write.seed}")
            assert outcome in expected_of_write(write), write

    def look(self, writer: str, fifo: Fifo) -> None:
        first = fifo.first()
        seen = self.run(other(writer), messages.iprobe)
        assert seen == (first and ("bytes", first.nbytes))

    def teardown(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self.endpoint.close)
            stack.callback(self.peer.call, model_steps.forget)
            self.settle()


def other(side: str) -> str:
    return "there" if side == "here" else "here"


def expected_of_read(read: Read) -> tuple[str, int]:
    """What `model_steps.outcome` says of it."""
    if read.cancelled:
        return "cancelled", 0
    if read.needed is not None:
        return "too long", read.needed
    if read.write is not None:
        return "done", read.write.nbytes
    return "pending", 0


def expected_of_write(write: Write) -> list[tuple[str, int]]:
    """A small message may be complete before it is read: it is when it was published."""
    if write.cancelled:
        return [("cancelled", 0)]
    if write.read is not None:
        return [("done", write.nbytes)]
    if write.nbytes > EAGER:
        return [("pending", 0)]
    return [("pending", 0), ("done", write.nbytes)]


class RandomSteps(Conformance):
    """Random posts, cancels and looks at both endpoints, compared with `adma.testing.model`."""

    def test_any_interleaving(self, peer: Peer, mechanism: str) -> None:
        def connect() -> Any:
            return self.connect(peer, mechanism)

        machine = type("Machine", (Matching,), {"peer": peer, "connect": staticmethod(connect)})
        run_state_machine_as_test(
            machine, settings=settings(max_examples=25, stateful_step_count=30, deadline=None)
        )
