# SPDX-License-Identifier: BSD-3-Clause
"""What a message costs where times mean nothing: system calls, pins, descriptors, instructions.

The script counts the system calls of each mechanism, by the kernel's tracing. On the DMA path it
counts descriptors, pinned pages and bytes that the CPU copied, by the helper's counters. With
--instructions it also counts the instructions of a message, in a machine whose clock counts them.
`make counts-vm` runs it in a machine that has all of this.

The bars: a post makes one system call. A check makes none, except that once a millisecond one call
sees whether the peer lives. No page is pinned when a buffer is used for the second time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from adma.bench import bars, clock, counts, options, table
from adma.bench.contestants import MECHANISMS, Entrant, adma_entrant, pipe_entrant
from adma.bench.figures import median
from adma.bench.helper import Helper
from adma.bench.machine import label
from adma.bench.pair import ContestantError, Pair
from adma.bench.schema import Report, Verdict
from adma.bench.session import Plan, private_directory
from adma.bench.signals import ended_by_signals
from adma.bench.sizes import format_size
from adma.bench.tracing import SystemCalls

CALL_SIZES = (64, 1 << 20)
PATH_SIZE = 4 << 20
DMA = "adma:dma"
HELPER = (DMA, "adma:mapped:helper")
IDLE_MOST = 0.01


class Run:
    """One run: its report, and notes on what could not be measured."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        self.chosen = chosen
        self.report = Report("helper_counts")
        self.entrants = {each.key: each for each in map(adma_entrant, MECHANISMS)}
        self.report.contestants = [each.contestant for each in self.entrants.values()]
        self.notes: list[str] = []

    def everything(self) -> None:
        with ended_by_signals(), private_directory() as directory:
            self.attempt("system calls", lambda: self.system_calls(directory))
            self.attempt("the DMA path", lambda: self.dma_path(directory))
        if self.chosen.instructions:
            self.attempt("instructions", self.instructions)
        counted = {series.contestant for series in self.report.series}
        for contestant in self.report.contestants:
            if contestant.measured and contestant.key not in counted:
                contestant.measured, contestant.why = False, "nothing of it could be counted"
        self.report.settings["notes"] = self.notes
        self.report.verdicts = list(judge(self.report))

    def attempt(self, what: str, measure: Callable[[], None]) -> None:
        """Run `measure`. If it cannot measure here, note the cause and the cure, and go on."""
        try:
            measure()
        except (OSError, RuntimeError) as error:
            cure = str(getattr(error, "cure", ""))
            self.notes.append(f"{what}: not measured: {error}{f'; cure: {cure}' if cure else ''}")

    def system_calls(self, directory: Path) -> None:
        with SystemCalls() as calls:
            for entrant in self.entrants.values():
                with counts.local(entrant.key.partition(":")[2] or "auto")(directory) as pair:
                    try:
                        self.calls_of(entrant, pair, calls)
                    except ContestantError as error:
                        entrant.contestant.measured = False
                        entrant.contestant.why = str(error)
                        entrant.contestant.cure = error.cure

    def calls_of(self, entrant: Entrant, pair: Pair, calls: SystemCalls) -> None:
        """Count the system calls of one mechanism. Raises ContestantError."""
        pair.start()
        if entrant.describe is not None:
            entrant.describe(pair, entrant.contestant)
        caller = counts.Caller(pair, calls)
        for size in CALL_SIZES:
            found = counts.blocking_calls(entrant.key, caller, pair, size)
            self.report.series.extend(found)
        self.report.series.extend(counts.posted_calls(entrant.key, caller, pair))

    def dma_path(self, directory: Path) -> None:
        with Helper() as helper, counts.local("dma")(directory) as pair:
            self.report.settings["helper"] = helper.info()
            pair.start()
            for layout in counts.LAYOUTS:
                found = counts.dma_path(DMA, pair, helper, PATH_SIZE, layout)
                self.report.series.extend(found)
            self.report.settings["channels"] = helper.channels()

    def instructions(self) -> None:
        calibration = clock.calibrate()
        self.notes.append(f"instructions: {calibration}")
        self.report.settings["calibration"] = [calibration.instructions, calibration.ns]
        if not calibration.counts:
            raise RuntimeError("the clock of this machine does not count them")
        pipe = pipe_entrant()
        self.report.contestants.append(pipe.contestant)
        plan = Plan(rounds=self.chosen.rounds, iterations=self.chosen.iters or counts.ROUND_TRIPS)
        series, idle = counts.instructions([*self.entrants.values(), pipe], self.chosen.sizes, plan)
        self.report.series.extend(series)
        for size, each in idle.items():
            if each.share > IDLE_MOST:
                self.notes.append(
                    f"instructions: at {size} bytes the processor idled {each.share:.0%} of the "
                    "time, which the clock counts as if it had not"
                )
        self.attempt("the helper's time split", self.split)

    def split(self) -> None:
        """Add the helper's stages. It reads the same clock, so they are instructions, too."""
        with (
            ended_by_signals(),
            private_directory() as directory,
            Helper() as helper,
            counts.local("dma")(directory) as pair,
        ):
            pair.start()
            self.report.series.extend(counts.split(DMA, pair, helper, self.chosen.sizes))


# ---- bars ----


def judge(report: Report) -> Iterator[Verdict]:
    """Judge the exact counts by their bars, on whatever machine they were counted."""
    for key in HELPER:
        name = key.removeprefix("adma:")
        for metric, hold in ((counts.POST, 1.0), (counts.BEYOND, 0.0)):
            for series in report.series:
                if series.contestant == key and series.metric in (metric, *_ends(metric)):
                    what = f"{series.metric}, {name}"
                    yield bars.judge_value(what, series, hold, None, True)
    for layout in counts.LAYOUTS:
        for fact, hold in (("pages_pinned, second use", 0.0), ("bytes_rescued, first use", 0.0)):
            found = report.find(DMA, f"{fact}, {layout.name}", PATH_SIZE)
            if found is not None:
                what = f"{fact.replace('_', ' ')}, {layout.name}"
                yield bars.judge_value(what, found, hold, None, True)


