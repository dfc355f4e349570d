# SPDX-License-Identifier: BSD-3-Clause
"""Plots of a ping-pong's report: latency and bandwidth by size, log-log; windows and objects.

Our mechanisms are drawn in strong colours with thick lines, the peers muted and thin; every line
carries its name at its end instead of a legend. Needs matplotlib (extra ``bench``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from adma.bench.figures import Summary, summarise
from adma.bench.forms import LATENCY, OBJECTS, WINDOW, WINDOW_OF, object_metric
from adma.bench.machine import headline, label
from adma.bench.schema import Contestant, Report
from adma.bench.sizes import format_size

STRONG = {
    "adma": "#c2185b",
    "adma:auto": "#c2185b",
    "adma:dma": "#4527a0",
    "adma:mapped:helper": "#00838f",
    "adma:shared": "#1565c0",
    "adma:mapped:cma": "#e07b00",
    "adma:loopback:tcp": "#2e7d32",
}
SPARE = ("#5d4037", "#9e9d24", "#37474f")
MUTED = (
    *("#8a8f98", "#a58f7c", "#7c95a5", "#9b8aa5", "#8fa58a"),
    *("#b58f9a", "#6f7f6a", "#a8a06b", "#7f7a8f"),
)
INK = "#2b2f36"
GRID = "#e4e6ea"
LABEL_STEP = 0.045  # of the axis' height, between two labels


def draw(report: Report, path: str | Path) -> None:
    """Write the plot of a ping-pong report to `path` (the suffix chooses the format).

    Windows and objects get panels of their own, if they were measured.

    Raises RuntimeError with the cure when matplotlib is missing, ValueError when the report has
    nothing in it that is drawn or the format is unknown, OSError when the file cannot be written.
    """
    panels = _panels(report)
    if not panels:
        raise ValueError("the report holds no latency samples: nothing to draw")
    matplotlib = require()
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = math.ceil(len(panels) / 2)
    with matplotlib.rc_context(style()):
        figure, axes = pyplot.subplots(rows, 2, figsize=(13.5, 0.6 + 5.6 * rows), squeeze=False)
        try:
            flat = [axis for row in axes for axis in row]
            for axis, draw_panel in zip(flat, panels, strict=False):
                draw_panel(axis)
            for axis in flat[len(panels) :]:
                axis.set_visible(False)
            _title(figure, report, rows)
            if report.machine.get("emulated"):
                watermark(flat[: len(panels)])
            figure.savefig(path, dpi=150 if rows == 1 else 120)
        finally:
            pyplot.close(figure)


def _panels(report: Report) -> list[Callable[[Any], None]]:
    """What draws each panel: latency and bandwidth, then windows, then objects."""
    found: list[Callable[[Any], None]] = []
    lines, windows = _lines(report, LATENCY), _lines(report, WINDOW)
    kinds = [kind for kind in OBJECTS if _bars_of(report, kind)]
    if lines:
        found.append(lambda axis: panel(axis, lines, "latency, one way", _time, time_label))
        found.append(lambda axis: panel(axis, lines, "bandwidth", _rate, rate_label))
    if windows:
        number = report.settings.get("window", WINDOW_OF)
        title = f"bandwidth of a window of {number} (figure 9b)"
        found.append(lambda axis: panel(axis, windows, title, _rate, rate_label))
    if kinds:
        found.append(lambda axis: _draw_objects(axis, report, kinds))
    return found


def _time(size: int, us: float) -> float:
    del size
    return us


def _rate(size: int, us: float) -> float:
    return size / us


def _bars_of(report: Report, kind: str) -> dict[str, float]:
    """The median of each contestant that was measured with objects of a kind."""
    metric = object_metric(kind)
    found = (each for each in report.series if each.metric == metric and each.values)
    return {each.contestant: summarise(each.values).median for each in found}


def _draw_objects(axis: Any, report: Report, kinds: Sequence[str]) -> None:
    """A group of bars per kind of object, a bar per contestant."""
    drawn = [(kind, _bars_of(report, kind)) for kind in kinds]
    colors = _colors(report)
    place, ticks, labels = 0.0, [], []
    for kind, medians in drawn:
        first = place
        for contestant in report.contestants:
            if contestant.key in medians:
                value = medians[contestant.key]
                axis.barh(place, value, height=0.8, color=colors[contestant.key])
                text = f" {contestant.title}  {_short(value)}"
                axis.text(value, place, text, va="center", fontsize=7.5, color=INK)
                place += 1
        ticks.append((first + place - 1) / 2)
        labels.append(OBJECTS[kind].replace(" of ", "\nof "))
        place += 1
    axis.set_xscale("log")
    axis.set_yticks(ticks, labels)
    axis.invert_yaxis()
    axis.set_title("objects, one way", loc="left", fontsize=11, fontweight="bold")
    axis.xaxis.set_major_formatter(lambda x, _: time_label(x))
    axis.minorticks_off()
    axis.grid(True, axis="x", color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)


def _short(us: float) -> str:
    return f"{us:.0f}" if us >= 100 else f"{us:.2g}"


def require() -> Any:
    """matplotlib. Raises RuntimeError with the cure when it is missing."""
    try:
        import matplotlib
    except ImportError as error:
        raise RuntimeError(
            "a plot needs matplotlib, which is not installed: pip install 'adma[bench]'"
        ) from error
    return matplotlib


class Curve:
    """One contestant's medians and spread over the sizes, and how it is drawn."""

    def __init__(self, contestant: Contestant, points: list[tuple[int, Summary]], color: str):
        self.title = contestant.title
        self.peer = contestant.peer
        self.points = points
        self.color = color


