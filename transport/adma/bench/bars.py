# SPDX-License-Identifier: BSD-3-Clause
"""The limits ("bars") that adma is measured against, and what was measured.

A bar on a ratio is held when the interval of the median paired ratio ends at it or below.
``allbars.py`` measures all of them; those about messages are judged after a ping-pong, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from adma.bench import forms
from adma.bench.figures import median, middle, paired_ratio, summarise
from adma.bench.schema import Report, Series, Verdict
from adma.bench.sizes import format_size

RATIO = "ratio of times"
MPIS = ("mpich", "openmpi")
PERSISTENT = ("mpich:persistent", "openmpi:persistent")
PKL5 = ("mpich:pkl5", "openmpi:pkl5")
LINE = "bare:line"


@dataclass(frozen=True)
class Bar:
    """The ratio of `ours` to the better of `against` at a size: at most `hold`, at best `aim`.

    `above_line`: so many us above a bare cache line are allowed, too, where that is more.
    """

    what: str
    size: int | None
    ours: str
    against: Sequence[str]
    hold: float
    aim: float | None
    binding: bool = True
    metric: str = forms.LATENCY
    above_line: float | None = None


def _plain(size: int, hold: float, aim: float) -> Bar:
    return Bar(format_size(size), size, "adma", MPIS, hold, aim)


def _window(size: int, hold: float) -> Bar:
    what = f"window of {forms.WINDOW_OF} x {format_size(size)}"
    return Bar(what, size, "adma", MPIS, hold, 0.6, metric=forms.WINDOW)


def _object(what: str, against: Sequence[str] = MPIS) -> Bar:
    title = f"send and recv of {forms.OBJECTS[what]}"
    return Bar(title, None, "adma", against, 1.0, 0.8, metric=forms.object_metric(what))


PINGPONG = (
    Bar("8 bytes, plain calls", 8, "adma", MPIS, 0.7, 0.5, above_line=0.2),
    _plain(4 << 10, 0.8, 0.6),
    _plain(16 << 10, 0.8, 0.6),
    _plain(64 << 10, 0.95, 0.85),
    _plain(256 << 10, 0.85, 0.75),
    _plain(1 << 20, 0.7, 0.5),
    _plain(4 << 20, 0.75, 0.5),
    _plain(16 << 20, 0.6, 0.5),
)
BY_FORM: dict[str, tuple[Bar, ...]] = {
    "plain": PINGPONG,
    "persistent": (
        Bar("8 bytes, their persistent requests", 8, "adma", PERSISTENT, 0.6, 0.5, above_line=0.2),
    ),
    "window": (
        *(_window(size, 1.0) for size in (8, 1 << 10, 8 << 10)),
        _window(64 << 10, 0.8),
        _window(1 << 20, 0.7),
    ),
    "objects": (_object("int"), _object("dict"), _object("list"), _object("array", PKL5)),
    "idle": (
        Bar("round trip after 10 ms of idling", 8, "adma", ("pipe",), 1.0, 0.8, metric=forms.IDLE),
    ),
}

COOPERATIVE = tuple(
    Bar(f"{mib}M, both ends copy / reader alone", mib << 20, "both", ("reader",), 0.6, 0.5)
    for mib in (1, 4, 16)
)


def judge(report: Report, bars: Iterable[Bar]) -> list[Verdict]:
    """A verdict for each bar. Where one cannot be judged, its verdict says why."""
    return [_judge(report, bar) for bar in bars]


def of_forms(wanted: Iterable[str]) -> list[Bar]:
    """The bars on messages of these forms."""
    return [bar for form in BY_FORM if form in wanted for bar in BY_FORM[form]]


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
    aim: float | None = None,
    between: tuple[str, str] = ("", ""),
) -> Verdict:
    """A bar on values of rounds, or on their paired ratios to those of `against`.

    `between`: the names of both.

    Held when the whole bootstrap interval is at most `bar`; with `at_least`, at least.
    """
    if not ours or (against is not None and not against):
        why = "not in this run"
        return Verdict(what, *between, unit, bar, True, aim, why=why, at_least=at_least)
    found = middle(ours) if against is None else paired_ratio(ours, against)
    held = found.low >= bar if at_least else found.high <= bar
    return Verdict(
        what,
        *between,
        unit,
        bar,
        True,
        aim,
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
    notes = [f"without {', '.join(missing)}, not measured"] if missing else []
    hold = bar.hold
    if bar.above_line is not None:
        allowed = _above_line(report, bar.above_line, rival)
        if allowed is None:
            notes.append(f"without {LINE}, not measured")
        elif allowed > hold:
            hold = allowed
            notes.append(f"the bar is {LINE} + {bar.above_line:g} us")
    return Verdict(
        bar.what,
        bar.ours,
        rival.contestant,
        RATIO,
        hold,
        bar.binding,
        bar.aim,
        ratio.median,
        ratio.low,
        ratio.high,
        ratio.holds(hold),
        "; ".join(notes),
    )


def _above_line(report: Report, more: float, rival: Series) -> float | None:
    """The bare line and so many us more, as a share of the rival's time.

    The line is that of its best round: what disturbs it must not make a bar wider.
    """
    line = report.find(LINE, rival.metric, rival.size)
    if line is None or not line.values:
        return None
    allowed = min(line.values) + more
    return paired_ratio([allowed] * len(rival.values), rival.values).median


def _samples(report: Report, key: str, bar: Bar) -> Series | None:
    series = report.find(key, bar.metric, bar.size)
    return series if series is not None and series.values else None


def _unjudged(bar: Bar, why: str) -> Verdict:
    against = " or ".join(bar.against)
    return Verdict(bar.what, bar.ours, against, RATIO, bar.hold, bar.binding, bar.aim, why=why)
