# SPDX-License-Identifier: BSD-3-Clause
"""``adma bench overlap``: how much of a copy is hidden behind computing (figures 6a, 6b).

T_copy is the time of a post and a wait; T_compute that of computing alone, twice as long as memcpy
takes; T_total that of a post, computing and a wait. The paper's overlap is
(T_copy + T_compute - T_total) / T_copy. The Intel MPI Benchmarks replace T_compute by the time that
computing took within T_total, so that slower computing does not count as less overlap. They divide
by the shorter of the two, and limit the result to 0..1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import adma
from adma.bench import bars, experiment, overlap_pair, table
from adma.bench.charts import Chart, Lines, curves
from adma.bench.compute import Compute, by_numpy, by_python, units_for
from adma.bench.copies import free, remember
from adma.bench.experiment import Experiment, Settings
from adma.bench.figures import median, middle
from adma.bench.places import Place, Places, Take
from adma.bench.plot import Curve
from adma.bench.progress import Progress
from adma.bench.schema import Contestant, Report, Verdict
from adma.bench.session import Plan
from adma.bench.turns import Result, Turn, alternate
from adma.bench.ways import kept, memcpy, plain, usable, ways

HOT, COLD = "hot", "cold"
COMPUTE_OVER_COPY = 2.0
JUDGED_FROM = 1 << 20
Post = Callable[[Any, Any], Any]
Wait = Callable[[Any], object]


def measure(settings: Settings, progress: Progress) -> Report:
    """Measure within this process, hot and cold; then between two, beside both MPIs."""
    report = experiment.started("overlap", settings, compute_over_copy=COMPUTE_OVER_COPY)
    places = Places()
    seconds: dict[int, float] = {}
    with kept():
        # The waiting thread must not copy: T_copy would be that of two threads.
        only = [way for way in ways(settings.engine, settings.queues) if not way.helps]
        here, report.contestants = usable(only, settings.demanded) if only else ([], [])
        total = 2 * len(settings.sizes) * settings.plan.rounds
        with progress.task("overlapping", total) as step:
            for size in settings.sizes:
                for where, take in ((HOT, places.hot), (COLD, places.cold)):
                    copying = _memcpy_seconds(take(size, 9))
                    seconds[size] = COMPUTE_OVER_COPY * copying
                    numpy, python = by_numpy(), by_python()
                    units = units_for(numpy, seconds[size])
                    make = _Maker(where, take, size)
                    found = [make.turn(plain(), free, memcpy, _nothing, numpy, units)]
                    for way in here:
                        make = _Maker(where, way.found(take), size)
                        done = way.contestant()
                        found.append(make.turn(done, way.enter, adma.icopy, _wait, numpy, units))
                    for way in here[:1]:
                        make = _Maker(where, way.found(take), size)
                        held = way.contestant(" GIL", ", GIL held")
                        held.path += "; computing in Python, which holds the GIL"
                        slow = units_for(python, seconds[size])
                        found.append(make.turn(held, way.enter, adma.icopy, _wait, python, slow))
                    remember(report, found)
                    report.series += alternate(found, size, settings.plan, step)
    overlap_pair.measure(report, settings, seconds, progress)
    report.verdicts = verdicts(report)
    return report


class _Maker:
    """Makes the turns of one size and place."""

    def __init__(self, where: str, take: Take, size: int) -> None:
        self.where = where
        self.take = take
        self.size = size

    def turn(
        self,
        contestant: Contestant,
        enter: Callable[[], None],
        post: Post,
        wait: Wait,
        compute: Compute,
        units: int,
    ) -> Turn:
        def run(count: int) -> Result:
            clock = time.perf_counter_ns
            copying = computing = during = total = 0
            taken = self.take(self.size, count), self.take(self.size, count)
            for (dst, src), (to, from_) in zip(*taken, strict=True):
                begin = clock()
                wait(post(dst, src))
                copied = clock()
                compute(units)
                computed = clock()
                pending = post(to, from_)
                posted = clock()
                compute(units)
                between = clock()
                wait(pending)
                end = clock()
                copying += copied - begin
                computing += computed - copied
                during += between - posted
                total += end - computed
            sums = (("copy", copying), ("compute", computing), ("during", during), ("total", total))
            return {f"{part}, {self.where}": ns / count / 1000 for part, ns in sums}

        return Turn(contestant, enter, run)


def overlap(report: Report, key: str, where: str, size: int) -> list[float]:
    """The overlap as the paper defines it, round by round."""
    copy, compute, total = (
        bars.values(report, key, f"{part}, {where}", size) for part in ("copy", "compute", "total")
    )
    return [(c + p - t) / c for c, p, t in zip(copy, compute, total, strict=True) if c > 0]


def imb(report: Report, key: str, where: str, size: int) -> list[float]:
    """The overlap as the Intel MPI Benchmarks define it, round by round."""
    copy, during, total = (
        bars.values(report, key, f"{part}, {where}", size) for part in ("copy", "during", "total")
    )
    return [
        max(0.0, min(1.0, (c + p - t) / min(c, p)))
        for c, p, t in zip(copy, during, total, strict=True)
        if min(c, p) > 0
    ]


def verdicts(report: Report) -> list[Verdict]:
    found = []
    one = experiment.titled(report, 1)
    judged = [size for size in report.settings["sizes"] if size >= JUDGED_FROM]
    for size in judged:
        mib = f"{size >> 20} MB"
        for where in (HOT, COLD):
            found.append(
                bars.limit(
                    f"{mib}, {where}, {one}: overlap",
                    overlap(report, experiment.key(report, 1), where, size),
                    0.9,
                    at_least=True,
                    unit="overlap",
                )
            )
            found.append(
                bars.limit(
                    f"{mib}, {where}, {one}: T_copy / memcpy",
                    bars.values(report, experiment.key(report, 1), f"copy, {where}", size),
                    1.1,
                    against=bars.values(report, "memcpy", f"copy, {where}", size),
                )
            )
        for key, where, title in overlap_pair.judged():
            found.append(
                bars.limit(
                    f"{mib}, {title}: overlap",
                    overlap(report, key, where, size),
                    0.9,
                    at_least=True,
                    unit="overlap",
                )
            )
    return found


def text(report: Report) -> list[str]:
    places = list(dict.fromkeys(s.metric.removeprefix("copy, ") for s in report.series))
    places = [where for where in places if report.sizes(f"copy, {where}")]
    return [_table(report, where) for where in places]


def _table(report: Report, where: str) -> str:
    head = (
        *("size", "who", "T_copy us", "T_compute", "T_total"),
        *("overlap", "95 %", "at most", "IMB's"),
    )
    rows: list[Sequence[str]] = [head]
    for size in report.sizes(f"copy, {where}"):
        for each in report.contestants:
            values = overlap(report, each.key, where, size)
            if not values:
                continue
            copy, compute, total = (
                median(bars.values(report, each.key, f"{part}, {where}", size))
                for part in ("copy", "compute", "total")
            )
            times = [table.number(value) for value in (copy, compute, total)]
            most = f"{min(1.0, compute / copy):.2f}"
            found = middle(values)
            interval = f"{found.low:.2f} to {found.high:.2f}"
            theirs = f"{median(imb(report, each.key, where, size)):.2f}"
            overlapped = (f"{found.median:.2f}", interval, most, theirs)
            rows.append((str(size), each.title, *times, *overlapped))
    what = overlap_pair.TITLES.get(where, f"within a process, {where}")
    return f"{table.titled(report, f'Overlap: {what}')}\n{table.columns(rows)}"


def charts(report: Report) -> list[Chart]:
    titles = {
        HOT: "one process, hot (figure 6a)",
        COLD: "one process, cold (figure 6b)",
        **overlap_pair.TITLES,
    }
    found: list[Chart] = []
    for where, title in titles.items():
        lines = [_as_overlap(report, where, line) for line in curves(report, f"copy, {where}")]
        if lines:
            found.append(
                Lines(
                    title,
                    "overlap",
                    lines,
                    log=False,
                    level=0.9,
                    span=(-0.5, 1.1),
                    tick=lambda y: f"{y:g}",
                )
            )
    return found


def _as_overlap(report: Report, where: str, line: Curve) -> Curve:
    """The same curve with the overlap in place of T_copy."""
    from adma.bench.figures import summarise

    key = next(each.key for each in report.contestants if each.title == line.title)
    points = [
        (size, summarise(overlap(report, key, where, size)))
        for size, _ in line.points
        if overlap(report, key, where, size)
    ]
    return Curve(Contestant(key, line.title, peer=line.peer), points, line.color)


def _memcpy_seconds(taken: Sequence[Place]) -> float:
    times = []
    for dst, src in taken:
        begin = time.perf_counter()
        memcpy(dst, src)
        times.append(time.perf_counter() - begin)
    return median(times)


def _wait(request: adma.Request) -> None:
    request.wait()


def _nothing(request: object) -> None:
    """Wait for nothing: memcpy is done when it returns."""


EXPERIMENT = Experiment(
    name="overlap",
    figures="6a, 6b",
    summary="how much of a copy is hidden behind computing; between two processes beside MPI",
    description=(
        "Post a copy, compute for twice as long as memcpy takes, wait; against both alone. The "
        "same between two processes over mapped:cma, with the receiver, the sender or both "
        "computing, beside mpi4py on MPICH and Open MPI (ADMA_PEER_MPICH, ADMA_PEER_OPENMPI)."
    ),
    plan=Plan(rounds=41, round_time=0.005, least=2, most=200, budget=4.0),
    sizes="64K,256K,1M,4M,16M",
    quick="1M",
    measure=measure,
    text=text,
    charts=charts,
    title="Overlap of copying and computing",
)
