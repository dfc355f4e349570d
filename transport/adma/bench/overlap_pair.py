# SPDX-License-Identifier: BSD-3-Clause
"""The overlap between two processes: adma over ``mapped:cma`` beside mpi4py on two MPIs.

T_copy is that of the waiting end, which copies alone (ADMA_COPIERS): the other end computes and
cannot help. When both compute, both may copy in T_copy.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from adma.bench import mpi
from adma.bench.contestants import Entrant, Local
from adma.bench.experiment import Settings
from adma.bench.pair import Pair
from adma.bench.progress import Progress
from adma.bench.schema import Contestant, Report, Series
from adma.bench.session import UNIT, Session

PATIENCE = 4  # times the budget of a size, since there are many contestants
MECHANISM = "mapped:cma"
WORKER = Path(__file__).with_name("overlap_worker.py")
TITLES = {
    "receiver": "the receiver computes, the sender waits",
    "early": "the receiver computes, posted before the sender came",
    "sender": "the sender computes, the receiver waits",
    "both": "both compute",
}
# Which end copies while the other one computes.
COPIERS = {"receiver": "writer", "early": "writer", "sender": "reader", "both": "both"}
NUMPY_CURE = "install NumPy in that environment: DIR/bin/pip install numpy"


@dataclass(frozen=True)
class Meeting:
    """A library in one of the ways to meet."""

    entrant: Entrant
    mode: str


def judged() -> list[tuple[str, str, str]]:
    """Contestant, way to meet and title of those that a bar is about: one side waits."""
    return [("adma", mode, TITLES[mode]) for mode in TITLES if mode != "both"]


def measure(
    report: Report, settings: Settings, seconds: dict[int, float], progress: Progress
) -> None:
    """Add the contestants and their series; `seconds` tells how long to compute at each size."""
    found = meetings()
    entrants = list({each.entrant.pair: each.entrant for each in found}.values())
    with Session(entrants, progress) as session:
        # All of adma's pairs are one contestant: they differ only in which end may copy.
        for entrant in entrants:
            if all(entrant.key != each.key for each in report.contestants):
                report.contestants.append(entrant.contestant)
        total = len(settings.sizes) * settings.plan.rounds
        with progress.task("between processes", total) as step:
            for size in settings.sizes:
                report.series += _measure_size(session, found, settings, size, seconds[size], step)
    for contestant in report.contestants:
        if "numpy" in contestant.why:
            contestant.cure = NUMPY_CURE


def meetings() -> list[Meeting]:
    """All libraries in all ways to meet."""
    found = []
    contestant = Contestant("adma", "adma", library="adma", path=MECHANISM)
    for mode, copiers in COPIERS.items():
        local = Local(
            f"adma-{copiers}",
            "adma",
            MECHANISM,
            {"ADMA_COPIERS": copiers},
            "adma.bench.overlap_worker",
        )
        found.append(Meeting(Entrant(contestant, local, local.key, describe=_describe), mode))
    for flavour in mpi.FLAVOURS:
        title = f"mpi4py, {flavour.title}"
        theirs = Contestant(flavour.key, title, library=title, peer=True)
        programs = partial(flavour.programs, worker=WORKER, arguments=("mpi",))
        entrant = Entrant(
            theirs, _starter(flavour.key, programs), flavour.key, describe=flavour.describe
        )
        found += [Meeting(entrant, mode) for mode in TITLES]
    return found


def _starter(key: str, programs: Any) -> Callable[[Path], Pair]:
    return lambda directory: Pair(key, directory, programs)


def _describe(pair: Pair, contestant: Contestant) -> None:
    hello = pair.ranks[0].hello
    contestant.version = f"{hello['version']} ({hello['build']})"
    contestant.wait = str(hello["wait"])


def _measure_size(
    session: Session,
    found: list[Meeting],
    settings: Settings,
    size: int,
    seconds: float,
    step: Callable[[str], None],
) -> list[Series]:
    for entrant in session.running:
        session.ask_both(entrant, {"op": "prepare", "size": size, "seconds": seconds})
    plan = settings.plan
    each = 3 * seconds  # about what one of them takes
    count = plan.iterations or min(plan.most, max(plan.least, int(plan.round_time / each)))
    series: dict[tuple[str, str], Series] = {}
    begin = time.monotonic()
    for number in range(plan.rounds):
        if plan.spent(number, (time.monotonic() - begin) / PATIENCE):
            break
        first = number % len(found)
        for meeting in found[first:] + found[:first]:
            key, mode = meeting.entrant.key, meeting.mode
            session.ask_both(meeting.entrant, {"op": "run", "mode": mode, "iterations": 1})
            answers = session.ask_both(
                meeting.entrant, {"op": "run", "mode": mode, "iterations": count}
            )
            for part in ("copy", "compute", "during", "total"):
                values = [answer[part] for answer in answers if part in answer]
                if not values:
                    continue
                metric = f"{part}, {mode}"
                made = series.setdefault((key, metric), Series(key, metric, UNIT, [], size, count))
                # Both ends told a time. The message is over when the later one is done.
                made.values.append(max(values) * 1e6)
        step(f"{size} bytes")
    return list(series.values())
