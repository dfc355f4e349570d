# SPDX-License-Identifier: BSD-3-Clause
"""``adma bench splitup``: where the time of a copy goes (figure 7)."""

from __future__ import annotations

import time
from collections.abc import Sequence

import adma
from adma.bench import experiment, table
from adma.bench.charts import Chart, Stack
from adma.bench.copies import free, remember
from adma.bench.experiment import Experiment, Settings
from adma.bench.figures import median
from adma.bench.helper import Helper, difference
from adma.bench.places import Places, Take, fresh
from adma.bench.progress import Progress
from adma.bench.schema import Contestant, Report
from adma.bench.session import Plan
from adma.bench.turns import Result, Turn, alternate
from adma.bench.ways import Way, kept, memcpy, plain, usable, ways

PARTS = ("post", "pin", "start", "copy", "complete", "calls")
"""Of `CopyRequest.times`, of DMA `pin`, and what is left of the whole: Python, the call layer."""
TIMES = ("post", "start", "copy", "complete")


def measure(settings: Settings, progress: Progress) -> Report:
    """Measure cold copies, one at a time, each way. The engine tells the parts of each."""
    report = experiment.started("splitup", settings)
    places = Places()
    with kept():
        here, report.contestants = usable(ways(settings.engine, settings.queues), settings.demanded)
        with progress.task("splitting", len(settings.sizes) * settings.plan.rounds) as step:
            for size in settings.sizes:
                found = [reference(places.cold, size)]
                for way in here:
                    found.append(turn(way, way.contestant(), way.found(places.cold), size))
                    if way.by_dma:
                        found.append(turn(way, way.missed(), fresh, size))
                remember(report, found)
                report.series += alternate(found, size, settings.plan, step)
    return report


def reference(take: Take, size: int) -> Turn:
    """memcpy, all of whose time is copying."""

    def run(count: int) -> Result:
        taken = take(size, count)
        begin = time.perf_counter_ns()
        for dst, src in taken:
            memcpy(dst, src)
        whole = time.perf_counter_ns() - begin
        return {"copy": whole / count / 1000}

    return Turn(plain(), free, run)


def turn(way: Way, contestant: Contestant, take: Take, size: int) -> Turn:
    def run(count: int) -> Result:
        whole = 0
        sums = dict.fromkeys(TIMES, 0)
        taken = take(size, count)
        before = counters(way)
        for dst, src in taken:
            begin = time.perf_counter_ns()
            request = adma.icopy(dst, src)
            request.wait()
            whole += time.perf_counter_ns() - begin
            for part, ns in request.times().items():
                sums[part] += ns
        sums = refined(sums, difference(before, counters(way)))
        sums["calls"] = max(0, whole - sum(sums.values()))
        return {part: ns / count / 1000 for part, ns in sums.items()}

    return Turn(contestant, way.enter, run)


def counters(way: Way) -> dict[str, int]:
    """The module's counters, for DMA channels. Nobody else should use it meanwhile."""
    if not way.by_dma:
        return {}
    with Helper() as helper:
        return helper.counters()


def refined(sums: dict[str, int], counted: dict[str, int]) -> dict[str, int]:
    """What the engine counts as copying, split as the module tells."""
    if not counted:
        return sums
    start = counted["time_post"] + counted["time_start"]
    rest = sums["copy"] - start - counted["time_pin"] - counted["time_copy"]
    return {
        "post": sums["post"],
        "pin": counted["time_pin"],
        "start": sums["start"] + start,
        "copy": counted["time_copy"],
        "complete": sums["complete"] + max(0, rest),
    }


def text(report: Report) -> list[str]:
    return [_table(report, each) for each in _measured(report)]


def _table(report: Report, contestant: Contestant) -> str:
    found = {size: parts(report, contestant.key, size) for size in report.sizes("copy")}
    names = [part for part in PARTS if any(part in values for values in found.values())]
    rows: list[Sequence[str]] = [("size", *(f"{part} us" for part in names), "copying is")]
    for size, values in found.items():
        share = 100 * values["copy"] / (sum(values.values()) or 1.0)
        cells = [table.number(values[part]) for part in names]
        rows.append((str(size), *cells, f"{share:.0f} %"))
    return f"{table.titled(report, f'{contestant.title}, cold')}\n{table.columns(rows)}"


def parts(report: Report, key: str, size: int) -> dict[str, float]:
    """Medians of the parts that a contestant has at a size, in us."""
    found = {part: report.find(key, part, size) for part in PARTS}
    return {part: median(each.values) for part, each in found.items() if each}


def charts(report: Report) -> list[Chart]:
    sizes = report.sizes("copy")
    names = [part for part in PARTS if report.sizes(part)]
    found: list[Chart] = []
    for each in _measured(report):
        if each.peer:  # nothing to split
            continue
        values = [parts(report, each.key, size) for size in sizes]
        stacked = {part: [at.get(part, 0.0) for at in values] for part in names}
        found.append(Stack(f"{each.title} (figure 7)", "% of the time", sizes, stacked))
    return found


def _measured(report: Report) -> list[Contestant]:
    keys = {series.contestant for series in report.series}
    return [each for each in report.contestants if each.key in keys]


EXPERIMENT = Experiment(
    name="splitup",
    figures="7",
    summary="where the time of a copy goes: post, start-up, copying, completion",
    description=(
        "Cold copies, posted and waited for one at a time. post: in icopy; start: until the "
        "first byte is copied; copy: until the last; complete: until the waiter saw it; calls: the "
        "rest, which is Python. Copies of up to 64 KB are made in icopy itself, and have no parts."
        " DMA channels copy from 4 KB on, and have the module's pin, start and copy; 'miss' copies "
        "between pages that were not pinned before."
    ),
    plan=Plan(rounds=21, round_time=0.01, least=2, budget=4.0),
    sizes="32K,64K,256K,1M,4M,16M",
    quick="64K,1M",
    measure=measure,
    text=text,
    charts=charts,
    title="Where the time of a copy goes",
)
