# SPDX-License-Identifier: BSD-3-Clause
"""What an idle channel costs each side: memory and descriptors.

Many channels are opened between two processes. What each process then holds more, divided by the
number of channels, is the cost of one. Memory is the kernel's Pss: a page that both sides map
counts half on each. It leaves out memory that the kernel keeps for sockets.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from adma.bench import bars
from adma.bench.contestants import Local
from adma.bench.pair import Pair
from adma.bench.schema import Contestant, Report, Series, Verdict

SIDES = {
    0: Contestant("accepting", "accepting side"),
    1: Contestant("connecting", "connecting side"),
}
MEMORY = 256.0, 64.0  # KiB: the most that is allowed, and the aim
DESCRIPTORS = 4.0, 4.0
# The name of each measurement, and what every channel does before it.
STEPS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("opened", {}),
    ("all rings used", {"op": "exchange", "size": 4096, "times": 150}),
    ("with fileno()", {"op": "poll"}),
    ("1M each way", {"op": "exchange", "size": 1 << 20, "times": 1}),
)
BINDING = ("opened", "all rings used", "with fileno()")


def measure(report: Report, directory: Path, rounds: int, count: int, mechanism: str) -> None:
    """Add both sides and their series. Raises ContestantError."""
    report.contestants += SIDES.values()
    for _ in range(rounds):
        one_round(report, directory, count, mechanism)


def one_round(report: Report, directory: Path, count: int, mechanism: str) -> None:
    """Measure two new processes. In old ones, memory freed earlier would hide a channel's cost."""
    local = Local("idle", "idle", mechanism, module="adma.bench.idle_worker")
    with tempfile.TemporaryDirectory(dir=directory) as place, local(directory) as pair:
        pair.start()
        path = f"{place}/idle"
        warm(pair, path)
        before = pair.ask({"op": "measure"})
        pair.ask({"op": "open", "count": count, "path": path})
        for name, command in STEPS:
            if command:
                pair.ask(command)
            for rank, (old, new) in enumerate(
                zip(before, pair.ask({"op": "measure"}), strict=True)
            ):
                keep(report, SIDES[rank].key, name, old, new, count)


def warm(pair: Pair, path: str) -> None:
    """Open one channel that stays open, so that modules, libraries and heaps are not counted."""
    pair.ask_rank(0, {"op": "listen", "path": path})
    pair.ask({"op": "open", "count": 1, "path": path})
    for _, command in STEPS:
        if command:
            pair.ask(command)


def keep(
    report: Report, key: str, name: str, old: dict[str, Any], new: dict[str, Any], count: int
) -> None:
    for what, unit in (("pss", "KiB"), ("rss", "KiB"), ("descriptors", "each")):
        metric = f"{what}, {name}"
        series = report.find(key, metric)
        if series is None:
            series = Series(key, metric, unit, [], iterations=count)
            report.series.append(series)
        series.values.append((new[what] - old[what]) / count)


def judge(report: Report) -> list[Verdict]:
    """Judge memory and descriptors by their bars, in every state and on both sides."""
    verdicts = []
    sides = {each.key for each in SIDES.values()}
    for series in report.series:
        what, _, state = series.metric.partition(", ")
        if what not in ("pss", "descriptors") or series.contestant not in sides:
            continue
        hold, aim = MEMORY if what == "pss" else DESCRIPTORS
        title = f"{'memory' if what == 'pss' else what}, {state}, {series.contestant}"
        verdicts.append(bars.judge_value(title, series, hold, aim, state in BINDING))
    return sorted(verdicts, key=lambda verdict: verdict.unit)
