# SPDX-License-Identifier: BSD-3-Clause
"""``adma pingpong``: two processes of its own send one message back and forth."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from adma.bench import bars, table
from adma.bench.contestants import MECHANISMS, entrants
from adma.bench.forms import (
    BY_DEFAULT,
    FORMS,
    IDLE,
    LATENCY,
    OBJECTS,
    WINDOW,
    WINDOW_OF,
    cases,
    object_metric,
    parse_forms,
)
from adma.bench.options import SIZES, add_json, add_measuring, check_outputs, publish
from adma.bench.plot import draw, require
from adma.bench.progress import Progress
from adma.bench.schema import Report
from adma.bench.session import Plan, Session
from adma.bench.sizes import parse_sizes


def declare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "pingpong",
        help="time messages between two processes, over each mechanism",
        description=(
            "Start pairs of processes and time one message going back and forth. All contestants "
            "alternate round by round in one run; a latency is half a round trip."
        ),
        epilog=(
            "Peers: multiprocessing.Pipe, and mpi4py on MPICH and on Open MPI. Each MPI has an "
            "environment of its own, whose Python is named by ADMA_PEER_MPICH and "
            "ADMA_PEER_OPENMPI. Forms: plain calls; persistent requests of the peers beside our "
            f"plain calls; a window of {WINDOW_OF} non-blocking messages; Python objects; and a "
            "round trip after 10 ms in which both ends slept, without the MPIs, which spin."
        ),
    )
    parser.add_argument(
        "--mechanism",
        default="all",
        choices=("all", *MECHANISMS),
        metavar="NAME",
        help=f"one of {', '.join(('all', *MECHANISMS))} (default: all)",
    )
    add_measuring(parser)
    parser.add_argument(
        "--forms",
        type=form_list,
        default=BY_DEFAULT,
        metavar="LIST",
        help=f"all, or a list of {', '.join(FORMS)} (default: {','.join(BY_DEFAULT)})",
    )
    parser.add_argument(
        "--buffers",
        choices=("hot", "cold"),
        default="hot",
        help="hot: a round is a contestant's alone; cold: they alternate message by message (hot)",
    )
    parser.add_argument("--peers", action="store_true", help="measure the peers too")
    parser.add_argument(
        "--limits", action="store_true", help="and loops in C without a library, and ucx_perftest"
    )
    add_json(parser)
    parser.add_argument("--plot", metavar="FILE.png", help="draw latency and bandwidth")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure, print, store, draw. 0 when one mechanism of adma or more was measured, else 1."""
    check_outputs(options.json, options.plot)
    if options.plot:
        require()
    report = Report("pingpong")
    cold = options.buffers == "cold"
    plan = Plan(rounds=options.rounds, iterations=options.iters, cold=cold)
    report.settings = {**asdict(plan), "sizes": options.sizes, "mechanism": options.mechanism}
    report.settings.update(forms=list(options.forms), window=WINDOW_OF)
    # ucx_perftest makes its buffers anew for each run.
    entered = entrants(options.mechanism, options.peers, options.forms, options.limits)
    entered = [entrant for entrant in entered if not (cold and entrant.key == "ucx")]
    chosen = options.sizes != parse_sizes(SIZES)
    with Session(entered, Progress()) as session:
        report.contestants = session.contestants
        report.series = session.measure_cases(cases(options.forms, options.sizes, chosen), plan)
    report.probes = probes(report)
    if options.peers:
        report.verdicts = bars.judge(report, bars.of_forms(options.forms))
    publish(report, options.json, text(report))
    if options.plot and report.series:
        draw(report, options.plot)
        print(f"drawn: {options.plot}", file=sys.stderr)
    ours = {each.key for each in report.contestants if not each.peer}
    return 0 if any(series.contestant in ours for series in report.series) else 1


def text(report: Report) -> str:
    """The report as it is printed."""
    parts = [f"{table.heading(report)}\n{table.cast(report.contestants)}"]
    metrics = {series.metric for series in report.series}
    if LATENCY in metrics:
        parts += [table.latencies(report), table.bandwidths(report)]
    if WINDOW in metrics:
        parts.append(table.windows(report))
    if any(object_metric(kind) in metrics for kind in OBJECTS):
        parts.append(table.objects(report))
    if IDLE in metrics:
        parts.append(table.idle(report))
    if report.verdicts:
        parts.append(table.bars(report.verdicts, report.machine))
    return "\n\n".join(parts)


def form_list(text: str) -> tuple[str, ...]:
    """Forms, for argparse."""
    try:
        return parse_forms(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def probes(report: Report) -> list[dict[str, object]]:
    """What connecting showed of each of our mechanisms, as the report keeps it."""
    return [
        {
            "mechanism": each.key.removeprefix("adma:"),
            "available": each.measured,
            "cause": each.why.removesuffix(f"; cure: {each.cure}") if each.cure else each.why,
            "cure": each.cure,
        }
        for each in report.contestants
        if not each.peer
    ]
