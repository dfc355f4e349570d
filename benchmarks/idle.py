# SPDX-License-Identifier: BSD-3-Clause
"""What an idle channel costs each side: memory and descriptors.

The script opens many channels between two processes. What each process then holds more, divided
by the number of channels, is the cost of one. Memory is the kernel's Pss: a page that both
sides map counts half on each. It leaves out memory that the kernel keeps for sockets. The bars
are 256 KB and 4 descriptors per side.
"""

from __future__ import annotations

import sys

from adma.bench import idling, options, table
from adma.bench.machine import allow_descriptors
from adma.bench.pair import ContestantError
from adma.bench.schema import Report
from adma.bench.session import private_directory
from adma.bench.signals import ended_by_signals


def main() -> int:
    parser = options.parser_for(__doc__)
    parser.add_argument(
        "--channels", type=options.positive, default=200, metavar="N", help="channels (200)"
    )
    parser.add_argument(
        "--rounds", type=options.positive, default=5, metavar="N", help="new processes, N times (5)"
    )
    parser.add_argument("--mechanism", default="auto", metavar="NAME", help="mechanism (auto)")
    options.add_json(parser)
    chosen = parser.parse_args()
    options.check_outputs(chosen.json)
    allow_descriptors()
    report = Report("idle")
    report.settings = {name: getattr(chosen, name) for name in ("channels", "rounds", "mechanism")}
    with ended_by_signals(), private_directory() as directory:
        try:
            idling.measure(report, directory, chosen.rounds, chosen.channels, chosen.mechanism)
        except ContestantError as error:
            print(f"idle: {error}", file=sys.stderr)
            return 1
    report.verdicts = idling.judge(report)
    title = f"# One idle channel of {chosen.channels}, per side"
    printed = f"{table.heading(report)}\n\n{title}\n{table.values(report.verdicts)}"
    options.publish(report, chosen.json, printed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
