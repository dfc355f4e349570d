# SPDX-License-Identifier: BSD-3-Clause
"""A copy that both sides make against one that the receiver makes alone, over ``mapped:cma``.

All contestants run the same blocking ping-pong with the same mechanism forced. They differ only in
who may copy, which the environment variable ADMA_COPIERS says. The bar: both sides together take
at most 0.6 of the time that the receiver takes alone.
"""

from __future__ import annotations

import sys
from dataclasses import asdict

from adma.bench import bars, options, table
from adma.bench.contestants import Entrant, adma_entrant
from adma.bench.progress import Progress
from adma.bench.schema import Report
from adma.bench.session import Plan, Session

MECHANISM = "mapped:cma"
WHO = {"both": "both ends", "reader": "receiver alone", "writer": "sender alone"}


def entrants() -> list[Entrant]:
    return [
        adma_entrant(MECHANISM, key, title, {"ADMA_COPIERS": key}) for key, title in WHO.items()
    ]


def main() -> int:
    parser = options.parser_for(__doc__)
    options.add_measuring(parser, sizes="1M:16M", rounds=41)
    options.add_json(parser)
    chosen = parser.parse_args()
    options.check_outputs(chosen.json)
    plan = Plan(rounds=chosen.rounds, iterations=chosen.iters, round_time=0.02, least=4)
    report = Report("cooperative")
    report.settings = {**asdict(plan), "sizes": chosen.sizes, "mechanism": MECHANISM}
    with Session(entrants(), Progress()) as session:
        report.contestants = [entrant.contestant for entrant in session.entrants]
        report.series = session.measure(chosen.sizes, plan)
    wanted = [bar for bar in bars.COOPERATIVE if bar.size in chosen.sizes]
    report.verdicts = bars.judge(report, wanted)
    parts = [f"{table.heading(report)}\n{table.cast(report.contestants)}"]
    if report.series:
        parts += [table.latencies(report), table.bandwidths(report)]
    parts.append(table.bars(report.verdicts, report.machine))
    options.publish(report, chosen.json, "\n\n".join(parts))
    return 0 if report.series else 1


if __name__ == "__main__":
    sys.exit(main())