def _lines(report: Report, metric: str) -> list[Curve]:
    colors = _colors(report)
    curves = []
    for contestant in report.contestants:
        points = [
            (size, summarise(series.values))
            for size in report.sizes(metric)
            if (series := report.find(contestant.key, metric, size)) and series.values
        ]
        if not points or (len(points) < 2 and len(report.sizes(metric)) > 1):
            continue  # a single point (persistent requests) is for the table
        curves.append(Curve(contestant, points, colors[contestant.key]))
    return curves


def _colors(report: Report) -> dict[str, str]:
    """A contestant's colour, the same in all panels, and for all that one library is."""
    muted, spare = iter(MUTED * 8), iter(SPARE * 8)
    found: dict[str, str] = {}
    for each in report.contestants:
        library = each.key.partition(":")[0]
        if each.partial and library in found:
            found[each.key] = found[library]
        elif each.peer:
            found[each.key] = next(muted)
        else:
            found[each.key] = STRONG.get(each.key) or next(spare)
    return found


def style() -> dict[str, Any]:
    """What all our plots look like."""
    return {
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "axes.edgecolor": "#b8bcc4",
        "axes.labelcolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": INK,
        "ytick.color": INK,
        "text.color": INK,
    }


def panel(
    axis: Any,
    curves: Sequence[Curve],
    title: str,
    value: Any,
    label: Any,
    log: bool = True,
    span: tuple[float, float] | None = None,
) -> None:
    """Curves over sizes: `value` makes a height of size and sample, `label` a tick's text."""
    axis.set_xscale("log", base=2)
    axis.set_yscale("log" if log else "linear")
    for curve in curves:
        _draw_curve(axis, curve, value)
    sizes = sorted({size for curve in curves for size, _ in curve.points})
    axis.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axis.set_xlabel("message size, bytes")
    axis.set_xticks(sizes[:: max(1, math.ceil(len(sizes) / 12))])
    axis.xaxis.set_major_formatter(lambda x, _: format_size(round(x)))
    axis.yaxis.set_major_formatter(lambda y, _: label(y))
    axis.minorticks_off()
    axis.grid(True, color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.margins(x=0.02, y=0.06)
    if span is not None:
        axis.set_ylim(span)
    _label_ends(axis, curves, value)


def _draw_curve(axis: Any, curve: Curve, value: Any) -> None:
    sizes = [size for size, _ in curve.points]
    middle = [value(size, each.median) for size, each in curve.points]
    low = [value(size, each.p10) for size, each in curve.points]
    high = [value(size, each.p90) for size, each in curve.points]
    front = 2 if curve.peer else 3
    axis.fill_between(
        sizes, low, high, color=curve.color, alpha=0.06 if curve.peer else 0.13, lw=0, zorder=front
    )
    axis.plot(
        sizes,
        middle,
        color=curve.color,
        linewidth=1.4 if curve.peer else 2.4,
        linestyle=(0, (5, 2)) if curve.peer else "solid",
        marker="o",
        markersize=3 if curve.peer else 4.5,
        zorder=front + 2,
    )


def _label_ends(axis: Any, curves: Sequence[Curve], value: Any) -> None:
    """Each line's name beside its last point, moved apart where two would touch."""
    scale = math.log if axis.get_yscale() == "log" else float
    lowest, highest = axis.get_ylim()
    bottom, top = scale(lowest), scale(highest)
    ends = []
    for curve in curves:
        size, last = curve.points[-1]
        at = min(max(value(size, last.median), lowest), highest)
        ends.append(((scale(at) - bottom) / (top - bottom), size, at, curve))
    ends.sort(key=lambda end: end[0])
    for place, (_, size, at, curve) in zip(_spread([e[0] for e in ends]), ends, strict=True):
        axis.annotate(
            curve.title,
            xy=(size, at),
            xytext=(1.045, place),
            textcoords="axes fraction",
            va="center",
            color=curve.color,
            fontsize=9.5,
            fontweight="normal" if curve.peer else "bold",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": curve.color,
                "linewidth": 0.7,
                "shrinkB": 4,
                "relpos": (0, 0.5),
            },
        )


