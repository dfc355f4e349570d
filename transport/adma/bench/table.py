# SPDX-License-Identifier: BSD-3-Clause
"""Reports as text: the columns that users of the OSU benchmarks know, one per contestant."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from adma.bench.bars import RATIO
from adma.bench.figures import Summary, summarise
from adma.bench.forms import IDLE, LATENCY, OBJECTS, WINDOW, WINDOW_OF, object_metric
from adma.bench.machine import headline, label
from adma.bench.schema import Contestant, Report, Series, Verdict

METRIC = LATENCY
INSTRUCTIONS = "instructions a message"
LEFT = 12
WIDTH = 16
BUSY = 1.0  # load average from which other processes disturb the figures


def heading(report: Report) -> str:
    """What ran, and where, in comment lines."""
    software = report.software
    ours = software["adma"]
    load = report.machine.get("load", [0.0])[0]
    lines = [
        f"# adma {ours['version']} {report.benchmark}, {report.date}",
        f"# {headline(report.machine)}; {software['python']}",
    ]
    if report.machine.get("emulated"):
        lines.append("# EMULATED: no time below is one of hardware, nor are their ratios")
    if load >= BUSY:
        lines.append(f"# Something else was running (load {load} before): times are worth less")
    if ours["build"] != "release":
        lines.append(f"# Not a release build ({ours['build']}): its times are not what users get")
    return "\n".join(lines)


def titled(report: Report, what: str) -> str:
    """A table's heading; an emulated machine is named in it."""
    return f"# {label(report.machine)}{what}"


def cast(contestants: Iterable[Contestant]) -> str:
    """The contestants: version, path of the bytes, way of waiting; those missing, with the cure."""
    absent: list[str] = []
    present: dict[str, list[str]] = {}
    for each in contestants:
        if not each.measured:
            cure = f"; cure: {each.cure}" if each.cure and each.cure not in each.why else ""
            absent.append(f"# {each.title}: not measured: {each.why}{cure}")
            continue
        facts = "; ".join(fact for fact in (each.version, each.path, each.wait) if fact)
        if facts:
            present.setdefault(facts, []).append(each.title)
    lines = [f"# {', '.join(titles)}: {facts}" for facts, titles in present.items()]
    return "\n".join(lines + absent)


def latencies(report: Report) -> str:
    """One-way times in us: a row per size, a column per contestant."""
    rounds = report.settings.get("rounds", "?")
    title = (
        f"# {label(report.machine)}Latency (us), one way: half a round trip; "
        f"median of {rounds} rounds \u00b1 half of the 10th to 90th percentile"
    )

    def cell(summary: Summary, size: int) -> str:
        del size
        return _spread(summary)

    lines = [title, grid(report, "Latency (us)", cell)]
    for each in _partial(report):
        for size in report.sizes(METRIC):
            series = report.find(each.key, METRIC, size)
            if series is not None and series.values:
                lines.append(
                    f"# {each.title}, {size} bytes: {cell(summarise(series.values), size)} us"
                )
    return "\n".join(lines)


def bandwidths(report: Report) -> str:
    """Size over one-way time in MB/s (10^6 bytes), of one message at a time."""

    def cell(summary: Summary, size: int) -> str:
        return number(size / summary.median)

    marked = f"# {label(report.machine)}"
    title = f"{marked}Bandwidth (MB/s) of the same messages: size / latency, one message at a time"
    return f"{title}\n{grid(report, 'Bandwidth (MB/s)', cell)}"


def instructions(report: Report) -> str:
    """Instructions per message: a row per size, a column per contestant."""

    def cell(summary: Summary, size: int) -> str:
        del size
        return f"{summary.median:.0f} \u00b1{summary.half_width:6.0f}"

    marked = label(report.machine)
    title = (
        f"# {marked}Instructions a message, one way: kernel and both processes, one processor, "
        "no spinning"
    )
    return f"{title}\n{grid(report, 'Instructions', cell, INSTRUCTIONS)}"


def windows(report: Report) -> str:
    """Windows: the time per message and the bandwidth, a row per size."""

    def time(summary: Summary, size: int) -> str:
        del size
        return _spread(summary)

    def rate(summary: Summary, size: int) -> str:
        return number(size / summary.median)

    marked = label(report.machine)
    number_of = report.settings.get("window", WINDOW_OF)
    what = f"{number_of} messages one way, posted and waited for together"
    return (
        f"# {marked}Window (us per message): {what}\n"
        f"{grid(report, 'us per message', time, WINDOW)}\n\n"
        f"# {marked}Bandwidth of windows (MB/s)\n{grid(report, 'MB/s', rate, WINDOW)}"
    )


def objects(report: Report) -> str:
    """Objects: the one-way time, a row per kind."""
    kinds = [kind for kind in OBJECTS if any(_objects(report, kind))]
    shown = [
        each for each in report.contestants if any(_object(report, kind, each) for kind in kinds)
    ]
    rows: list[Sequence[str]] = [("object", *(each.title for each in shown))]
    for kind in kinds:
        cells = []
        for each in shown:
            series = _object(report, kind, each)
            cells.append(_spread(summarise(series.values)) if series else "-")
        rows.append((OBJECTS[kind], *cells))
    title = f"# {label(report.machine)}Objects (us), one way: send and recv"
    return f"{title}\n{columns(rows)}"


