# SPDX-License-Identifier: BSD-3-Clause
"""``adma bench costs``: what it costs to copy 64 bytes, to hand over a large copy, to wake."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat

import adma
from adma.bench import bars, experiment, table
from adma.bench.charts import Bars, Chart
from adma.bench.copies import free, remember
from adma.bench.experiment import Experiment, Settings
from adma.bench.figures import summarise
from adma.bench.progress import Progress
from adma.bench.schema import Contestant, Report, Verdict
from adma.bench.session import Plan
from adma.bench.turns import Result, Turn, alternate, timed
from adma.bench.ways import Copy, Way, kept, memcpy, usable, ways

SMALL, LARGE = 64, 1 << 20
BURST = 8
MOST = 400  # large copies in a round
ASLEEP = 0.001  # seconds after which a queue sleeps; it spins for 20 us
COST = "cost"
TITLES = {
    "memcpy": "memcpy 64 B, same call layer",
    "numpy": "numpy.copyto 64 B",
    "copy": "copy 64 B",
    "icopy": "icopy 64 B",
    "awake": "icopy 1 MB, queue awake",
    "asleep": "icopy 1 MB, queue asleep",
    "start": "to the first byte, queue awake",
    "wake": "to the first byte, queue asleep",
}
# With DMA channels it is the submitter, which hands copies to the module, that sleeps or not.
SERVANTS = {
    "awake": "icopy 1 MB, submitter awake",
    "asleep": "icopy 1 MB, submitter asleep",
    "start": "until it is taken, submitter awake",
    "wake": "until it is taken, submitter asleep",
}


def measure(settings: Settings, progress: Progress) -> Report:
    """Measure all calls, in turns; large copies by one queue or channel, and by many."""
    report = experiment.started("costs", settings)
    with kept():
        here, report.contestants = usable(ways(settings.engine, settings.queues), settings.demanded)
        handed = [way for way in here if not way.helps] or here
        # Bars are stated for the first.
        suffixes = ["" if way is handed[0] else f" {way.key}" for way in handed]
        found = small_ones()
        for way, suffix in zip(handed, suffixes, strict=True):
            found += large_ones(way, suffix)
        remember(report, found)
        for way, suffix in zip(handed, suffixes, strict=True):
            report.contestants += [_titled(key, way, suffix) for key in ("start", "wake")]
        with progress.task("calling", settings.plan.rounds) as step:
            series = alternate(found, None, settings.plan, step)
    for each in series:  # what a large copy tells of its start is a row of its own
        each.contestant, each.metric = each.metric, COST
    report.series = series
    report.verdicts = verdicts(report)
    return report


def small_ones() -> list[Turn]:
    import numpy as np

    dst, src = bytearray(SMALL), bytes(SMALL)
    arrays = np.zeros(SMALL, np.uint8), np.zeros(SMALL, np.uint8)
    calls: list[tuple[str, Copy, Sequence[object]]] = [
        ("memcpy", memcpy, (dst, src)),
        ("numpy", np.copyto, arrays),
        ("copy", adma.copy, (dst, src)),
        ("icopy", adma.icopy, (dst, src)),
    ]
    return [_small(key, call, *buffers) for key, call, buffers in calls]


def _small(key: str, call: Copy, dst: object, src: object) -> Turn:
    def run(count: int) -> Result:
        def operate() -> None:
            for _ in repeat(None, count):
                call(dst, src)

        return {key: timed(operate, count)}

    return Turn(Contestant(key, TITLES[key], peer=key in ("memcpy", "numpy")), free, run)


def large_ones(way: Way, suffix: str) -> list[Turn]:
    """Hand over copies of 1 MB: a burst behind one under way, and one to a queue that sleeps."""
    # Bytes and bytearrays, as for the small copies: the elements of an array are looked at.
    buffers = [(bytearray(LARGE), bytes(LARGE)) for _ in range(BURST + 1)]
    runs = {
        "awake": lambda count: _awake(buffers, count),
        "asleep": lambda count: _asleep(*buffers[0], count),
    }
    return [
        Turn(_titled(key, way, suffix), way.enter, partial(_suffixed, run, suffix))
        for key, run in runs.items()
    ]


def _suffixed(run: Callable[[int], Result], suffix: str, count: int) -> Result:
    return {f"{metric}{suffix}": value for metric, value in run(count).items()}


def _awake(buffers: Sequence[tuple[bytearray, bytes]], count: int) -> Result:
    """Post a burst while a copy is under way, so that its queue is awake."""
    (first, origin), *others = buffers
    call = start = 0
    count = max(1, min(count, MOST) // BURST)
    for _ in repeat(None, count):
        requests = [adma.icopy(first, origin)]
        begin = time.perf_counter_ns()
        for dst, src in others:
            requests.append(adma.icopy(dst, src))
        call += time.perf_counter_ns() - begin
        adma.wait_all(requests)
        # The queue is awake, and has nothing else to do.
        request = adma.icopy(first, origin)
        request.wait()
        start += request.times()["start"]
    return {"awake": call / count / BURST / 1000, "start": start / count / 1000}


def _asleep(dst: bytearray, src: bytes, count: int) -> Result:
    call = start = 0
    count = min(count, MOST)
    for _ in repeat(None, count):
        time.sleep(ASLEEP)
        begin = time.perf_counter_ns()
        request = adma.icopy(dst, src)
        call += time.perf_counter_ns() - begin
        request.wait()
        start += request.times()["start"]
        del request  # freed here, so that the next post does not pay for it
    return {"asleep": call / count / 1000, "wake": start / count / 1000}


def _titled(key: str, way: Way, suffix: str) -> Contestant:
    title = (SERVANTS if way.by_dma else TITLES)[key]
    return Contestant(f"{key}{suffix}", f"{title}, {way.title}", library="adma")


def verdicts(report: Report) -> list[Verdict]:
    copied = bars.values(report, "copy", COST)
    return [
        bars.limit(
            "icopy 64 B / copy 64 B", bars.values(report, "icopy", COST), 2.0, against=copied
        ),
        bars.limit(
            "handing over 1 MB, queue awake / copy 64 B",
            bars.values(report, "awake", COST),
            3.0,
            against=copied,
        ),
    ]


def text(report: Report) -> list[str]:
    rows: list[Sequence[str]] = [("call", "us", "10 to 90 %")]
    for each in report.contestants:
        values = bars.values(report, each.key, COST)
        if values:
            found = summarise(values)
            spread = f"{table.number(found.p10)} to {table.number(found.p90)}"
            rows.append((each.title, table.number(found.median), spread))
    return [f"{table.titled(report, 'What a call costs')}\n{table.columns(rows)}"]


def charts(report: Report) -> list[Chart]:
    found = {
        each.title: summarise(values)
        for each in report.contestants
        if (values := bars.values(report, each.key, COST))
    }
    return [Bars("what a call costs", "us", found, log=True)] if found else []


EXPERIMENT = Experiment(
    name="costs",
    figures="no figure",
    summary="what calls cost: 64 bytes, handing over 1 MB, waking a queue",
    description=(
        "Calls of 64 bytes; icopy of 1 MB to a queue that copies another one, and to one that "
        "sleeps; and how long it takes then until the first byte is copied."
    ),
    plan=Plan(rounds=31, round_time=0.008, least=2, budget=15.0),
    sizes="",
    quick="",
    measure=measure,
    text=text,
    charts=charts,
    title="What a call costs",
)
