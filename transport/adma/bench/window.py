# SPDX-License-Identifier: BSD-3-Clause
"""``adma bench window``: bandwidth of a window of 128 copies, then wait for all (figure 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import adma
from adma.bench import experiment, plot
from adma.bench.charts import Chart, Lines, curves
from adma.bench.copies import free, remember
from adma.bench.experiment import Experiment, Settings
from adma.bench.places import Place, Places, Take, fresh
from adma.bench.progress import Progress
from adma.bench.schema import Contestant, Report
from adma.bench.session import Plan
from adma.bench.turns import Result, Turn, alternate, timed
from adma.bench.ways import Way, kept, memcpy, plain, usable, ways

WINDOW = 128
MISSES_MAX = 1 << 20  # bytes of a copy: all 128 of them have to exist at once
WALKING, SAME = "walking", "same buffers"
Many = Callable[[Sequence[Place]], Any]


def measure(settings: Settings, progress: Progress) -> Report:
    """Measure windows that walk through large areas, and windows over the same two buffers."""
    report = experiment.started("window", settings, window=WINDOW)
    places = Places()
    with kept():
        here, report.contestants = usable(ways(settings.engine, settings.queues), settings.demanded)
        total = 2 * len(settings.sizes) * settings.plan.rounds
        with progress.task("windows", total) as step:
            for size in settings.sizes:
                for metric in (WALKING, SAME):
                    found = turns(here, places, metric, size)
                    remember(report, found)
                    report.series += alternate(found, size, settings.plan, step)
    return report


def turns(here: Sequence[Way], places: Places, metric: str, size: int) -> list[Turn]:
    finder: Take = places.cold if metric == WALKING else places.hot

    def turn(
        contestant: Contestant, enter: Callable[[], None], many: Many, take: Take = finder
    ) -> Turn:
        def run(count: int) -> Result:
            taken = [take(size, WINDOW) for _ in range(count)]

            def operate() -> None:
                for window in taken:
                    many(window)

            return {metric: timed(operate, count * WINDOW)}

        return Turn(contestant, enter, run)

    found = [turn(plain(), free, copied)]
    for way in here:
        found.append(turn(way.contestant(), way.enter, posted, way.found(finder)))
        if way.by_dma and metric == WALKING and size <= MISSES_MAX:
            found.append(turn(way.missed(), way.enter, posted, fresh))
    return found


def copied(window: Sequence[Place]) -> None:
    """Copy a window by memcpy, one copy after the other."""
    for dst, src in window:
        memcpy(dst, src)


def posted(window: Sequence[Place]) -> None:
    """Hand over a window, then wait for all of it."""
    adma.wait_all([adma.icopy(dst, src) for dst, src in window])


def text(report: Report) -> list[str]:
    walking = f"MB/s of a window of {WINDOW}, walking through both areas: cold but for small ones"
    same = (
        f"MB/s of a window of {WINDOW} over the same two buffers: copies that write the same bytes "
        "run one after the other"
    )
    return [experiment.rates(report, WALKING, walking), experiment.rates(report, SAME, same)]


def charts(report: Report) -> list[Chart]:
    found: list[Chart] = []
    for metric, title in (
        (WALKING, "walking through memory (figure 5)"),
        (SAME, "the same buffers"),
    ):
        lines = curves(report, metric)
        if lines:
            found.append(Lines(title, curves=lines, value=rate, tick=plot.rate_label))
    return found


def rate(size: int, us: float) -> float:
    """The bandwidth in MB/s."""
    return size / us


EXPERIMENT = Experiment(
    name="window",
    figures="5",
    summary="bandwidth of a window of 128 copies",
    description=(
        "Post 128 copies, then wait for all; the bandwidth of the whole. Once with pointers that "
        "advance through two large areas, once over the same buffers."
    ),
    plan=Plan(rounds=11, round_time=0.008, least=1, budget=5.0),
    sizes="4K:4M",
    quick="256K",
    measure=measure,
    text=text,
    charts=charts,
    title="Bandwidth of a window of 128 copies",
)
