# SPDX-License-Identifier: BSD-3-Clause
"""The limits ("bars") that adma is measured against, and what was measured.

A bar on a ratio is held when the interval of the median paired ratio ends at it or below. Bars
that are not binding yet are printed too, so that a trend is seen early.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from adma.bench.figures import median, middle, paired_ratio, summarise
from adma.bench.schema import Report, Series, Verdict

RATIO = "ratio of times"
MPIS = ("mpich", "openmpi")
PERSISTENT = ("mpich:persistent", "openmpi:persistent")


@dataclass(frozen=True)
class Bar:
    """The ratio of `ours` to the better of `against` at a size: at most `hold`, at best `aim`."""

    what: str
    size: int
    ours: str
    against: Sequence[str]
    hold: float
    aim: float | None
    binding: bool
    metric: str = "latency"


PINGPONG = (
    Bar("8 bytes, plain calls", 8, "adma", MPIS, 1.0, 0.5, False),
    Bar("8 bytes, their persistent requests", 8, "adma", PERSISTENT, 0.75, 0.4, False),
    Bar("64K", 64 << 10, "adma", MPIS, 0.8, 0.5, False),
    Bar("1M", 1 << 20, "adma", MPIS, 0.6, 0.3, False),
    Bar("4M", 4 << 20, "adma", MPIS, 0.8, 0.4, False),
    Bar("16M", 16 << 20, "adma", MPIS, 0.8, 0.5, False),
)

COOPERATIVE = tuple(
    Bar(f"{mib}M, both ends copy / reader alone", mib << 20, "both", ("reader",), 0.6, 0.5, True)
    for mib in (1, 4, 16)
)

# What is not measured yet, and what is missing for it.
LATER = (
    ("64K, 1M, 4M, 16M with one buffer in a region", "regions"),
    ("8 bytes, 1M, 4M in the MPI layer", "the MPI layer"),
    ("loan of any size against 1 byte", "loans"),
)


def judge(report: Report, bars: Iterable[Bar]) -> list[Verdict]:
    """A verdict for each bar. Where one cannot be judged, its verdict says why."""
    return [_judge(report, bar) for bar in bars]


def judge_value(
    what: str,
    series: Series,
    hold: float,
    aim: float | None,
    binding: bool,
) -> Verdict:
    """A bar on a measured value in the series' own unit: the median and its spread.

    It is held when the median does not exceed it. Raises ValueError for an empty series.
    """
    summary = summarise(series.values)
    return Verdict(
        what,
        series.contestant,
        "",
        series.unit,
        hold,
        binding,
        aim,
        summary.median,
        summary.p10,
        summary.p90,
        summary.median <= hold,
    )


def limit(
    what: str,
    ours: Sequence[float],
    bar: float,
    *,
    against: Sequence[float] | None = None,
    at_least: bool = False,
    unit: str = RATIO,
) -> Verdict:
    """A bar on values of rounds, or on their paired ratios to those of `against`.

    Held when the whole bootstrap interval is at most `bar`; with `at_least`, at least.
    """
    if not ours or (against is not None and not against):
        return Verdict(what, "", "", unit, bar, True, why="not in this run", at_least=at_least)
    found = middle(ours) if against is None else paired_ratio(ours, against)
    held = found.low >= bar if at_least else found.high <= bar
    return Verdict(
        what,
        "",
        "",
        unit,
        bar,
        True,
        None,
        found.median,
        found.low,
        found.high,
        held,
        at_least=at_least,
    )


def values(report: Report, key: str, metric: str, size: int | None = None) -> list[float]:
    """The samples of a series; empty if it was not measured."""
    series = report.find(key, metric, size)
    return series.values if series is not None else []


def _judge(report: Report, bar: Bar) -> Verdict:
    ours = _samples(report, bar.ours, bar)
    rivals = [s for key in bar.against if (s := _samples(report, key, bar)) is not None]
    if ours is None:
        return _unjudged(bar, f"{bar.ours} was not measured at this size")
    if not rivals:
        return _unjudged(bar, f"none of {', '.join(bar.against)} was measured")
    # The one that is better over the whole run: the better one of each round would be so by chance.
    rival = min(rivals, key=lambda series: median(series.values))
    ratio = paired_ratio(ours.values, rival.values)
    missing = [key for key in bar.against if key not in {s.contestant for s in rivals}]
    return Verdict(
        bar.what,
        bar.ours,
        rival.contestant,
        RATIO,
        bar.hold,
        bar.binding,
        bar.aim,
        ratio.median,
        ratio.low,
        ratio.high,
        ratio.holds(bar.hold),
        f"without {', '.join(missing)}, not measured" if missing else "",
    )


def _samples(report: Report, key: str, bar: Bar) -> Series | None:
    series = report.find(key, bar.metric, bar.size)
    return series if series is not None and series.values else None


def _unjudged(bar: Bar, why: str) -> Verdict:
    against = " or ".join(bar.against)
    return Verdict(bar.what, bar.ours, against, RATIO, bar.hold, bar.binding, bar.aim, why=why)
