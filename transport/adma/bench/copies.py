# SPDX-License-Identifier: BSD-3-Clause
"""``adma bench copy``: post and wait against ``memcpy``, hot and cold (figures 4a, 4b, 4c)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from adma.bench import bars, experiment, plot
from adma.bench.charts import Chart, Lines, curves
from adma.bench.experiment import Experiment, Settings
from adma.bench.places import OFFSET, Places, Take, fresh
from adma.bench.progress import Progress
from adma.bench.schema import Contestant, Report, Verdict
from adma.bench.session import Plan
from adma.bench.turns import Result, Turn, alternate, timed
from adma.bench.ways import Copy, Way, icopy_wait, kept, memcpy, numpy_copyto, plain, usable, ways

HOT, COLD = "hot", "cold"
HOT_MAX = 256 << 10  # figure 4a ends there
LARGE = 1 << 20  # figure 4c begins there


def measure(settings: Settings, progress: Progress) -> Report:
    """Measure all ways to copy: hot buffers up to 256 KB, cold buffers at each size."""
    report = experiment.started("copy", settings)
    places = Places()
    with kept():
        here, report.contestants = usable(ways(settings.engine, settings.queues), settings.demanded)
        metrics = [(size, HOT) for size in settings.sizes if size <= HOT_MAX]
        metrics += [(size, COLD) for size in settings.sizes]
        report.settings["area"] = places.area
        with progress.task("copying", len(metrics) * settings.plan.rounds) as step:
            for size, metric in metrics:
                found = turns(here, places, metric, size)
                remember(report, found)
                report.series += alternate(found, size, settings.plan, step)
    report.verdicts = verdicts(report)
    return report


def turns(here: Sequence[Way], places: Places, metric: str, size: int) -> list[Turn]:
    """The contestants at this size, each with the places that it copies between."""
    finder = places.hot if metric == HOT else places.cold
    take: Take = finder
    apart: Take = partial(finder, offset=OFFSET)
    found = [
        turn(plain(), free, memcpy, take, metric, size),
        turn(plain("numpy", "numpy", "numpy.copyto"), free, numpy_copyto(), take, metric, size),
        turn(plain("memcpy+2K", "memcpy +2K"), free, memcpy, apart, metric, size),
    ]
    for way in here:
        found.append(turn(way.contestant(), way.enter, icopy_wait, way.found(take), metric, size))
        if way.queues > 1:
            moved = way.contestant("+2K", " +2K")
            found.append(turn(moved, way.enter, icopy_wait, way.found(apart), metric, size))
        if way.by_dma and metric == COLD:
            found.append(turn(way.missed(), way.enter, icopy_wait, fresh, metric, size))
    return found


def turn(
    contestant: Contestant,
    enter: Callable[[], None],
    copy: Copy,
    take: Take,
    metric: str,
    size: int,
) -> Turn:
    """A contestant that copies from place to place. The places are found before the clock runs."""

    def run(count: int) -> Result:
        taken = take(size, count)

        def operate() -> None:
            for dst, src in taken:
                copy(dst, src)

        return {metric: timed(operate, count)}

    return Turn(contestant, enter, run)


def free() -> None:
    """Configure nothing, where no engine takes part."""


def remember(report: Report, found: Sequence[Turn]) -> None:
    """Add the contestants of these turns to the report, if they are new."""
    known = {each.key for each in report.contestants}
    report.contestants += [each.contestant for each in found if each.contestant.key not in known]


def verdicts(report: Report) -> list[Verdict]:
    """Bandwidth of two queues, cold, 16 MB, against memcpy."""
    size = 16 << 20
    if size not in report.settings["sizes"]:
        return []
    queues = report.settings["queues"]
    many, title = experiment.key(report, queues), experiment.titled(report, queues)
    return [
        bars.limit(
            f"16M cold, icopy and wait: bandwidth of {title} / memcpy",
            bars.values(report, "memcpy", COLD, size),
            1.5,
            against=bars.values(report, many, COLD, size),
            at_least=True,
        )
    ]


def text(report: Report) -> list[str]:
    parts = []
    if report.sizes(HOT):
        parts.append(experiment.times(report, HOT, "Hot, us: the same buffers each time (4a)"))
    if report.sizes(COLD):
        title = "Cold, us: both pointers advance by the size after each copy (4b, 4c)"
        parts.append(experiment.times(report, COLD, title))
        parts.append(experiment.rates(report, COLD, "Cold, MB/s (10^6 bytes)"))
    return parts


def charts(report: Report) -> list[Chart]:
    found: list[Chart] = []
    for title, metric, wanted in (
        ("hot (figure 4a)", HOT, lambda size: size <= HOT_MAX),
        ("cold (figure 4b)", COLD, lambda size: size < LARGE),
        ("cold, large (figure 4c)", COLD, lambda size: size >= LARGE),
    ):
        lines = _within(curves(report, metric), wanted)
        if lines:
            found.append(Lines(title, curves=lines))
    return found


def _within(lines: list[plot.Curve], wanted: Callable[[int], bool]) -> list[plot.Curve]:
    """The curves that have points at these sizes, without their other points."""
    for line in lines:
        line.points = [(size, summary) for size, summary in line.points if wanted(size)]
    return [line for line in lines if line.points]


EXPERIMENT = Experiment(
    name="copy",
    figures="4a, 4b, 4c",
    summary="latency of a copy against memcpy: hot, cold, large",
    description=(
        "Post a copy and wait for it, beside memcpy through the same call layer and numpy.copyto. "
        "Queues copy alone but for 'queue+caller', where the thread that waits copies, too; '+2K' "
        "are buffers whose places within a page differ by 2 KB."
    ),
    plan=Plan(rounds=21, round_time=0.008, least=2, budget=5.0),
    sizes="1K,4K,16K,64K,256K,1M,4M,16M",
    quick="4K,256K,4M",
    measure=measure,
    text=text,
    charts=charts,
    title="Copies within a process: post and wait",
)

__all__ = ["EXPERIMENT", "free", "measure", "remember", "turn"]
