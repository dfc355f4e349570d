# SPDX-License-Identifier: BSD-3-Clause
"""Two plots of a report, log-log: one-way latency and bandwidth against message size.

Our mechanisms are drawn in strong colours with thick lines, the peers muted and thin; every line
carries its name at its end instead of a legend. Needs matplotlib (extra ``bench``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adma.bench.figures import Summary, summarise
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
MUTED = ("#8a8f98", "#a58f7c", "#7c95a5", "#9b8aa5", "#8fa58a")
INK = "#2b2f36"
GRID = "#e4e6ea"
LABEL_STEP = 0.045  # of the axis' height, between two labels


def draw(report: Report, path: str | Path) -> None:
    """Write the plot of a ping-pong report to `path` (the suffix chooses the format).

    Raises RuntimeError with the cure when matplotlib is missing, ValueError when the report has
    no latency in it or the format is unknown, OSError when the file cannot be written.
    """
    lines = _lines(report)
    if not lines:
        raise ValueError("the report holds no latency samples: nothing to draw")
    matplotlib = require()
    matplotlib.use("Agg")
    from matplotlib import pyplot

    with matplotlib.rc_context(style()):
        figure, axes = pyplot.subplots(1, 2, figsize=(13.5, 6.2))
        try:
            panel(axes[0], lines, "latency, one way", lambda size, us: us, time_label)
            panel(axes[1], lines, "bandwidth", lambda size, us: size / us, rate_label)
            _title(figure, report)
            if report.machine.get("emulated"):
                watermark(axes)
            figure.savefig(path, dpi=150)
        finally:
            pyplot.close(figure)


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


def _lines(report: Report) -> list[Curve]:
    muted, spare = iter(MUTED * 4), iter(SPARE * 4)
    curves = []
    for contestant in report.contestants:
        points = [
            (size, summarise(series.values))
            for size in report.sizes("latency")
            if (series := report.find(contestant.key, "latency", size)) and series.values
        ]
        if len(points) < 2 and len(report.sizes("latency")) > 1:
            continue  # a single point (persistent requests) is for the table
        if contestant.peer:
            color = next(muted)
        else:
            color = STRONG.get(contestant.key) or next(spare)
        curves.append(Curve(contestant, points, color))
    return curves


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


def _title(figure: Any, report: Report) -> None:
    adma = report.software["adma"]
    marked = label(report.machine)
    where = headline(report.machine).removeprefix(marked)
    figure.suptitle(
        f"{marked}Ping-pong between two processes on {where}",
        x=0.045,
        y=0.975,
        ha="left",
        fontsize=13,
        fontweight="bold",
    )
    rounds = report.settings.get("rounds", "?")
    figure.text(
        0.045,
        0.915,
        f"adma {adma['version']} ({adma['build']}), {report.software['python']}, "
        f"{report.date[:10]}; median of {rounds} alternating rounds, band: 10th to 90th percentile",
        fontsize=9.5,
        color="#6b7079",
    )
    figure.subplots_adjust(left=0.06, right=0.895, top=0.82, bottom=0.1, wspace=0.42)


def time_label(us: float) -> str:
    if us >= 1e6:
        return f"{us / 1e6:g} s"
    return f"{us / 1e3:g} ms" if us >= 1e3 else f"{us:g} us"


def rate_label(mb: float) -> str:
    return f"{mb / 1e3:g} GB/s" if mb >= 1e3 else f"{mb:g} MB/s"
