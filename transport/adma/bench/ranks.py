# SPDX-License-Identifier: BSD-3-Clause
"""``adma bench mpi``: programs of mpi4py with either import, in the same jobs.

Each job is one ``mpiexec`` on one MPI. Its ranks have mpi4py's `MPI` and adma's, and use them
alternately, round by round. The jobs of both MPIs run side by side, and their ranks sleep while it
is not their turn. A bar compares adma's import on an MPI with mpi4py's on the better MPI.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from adma.bench import bars, forms, mpi, overlap, table
from adma.bench.bars import Bar
from adma.bench.contestants import Entrant
from adma.bench.figures import median
from adma.bench.forms import Case
from adma.bench.progress import Progress
from adma.bench.ranks_job import Job, ours, pkl5, theirs
from adma.bench.schema import Contestant, Report, Series, Verdict
from adma.bench.session import Plan, Session
from adma.bench.sizes import format_size
from adma.bench.turns import rotated

WHOLE, QUICK = Plan(rounds=31), Plan(rounds=2, round_time=0.001)
SIZES = (8, 64 << 10, 1 << 20, 4 << 20, 16 << 20)
WINDOWS = (8, 8 << 10, 64 << 10)
OBJECTS = ("int", "dict", "array")
MANY = 4  # ranks
FEW_CORES = 2  # on which they run, all in all, where waiting ranks have to let others run
OVERLAPPED = 4 << 20
HIDDEN_BY = 0.002  # seconds of computing, more than the message takes
ANYBODY, ANYBODY_SIZE, ANYBODY_OF = "from anybody", 8, 64
STEP, STEP_SIZE = "step", 64 << 10
SPENT, IDLE = "processor time of a step", "processor time of an idle rank"
IDLE_HOLD = 20.0  # ms in IDLE_SECONDS
IDLE_SECONDS = 10.0
PLAIN = tuple(theirs(flavour) for flavour in mpi.FLAVOURS)
PKL5 = tuple(pkl5(flavour) for flavour in mpi.FLAVOURS)
WAY = "receiver"  # computes, while the sender waits in its call; see overlap_worker.py

Command = dict[str, Any]
Answers = Sequence[dict[str, Any]]


# ---- measuring ----


def measure(progress: Progress, quick: bool = False) -> Report:
    """Measure and judge all of it."""
    report = Report("mpi")
    plan = QUICK if quick else WHOLE
    report.settings = {"rounds": plan.rounds, "quick": quick}
    _pairs(report, plan, progress, quick)
    _anybody(report, plan, progress)
    _crowded(report, plan, progress, quick)
    report.verdicts = verdicts(report)
    return report


def _jobs(ranks: int = 2, cores: int = 0) -> list[Job]:
    return [Job(flavour, ranks, cores) for flavour in mpi.FLAVOURS]


def _pairs(report: Report, plan: Plan, progress: Progress, quick: bool) -> None:
    """Two ranks: messages, windows, objects, overlap, and a wait of one of them."""
    jobs = _jobs()
    entrants = [
        entrant
        for job in jobs
        for entrant in (
            *(each for form in ("plain", "window", "objects") for each in job.entrants(form)),
            job.by_pkl5(),
        )
    ]
    cases = [forms.plain(size) for size in SIZES] + [forms.window(size) for size in WINDOWS]
    cases += [forms.objects(what) for what in OBJECTS]
    both = [entrant for job in jobs for entrant in job.entrants()]
    with Session(entrants, progress) as session:
        series = session.measure_cases(cases, plan)
        series += _overlaps(session, both, plan, progress)
        series += _idle(session, both, 1 if quick else 3, 0.2 if quick else IDLE_SECONDS, progress)
        _add(report, session.contestants, series)


def _anybody(report: Report, plan: Plan, progress: Progress) -> None:
    """Four ranks, of which three send to one that receives from anybody."""
    command = {"size": ANYBODY_SIZE, "window": ANYBODY_OF}
    case = Case("anybody", ANYBODY, ANYBODY, ANYBODY_SIZE, command)
    entrants = [entrant for job in _jobs(MANY) for entrant in job.entrants("anybody")]
    with Session(entrants, progress) as session:
        _add(report, session.contestants, session.measure_cases([case], plan))


def _crowded(report: Report, plan: Plan, progress: Progress, quick: bool) -> None:
    """Four ranks on two cores, which compute and exchange messages with their neighbours."""
    entrants = [entrant for job in _jobs(MANY, FEW_CORES) for entrant in job.entrants()]
    command = {"op": "ring", "message": STEP_SIZE, "steps": 3 if quick else 60}

    def take(answers: Answers) -> dict[str, float]:
        return {
            STEP: max(each["seconds"] for each in answers) * 1e6,
            SPENT: sum(each["spent"] for each in answers) * 1e6,
        }

    with Session(entrants, progress) as session:
        found = _alternate(session, entrants, plan.rounds, command, take, progress, "four ranks")
        _add(report, session.contestants, found)


def _overlaps(
    session: Session, both: Sequence[Entrant], plan: Plan, progress: Progress
) -> list[Series]:
    for entrant in both:
        _ask(session, entrant, {"op": "overlap", "size": OVERLAPPED, "seconds": HIDDEN_BY})

    def take(answers: Answers) -> dict[str, float]:
        told = answers[1]
        parts = ("copy", "compute", "during", "total")
        return {f"{part}, {WAY}": told[part] * 1e6 for part in parts}

    command = {"op": "overlap", "mode": WAY, "iterations": 1 if plan is QUICK else 3}
    found = _alternate(session, both, plan.rounds, command, take, progress, "overlap")
    return [replace(each, size=OVERLAPPED) for each in found]


def _idle(
    session: Session, both: Sequence[Entrant], rounds: int, seconds: float, progress: Progress
) -> list[Series]:
    def take(answers: Answers) -> dict[str, float]:
        return {IDLE: answers[1]["spent"] * 1e3}

    command = {"op": "idle", "seconds": seconds}
    found = _alternate(session, both, rounds, command, take, progress, "an idle rank")
    return [replace(each, unit="ms") for each in found]


def _alternate(
    session: Session,
    entrants: Sequence[Entrant],
    rounds: int,
    command: Command,
    take: Callable[[Answers], dict[str, float]],
    progress: Progress,
    what: str,
) -> list[Series]:
    """What all ranks answer to a command, one value of each metric per round, after one trial."""
    found: dict[tuple[str, str], Series] = {}
    with progress.task(what, rounds) as step:
        for number in range(-1, rounds):
            for entrant in rotated(entrants, max(0, number)):
                answers = _ask(session, entrant, command)
                if not answers or number < 0:
                    continue
                for metric, value in take(answers).items():
                    made = Series(entrant.key, metric, "us", [])
                    found.setdefault((entrant.key, metric), made).values.append(value)
            step("")
    return list(found.values())


def _ask(session: Session, entrant: Entrant, command: Command) -> Answers:
    return session.ask_both(entrant, {**command, **entrant.more})


def _add(report: Report, contestants: Sequence[Contestant], series: Sequence[Series]) -> None:
    known = {each.key for each in report.contestants}
    report.contestants += [each for each in contestants if each.key not in known]
    report.series += series


# ---- judging ----


def _bars(key: str) -> list[Bar]:
    """The bars on ratios of times of one of adma's contestants."""

    def size(nbytes: int, hold: float, aim: float | None = None) -> Bar:
        return Bar(format_size(nbytes), nbytes, key, PLAIN, hold, aim)

    def window(nbytes: int, hold: float) -> Bar:
        what = f"window of {forms.WINDOW_OF} x {format_size(nbytes)}"
        return Bar(what, nbytes, key, PLAIN, hold, None, metric=forms.WINDOW)

    def thing(kind: str, hold: float, against: Sequence[str] = PLAIN) -> Bar:
        what = f"send and recv of {forms.OBJECTS[kind]}"
        return Bar(what, None, key, against, hold, None, metric=forms.object_metric(kind))

    def of_step(what: str, metric: str, hold: float) -> Bar:
        return Bar(what, None, key, PLAIN, hold, None, metric=metric)

    crowd = f"{MANY} ranks on {FEW_CORES} cores"
    return [
        size(8, 1.0, 0.8),
        size(64 << 10, 1.0),
        size(1 << 20, 0.7),
        size(4 << 20, 0.75),
        size(16 << 20, 0.6),
        window(8, 1.0),
        window(8 << 10, 1.0),
        window(64 << 10, 0.8),
        thing("int", 1.0),
        thing("dict", 1.0),
        thing("array", 0.5),
        thing("array", 1.0, PKL5),
        Bar("ANY_SOURCE, 3 senders", ANYBODY_SIZE, key, PLAIN, 1.0, None, metric=ANYBODY),
        of_step(f"{crowd}: time of a step", STEP, 0.8),
        of_step(f"{crowd}: processor time", SPENT, 1.1),
    ]