def idle(report: Report) -> str:
    """Round trips after idling: a row per contestant."""
    rows: list[Sequence[str]] = [("who", "us")]
    for each in report.contestants:
        for series in report.series:
            if (series.contestant, series.metric) == (each.key, IDLE) and series.values:
                rows.append((each.title, _spread(summarise(series.values))))
    title = f"# {label(report.machine)}Round trip (us) after 10 ms in which both ends slept"
    return f"{title}\n{columns(rows)}"


def bars(verdicts: Sequence[Verdict], machine: Mapping[str, Any]) -> str:
    """Each bar beside what was measured, and on which processor."""
    rows: list[Sequence[str]] = []
    rows.append(("what", "ours / against", "measured", "95 %", "bar", "aim", "verdict"))
    rows += [_bar_row(verdict) for verdict in verdicts]
    return (
        f"# Bars on {machine['cpu']}, {machine['cores']} cores: medians over rounds, of ratios "
        "within each round; held when the interval is on the right side\n"
        f"{columns(rows)}"
    )


def values(verdicts: Sequence[Verdict]) -> str:
    """Bars on plain values: median and spread, in their own unit."""
    rows: list[Sequence[str]] = [("what", "measured", "10 to 90 %", "bar", "aim", "verdict")]
    for each in verdicts:
        rows.append(
            (
                each.what,
                f"{_maybe(each.measured)} {each.unit}",
                f"{_maybe(each.low)} to {_maybe(each.high)}",
                number(each.hold),
                _maybe(each.aim),
                _word(each),
            )
        )
    return columns(rows)


def judged(verdicts: Sequence[Verdict]) -> str:
    """Bars of experiments: each is a limit from above or from below."""
    rows: list[Sequence[str]] = [("what", "measured", "95 %", "bar", "verdict")]
    for each in verdicts:
        sign = ">=" if each.at_least else "<="
        interval = "" if each.low is None else f"{_maybe(each.low)} to {_maybe(each.high)}"
        bar = f"{sign} {each.hold:g}"
        rows.append((each.what, _maybe(each.measured), interval, bar, _word(each)))
    title = (
        "# Bars: medians over rounds; held when all of the bootstrap interval is on the right side"
    )
    return f"{title}\n{columns(rows)}"


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text in columns; the first row is the heading, marked as a comment."""
    rows = [[f"# {row[0]}" if not index else row[0], *row[1:]] for index, row in enumerate(rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def number(value: float) -> str:
    """A number with three or four significant digits: 0.53, 12.4, 1234."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def grid(
    report: Report, what: str, cell: Callable[[Summary, int], str], metric: str = METRIC
) -> str:
    """A row per size, a column per contestant that has this metric."""
    shown = _columns(report, metric)
    titles = [what] if len(shown) == 1 else [each.title for each in shown]
    widths = [max(WIDTH, 2 + len(title)) for title in titles]
    lines = [_row("# Size", titles, widths)]
    for size in report.sizes(metric):
        cells = []
        for contestant in shown:
            series = report.find(contestant.key, metric, size)
            done = series is not None and series.values
            cells.append(cell(summarise(series.values), size) if series and done else "-")
        lines.append(_row(str(size), cells, widths))
    return "\n".join(lines)


def _row(left: str, cells: Sequence[str], widths: Sequence[int]) -> str:
    found = (text.rjust(width) for text, width in zip(cells, widths, strict=True))
    return left.ljust(LEFT) + "".join(found)


def _columns(report: Report, metric: str) -> list[Contestant]:
    """The contestants with a column. One that failed keeps it, with what it measured."""
    few = {each.key for each in _partial(report)}
    measured = {series.contestant for series in report.series if series.metric == metric}
    return [each for each in report.contestants if each.key in measured - few]


def _partial(report: Report) -> list[Contestant]:
    """The contestants at a few sizes only, which get a line instead of a column."""
    return [each for each in report.contestants if each.partial]


def _bar_row(each: Verdict) -> tuple[str, ...]:
    interval = "" if each.low is None else f"{_maybe(each.low)} to {_maybe(each.high)}"
    between = f"{each.ours} / {each.against}" if each.against else each.ours
    unit = "" if each.unit in (RATIO, "overlap") or each.measured is None else f" {each.unit}"
    measured = f"{_maybe(each.measured)}{unit}"
    bar = f"{'>=' if each.at_least else '<='} {each.hold:.3g}" if each.hold else ""
    return (each.what, between, measured, interval, bar, _maybe(each.aim), _word(each))


def _objects(report: Report, kind: str) -> list[Series]:
    metric = object_metric(kind)
    return [each for each in report.series if each.metric == metric and each.values]


def _object(report: Report, kind: str, contestant: Contestant) -> Series | None:
    found = (each for each in _objects(report, kind) if each.contestant == contestant.key)
    return next(found, None)


def _spread(summary: Summary) -> str:
    return f"{number(summary.median)} \u00b1{number(summary.half_width):>6}"


def _word(each: Verdict) -> str:
    """Is the bar held, and does it count yet?"""
    if not each.built:
        return f"not built: {each.why}"
    if each.held is None:
        return f"not measured: {each.why}"
    word = "held" if each.held else "not held"
    notes = [note for note in ("" if each.binding else "binding later", each.why) if note]
    return f"{word} ({'; '.join(notes)})" if notes else word


def _maybe(value: float | None) -> str:
    return "" if value is None else number(value)


__all__ = [
    "RATIO",
    "bandwidths",
    "bars",
    "cast",
    "columns",
    "grid",
    "heading",
    "idle",
    "instructions",
    "judged",
    "latencies",
    "objects",
    "titled",
    "values",
    "windows",
]
