# SPDX-License-Identifier: BSD-3-Clause
"""``adma bench worker``: what many endpoints, many requests and many messages cost a worker."""

from __future__ import annotations

import itertools
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adma.bench import bars, experiment, table
from adma.bench.charts import Bars, Chart
from adma.bench.contestants import Local
from adma.bench.copies import free, remember
from adma.bench.experiment import Experiment, Settings
from adma.bench.figures import summarise
from adma.bench.pair import ContestantError, Pair
from adma.bench.progress import Progress
from adma.bench.schema import Contestant, Report, Series, Verdict
from adma.bench.session import Plan, private_directory
from adma.bench.signals import ended_by_signals
from adma.bench.turns import Result, Turn, alternate

FEW, MANY, MOST = 2, 200, 1000
WINDOW, WINDOW_MOST = 64, 1000
STRANDED = 10_000
BEHIND_ENDPOINTS = 4  # from which those messages come
RECEIVES = 100  # of a round; each of them waits in the receiver's memory then
WAKES = 4  # of a round: before each of them the other side has to fall asleep
DESCRIPTORS = 6  # of an endpoint while it is connected, at most
SPARE = 200  # descriptors that processes need beside
COST = "cost"
SIZES = (8, 64 << 10, 1 << 20)  # of ping-pongs
CARRIERS = {"channel": "channel, write and read", "few": "worker, posted"}
HELD = {"rss": "KiB", "memfd": "KiB", "descriptors": "each"}


def measure(settings: Settings, progress: Progress) -> Report:
    """Measure one pair of processes, which has a worker for each case."""
    many, most = (20, 40) if settings.quick else (MANY, limited(MOST))
    stranded = STRANDED // 20 if settings.quick else STRANDED
    report = experiment.started("worker", settings, many=many, most=most, stranded=stranded)
    local = Local("worker", "worker", module="adma.bench.endpoints_worker")
    with ended_by_signals(), private_directory() as directory, local(directory) as pair:
        try:
            pair.start()
            ours = Driver(pair, directory)
            ours.prepare(report, many, stranded)
            _take_turns(report, ours, settings, progress)
        except ContestantError as error:
            raise RuntimeError(f"worker: {error}") from error
    report.contestants.append(Contestant("most", "an endpoint of many", library="adma"))
    report.verdicts = verdicts(report)
    return report


