# SPDX-License-Identifier: BSD-3-Clause
"""All bars beside what was measured: adma against the better of mpi4py on two MPIs.

The script measures the sizes that bars are stated for, with more rounds than a ping-pong. With
--from it judges a stored report instead. It also names the bars for what adma does not have yet.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from adma.bench import bars, mpi, options, table
from adma.bench.contestants import adma_entrant, mpi_entrants
from adma.bench.progress import Progress
from adma.bench.schema import Report, load
from adma.bench.session import Plan, Session


def main() -> int:
    parser = options.parser_for(__doc__)
    options.add_measuring(parser, sizes="8,64K,1M,4M,16M", rounds=51)
    parser.add_argument("--from", dest="stored", metavar="FILE", help="judge a stored report")
    options.add_json(parser)
    chosen = parser.parse_args()
    options.check_outputs(chosen.json)
    report = load(chosen.stored) if chosen.stored else measure(chosen)
    report.verdicts = bars.judge(report, bars.PINGPONG)
    options.publish(report, chosen.json, text(report))
    return 0 if report.series else 1


def measure(chosen: argparse.Namespace) -> Report:
    """Run the contestants that bars name, and report their samples."""
    plan = Plan(rounds=chosen.rounds, iterations=chosen.iters)
    report = Report("bars")
    report.settings = {**asdict(plan), "sizes": chosen.sizes}
    entrants = [adma_entrant("auto")]
    for flavour in mpi.FLAVOURS:
        entrants.extend(mpi_entrants(flavour))
    with Session(entrants, Progress()) as session:
        report.contestants = [entrant.contestant for entrant in session.entrants]
        report.series = session.measure(chosen.sizes, plan)
    return report


def text(report: Report) -> str:
    """The contestants, the bars, and the bars for what adma does not have yet."""
    later = [("later", "waits for"), *bars.LATER]
    return "\n\n".join(
        (
            f"{table.heading(report)}\n{table.cast(report.contestants)}",
            table.bars(report.verdicts),
            table.columns(later),
        )
    )


if __name__ == "__main__":
    sys.exit(main())
