# SPDX-License-Identifier: BSD-3-Clause
"""``adma bench pollution``: what a large copy does to a cache (figure 8).

A small matrix, which fits the cache, is walked column by column. Before each walk there is nothing;
or a large memcpy; or the same copy handed over while the caller only waits; or an idle wait of the
same length, since the cache of a shared machine loses lines by itself. The caller waits asleep, or
it polls with `check`. For the latter the idle wait polls a clock: a caller that sleeps leaves its
core to others, copy worker threads included.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import adma
from adma.bench import bars, experiment
from adma.bench.charts import Chart, Lines, curves
from adma.bench.copies import free, remember
from adma.bench.experiment import Experiment, Settings
from adma.bench.places import Places, Take, cache_size
from adma.bench.progress import Progress
from adma.bench.schema import Contestant, Report, Verdict
from adma.bench.session import Plan
from adma.bench.turns import Result, Turn, alternate
from adma.bench.ways import kept, memcpy, plain, usable, ways

WALK, COPY = "walk", "copy"
ROW = 1024  # bytes: many lines, so that a column's next element is in none that is loaded already
LINE = 64
WARM = 3  # walks before each disturbance
NOTHING, IDLE, BUSY = "nothing", "idle", "busy"
POLLS = " polls"
Disturbance = Callable[[], int]
"""Disturbs the cache, and tells how many nanoseconds that took."""


class Matrix:
    """A small matrix that fits the cache. A column has one element of each cache line."""

    def __init__(self, nbytes: int) -> None:
        import numpy as np

        matrix = np.ones((nbytes // ROW, ROW // 8))
        self.columns = [matrix[:, index] for index in range(0, ROW // 8, LINE // 8)]

    def walk(self) -> None:
        """Walk each column from top to bottom."""
        for column in self.columns:
            column.sum()


def measure(settings: Settings, progress: Progress) -> Report:
    """Measure walks after each disturbance, at each size of the copy."""
    small = working_set()
    report = experiment.started("pollution", settings, matrix=small)
    places, matrix = Places(), Matrix(small)
    with kept():
        # The waiting thread must not copy, since its cache is what is measured.
        only = [way for way in ways(settings.engine, settings.queues) if not way.helps]
        if not only:
            raise ValueError(
                "pollution: with the engine 'caller' only the thread that waits copies"
            )
        here, report.contestants = usable(only, settings.demanded)
        with progress.task("walking", len(settings.sizes) * settings.plan.rounds) as step:
            for size in settings.sizes:
                lengths = {"last": 0}

                def copied(size: int = size) -> int:
                    ((dst, src),) = places.cold(size, 1)
                    return spent(lambda: memcpy(dst, src))

                def handed(take: Take, size: int = size, lengths: dict[str, int] = lengths) -> int:
                    ((dst, src),) = take(size, 1)
                    lengths["last"] = spent(lambda: adma.icopy(dst, src).wait())
                    return lengths["last"]

                def polled(take: Take, size: int = size) -> int:
                    ((dst, src),) = take(size, 1)
                    return spent(lambda: poll(adma.icopy(dst, src)))

                # The controls find places too: that work is Python's, and no part of a copy.
                def idled(size: int = size, lengths: dict[str, int] = lengths) -> int:
                    places.cold(size, 1)
                    return spent(lambda: time.sleep(lengths["last"] / 1e9))

                def busied(size: int = size, lengths: dict[str, int] = lengths) -> int:
                    places.cold(size, 1)
                    return spent(lambda: pause(lengths["last"]))

                still = Contestant(NOTHING, "no copy", peer=True)
                idle = Contestant(IDLE, "idle wait", peer=True)
                busy = Contestant(BUSY, "busy wait", peer=True)
                found = [turn(still, free, matrix, lambda: 0)]
                found.append(turn(plain(), free, matrix, copied))
                for way in here:
                    take = way.found(places.cold)
                    found.append(turn(way.contestant(), way.enter, matrix, partial(handed, take)))
                    polls = way.contestant(POLLS, POLLS)
                    found.append(turn(polls, way.enter, matrix, partial(polled, take)))
                found.append(turn(idle, free, matrix, idled))
                found.append(turn(busy, free, matrix, busied))
                remember(report, found)
                report.series += alternate(found, size, settings.plan, step)
    report.verdicts = verdicts(report)
    return report


def working_set() -> int:
    """Half of the second-level cache, so that there is room for what else runs."""
    return max(64 << 10, min(1 << 20, cache_size(2) // 2))


def turn(
    contestant: Contestant, enter: Callable[[], None], matrix: Matrix, disturb: Disturbance
) -> Turn:
    def run(count: int) -> Result:
        walked = disturbed = 0
        for _ in range(count):
            for _ in range(WARM):
                matrix.walk()
            disturbed += disturb()
            walked += spent(matrix.walk)
        return {WALK: walked / count / 1000, COPY: disturbed / count / 1000}

    return Turn(contestant, enter, run)


def spent(operate: Callable[[], object]) -> int:
    """How many nanoseconds a call takes."""
    begin = time.perf_counter_ns()
    operate()
    return time.perf_counter_ns() - begin


def poll(request: adma.Request) -> None:
    """Check until it is done."""
    while not request.check():
        pass


def pause(ns: int) -> None:
    """Look at a clock again and again, for so long."""
    end = time.perf_counter_ns() + ns
    while time.perf_counter_ns() < end:
        pass


def verdicts(report: Report) -> list[Verdict]:
    """Judge one queue. With as many queues as cores, one has to run where the caller does."""
    size = 4 << 20
    if size not in report.settings["sizes"]:
        return []
    one = experiment.titled(report, 1)
    return [
        bars.limit(
            f"walk after 4 MB by {one}, the caller {how} / after {control} as long",
            bars.values(report, f"{experiment.key(report, 1)}{suffix}", WALK, size),
            1.05,
            against=bars.values(report, against, WALK, size),
        )
        for suffix, how, against, control in (
            ("", "asleep", IDLE, "an idle wait"),
            (POLLS, "polling", BUSY, "a busy wait"),
        )
    ]


def text(report: Report) -> list[str]:
    title = f"Walk by columns over {report.settings['matrix'] >> 10} KB, us, by size of the copy"
    return [
        experiment.times(report, WALK, f"{title} before it"),
        experiment.times(report, COPY, "The copy, or the wait, before it, us"),
    ]


def charts(report: Report) -> list[Chart]:
    lines = curves(report, WALK)
    title = f"walk over {report.settings['matrix'] >> 10} KB (figure 8)"
    size = "bytes of the copy before"
    if not lines:
        return []
    middle = [summary.median for line in lines for _, summary in line.points]
    span = (
        0.5 * min(middle),
        1.3 * max(middle),
    )  # the spread on a busy machine would hide the curves
    return [Lines(title, "us", lines, log=False, span=span, sizes=size)]


EXPERIMENT = Experiment(
    name="pollution",
    figures="8",
    summary="a walk over a small buffer after a large copy",
    description=(
        "Walk column by column over a matrix that fits the second-level cache: after nothing, "
        "after a large memcpy, after the same copy by a queue while the caller only waits, and "
        "after an idle wait of that length."
    ),
    plan=Plan(rounds=31, round_time=0.01, least=4, most=50, budget=9.0),
    sizes="256K,1M,4M,16M",
    quick="4M",
    measure=measure,
    text=text,
    charts=charts,
    title="Cache pollution: a walk after a large copy",
)
