# SPDX-License-Identifier: BSD-3-Clause
"""Copies behave as if made one after the other in the order of their posts.

Against a model that does just that: random copies of one memory, contiguous and strided,
small and large, overlapping in every way, with checks, waits and cancels between. What
a cancel took back never happens.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import adma
from adma._core._native import lib
from adma.testing.limits import HANG, KIB, MIB
from adma.testing.payload import difference, pattern
from support import engine
from support.calls import faults
from support.engine import AT_ONCE, PART
from support.quick import examples

MEMORY = 700 * KIB
EXAMPLES = examples(240)


@dataclass(frozen=True)
class Region:
    """Rows in the memory: of `width` bytes, `step` from one to the next."""

    start: int
    rows: int
    width: int
    step: int

    def of(self, memory: bytearray) -> Any:
        """One row is a range of bytes; more are an array."""
        if self.rows == 1:
            return memoryview(memory)[self.start : self.start + self.width]
        array = np.frombuffer(memory, "u1")
        return np.lib.stride_tricks.as_strided(
            array[self.start :], (self.rows, self.width), (self.step, 1)
        )


@dataclass(frozen=True)
class Copy:
    dst: Region
    src: Region

    def model(self, memory: bytearray) -> None:
        source = np.array(self.src.of(memory))
        np.asarray(self.dst.of(memory))[...] = source


@dataclass(frozen=True)
class Cancel:
    of: int


@dataclass(frozen=True)
class Check:
    of: int


@dataclass(frozen=True)
class Wait:
    of: int
    timeout: float


@dataclass(frozen=True)
class WaitSome:
    first: int
    count: int


@dataclass(frozen=True)
class Delay:
    """A part after the next few takes this long to begin."""

    nth: int
    microseconds: int


@dataclass
class Run:
    """A sequence under way, and what became of its copies."""

    memory: bytearray
    requests: list[adma.Request] = field(default_factory=list)
    cancelled: set[int] = field(default_factory=set)

    def step(self, step: Any) -> None:
        if isinstance(step, Copy):
            self.requests.append(adma.icopy(step.dst.of(self.memory), step.src.of(self.memory)))
        elif isinstance(step, Delay):
            if lib.adma_faults_built():
                faults.arm(None, faults.CHUNK, "delay", step.microseconds, step.nth)
        elif self.requests:
            self._ask(step)

    def _ask(self, step: Any) -> None:
        count = len(self.requests)
        if isinstance(step, WaitSome):
            chosen = [self.requests[(step.first + i) % count] for i in range(step.count)]
            adma.wait_some(chosen, timeout=HANG)
            return
        number = step.of % count
        request = self.requests[number]
        if isinstance(step, Cancel):
            if request.cancel():
                self.cancelled.add(number)
            return
        with contextlib.suppress(adma.Cancelled, TimeoutError):
            if isinstance(step, Check):
                request.check()
            else:
                request.wait(step.timeout)

    def finish(self) -> None:
        for number, request in enumerate(self.requests):
            if number in self.cancelled:
                with pytest.raises(adma.Cancelled):
                    request.wait(HANG)
            else:
                request.wait(HANG)


widths = st.one_of(
    st.integers(1, 64),
    st.sampled_from([AT_ONCE, AT_ONCE + 1, PART, PART + 1, 2 * PART + 17]),
    st.integers(1, 3 * PART),
)


@st.composite
def copies(draw: st.DrawFn) -> Copy:
    if draw(st.booleans()):
        width = draw(widths)
        # Mostly near each other, so that many meet.
        near = min(MEMORY - width, draw(st.sampled_from([2 * width, PART, MEMORY])))
        base = draw(st.integers(0, MEMORY - width - near))
        at = st.integers(base, base + near)
        return Copy(Region(draw(at), 1, width, 0), Region(draw(at), 1, width, 0))
    rows = draw(st.sampled_from([2, 3, 10, 100, 700]))
    width = draw(st.integers(1, 400))
    sides = []
    for _ in range(2):
        step = draw(st.integers(width, MEMORY // rows - 1)) if draw(st.booleans()) else width + 3
        start = draw(st.integers(0, MEMORY - (rows - 1) * step - width))
        sides.append(Region(start, rows, width, step))
    return Copy(*sides)


numbers = st.integers(0, 50)
steps = st.lists(
    st.one_of(
        copies(),
        copies(),
        copies(),
        copies(),
        st.builds(Cancel, numbers),
        st.builds(Check, numbers),
        st.builds(Wait, numbers, st.sampled_from([0.0, 1e-4, HANG])),
        st.builds(WaitSome, numbers, st.integers(1, 5)),
        st.builds(Delay, st.integers(1, 6), st.sampled_from([50, 500, 3000])),
    ),
    min_size=2,
    max_size=40,
)
thread_engines = st.fixed_dictionaries(
    {
        "engine": st.just("thread"),
        "queues": st.integers(1, 4),
        "schedule": st.sampled_from(["adaptive", "round-robin"]),
        "callers_help": st.booleans(),
    }
)


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    faults.disarm_all()


def follow(sequence: list[Any]) -> None:
    run = Run(bytearray(pattern(MEMORY, 9)))
    for step in sequence:
        run.step(step)
    run.finish()
    want = bytearray(pattern(MEMORY, 9))
    posted = (step for step in sequence if isinstance(step, Copy))
    for number, copy in enumerate(posted):
        if number not in run.cancelled:
            copy.model(want)
    wrong = difference(run.memory, bytes(want))
    assert not wrong, wrong


@settings(max_examples=EXAMPLES)
@given(thread_engines, st.sampled_from([0, AT_ONCE]), steps)
def test_threads(configuration: dict[str, Any], at_once: int, sequence: list[Any]) -> None:
    engine.configure(at_once, **configuration)
    follow(sequence)


@settings(max_examples=EXAMPLES // 3)
@given(st.sampled_from([0, AT_ONCE]), steps)
def test_callers(at_once: int, sequence: list[Any]) -> None:
    engine.configure(at_once, engine="caller")
    follow(sequence)


@pytest.mark.faults
@pytest.mark.parametrize("schedule", ["adaptive", "round-robin"])
@pytest.mark.parametrize("helping", [False, True])
def test_more_than_are_compared_with_each_other(schedule: str, helping: bool) -> None:
    """Behind a held copy each moves one byte by one place, so any two that swap show."""
    count = 3 * engine.OUTSTANDING
    places = [(number * 7 + 1) % 1000 for number in range(count)]
    with engine.held(schedule=schedule, callers_help=helping) as (_, target):
        view = memoryview(target)
        requests = [adma.icopy(view[at : at + 90], view[at - 1 : at + 89]) for at in places]
        assert adma.stats()["in_line"] > engine.OUTSTANDING
        taken_back = range(5, count, 11)
        assert all(requests[number].cancel() for number in taken_back)
    for number, request in enumerate(requests):
        if number in taken_back:
            with pytest.raises(adma.Cancelled):
                request.wait(HANG)
        else:
            request.wait(HANG)
    want = bytearray(pattern(len(target), 1))
    for number, at in enumerate(places):
        if number not in taken_back:
            want[at : at + 90] = want[at - 1 : at + 89]
    assert target == want


@pytest.mark.faults
def test_a_small_one_behind_a_held_one_waits() -> None:
    """So does the smallest, in copy() as in icopy(); one that touches none of it does not wait."""
    with engine.held() as (blocker, target):
        view = memoryview(target)
        other = bytearray(4)
        reads = adma.icopy(other, view[10:14])
        writes = adma.icopy(view[10:14], b"last")
        free = adma.icopy(bytearray(4), b"free")
        nothing = adma.icopy(view[5:5], b"")
        assert free.check()
        assert nothing.check()
        assert not reads.check()
        assert not writes.check()
        assert not blocker.check()
    assert adma.wait_all([reads, writes], timeout=HANG) == [4, 4]
    assert other == pattern(64, 1)[10:14]
    assert target[10:14] == b"last"


@pytest.mark.faults
def test_no_bytes_behind_a_full_house() -> None:
    """A copy of no bytes waits for nothing, however long the backlog is."""
    with engine.held() as (_, target):
        view = memoryview(target)
        requests = [adma.icopy(view[:8], b"12345678") for _ in range(engine.OUTSTANDING + 10)]
        assert adma.copy(bytearray(), b"") == 0
        assert adma.copy(np.zeros((0, 4))[:, ::2], np.zeros((0, 2))) == 0
    adma.wait_all(requests, timeout=HANG)


@pytest.mark.faults
def test_a_small_one_waits_for_one_in_line() -> None:
    """It is not known what the copies of the backlog touch, so it waits for them."""
    sink, other = bytearray(PART), bytearray(8)
    with engine.held() as (_, target):
        view = memoryview(target)
        requests = [adma.icopy(view[:8], b"12345678") for _ in range(engine.OUTSTANDING)]
        requests.append(adma.icopy(sink, pattern(PART, 3)))
        requests.append(adma.icopy(other, memoryview(sink)[:8]))
        assert adma.stats()["in_line"] == 3
        assert not requests[-1].check()
    adma.wait_all(requests, timeout=HANG)
    assert other == pattern(PART, 3)[:8]


@pytest.mark.faults
def test_what_a_pending_copy_reads_is_not_written() -> None:
    """Neither by a small copy nor by a large one."""
    sink, source = bytearray(MIB), bytearray(pattern(MIB, 2))
    with engine.held():
        first = adma.icopy(sink, source)
        small = adma.icopy(memoryview(source)[:8], b"overlaid")
        large = adma.icopy(memoryview(source)[PART:], bytes(MIB - PART))
        assert not small.check()
        assert not large.check()
    assert adma.wait_all([first, small, large], HANG) == [MIB, 8, MIB - PART]
    assert sink == pattern(MIB, 2)
    assert source == b"overlaid" + pattern(MIB, 2)[8:PART] + bytes(MIB - PART)
