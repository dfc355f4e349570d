# SPDX-License-Identifier: BSD-3-Clause
"""An experiment of ``adma bench``: what it measures, how it is printed, drawn and judged."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from adma.bench import helper, table, ways
from adma.bench.charts import Chart
from adma.bench.figures import Summary
from adma.bench.progress import Progress
from adma.bench.schema import Report
from adma.bench.session import Plan
from adma.bench.sizes import parse_sizes

QUICK_ROUNDS, QUICK_TIME = 2, 0.001


@dataclass(frozen=True)
class Settings:
    """The options of a run. `sizes` is empty where size does not matter."""

    engine: str
    queues: int
    sizes: list[int]
    plan: Plan
    quick: bool = False

    @property
    def demanded(self) -> bool:
        """Was an engine named, so that it is an error when it cannot be used?"""
        return self.engine != "auto"


@dataclass(frozen=True)
class Experiment:
    """One command. `sizes` and `quick` are the default sizes, of a whole run and of a quick one."""

    name: str
    figures: str
    summary: str
    description: str
    plan: Plan
    sizes: str
    quick: str
    measure: Callable[[Settings, Progress], Report]
    text: Callable[[Report], list[str]]
    charts: Callable[[Report], list[Chart]]
    title: str

    def settings(
        self,
        engine: str = "auto",
        queues: int = 0,
        sizes: Sequence[int] = (),
        rounds: int = 0,
        iterations: int | None = None,
        quick: bool = False,
    ) -> Settings:
        """The settings of a run from its options; 0, None and an empty list mean the defaults."""
        chosen = list(sizes)
        if not chosen and self.sizes:
            chosen = parse_sizes(self.quick if quick else self.sizes)
        wanted = rounds or (QUICK_ROUNDS if quick else self.plan.rounds)
        plan = replace(self.plan, rounds=wanted, iterations=iterations)
        if quick:
            plan = replace(plan, round_time=QUICK_TIME, budget=0.0)
        return Settings(engine, queues or default_queues(engine), chosen, plan, quick)

    def run(self, settings: Settings, progress: Progress) -> Report:
        """Measure and judge. Raises RuntimeError with the cure where NumPy is missing."""
        if importlib.util.find_spec("numpy") is None:
            raise RuntimeError("adma bench needs NumPy: pip install 'adma[bench]'")
        report = self.measure(settings, progress)
        if settings.engine == "caller" or report.machine.get("emulated"):
            report.verdicts = []  # bars are about worker threads, and about real machines
        return report


def started(name: str, settings: Settings, **more: Any) -> Report:
    """A report with the options of the run in it."""
    report = Report(name)
    report.settings = {
        **asdict(settings.plan),
        "engine": settings.engine,
        "queues": settings.queues,
        "sizes": settings.sizes,
        "quick": settings.quick,
        **more,
    }
    return report


def key(report: Report, queues: int) -> str:
    """The contestant that bars are about: of the engine that was named, or of `thread`."""
    return f"{_engine(report)}:{queues}"


def titled(report: Report, queues: int) -> str:
    """The title of that contestant."""
    return ways.title(_engine(report), queues)


def _engine(report: Report) -> str:
    engine = str(report.settings["engine"])
    return "thread" if engine == "auto" else engine


def default_queues(engine: str) -> int:
    """How many "many" is, beside "one": all DMA channels, or 2 to 4 queues, by the cores."""
    channels = helper.channels() if engine == "dmaengine" else 0
    return channels or max(2, min(4, len(os.sched_getaffinity(0))))


def whole_text(experiment: Experiment, report: Report) -> str:
    """All that a run prints."""
    parts = [f"{table.heading(report)}\n{table.cast(report.contestants)}".rstrip()]
    parts += experiment.text(report)
    if report.verdicts:
        parts.append(table.judged(report.verdicts))
    return "\n\n".join(parts)


def rates(report: Report, metric: str, what: str) -> str:
    """MB/s (10^6 bytes) of a metric: a row per size, a column per contestant."""

    def cell(summary: Summary, size: int) -> str:
        return table.number(size / summary.median)

    return f"{table.titled(report, what)}\n{table.grid(report, 'MB/s', cell, metric)}"


def times(report: Report, metric: str, what: str) -> str:
    """us of a metric, with the spread."""

    def cell(summary: Summary, size: int) -> str:
        del size
        return f"{table.number(summary.median)} \u00b1{table.number(summary.half_width):>6}"

    return f"{table.titled(report, what)}\n{table.grid(report, 'us', cell, metric)}"