def verdicts(report: Report) -> list[Verdict]:
    """What was found, for adma's import on each MPI that was measured; on the first at least."""
    measured = {series.contestant for series in report.series}
    keys = [ours(flavour) for flavour in mpi.FLAVOURS]
    judged = [key for key in keys if key in measured] or keys[:1]
    found = []
    for key in judged:
        found += bars.judge(report, _bars(key))
        hidden = overlap.overlap(report, key, WAY, OVERLAPPED)
        what = f"Irecv of {format_size(OVERLAPPED)}, the sender waits: overlap"
        verdict = bars.limit(what, hidden, 0.9, at_least=True, unit="overlap", between=(key, ""))
        found.append(verdict)
        idle = bars.values(report, key, IDLE)
        what = f"{IDLE}, {IDLE_SECONDS:g} s"
        if report.settings["quick"]:
            idle, what = [], f"{what} (not in a quick run)"
        found.append(bars.limit(what, idle, IDLE_HOLD, unit="ms", between=(key, "")))
    return found


# ---- printing ----


def text(report: Report) -> str:
    """All that a run prints."""
    parts = [f"{table.heading(report)}\n{table.cast(report.contestants)}".rstrip()]
    if report.settings["quick"]:
        parts.append("# A quick run: too few rounds for figures")
    if report.series:
        parts += [table.latencies(report), table.windows(report), table.objects(report)]
        parts.append(_others(report))
    parts.append(table.bars(report.verdicts, report.machine))
    return "\n\n".join(parts)


def _others(report: Report) -> str:
    """What has no size: a row for each metric, a column for each contestant."""
    shown = [each for each in report.contestants if not each.partial]
    rows: list[Sequence[str]] = [("what", *(each.title for each in shown))]

    def row(what: str, values_of: Callable[[str], list[float]]) -> None:
        found = [values_of(each.key) for each in shown]
        if any(found):
            cells = (table.number(median(values)) if values else "-" for values in found)
            rows.append((what, *cells))

    row(
        f"ANY_SOURCE, {MANY - 1} senders: us per message",
        lambda key: bars.values(report, key, ANYBODY, ANYBODY_SIZE),
    )
    crowd = f"{MANY} ranks on {FEW_CORES} cores"
    row(f"{crowd}: us per step", lambda key: bars.values(report, key, STEP))
    row(f"{crowd}: us of processor time", lambda key: bars.values(report, key, SPENT))
    row(
        f"Irecv of {format_size(OVERLAPPED)}: overlap",
        lambda key: overlap.overlap(report, key, WAY, OVERLAPPED),
    )
    row(f"{IDLE}: ms", lambda key: bars.values(report, key, IDLE))
    return f"{table.titled(report, 'Programs')}\n{table.columns(rows)}"
