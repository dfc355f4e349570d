# SPDX-License-Identifier: BSD-3-Clause
"""Random posts, cancels and looks at both ends, against `support.model`.

Between two settlements the two processes go their own ways: the model does not say when
something matches, only what has matched once both ends had their turns.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from support.acts import messages, model_steps
from support.limits import CELL, EAGER, INLINE
from support.model import Line, Read, Write
from support.observe import until
from support.payload import difference, pattern
from support.peer import Peer
from support.peer_main import End

SIDES = st.sampled_from(["here", "there"])
SIZES = st.one_of(
    st.integers(0, 2 * INLINE),
    st.sampled_from([EAGER - 1, EAGER, EAGER + 1, CELL, CELL + 1, 3 * CELL + 5]),
    st.integers(0, 2 * CELL),
)


class Matching(RuleBasedStateMachine):
    """Two ends and, for each direction, a `Line`; `lines["here"]` is what we write."""

    peer: Peer
    mechanism: str

    def __init__(self) -> None:
        super().__init__()
        self.end = End()
        self.end.channels.append(self.peer.connect(self.mechanism))
        self.lines = {"here": Line(), "there": Line()}

    def run(self, side: str, function: Callable[..., Any], *arguments: Any) -> Any:
        if side == "here":
            return function(self.end, *arguments)
        return self.peer.call(function, *arguments)

    @rule(writer=SIDES, nbytes=SIZES)
    def post_write(self, writer: str, nbytes: int) -> None:
        write = self.lines[writer].post_write(nbytes)
        self.run(writer, messages.iwrite, f"write {write.seed}", nbytes, write.seed)

    @rule(writer=SIDES, room=SIZES)
    def post_read(self, writer: str, room: int) -> None:
        read = self.lines[writer].post_read(room)
        self.run(other(writer), messages.iread, f"read {read.number}", room)

    @rule(writer=SIDES, choice=st.integers(0, 1000))
    def cancel_read(self, writer: str, choice: int) -> None:
        """At any time: whether it was matched is the library's to say, and then to keep to."""
        reads = [read for read in self.lines[writer].reads if not read.over]
        if reads:
            read = reads[choice % len(reads)]
            won = self.run(other(writer), model_steps.cancel, f"read {read.number}")
            read.cancelled = won

    @rule(writer=SIDES, choice=st.integers(0, 1000))
    def cancel_write(self, writer: str, choice: int) -> None:
        """After a settlement, or a read that was too small for it may have met it before."""
        self.settle()
        writes = [write for write in self.lines[writer].writes if not write.cancelled]
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
        """Let both ends work until what must be over is over, and compare."""
        for writer, line in self.lines.items():
            line.match()
            self.until_over(writer, line)
            self.compare(writer, line)
            self.look(writer, line)

    def until_over(self, writer: str, line: Line) -> None:
        reads = [f"read {read.number}" for read in line.reads if read.over]
        writes = [f"write {w.seed}" for w in line.writes if w.read or w.cancelled]

        def over() -> bool:
            ends = (other(writer), reads), (writer, writes)
            return sum(not self.run(side, model_steps.all_over, names) for side, names in ends) == 0

        until("both ends finished what is matched", over)

    def compare(self, writer: str, line: Line) -> None:
        for read in line.reads:
            outcome = self.run(other(writer), model_steps.outcome, f"read {read.number}")
            assert outcome == expected_of_read(read), read
            if read.write is not None:
                content = self.run(other(writer), messages.content, f"read {read.number}")
                wanted = pattern(read.write.nbytes, read.write.seed)
                assert not difference(content[: len(wanted)], wanted), read
        for write in line.writes:
            outcome = self.run(writer, model_steps.outcome, f"write {write.seed}")
            assert outcome in expected_of_write(write), write

    def look(self, writer: str, line: Line) -> None:
        first = line.first()
        seen = self.run(other(writer), messages.iprobe)
        assert seen == (first and ("bytes", first.nbytes))

    def teardown(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self.end.close)
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


def test_any_interleaving(peer: Peer, mechanism: str) -> None:
    machine = type("Machine", (Matching,), {"peer": peer, "mechanism": mechanism})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=25, stateful_step_count=30, deadline=None)
    )
