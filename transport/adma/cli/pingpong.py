# SPDX-License-Identifier: BSD-3-Clause
"""``adma pingpong``: two processes of its own send one message back and forth."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from adma.bench import bars, table
from adma.bench.contestants import MECHANISMS, entrants
from adma.bench.options import add_json, add_measuring, check_outputs, publish
from adma.bench.plot import draw, require
from adma.bench.progress import Progress
from adma.bench.schema import Report
from adma.bench.session import Plan, Session


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
            "ADMA_PEER_OPENMPI."
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
    parser.add_argument("--peers", action="store_true", help="measure the peers too")
    add_json(parser)
    parser.add_argument("--plot", metavar="FILE.png", help="draw latency and bandwidth")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure, print, store, draw. 0 when one mechanism of adma or more was measured, else 1."""
    check_outputs(options.json, options.plot)
    if options.plot:
        require()
    report = Report("pingpong")
    plan = Plan(rounds=options.rounds, iterations=options.iters)
    report.settings = {**asdict(plan), "sizes": options.sizes, "mechanism": options.mechanism}
    with Session(entrants(options.mechanism, options.peers), Progress()) as session:
        report.contestants = [entrant.contestant for entrant in session.entrants]
        report.series = session.measure(options.sizes, plan)
    report.probes = probes(report)
    if options.peers:
        report.verdicts = bars.judge(report, bars.PINGPONG)
    publish(report, options.json, text(report))
    if options.plot and report.series:
        draw(report, options.plot)
        print(f"drawn: {options.plot}", file=sys.stderr)
    ours = {each.key for each in report.contestants if not each.peer}
    return 0 if any(series.contestant in ours for series in report.series) else 1


def text(report: Report) -> str:
    """The report as it is printed."""
    parts = [f"{table.heading(report)}\n{table.cast(report.contestants)}"]
    if report.series:
        parts += [table.latencies(report), table.bandwidths(report)]
    if report.verdicts:
        parts.append(table.bars(report.verdicts))
    return "\n\n".join(parts)


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
