# SPDX-License-Identifier: BSD-3-Clause
"""What `adma.wait` costs with many idle channels, against few of them and against a plain read.

One process waits for channels of which at most one is busy. A look is a call with `timeout=0`
while nothing is there. A message is half a round trip of 8 bytes to a process that reads without
`adma.wait`; "read" is a server that does so, too, and has one channel to look at. Each round
measures all of them, one after the other, and ratios are taken within a round.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from adma.bench import options, table
from adma.bench.contestants import Local
from adma.bench.figures import paired_ratio, summarise
from adma.bench.machine import allow_descriptors, label
from adma.bench.pair import ContestantError, Pair
from adma.bench.schema import Contestant, Report, Series
from adma.bench.session import private_directory
from adma.bench.signals import ended_by_signals

FEW = 2


def main() -> int:
    parser = options.parser_for(__doc__)
    parser.add_argument(
        "--channels", type=options.positive, default=200, metavar="N", help="idle ones (200)"
    )
    parser.add_argument(
        "--rounds", type=options.positive, default=15, metavar="N", help="rounds (15)"
    )
    parser.add_argument(
        "--iters", type=options.positive, default=2000, metavar="N", help="calls in a round (2000)"
    )
    parser.add_argument("--mechanism", default="auto", metavar="NAME", help="mechanism (auto)")
    options.add_json(parser)
    chosen = parser.parse_args()
    options.check_outputs(chosen.json)
    allow_descriptors()
    report = Report("poll_set")
    report.settings = {
        name: getattr(chosen, name) for name in ("channels", "rounds", "iters", "mechanism")
    }
    counts = {"read": 0, "few": FEW, "many": max(chosen.channels, FEW + 1)}
    report.contestants = [
        Contestant(key, f"wait, {count} channels" if count else "read, 1 channel")
        for key, count in counts.items()
    ]
    try:
        with ended_by_signals(), private_directory() as directory:
            measure(report, directory, counts)
    except ContestantError as error:
        print(f"poll_set: {error}", file=sys.stderr)
        return 1
    options.publish(report, chosen.json, text(report))
    return 0


def measure(report: Report, directory: Path, counts: dict[str, int]) -> None:
    """Take all samples. Raises ContestantError."""
    settings = report.settings
    local = Local("poll_set", "poll_set", settings["mechanism"], module="adma.bench.poll_worker")
    with local(directory) as pair:
        pair.start()
        path = f"{directory}/server"
        pair.ask_rank(0, {"op": "listen", "path": path})
        pair.ask({"op": "open", "count": max(counts.values()), "path": path})
        for number in range(settings["rounds"] + 1):
            for key, count in counts.items():
                found = one_round(pair, count, settings["iters"])
                if number:  # the first round warms up
                    keep(report, key, found, settings["iters"])


def one_round(pair: Pair, count: int, times: int) -> dict[str, float]:
    """Microseconds of a look and of a message, with so many channels."""
    command: dict[str, Any] = {"count": count, "times": times}
    found = {"message": pair.ask({"op": "ask", **command})[1]["ns"] / 1000}
    if count:
        found["look"] = pair.ask_rank(0, {"op": "look", **command})["ns"] / 1000
    return found


def keep(report: Report, key: str, found: dict[str, float], times: int) -> None:
    for metric, value in found.items():
        series = report.find(key, metric)
        if series is None:
            series = Series(key, metric, "us", [], iterations=times)
            report.series.append(series)
        series.values.append(value)


def text(report: Report) -> str:
    """The times, and the ratio of each to that with few channels, with its interval."""
    rows: list[tuple[str, ...]] = [("what", "us", "10 to 90 %", f"against {FEW} channels", "95 %")]
    for series in report.series:
        summary = summarise(series.values)
        few = report.find("few", series.metric)
        assert few is not None
        ratio = paired_ratio(series.values, few.values)
        rows.append(
            (
                f"{series.metric}: {report.contestant(series.contestant).title}",
                table.number(summary.median),
                f"{table.number(summary.p10)} to {table.number(summary.p90)}",
                f"{ratio.median:.2f}",
                f"{ratio.low:.2f} to {ratio.high:.2f}",
            )
        )
    title = f"# {label(report.machine)}adma.wait: median over {report.settings['rounds']} rounds"
    return f"{table.heading(report)}\n\n{title}\n{table.columns(rows)}"


if __name__ == "__main__":
    sys.exit(main())
