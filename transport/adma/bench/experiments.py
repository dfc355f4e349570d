# SPDX-License-Identifier: BSD-3-Clause
"""All experiments by name, in the order of the paper's figures; what has no figure comes last."""

from __future__ import annotations

from pathlib import Path

from adma.bench import (
    charts,
    copies,
    costs,
    endpoints,
    overlap,
    plot,
    pollution,
    schedule,
    splitup,
    window,
)
from adma.bench.experiment import Experiment
from adma.bench.schema import Report

EXPERIMENTS: dict[str, Experiment] = {
    each.EXPERIMENT.name: each.EXPERIMENT
    for each in (copies, window, overlap, splitup, pollution, schedule, costs, endpoints)
}


def draw(report: Report, path: str | Path) -> None:
    """Draw any report: an experiment's charts, or a ping-pong's. Raises as :func:`plot.draw`."""
    found = EXPERIMENTS.get(report.benchmark)
    if found is None:
        plot.draw(report, path)
    else:
        charts.draw(report, found.charts(report), found.title, path)
