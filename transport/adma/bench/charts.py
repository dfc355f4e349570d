# SPDX-License-Identifier: BSD-3-Clause
"""Charts of experiments: lines over sizes, stacks of shares, bars. Needs matplotlib."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adma.bench import plot
from adma.bench.figures import Summary, summarise
from adma.bench.machine import headline, label
from adma.bench.schema import Report
from adma.bench.sizes import format_size

COLORS = ("#c2185b", "#1565c0", "#e07b00", "#2e7d32", "#4527a0", "#00838f", "#5d4037", "#9e9d24")
SHARES = ("#1565c0", "#00838f", "#e07b00", "#c2185b", "#8a8f98", "#2e7d32")
WIDTH, HEIGHT = 6.9, 5.6  # inches of a chart


@dataclass
class Chart:
    """What all charts have: a title, and the name of the axis."""

    title: str
    axis: str = ""


@dataclass
class Lines(Chart):
    """A curve per contestant over sizes; `level` is a bar, `span` the ends of the axis."""

    curves: Sequence[plot.Curve] = ()
    value: Callable[[int, float], float] = lambda size, value: value
    tick: Callable[[float], str] = plot.time_label
    log: bool = True
    level: float | None = None
    span: tuple[float, float] | None = None
    sizes: str = "bytes of a copy"


@dataclass
class Stack(Chart):
    """For each size, how much of the whole each part is: a name, and a value per size."""

    sizes: Sequence[int] = ()
    parts: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass
class Bars(Chart):
    """A bar per name."""

    values: dict[str, Summary] = field(default_factory=dict)
    log: bool = False


def curves(report: Report, metric: str, keys: Sequence[str] = ()) -> list[plot.Curve]:
    """A curve for each contestant that has this metric; peers muted."""
    strong, muted = iter(COLORS * 4), iter(plot.MUTED * 4)
    found = []
    for contestant in report.contestants:
        color = next(muted if contestant.peer else strong)
        points = [
            (size, summarise(series.values))
            for size in report.sizes(metric)
            if (series := report.find(contestant.key, metric, size)) and series.values
        ]
        if points and (not keys or contestant.key in keys):
            found.append(plot.Curve(contestant, points, color))
    return found


def draw(report: Report, charts: Sequence[Chart], title: str, path: str | Path) -> None:
    """Write the charts side by side to `path`; the suffix chooses the format.

    Raises RuntimeError with the cure when matplotlib is missing, ValueError when there is nothing
    to draw or the format is unknown, OSError when the file cannot be written.
    """
    if not charts:
        raise ValueError("the report holds no samples: nothing to draw")
    matplotlib = plot.require()
    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = min(3, len(charts)) if len(charts) != 4 else 2
    rows = math.ceil(len(charts) / columns)
    with matplotlib.rc_context(plot.style()):
        size = (WIDTH * columns, HEIGHT * rows + 0.8)
        figure, axes = pyplot.subplots(rows, columns, figsize=size, squeeze=False)
        try:
            flat = [axis for row in axes for axis in row]
            for axis, chart in zip(flat, charts, strict=False):
                _draw(axis, chart)
            for axis in flat[len(charts) :]:
                axis.set_visible(False)
            _title(figure, report, title)
            if report.machine.get("emulated"):
                plot.watermark(flat[: len(charts)])
            figure.savefig(path, dpi=80)
        finally:
            pyplot.close(figure)


def _draw(axis: Any, chart: Chart) -> None:
    axis.set_title(chart.title, loc="left", fontsize=11, fontweight="bold")
    if isinstance(chart, Lines):
        _draw_lines(axis, chart)
    elif isinstance(chart, Stack):
        _draw_stack(axis, chart)
    elif isinstance(chart, Bars):
        _draw_bars(axis, chart)
    axis.set_axisbelow(True)


def _draw_lines(axis: Any, chart: Lines) -> None:
    plot.panel(axis, chart.curves, chart.title, chart.value, chart.tick, chart.log, chart.span)
    axis.set_xlabel(chart.sizes)
    axis.set_ylabel(chart.axis)
    if chart.level is not None:
        axis.axhline(chart.level, color=plot.INK, linewidth=0.9, linestyle=":")


def _draw_stack(axis: Any, chart: Stack) -> None:
    below = [0.0] * len(chart.sizes)
    whole = [sum(values) or 1.0 for values in zip(*chart.parts.values(), strict=True)]
    places = range(len(chart.sizes))
    for (name, values), color in zip(chart.parts.items(), SHARES * 3, strict=False):
        shares = [100 * value / total for value, total in zip(values, whole, strict=True)]
        axis.bar(places, shares, bottom=below, color=color, label=name, width=0.72)
        below = [base + share for base, share in zip(below, shares, strict=True)]
    axis.set_xticks(list(places), [format_size(size) for size in chart.sizes])
    axis.set_xlabel("bytes of a copy")
    axis.set_ylabel(chart.axis)
    axis.set_ylim(0, 100)
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.11), ncols=len(chart.parts), frameon=0)


def _draw_bars(axis: Any, chart: Bars) -> None:
    names, places = list(chart.values), range(len(chart.values))
    middle = [each.median for each in chart.values.values()]
    error = [
        [each.median - each.p10 for each in chart.values.values()],
        [each.p90 - each.median for each in chart.values.values()],
    ]
    axis.barh(places, middle, xerr=error, color=COLORS[1], ecolor=plot.INK, height=0.6)
    axis.set_yticks(list(places), names)
    axis.invert_yaxis()
    if chart.log:
        axis.set_xscale("log")
    axis.set_xlabel(chart.axis)
    axis.grid(True, axis="x", color=plot.GRID, linewidth=0.8)


def _title(figure: Any, report: Report, title: str) -> None:
    adma, marked = report.software["adma"], label(report.machine)
    inches = float(figure.get_size_inches()[1])
    where = headline(report.machine).removeprefix(marked)
    figure.text(
        0.02, 1 - 0.32 / inches, f"{marked}{title}", ha="left", fontsize=13, fontweight="bold"
    )
    facts = (
        f"{where}, load {report.machine.get('load', ['?'])[0]} before; adma {adma['version']} "
        f"({adma['build']}), {report.date[:10]}",
        f"median of {report.settings.get('rounds', '?')} alternating rounds, "
        "10th to 90th percentile",
    )
    at = 1 - 0.64 / inches
    figure.text(0.02, at, "\n".join(facts), va="center", fontsize=9, color="#6b7079")
    figure.tight_layout(rect=(0.01, 0.01, 0.97, 1 - 0.85 / inches), w_pad=3.0)
