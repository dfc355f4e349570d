# SPDX-License-Identifier: BSD-3-Clause
"""The ping-pong where the kernel helper is loaded, and which DMA channels carried it.

The script times the helper's mechanisms beside those that need no module, one message at a time and
in windows (the paper's figures 9a and 9b), and holds the device open meanwhile. Then it prints what
each DMA channel copied, and how often each interrupt of a DMA engine came. It fails unless at least
--channels DMA channels carried data and interrupts of them came.
`make pingpong-vm` runs it in an emulated machine with eight DMA channels.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from adma.bench import dma, options, table
from adma.bench.contestants import adma_entrant, in_forms
from adma.bench.forms import window
from adma.bench.helper import Helper
from adma.bench.machine import label
from adma.bench.progress import Progress
from adma.bench.schema import Report
from adma.bench.session import Plan, Session

MECHANISMS = ("dma", "mapped:helper", "mapped:cma", "shared", "loopback:tcp")
# An emulated machine takes milliseconds for a message: so a window has few, and few rounds.
WINDOW = 16
WINDOW_SIZES = (4 << 10, 64 << 10, 256 << 10)
WINDOW_ROUNDS = 3


def main() -> int:
    parser = options.parser_for(__doc__)
    options.add_measuring(parser, sizes="64,4K,64K,1M,4M", rounds=7)
    options.add_channels(parser)
    options.add_json(parser)
    chosen = parser.parse_args()
    options.check_outputs(chosen.json)
    plan = Plan(rounds=chosen.rounds, iterations=chosen.iters)
    report = Report("helper_pingpong")
    report.settings = {**asdict(plan), "sizes": chosen.sizes, "mechanisms": MECHANISMS}
    report.settings["window"] = WINDOW
    try:
        with Helper() as helper:
            measure(report, plan, helper)
    except OSError as error:
        print(f"helper_pingpong: {error}", file=sys.stderr)
        return 1
    options.publish(report, chosen.json, text(report))
    return verdict(report, chosen.channels)


def measure(report: Report, plan: Plan, helper: Helper) -> None:
    """Take the samples, and count meanwhile what channels and interrupts did. Raises OSError."""
    before = dma.interrupts()
    forms = ("plain", "window")
    entrants = [each for name in MECHANISMS for each in in_forms(adma_entrant(name), forms)]
    windows = [window(size, WINDOW) for size in WINDOW_SIZES]
    short = replace(plan, rounds=min(plan.rounds, WINDOW_ROUNDS), least=1)
    with Session(entrants, Progress()) as session:
        report.contestants = session.contestants
        report.series = session.measure(report.settings["sizes"], plan)
        report.series += session.measure_cases(windows, short)
    came = dma.interrupts()
    report.settings["channels"] = helper.channels()
    report.settings["interrupts"] = {key: n - before.get(key, 0) for key, n in came.items()}


def verdict(report: Report, wanted: int) -> int:
    """Print what is missing: mechanisms, or channels that carried data. Returns the exit status."""
    missing = [each.title for each in report.contestants if not each.measured]
    carried = [each for each in report.settings["channels"] if each["bytes"]]
    interrupts = report.settings["interrupts"]
    came = sum(interrupts.values())
    held = len(report.settings["channels"])
    print(
        f"# {label(report.machine)}{len(carried)} of {held} DMA channels carried data; "
        f"{came} interrupts of DMA engines, on {sum(map(bool, interrupts.values()))} lines"
    )
    for title in missing:
        print(f"helper_pingpong: {title} was not measured", file=sys.stderr)
    if len(carried) < wanted:
        print(f"helper_pingpong: {wanted} channels were to carry data", file=sys.stderr)
    return 0 if not missing and len(carried) >= wanted and came else 1


def text(report: Report) -> str:
    """The latencies and bandwidths, then the DMA channels and the interrupts."""
    parts = [f"{table.heading(report)}\n{table.cast(report.contestants)}"]
    if report.series:
        parts += [table.latencies(report), table.bandwidths(report), table.windows(report)]
    marked = label(report.machine)
    parts.append(f"# {marked}DMA channels\n{channels(report.settings['channels'])}")
    parts.append(f"# {marked}Interrupts\n{interrupts(report.settings['interrupts'])}")
    return "\n\n".join(parts)


def channels(found: Sequence[Mapping[str, Any]]) -> str:
    """A row for each DMA channel."""
    rows: list[Sequence[str]] = [("channel", "driver", "state", "bytes", "descriptors", "errors")]
    for each in found:
        counted = (str(each[name]) for name in ("bytes", "pieces", "errors"))
        rows.append((each["name"], each["driver"], each["state"], *counted))
    return table.columns(rows)


def interrupts(found: Mapping[str, int]) -> str:
    """A row for each interrupt line."""
    rows = [("line and device", "came"), *((key, str(n)) for key, n in found.items())]
    return table.columns(rows)


if __name__ == "__main__":
    sys.exit(main())