def _spread(places: list[float]) -> list[float]:
    """Ascending places moved as little as needed to be LABEL_STEP apart.

    Labels that would touch form a block around the mean of where they belong; blocks that touch
    become one.
    """
    blocks: list[tuple[float, int]] = []  # middle and number of labels
    for place in places:
        blocks.append((place, 1))
        while len(blocks) > 1:
            (below, n), (above, m) = blocks[-2:]
            if above - below >= LABEL_STEP * (n + m) / 2:
                break
            blocks[-2:] = [((below * n + above * m) / (n + m), n + m)]
    return [
        middle + LABEL_STEP * (index - (count - 1) / 2)
        for middle, count in blocks
        for index in range(count)
    ]


def watermark(axes: Any) -> None:
    """One word across each panel, so that a part of the picture is still marked."""
    for axis in axes:
        axis.text(
            0.5,
            0.5,
            "EMULATED",
            transform=axis.transAxes,
            ha="center",
            va="center",
            rotation=28,
            fontsize=52,
            color=INK,
            alpha=0.07,
            zorder=0,
        )


def _title(figure: Any, report: Report, rows: int) -> None:
    adma = report.software["adma"]
    marked = label(report.machine)
    where = headline(report.machine).removeprefix(marked)
    figure.suptitle(
        f"{marked}Ping-pong between two processes on {where}",
        x=0.045,
        y=1 - 0.025 / rows,
        ha="left",
        fontsize=13,
        fontweight="bold",
    )
    rounds = report.settings.get("rounds", "?")
    figure.text(
        0.045,
        1 - 0.085 / rows,
        f"adma {adma['version']} ({adma['build']}), {report.software['python']}, "
        f"{report.date[:10]}; median of {rounds} alternating rounds, band: 10th to 90th percentile",
        fontsize=9.5,
        color="#6b7079",
    )
    figure.subplots_adjust(
        left=0.06,
        right=0.895,
        top=1 - 0.18 / rows,
        bottom=0.1 / rows,
        wspace=0.42,
        hspace=0.28,
    )


def time_label(us: float) -> str:
    if us >= 1e6:
        return f"{us / 1e6:g} s"
    return f"{us / 1e3:g} ms" if us >= 1e3 else f"{us:g} us"


def rate_label(mb: float) -> str:
    return f"{mb / 1e3:g} GB/s" if mb >= 1e3 else f"{mb:g} MB/s"