def limited(wanted: int) -> int:
    """So many endpoints as the limit of descriptors allows, which is raised as far as we may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return wanted
    return max(FEW, min(wanted, (hard - SPARE) // DESCRIPTORS - MANY))


class Driver:
    """Tells both processes what to do."""

    def __init__(self, pair: Pair, directory: Path) -> None:
        self.pair = pair
        self._directory = directory
        self._paths = itertools.count()

    def open(self, name: str, count: int, mechanism: str = "auto") -> None:
        path = str(self._directory / f"endpoint-{next(self._paths)}")
        command = {"op": "open", "name": name, "count": count, "path": path}
        self.pair.ask({**command, "mechanism": mechanism})

    def settle(self, name: str) -> int:
        """How many endpoints each round of this worker still looks at directly."""
        return int(self.pair.ask({"op": "settle", "name": name, "seconds": 0.3})[0]["direct"])

    def prepare(self, report: Report, many: int, stranded: int) -> None:
        """Connect all endpoints; those of the largest worker in a part for each round."""
        self.open("few", FEW)
        self.open("many", many)
        self.open("channel", 1)
        self.open("forced", 1, "mapped:cma")
        for name in ("clear", "behind"):
            self.open(name, BEHIND_ENDPOINTS)
        self._open_most(report)
        for name in ("few", "many", "most"):
            report.settings[f"direct, {name}"] = self.settle(name)
        self.pair.ask({"op": "strand", "name": "behind", "count": stranded})

    def _open_most(self, report: Report) -> None:
        rounds, most = report.settings["rounds"], report.settings["most"]
        series = {what: Series("most", what, unit, [], None, 1) for what, unit in HELD.items()}
        part = max(1, most // rounds)
        self.open("most", max(1, most - part * rounds))  # its first endpoint makes what all share
        for _ in range(rounds):
            before = self.pair.ask_rank(0, {"op": "measure"})
            self.open("most", part)
            after = self.pair.ask_rank(0, {"op": "measure"})
            for what, each in series.items():
                if after[what] is not None:
                    each.values.append((after[what] - before[what]) / part)
        report.series += [each for each in series.values() if each.values]

    def turn(self, key: str, title: str, command: dict[str, Any], most: int = 0) -> Turn:
        """Rank 0 is measured; both do the same, but where it `polls` alone."""

        def run(count: int) -> Result:
            asked = {**command, "count": min(count, most) if most else count}
            if command["op"] == "poll":
                return {COST: self.pair.ask_rank(0, asked)["us"]}
            return {COST: self.pair.ask(asked)[0]["us"]}

        return Turn(Contestant(key, title, library="adma"), free, run)


def _take_turns(report: Report, ours: Driver, settings: Settings, progress: Progress) -> None:
    groups = turns(ours, report.settings)
    with progress.task("measuring", len(groups) * settings.plan.rounds) as step:
        for group in groups:
            remember(report, group)
            report.series += alternate(group, None, settings.plan, step)


def turns(ours: Driver, counts: dict[str, Any]) -> list[list[Turn]]:
    """What alternates with what."""
    sizes = {"few": FEW, "many": counts["many"], "most": counts["most"]}

    def poll(name: str) -> Turn:
        title = f"poll, {sizes[name]} idle endpoints"
        return ours.turn(f"poll {name}", title, {"op": "poll", "name": name})

    def window(size: int) -> Turn:
        command = {"op": "window", "name": "forced", "size": size}
        title = f"message of 8 bytes over mapped:cma, {size} outstanding"
        return ours.turn(f"window {size}", title, command)

    def receive(name: str, title: str) -> Turn:
        return ours.turn(f"receive {name}", title, {"op": "receive", "name": name}, RECEIVES)

    def wake(name: str) -> Turn:
        title = f"sleep and wake, {sizes[name]} endpoints"
        return ours.turn(f"wake {name}", title, {"op": "wake", "name": name}, WAKES)

    def pingpong(name: str, size: int) -> Turn:
        command = {"op": "pingpong", "name": name, "size": size}
        return ours.turn(f"{name} {size}", f"one way, {size} bytes, {CARRIERS[name]}", command)

    return [
        [poll("few"), poll("many"), poll("most")],
        [window(WINDOW), window(WINDOW_MOST)],
        [
            receive("clear", "receive of a message that has arrived"),
            receive("behind", f"the same behind {counts['stranded']} of other tags"),
        ],
        [wake("few"), wake("many"), wake("most")],
        *([pingpong(name, size) for name in CARRIERS] for size in SIZES),
    ]


def verdicts(report: Report) -> list[Verdict]:
    def ratio(what: str, ours: str, theirs: str, bar: float) -> Verdict:
        against = bars.values(report, theirs, COST)
        return bars.limit(what, bars.values(report, ours, COST), bar, against=against)

    many, stranded = report.settings["many"], report.settings["stranded"]
    return [
        ratio(f"a poll, {many} idle endpoints / {FEW}", "poll many", "poll few", 1.5),
        ratio(
            f"a message, {WINDOW_MOST} outstanding / {WINDOW}",
            f"window {WINDOW_MOST}",
            f"window {WINDOW}",
            1.1,
        ),
        ratio(
            f"a receive behind {stranded} others / behind none",
            "receive behind",
            "receive clear",
            1.5,
        ),
    ]


def text(report: Report) -> list[str]:
    rows: list[Sequence[str]] = [("what", "us", "10 to 90 %")]
    for each in report.contestants:
        values = bars.values(report, each.key, COST)
        if values:
            rows.append((each.title, *_spread(values)))
    most = report.settings["most"]
    held: list[Sequence[str]] = [(f"an endpoint of {most}, this side", "", "10 to 90 %")]
    for what, unit in HELD.items():
        values = bars.values(report, "most", what)
        if values:
            middle, spread = _spread(values)
            held.append((what, f"{middle} {unit}", spread))
    parts = [f"{table.titled(report, 'What a worker costs')}\n{table.columns(rows)}"]
    parts.append(table.columns(held))
    if most < MOST and not report.settings["quick"]:
        parts.append(
            f"# {most} endpoints in place of {MOST}: the limit of descriptors allows no more"
        )
    return parts


def _spread(values: Sequence[float]) -> tuple[str, str]:
    found = summarise(values)
    return table.number(found.median), f"{table.number(found.p10)} to {table.number(found.p90)}"


def charts(report: Report) -> list[Chart]:
    found = {
        each.title: summarise(values)
        for each in report.contestants
        if (values := bars.values(report, each.key, COST))
    }
    return [Bars("what a worker costs", "us", found, log=True)] if found else []


EXPERIMENT = Experiment(
    name="worker",
    figures="no figure",
    summary="one process with many peers: idle endpoints, outstanding and unexpected messages",
    description=(
        "Polls of workers with few and with many idle endpoints; windows of messages of 8 bytes "
        "over mapped:cma; receives behind many messages of other tags; a sleep and a wake on "
        "workers with few and with many endpoints; ping-pongs beside those of a channel; and what "
        "an endpoint holds. The copy engine plays no part."
    ),
    plan=Plan(rounds=31, round_time=0.01, least=1, most=20_000, budget=30.0),
    sizes="",
    quick="",
    measure=measure,
    text=text,
    charts=charts,
    title="What a worker costs",
)
