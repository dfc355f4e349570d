# SPDX-License-Identifier: BSD-3-Clause
"""``adma bench schedule``: a small copy while large ones stream (the paper's future work)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import adma
from adma.bench import bars, experiment, table
from adma.bench.charts import Bars, Chart
from adma.bench.copies import free, remember
from adma.bench.copies import turn as copying
from adma.bench.experiment import Experiment, Settings
from adma.bench.figures import summarise
from adma.bench.places import Places, memory
from adma.bench.progress import Progress
from adma.bench.schema import Contestant, Report, Verdict
from adma.bench.session import Plan
from adma.bench.turns import Result, Turn, alternate
from adma.bench.ways import Way, kept, memcpy, plain, usable, ways

if TYPE_CHECKING:
    from adma.copying.engine import EngineName, ScheduleName

SMALL, LARGE = 64 << 10, 64 << 20
DEPTH = 2  # large copies outstanding per queue; all DMA channels share each of them
LATENCY = "latency"
ALONE = "alone"
BEHIND = "adaptive"  # behind large ones
SCHEDULES = ("adaptive", "round-robin")
BY_MODULE = "the module's turns"
SLOW_ENOUGH = 0.05  # seconds after which a turn ends with fewer operations


class Stream:
    """Copies of 64 MB that are always under way. Their destinations differ, so that none waits."""

    def __init__(self, depth: int, nbytes: int) -> None:
        self._dsts = [memory(nbytes) for _ in range(depth)]
        self._src = memory(nbytes)
        self._requests: list[adma.Request] = []

    def top_up(self) -> None:
        """Post each copy that is done again."""
        if not self._requests:
            self._requests = [adma.icopy(dst, self._src) for dst in self._dsts]
            return
        for index, request in enumerate(self._requests):
            if request.check():
                self._requests[index] = adma.icopy(self._dsts[index], self._src)

    def end(self) -> None:
        """Take back what has not begun, and wait for the rest."""
        for request in self._requests:
            if not request.cancel():
                request.wait()
        self._requests = []


def measure(settings: Settings, progress: Progress) -> Report:
    """Measure the small copy alone, and beside the stream under each schedule."""
    large = min(LARGE, 4 << 20) if settings.quick else LARGE
    report = experiment.started("schedule", settings, small=SMALL, large=large, depth=DEPTH)
    with kept():
        chosen = [way for way in ways(settings.engine, settings.queues) if way.queues]
        if not chosen:
            raise ValueError("schedule: the engine 'caller' has no queue that could be shared")
        here, report.contestants = usable(chosen, settings.demanded)
        queues = 1 if settings.engine == "dmaengine" else settings.queues
        stream = Stream(DEPTH * queues, large)
        found = [copying(plain(), free, memcpy, Places(SMALL).hot, LATENCY, SMALL)]
        found += [turn for way in here for turn in turns(way, stream)]
        default = as_set(settings)
        found += [turn_of(default, ALONE, None), turn_of(default, BEHIND, stream)]
        remember(report, found)
        with progress.task("scheduling", settings.plan.rounds) as step:
            report.series = alternate(found, SMALL, settings.plan, step)
    # With a queue on each core the caller has to wait for a core.
    alone = [way for way in here if not way.helps and way.threads < report.machine["cores"]]
    report.verdicts = verdicts(report, [default, *alone])
    return report


def as_set(settings: Settings) -> Way:
    """The defaults, with which small copies are not handed over at all."""
    by_dma = settings.engine == "dmaengine"
    engine: EngineName = "dmaengine" if by_dma else "thread"
    queues = settings.queues if by_dma else 0
    return Way("default", "as set by default", engine, queues, helps=True)


def turn_of(way: Way, name: str, stream: Stream | None) -> Turn:
    contestant = way.contestant(f" {name}", f", {told(way, name)}")
    if stream is not None:
        contestant.path += f", schedule: {told(way, name)}"
    return turn(contestant, way.enter, stream)


def told(way: Way, name: str) -> str:
    """The name of a schedule in the table. For DMA channels it is the module's own."""
    return BY_MODULE if way.by_dma and name == BEHIND else name


def turns(way: Way, stream: Stream) -> list[Turn]:
    way = replace(way, at_once=0)  # or the thread that posts a copy of 64 KB makes it itself
    found = [turn_of(way, ALONE, None)]
    for name in (BEHIND,) if way.by_dma else SCHEDULES:
        found.append(turn_of(replace(way, schedule=cast("ScheduleName", name)), name, stream))
    return found


def turn(contestant: Contestant, enter: Callable[[], None], stream: Stream | None) -> Turn:
    dst, src = memory(SMALL), memory(SMALL)

    def run(count: int) -> Result:
        total = done = 0
        give_up = time.perf_counter() + SLOW_ENOUGH
        try:
            while done < count and (not done or time.perf_counter() < give_up):
                if stream is not None:
                    stream.top_up()
                begin = time.perf_counter_ns()
                adma.icopy(dst, src).wait()
                total += time.perf_counter_ns() - begin
                done += 1
        finally:
            if stream is not None:
                stream.end()
        return {LATENCY: total / done / 1000}

    return Turn(contestant, enter, run)


def verdicts(report: Report, here: list[Way]) -> list[Verdict]:
    return [
        bars.limit(
            f"64 KB behind streaming {report.settings['large'] >> 20} MB / alone, "
            f"adaptive, {way.title}",
            bars.values(report, f"{way.key} {BEHIND}", LATENCY, SMALL),
            3.0,
            against=bars.values(report, f"{way.key} {ALONE}", LATENCY, SMALL),
        )
        for way in here
    ]


def text(report: Report) -> list[str]:
    rows: list[tuple[str, ...]] = [("64 KB, icopy and wait", "us", "10 to 90 %")]
    for each in report.contestants:
        values = bars.values(report, each.key, LATENCY, SMALL)
        if values:
            found = summarise(values)
            spread = f"{table.number(found.p10)} to {table.number(found.p90)}"
            rows.append((each.title, table.number(found.median), spread))
    large = report.settings["large"] >> 20
    what = f"64 KB alone, and behind streaming copies of {large} MB"
    return [f"{table.titled(report, what)}\n{table.columns(rows)}"]


def charts(report: Report) -> list[Chart]:
    found = {
        each.title: summarise(values)
        for each in report.contestants
        if (values := bars.values(report, each.key, LATENCY, SMALL))
    }
    title = f"64 KB while {report.settings['large'] >> 20} MB copies stream"
    return [Bars(title, "us, from post to end", found, log=True)] if found else []


EXPERIMENT = Experiment(
    name="schedule",
    figures="future work",
    summary="a 64 KB copy while 64 MB copies stream: adaptive, round-robin",
    description=(
        "Latency of a copy of 64 KB alone, and while copies of 64 MB stream through the same "
        "queues, under the adaptive schedule and the paper's round-robin."
    ),
    plan=Plan(rounds=15, round_time=0.01, least=2, most=200, budget=25.0),
    sizes="",
    quick="",
    measure=measure,
    text=text,
    charts=charts,
    title="A small copy behind large ones",
)
