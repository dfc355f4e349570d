# SPDX-License-Identifier: BSD-3-Clause
"""The time from the SIGKILL of a process until the call of its peer raises an exception.

Each round has new processes. The survivor is asleep in the call when the kill is sent. The kernel
frees the victim's memory before it tells anybody, so a large victim is measured, too.
The bar: 50 ms for a victim of less than 256 MB.
"""

from __future__ import annotations

import sys

from adma.bench import bars, death, options, table
from adma.bench.pair import ContestantError
from adma.bench.schema import Report
from adma.bench.session import private_directory
from adma.bench.signals import ended_by_signals


def main() -> int:
    parser = options.parser_for(__doc__)
    parser.add_argument(
        "--rounds", type=options.positive, default=25, metavar="N", help="kills per case (25)"
    )
    parser.add_argument("--mechanism", default="auto", metavar="NAME", help="mechanism (auto)")
    options.add_json(parser)
    chosen = parser.parse_args()
    options.check_outputs(chosen.json)
    report = Report("death")
    report.settings = {"rounds": chosen.rounds, "mechanism": chosen.mechanism}
    with ended_by_signals(), private_directory() as directory:
        try:
            found = death.measure(report, directory, chosen.rounds, chosen.mechanism)
        except ContestantError as error:
            print(f"death: {error}", file=sys.stderr)
            return 1
    report.verdicts = [
        bars.judge_value(series.metric, series, death.HOLD, death.AIM, True) for series in found
    ]
    title = "# From SIGKILL until the call of the other side raises"
    printed = f"{table.heading(report)}\n\n{title}\n{table.values(report.verdicts)}"
    options.publish(report, chosen.json, printed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
