# SPDX-License-Identifier: BSD-3-Clause
"""What an idle channel costs each side: memory and descriptors.

The script opens many channels between two processes. What each process then holds more, divided
by the number of channels, is the cost of one. Memory is the kernel's Pss: a page that both
sides map counts half on each. It leaves out memory that the kernel keeps for sockets. The bars
are 256 KB and 4 descriptors per side.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from adma.bench import bars, options, table
from adma.bench.contestants import Local
from adma.bench.machine import allow_descriptors
from adma.bench.pair import ContestantError, Pair
from adma.bench.schema import Contestant, Report, Series, Verdict
from adma.bench.session import private_directory
from adma.bench.signals import ended_by_signals

SIDES = {
    0: Contestant("accepting", "accepting side"),
    1: Contestant("connecting", "connecting side"),
}
MEMORY_BAR, MEMORY_AIM = 256.0, 64.0  # KiB
DESCRIPTOR_BAR, DESCRIPTOR_AIM = 4.0, 4.0
# The name of each measurement, and what every channel does before it.
STEPS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("opened", {}),
    ("all rings used", {"op": "exchange", "size": 4096, "times": 150}),
    ("with fileno()", {"op": "poll"}),
    ("1M each way", {"op": "exchange", "size": 1 << 20, "times": 1}),
)
BINDING = ("opened", "all rings used", "with fileno()")


def main() -> int:
    parser = options.parser_for(__doc__)
    parser.add_argument(
        "--channels", type=options.positive, default=200, metavar="N", help="channels (200)"
    )
    parser.add_argument(
        "--rounds", type=options.positive, default=5, metavar="N", help="new processes, N times (5)"
    )
    parser.add_argument("--mechanism", default="auto", metavar="NAME", help="mechanism (auto)")
    options.add_json(parser)
    chosen = parser.parse_args()
    options.check_outputs(chosen.json)
    allow_descriptors()
    report = Report("idle")
    report.settings = {name: getattr(chosen, name) for name in ("channels", "rounds", "mechanism")}
    report.contestants = list(SIDES.values())
    with ended_by_signals(), private_directory() as directory:
        try:
            for _ in range(chosen.rounds):
                one_round(report, directory, chosen.channels, chosen.mechanism)
        except ContestantError as error:
            print(f"idle: {error}", file=sys.stderr)
            return 1
    report.verdicts = judge(report)
    title = f"# One idle channel of {chosen.channels}, per side"
    printed = f"{table.heading(report)}\n\n{title}\n{table.values(report.verdicts)}"
    options.publish(report, chosen.json, printed)
    return 0


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
    for series in report.series:
        what, _, state = series.metric.partition(", ")
        if what == "rss":
            continue
        hold, aim = (MEMORY_BAR, MEMORY_AIM) if what == "pss" else (DESCRIPTOR_BAR, DESCRIPTOR_AIM)
        title = f"{'memory' if what == 'pss' else what}, {state}, {series.contestant}"
        verdicts.append(bars.judge_value(title, series, hold, aim, state in BINDING))
    return sorted(verdicts, key=lambda verdict: verdict.unit)


if __name__ == "__main__":
    sys.exit(main())
