# SPDX-License-Identifier: BSD-3-Clause
"""Contestants that share a process. They take turns at each size, round by round."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from adma.bench.schema import Contestant, Series
from adma.bench.session import UNIT, Plan

SETTLING = 0.003  # seconds
Each = TypeVar("Each")
Result = Mapping[str, float]
"""Metric to mean time of an operation, in us."""


@dataclass(frozen=True)
class Turn:
    """A contestant at one size: `enter` makes the process ready for it, `run` does N operations."""

    contestant: Contestant
    enter: Callable[[], None]
    run: Callable[[int], Result]


def alternate(
    turns: Sequence[Turn], size: int | None, plan: Plan, step: Callable[[str], None]
) -> list[Series]:
    """The series of all contestants and metrics at this size, one value per round."""
    counts = {turn.contestant.key: _operations(turn, plan) for turn in turns}
    found: dict[tuple[str, str], Series] = {}
    begin = time.monotonic()
    for number in range(plan.rounds):
        if plan.spent(number, time.monotonic() - begin):
            break
        for turn in rotated(turns, number):
            key = turn.contestant.key
            turn.enter()
            _settle(turn, plan, counts[key])
            for metric, value in turn.run(counts[key]).items():
                made = found.get((key, metric))
                if made is None:
                    made = Series(key, metric, UNIT, [], size, counts[key])
                    found[key, metric] = made
                made.values.append(value)
        step("" if size is None else f"{size} bytes")
    return list(found.values())


def rotated(turns: Sequence[Each], number: int) -> Iterable[Each]:
    """The order of a round. Each round begins with another one."""
    first = number % len(turns) if turns else 0
    return [*turns[first:], *turns[:first]]


def timed(operate: Callable[[], None], count: int) -> float:
    """Mean time of one of the `count` operations that `operate` makes, in us."""
    begin = time.perf_counter_ns()
    operate()
    return (time.perf_counter_ns() - begin) / count / 1000


def _settle(turn: Turn, plan: Plan, count: int) -> None:
    """Operate for a while, not timed: new threads have to find their cores."""
    end = time.perf_counter() + (0 if plan.iterations else SETTLING)
    turn.run(plan.warmup(count))
    while time.perf_counter() < end:
        turn.run(plan.warmup(count))


def _operations(turn: Turn, plan: Plan) -> int:
    """How many operations fill a round: a trial grows until it is long enough."""
    if plan.iterations:
        return plan.iterations
    turn.enter()
    turn.run(1)
    tried = 1
    while True:
        begin = time.perf_counter()
        turn.run(tried)
        each = (time.perf_counter() - begin) / tried
        fitting = min(plan.most, max(plan.least, int(plan.round_time / max(each, 1e-9))))
        if tried * 4 >= fitting:
            return fitting
        tried = min(fitting, tried * 8)