def _ends(metric: str) -> Sequence[str]:
    return [f"{metric}, {end}" for end in ("read", "write")]


# ---- text ----


def text(report: Report, notes: Iterable[str]) -> str:
    """All tables, and the notes on what was not measured."""
    parts = [f"{table.heading(report)}\n{table.cast(report.contestants)}"]
    parts += [part for part in (calls(report), posts(report), path(report)) if part]
    if report.sizes(table.INSTRUCTIONS):
        parts.append(table.instructions(report))
    parts += [part for part in (split(report),) if part]
    if report.verdicts:
        marked = label(report.machine)
        parts.append(f"# {marked}Bars, exact counts\n{table.values(report.verdicts)}")
    return "\n\n".join([*parts, "\n".join(f"# {note}" for note in notes)])


def calls(report: Report) -> str:
    """How many system calls a blocking message makes, and which ones."""
    rows: list[Sequence[str]] = [("mechanism", "size", "calls", "which, of both processes")]
    for contestant in report.contestants:
        for size in CALL_SIZES:
            series = report.find(contestant.key, counts.BLOCKING, size)
            if series is None:
                continue
            total = table.number(median(series.values))
            which = names(report, contestant.key, counts.BLOCKING, size)
            rows.append((contestant.title, format_size(size), total, which))
    title = "System calls a message, blocking write and read"
    return titled(report, title, rows)


def posts(report: Report) -> str:
    """The system calls of a post, and of a check of a pending request."""
    size = counts.POSTED_SIZE
    metrics = (*_ends(counts.POST), counts.CHECK)
    heads = ("mechanism", "iread", "iwrite", "check", "which, of each")
    rows: list[Sequence[str]] = [heads]
    for contestant in report.contestants:
        found = [report.find(contestant.key, metric, size) for metric in metrics]
        if not all(found):
            continue
        cells = [table.number(median(series.values)) for series in found if series is not None]
        which = "; ".join(names(report, contestant.key, m, size) or "none" for m in metrics)
        rows.append((contestant.title, *cells, which))
    title = f"System calls a post and a check, {format_size(size)}, {counts.POSTED} posted ahead"
    return titled(report, title, rows)


def names(report: Report, key: str, metric: str, size: int) -> str:
    """Each system call of a metric with its median, the most frequent one first."""
    prefix = f"{metric}: "
    found = {
        series.metric.removeprefix(prefix): median(series.values)
        for series in report.series
        if (series.contestant, series.size) == (key, size) and series.metric.startswith(prefix)
    }
    ranked = sorted(found.items(), key=lambda item: -item[1])
    return ", ".join(f"{table.number(n)} {name}" for name, n in ranked if abs(n) >= 0.001)


def path(report: Report) -> str:
    """One message over DMA: its descriptors, who copied which bytes, and the pinned pages."""
    heads = (
        ("descriptors", "pieces, first use"),
        ("runs from", "runs of source"),
        ("runs to", "runs of destination"),
        ("bytes by DMA", "bytes_dma, first use"),
        ("by CPU", "bytes_cpu, first use"),
        ("of these edges", "bytes_edge, first use"),
        ("pages pinned", "pages_pinned, first use"),
        ("on second use", "pages_pinned, second use"),
    )
    rows: list[Sequence[str]] = [("buffers", *(head for head, _ in heads))]
    for layout in counts.LAYOUTS:
        found = [report.find(DMA, f"{what}, {layout.name}", PATH_SIZE) for _, what in heads]
        if all(found):
            cells = [spread(series.values) for series in found if series is not None]
            rows.append((layout.name, *cells))
    return titled(report, f"The DMA path, one message of {format_size(PATH_SIZE)}", rows)


def split(report: Report) -> str:
    """How many instructions each stage took, as the helper counts them."""
    metrics = [metric for metric in counts.SPLIT if report.sizes(metric)]
    if not metrics:
        return ""
    rows: list[Sequence[str]] = [("size", *(metric.split()[1] for metric in metrics))]
    for size in report.sizes(metrics[0]):
        found = [report.find(DMA, metric, size) for metric in metrics]
        rows.append((str(size), *(table.number(median(s.values)) for s in found if s is not None)))
    title = "Instructions a message over dma, by the helper's time split, both requests together"
    return titled(report, title, rows)


def titled(report: Report, title: str, rows: Sequence[Sequence[str]]) -> str:
    """A table with its label, or an empty text when there are no rows."""
    if len(rows) == 1:
        return ""
    return f"# {label(report.machine)}{title}\n{table.columns(rows)}"


def spread(values: Sequence[float]) -> str:
    """A count if it is the same every time, else the smallest and the largest."""
    low, high = int(min(values)), int(max(values))
    return str(low) if low == high else f"{low} to {high}"


def main() -> int:
    parser = options.parser_for(__doc__)
    parser.add_argument(
        "--instructions",
        action="store_true",
        help="the clock of this machine counts instructions (QEMU -icount shift=0): count them",
    )
    options.add_measuring(parser, sizes="64,4K,64K,1M", rounds=5)
    options.add_json(parser)
    chosen = parser.parse_args()
    options.check_outputs(chosen.json)
    run = Run(chosen)
    run.everything()
    options.publish(run.report, chosen.json, text(run.report, run.notes))
    held = all(verdict.held for verdict in run.report.verdicts)
    return 0 if held and run.report.verdicts else 1


if __name__ == "__main__":
    sys.exit(main())
