# SPDX-License-Identifier: BSD-3-Clause
"""``adma bench --bars``: measures all that a bar is about, and judges it.

Each section measures alternately what it compares. One that cannot be measured says why, and the
others go on. Bars on what adma does not have yet are named, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from adma.bench import (
    bare,
    bars,
    copies,
    death,
    forms,
    idling,
    mpi,
    overlap,
    ranks,
    table,
    ways,
)
from adma.bench.contestants import (
    Entrant,
    Local,
    adma_entrant,
    bare_entrants,
    in_forms,
    mpi_entrants,
    pipe_entrant,
)
from adma.bench.experiments import EXPERIMENTS
from adma.bench.figures import median
from adma.bench.machine import allow_descriptors
from adma.bench.pair import ContestantError
from adma.bench.places import Places
from adma.bench.progress import Progress
from adma.bench.schema import Contestant, Report, Series, Verdict
from adma.bench.session import Plan, Session, private_directory
from adma.bench.signals import ended_by_signals
from adma.bench.sizes import format_size, parse_sizes
from adma.bench.turns import Result, Turn, alternate

FORCED = ("mapped:cma", "shared", "loopback:tcp", "mapped:helper", "dma")
WHOLE, QUICK = Plan(rounds=51), Plan(rounds=2, round_time=0.001)
OWN_SIZES = "16K:64M"
LEARNT = 200  # messages each way before a size is measured
OFFSETS = (0, 1, 8, 16, 32, 64, 256, 1024, 2048, 4064)
OFFSET_SIZES = "4K,64K,1M"
OUTSTANDING, MANY = 1024, "adma:window"
OUTSTANDING_SIZES = (8, 1 << 10)
ASLEEP, NAPS = 10.0, 3  # seconds, and how often
COLD = 16 << 20
NOT_BUILT = (("a loan of any size, against a message of 1 byte", 2.0, 1.2, "regions and loans"),)


@dataclass
class Run:
    """What the sections add to."""

    report: Report
    progress: Progress
    quick: bool

    @property
    def plan(self) -> Plan:
        """How long the sections measure that have no plan of their own."""
        return QUICK if self.quick else WHOLE

    def sizes(self, text: str, quick: str) -> list[int]:
        """The sizes of a section."""
        return parse_sizes(quick if self.quick else text)

    def compare(self, entrants: Sequence[Entrant], cases: Sequence[forms.Case], plan: Plan) -> None:
        """Measure these entrants in these cases, and add what was found."""
        with Session(entrants, self.progress) as session:
            self.add(session.contestants, session.measure_cases(cases, plan))

    def add(self, contestants: Iterable[Contestant], series: Iterable[Series]) -> None:
        """Add to the report. Contestants of the same key are the same."""
        known = {each.key for each in self.report.contestants}
        self.report.contestants += [each for each in contestants if each.key not in known]
        self.report.series += series

    def experiment(self, name: str, rounds: int = 0, sizes: str = "") -> Report:
        """The report of one of the experiments; its samples are added to this one."""
        chosen = EXPERIMENTS[name]
        settings = chosen.settings(
            sizes=parse_sizes(sizes) if sizes and not self.quick else (),
            rounds=0 if self.quick else rounds,
            quick=self.quick,
        )
        found = chosen.run(settings, self.progress)
        self.add(found.contestants, found.series)
        return found


# ---- messages beside MPI, Pipe and the limits ----


def messages(run: Run) -> list[Verdict]:
    """Everything that is compared with mpi4py and Pipe, and the limits of the machine."""
    sizes = sorted({bar.size for bar in bars.PINGPONG if bar.size})
    windows = sorted({bar.size for bar in bars.BY_FORM["window"] if bar.size})
    cases = [forms.plain(size) for size in sizes] + [forms.window(size) for size in windows]
    cases += forms.cases(("objects", "idle"), ())
    run.compare(_message_entrants(), cases, run.plan)
    return bars.judge(run.report, [*bars.of_forms(forms.FORMS), *_other_message_bars()])


def _message_entrants() -> list[Entrant]:
    small = frozenset((8,))
    found = in_forms(adma_entrant("auto"), forms.FORMS)
    for each in in_forms(adma_entrant("auto"), ("window",)):
        each.contestant = Contestant(MANY, f"adma, {OUTSTANDING} outstanding", library="adma")
        each.sizes, each.more = frozenset(OUTSTANDING_SIZES), {"window": OUTSTANDING}
        found.append(each)
    found.append(replace(adma_entrant("mapped:cma"), sizes=small))
    found += [replace(each, sizes=small) for each in bare_entrants((bare.LINE, bare.COPIER))]
    found += in_forms(pipe_entrant(), ("idle",))
    for flavour in mpi.FLAVOURS:
        found += mpi_entrants(flavour, forms.FORMS)
    return found


def _other_message_bars() -> list[bars.Bar]:
    """Those whose rival is no other library."""
    forced = bars.Bar(
        "8 bytes by a forced mapped:cma, against one bare copier",
        8,
        "adma:mapped:cma",
        (f"bare:{bare.COPIER.name}",),
        1.6,
        1.4,
    )
    many = [
        bars.Bar(
            f"{format_size(size)}: {OUTSTANDING} outstanding, against {forms.WINDOW_OF}",
            size,
            MANY,
            ("adma",),
            1.1,
            1.0,
            metric=forms.WINDOW,
        )
        for size in OUTSTANDING_SIZES
    ]
    return [forced, *many]


def programs(run: Run) -> list[Verdict]:
    """Programs of mpi4py by adma's import, beside mpi4py's own."""
    report = ranks.measure(run.progress, run.quick)
    run.add(report.contestants, report.series)
    return [replace(each, what=f"MPI program: {each.what}") for each in report.verdicts]


# ---- adma beside itself ----


def core(run: Run) -> list[Verdict]:
    """What Python costs above the core's own ping-pong."""
    with private_directory() as directory:
        library = str(bare.compiled(directory))
        local = Local("own", "adma", module="adma.bench.own_worker")
        entrants = [
            Entrant(Contestant("own:python", "adma, Python"), local, "own"),
            Entrant(
                Contestant("own:core", "adma's core, from C"),
                local,
                "own",
                "core",
                more={"library": library},
            ),
        ]
        run.compare(entrants, [forms.plain(8)], run.plan)
    python, own = (
        bars.values(run.report, key, forms.LATENCY, 8) for key in ("own:python", "own:core")
    )
    more = [ours - theirs for ours, theirs in zip(python, own, strict=False)]
    return [bars.limit("8 bytes: Python above the core", more, 0.2, unit="us", aim=0.1)]


