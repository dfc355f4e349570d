# SPDX-License-Identifier: BSD-3-Clause
"""Writes the paper's numbers beside ours into a document, from stored reports.

``python -m adma.bench.digest DOCUMENT REPORT.json...`` replaces what stands between two marks of
the document. All of it comes from the reports, so that nobody edits it by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from adma.bench import (
    bars,
    copies,
    experiment,
    overlap,
    overlap_pair,
    pollution,
    schedule,
    splitup,
    table,
    window,
)
from adma.bench.figures import median, paired_ratio
from adma.bench.machine import headline
from adma.bench.schema import Report, Verdict, load

BEGIN = "<!-- made by `make bench-docs`: do not edit from here -->"
END = "<!-- to here -->"
MIB = 1 << 20
NONE = "not measured"
Row = tuple[str, str, str, str]


def digest(reports: Sequence[Report]) -> str:
    """Where the benchmarks ran, the paper's result of each figure and ours, and the bars."""
    rows: list[Row] = []
    for report in reports:
        if report.benchmark in ROWS:
            rows += ROWS[report.benchmark](report)
    lines = [*_where(reports), "", "| figure | what | the paper | here |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    lines += ["", "| bar | measured (95 %) | bound | |", "|---|---|---|---|"]
    lines += [_bar(each) for report in reports for each in report.verdicts]
    return "\n".join(lines)


def replace(document: str, made: str) -> str:
    """The document with a text between its marks. ValueError: it has no marks."""
    before, mark, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"the marks {BEGIN!r} and {END!r} are missing")
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{after}"


def _where(reports: Sequence[Report]) -> list[str]:
    # Of the first report: the others see the load that the runs before them left.
    load_before = reports[0].machine["load"][0]
    quick = any(report.settings.get("quick") for report in reports)
    lines = [
        f"{headline(reports[0].machine)}; {reports[0].date[:10]}; load before {load_before:g}."
    ]
    if load_before >= table.BUSY:
        lines.append(
            "**Something else was running: the engine's threads had no core of their own, so these "
            "are not what a quiet machine gives.**"
        )
    if quick:
        lines.append("**A quick run: too few rounds for figures.**")
    return lines


def _copy(report: Report) -> list[Row]:
    one, many = experiment.key(report, 1), experiment.key(report, report.settings["queues"])
    caller = f"{one}+caller"
    names = {**_names(report), caller: "1 queue+caller"}
    wins = "; ".join(f"{name} {_crossover(report, key)}" for key, name in names.items())
    large = [_against(report, key, copies.COLD, 4 * MIB) for key in (one, many, caller)]
    return [
        (
            "4a",
            "hot, 64 KB: time / memcpy",
            "the CPU wins everywhere",
            _times(
                [_against(report, key, copies.HOT, 64 << 10) for key in names], list(names.values())
            ),
        ),
        (
            "4b, 4c",
            "cold: quicker than memcpy",
            "4 channels from 16 KB, 1 channel after 256 KB",
            wins,
        ),
        (
            "4c",
            "cold, 4 MB: time / memcpy",
            "0.5 (4 channels)",
            _times(large, list(names.values())),
        ),
    ]


def _window(report: Report) -> list[Row]:
    caller = f"{experiment.key(report, 1)}+caller"
    named = {"memcpy": "memcpy", **_names(report), caller: "1 queue+caller"}
    found = []
    for key, name in named.items():
        values = bars.values(report, key, window.WALKING, MIB)
        if values:
            found.append(f"{name} {table.number(MIB / median(values))}")
    theirs = "CPU 1443, 1 channel 2048, 4 channels 2912"
    return [("5", "window of 128 x 1 MB, cold, MB/s", theirs, "; ".join(found) or NONE)]


def _overlap(report: Report) -> list[Row]:
    rows: list[Row] = []
    for where, figure in ((overlap.HOT, "6a"), (overlap.COLD, "6b")):
        ours = _overlaps(report, {"memcpy": "memcpy", **_names(report)}, where)
        theirs = "CPU 0, 1 channel 0.92, 4 channels 0.87" if where == overlap.HOT else "lower"
        rows.append((figure, f"overlap, {where}, 4 MB", theirs, ours))
    libraries = {each.key: each.title for each in report.contestants if each.key in _LIBRARIES}
    for where, title in overlap_pair.TITLES.items():
        ours = _overlaps(report, libraries, where)
        rows.append(("", f"overlap between processes, 4 MB: {title}", "", ours))
    return rows