def best(run: Run) -> list[Verdict]:
    """The free choice against the best forced mechanism, once it has learnt."""
    before = {} if run.quick else {"before": LEARNT}
    ours = adma_entrant("auto", "best:auto", f"auto, after {LEARNT} messages")
    entrants = [ours, *(adma_entrant(name, f"best:{name}", name) for name in FORCED)]
    entrants = [replace(each, more=before) for each in entrants]
    sizes = run.sizes(OWN_SIZES, "64K")
    plan = replace(run.plan, budget=8.0)
    run.compare(entrants, [forms.plain(size) for size in sizes], plan)
    against = [each.key for each in entrants[1:] if each.contestant.measured]
    return bars.judge(
        run.report,
        [
            bars.Bar(
                f"{format_size(size)}: auto against the best forced",
                size,
                ours.key,
                against,
                1.1,
                1.05,
            )
            for size in sizes
        ],
    )


def offsets(run: Run) -> list[Verdict]:
    """The same message between buffers whose places within a page differ."""
    entrants = [_at(offset) for offset in OFFSETS]
    sizes = run.sizes(OFFSET_SIZES, "64K")
    run.compare(entrants, [forms.plain(size) for size in sizes], run.plan)
    return [
        _offset_verdict(run.report, size, [each.contestant for each in entrants]) for size in sizes
    ]


def _at(offset: int) -> Entrant:
    contestant = Contestant(f"offset:{offset}", f"{offset} bytes apart", library="adma")
    local = Local("offsets", "adma")
    return Entrant(contestant, local, "offsets", more={"offset": offset})


def _offset_verdict(report: Report, size: int, contestants: Sequence[Contestant]) -> Verdict:
    medians = {
        each.title: median(values)
        for each in contestants
        if (values := bars.values(report, each.key, forms.LATENCY, size))
    }
    what = f"{format_size(size)}: the worst offset within a page, against the best"
    if not medians:
        return bars.limit(what, [], 1.25, aim=1.1)
    keys = {each.title: each.key for each in contestants}
    worst, least = max(medians, key=medians.__getitem__), min(medians, key=medians.__getitem__)
    ours, theirs = (
        bars.values(report, keys[title], forms.LATENCY, size) for title in (worst, least)
    )
    return bars.limit(what, ours, 1.25, against=theirs, aim=1.1, between=(worst, least))


def asleep(run: Run) -> list[Verdict]:
    """The processor time of both processes while they wait for nothing."""
    seconds, naps = (0.2, 1) if run.quick else (ASLEEP, NAPS)
    contestant = Contestant("asleep", "adma, waiting", library="adma")
    entrant = Entrant(contestant, Local("asleep", "adma", module="adma.bench.own_worker"), "asleep")
    series = Series(contestant.key, "processor time", "ms", [])
    with Session([entrant], run.progress) as session:
        for _ in range(naps):
            answers = session.ask_both(entrant, {"op": "asleep", "seconds": seconds})
            if answers:
                series.values.append(1000 * sum(each["seconds"] for each in answers))
    run.add([contestant], [series])
    what = f"processor time of both during {seconds:g} s in read"
    return [bars.limit(what, series.values, 5.0, unit="ms", aim=1.0)]


# ---- what the experiments measure ----


def overlapping(run: Run) -> list[Verdict]:
    """How much of a copy or a message computing hides."""
    report = run.experiment("overlap", 21, "1M,4M,16M")
    found = [each for each in report.verdicts if each.unit == "overlap"]
    for size in report.settings["sizes"]:
        what = f"{format_size(size)}, both compute, with a core free: overlap"
        values = overlap.overlap(report, "adma", "both", size)
        verdict = bars.limit(what, values, 0.9, at_least=True, unit="overlap")
        if report.machine["cores"] < 3:
            why = "both ends and a free core are three"
            verdict = replace(verdict, held=None, measured=None, low=None, high=None, why=why)
        found.append(verdict)
    return [replace(each, aim=0.98) for each in found]


def copying(run: Run) -> list[Verdict]:
    """Two queues, beside two threads that do nothing but copy."""
    places, metric = Places(), f"cold, {format_size(COLD)}"
    take = places.cold
    (queues,) = (way for way in ways.ways("thread", 2) if way.queues == 2)
    threads = Contestant("bare:threads", "2 bare threads", library="C", peer=True)
    with private_directory() as directory, ways.kept():
        library = bare.load(bare.compiled(directory))

        def bared(count: int) -> Result:
            taken = [(dst.ctypes.data, src.ctypes.data) for dst, src in take(COLD, count)]
            took = [library.bare_threads(*place, COLD, 2) for place in taken]
            return {metric: sum(bare.checked(ns) for ns in took) / count * 1e6}

        ours, enter = queues.contestant(), queues.enter
        found = [
            copies.turn(ways.plain(), copies.free, ways.memcpy, take, metric, COLD),
            copies.turn(ours, enter, ways.icopy_wait, take, metric, COLD),
            Turn(threads, copies.free, bared),
        ]
        plan = replace(run.plan, round_time=0.01, budget=10.0)
        series = alternate(found, COLD, plan, lambda text: None)
    run.add([each.contestant for each in found], series)
    theirs, mine = (bars.values(run.report, key, metric, COLD) for key in (threads.key, ours.key))
    what = "icopy of 16M, cold, 2 queues: share of the bandwidth of 2 bare threads"
    return [bars.limit(what, theirs, 0.9, against=mine, at_least=True, aim=1.0)]


def polling(run: Run) -> list[Verdict]:
    """A poll of many idle endpoints."""
    report = run.experiment("worker", 15)
    return [replace(each, aim=1.1) for each in report.verdicts if "poll" in each.what]


def polluting(run: Run) -> list[Verdict]:
    """A walk through a cache after an offloaded copy."""
    return run.experiment("pollution", 31, "4M").verdicts


# ---- channels ----


def dying(run: Run) -> list[Verdict]:
    """How soon a killed peer is noticed."""
    with ended_by_signals(), private_directory() as directory:
        found = death.measure(run.report, directory, 1 if run.quick else 11, "auto")
    return [
        bars.limit(
            f"peer killed {each.metric}: until the call raises",
            [us / 1000 for us in each.values],
            death.HOLD / 1000,
            unit="ms",
            aim=death.AIM / 1000,
        )
        for each in found
    ]


def holding(run: Run) -> list[Verdict]:
    """What an idle channel holds."""
    allow_descriptors()
    rounds, channels = (1, 3) if run.quick else (3, 200)
    with ended_by_signals(), private_directory() as directory:
        idling.measure(run.report, directory, rounds, channels, "auto")
    return [
        replace(each, what=f"idle channel: {each.what}", ours="")
        for each in idling.judge(run.report)
        if each.binding
    ]


SECTIONS: dict[str, Callable[[Run], list[Verdict]]] = {
    "messages beside mpi4py and Pipe": messages,
    "programs of mpi4py": programs,
    "Python above the core": core,
    "auto against the best forced mechanism": best,
    "offsets within a page": offsets,
    "processor time while waiting": asleep,
    "overlap": overlapping,
    "bandwidth of icopy": copying,
    "polls of many endpoints": polling,
    "cache walk after a copy": polluting,
    "death of a peer": dying,
    "idle channels": holding,
}


def measure(progress: Progress, quick: bool) -> Report:
    """Measure and judge all of it. With `quick` it only shows that each section runs."""
    report = Report("bars")
    report.settings = {"quick": quick, "rounds": (QUICK if quick else WHOLE).rounds}
    run = Run(report, progress, quick)
    for title, section in SECTIONS.items():
        progress.say(title)
        try:
            report.verdicts += section(run)
        except (ContestantError, OSError, RuntimeError, ImportError) as error:
            report.verdicts.append(Verdict(title, "", "", "", 0.0, True, why=str(error)))
    for what, hold, aim, why in NOT_BUILT:
        unit = bars.RATIO
        report.verdicts.append(Verdict(what, "", "", unit, hold, True, aim, why=why, built=False))
    return report


def text(report: Report) -> str:
    """The contestants and the bars."""
    parts = [f"{table.heading(report)}\n{table.cast(report.contestants)}".rstrip()]
    if report.settings["quick"]:
        parts.append("# A quick run: too few rounds for figures")
    parts.append(table.bars(report.verdicts, report.machine))
    return "\n\n".join(parts)