def _splitup(report: Report) -> list[Row]:
    found = []
    for size in (64 << 10, 4 * MIB):
        values = splitup.parts(report, experiment.key(report, 1), size)
        whole = sum(values.values())
        if whole:
            shares = ", ".join(f"{part} {100 * us / whole:.0f} %" for part, us in values.items())
            found.append(f"{_human(size)}: {shares}")
    theirs = "small: equal shares; large: pinning 30 %, start-up 7 %, 62 % can be overlapped"
    what = f"shares of the time, {experiment.titled(report, 1)}, cold"
    return [("7", what, theirs, "; ".join(found) or NONE)]


def _pollution(report: Report) -> list[Row]:
    def more(key: str, against: str) -> str:
        ratio = _ratio(report, key, against, pollution.WALK, 4 * MIB)
        return NONE if ratio is None else f"{100 * (ratio - 1):+.0f} %"

    one = experiment.key(report, 1)
    asleep, polling = more(one, pollution.IDLE), more(one + pollution.POLLS, pollution.BUSY)
    ours = (
        f"memcpy {more('memcpy', pollution.NOTHING)}; "
        f"{experiment.titled(report, 1)}, against waits as long: "
        f"{asleep} (asleep), {polling} (polling)"
    )
    return [("8", "walk after a copy of 4 MB", "CPU copy +30 %, engine no change", ours)]


def _schedule(report: Report) -> list[Row]:
    one = experiment.key(report, 1)
    found = [
        f"{name} {ratio:.1f}x"
        for name in schedule.SCHEDULES
        if (
            ratio := _ratio(
                report, f"{one} {name}", f"{one} {schedule.ALONE}", schedule.LATENCY, schedule.SMALL
            )
        )
    ]
    large, title = report.settings["large"] >> 20, experiment.titled(report, 1)
    what = f"64 KB behind streaming {large} MB / alone, {title}"
    return [("future work", what, "not measured", "; ".join(found) or NONE)]


ROWS: dict[str, Callable[[Report], list[Row]]] = {
    "copy": _copy,
    "window": _window,
    "overlap": _overlap,
    "splitup": _splitup,
    "pollution": _pollution,
    "schedule": _schedule,
}
_LIBRARIES = ("adma", "mpich", "openmpi")


def _names(report: Report) -> dict[str, str]:
    """One queue and many: the contestants' keys and titles."""
    return {
        experiment.key(report, number): experiment.titled(report, number)
        for number in (1, report.settings["queues"])
    }


def _overlaps(report: Report, keys: dict[str, str], where: str) -> str:
    found = []
    for key, title in keys.items():
        values = overlap.overlap(report, key, where, 4 * MIB)
        if values:
            found.append(f"{title} {median(values):.2f}")
    return "; ".join(found) or NONE


def _crossover(report: Report, key: str) -> str:
    """The size from which on it was quicker than memcpy at all sizes."""
    since = ""
    for size in report.sizes(copies.COLD):
        ratio = _against(report, key, copies.COLD, size)
        if ratio is None or ratio >= 1:
            since = ""
        elif not since:
            since = f"from {_human(size)}"
    return since or "nowhere"


def _human(size: int) -> str:
    return f"{size // MIB} MB" if size >= MIB else f"{size >> 10} KB"


def _against(report: Report, key: str, metric: str, size: int) -> float | None:
    return _ratio(report, key, "memcpy", metric, size)


def _ratio(report: Report, key: str, against: str, metric: str, size: int) -> float | None:
    ours, theirs = (bars.values(report, each, metric, size) for each in (key, against))
    return paired_ratio(ours, theirs).median if ours and theirs else None


def _times(ratios: Sequence[float | None], names: Sequence[str]) -> str:
    found = [
        f"{name} {ratio:.2f}"
        for name, ratio in zip(names, ratios, strict=True)
        if ratio is not None
    ]
    return "; ".join(found) or NONE


def _bar(each: Verdict) -> str:
    bound = f"{'>=' if each.at_least else '<='} {each.hold:g}"
    if each.measured is None or each.low is None or each.high is None:
        return f"| {each.what} | {NONE}: {each.why} | {bound} | |"
    measured = f"{each.measured:.2f} ({each.low:.2f} to {each.high:.2f})"
    return f"| {each.what} | {measured} | {bound} | {'held' if each.held else 'not held'} |"


def main(argv: Sequence[str]) -> int:
    document, *paths = argv
    path = Path(document)
    made = digest([load(each) for each in paths])
    path.write_text(replace(path.read_text(encoding="utf-8"), made), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
