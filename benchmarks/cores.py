# SPDX-License-Identifier: BSD-3-Clause
"""What one core can copy, and all at once: the most that copy worker threads can gain here.

Each thread of this process is pinned to a core. It copies with NumPy from one area to another, both
larger than the caches, and does not talk to the other threads. A round measures one thread alone,
and then one thread on each core.
"""

from __future__ import annotations

import os
import sys
import threading
import time

import numpy as np

from adma.bench import bars, options, table
from adma.bench.schema import Contestant, Report, Series

AREA = 64 << 20
PIECE = 4 << 20
ROUND = 0.1  # seconds

Area = np.ndarray[tuple[int], np.dtype[np.uint8]]


def main() -> int:
    parser = options.parser_for(__doc__)
    parser.add_argument(
        "--rounds", type=options.positive, default=21, metavar="N", help="rounds (21)"
    )
    options.add_json(parser)
    chosen = parser.parse_args()
    options.check_outputs(chosen.json)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("cores: this process may use one core: nothing to compare", file=sys.stderr)
        return 1
    report = Report("cores")
    report.settings = {"area": AREA, "piece": PIECE, "rounds": chosen.rounds}
    settings = {"one": (cores[:1], "one core"), "all": (cores, f"{len(cores)} cores at once")}
    report.contestants = [Contestant(key, title) for key, (_, title) in settings.items()]
    report.series = [Series(key, "bandwidth", "MB/s", [], size=PIECE) for key in settings]
    areas = [(np.ones(AREA, np.uint8), np.ones(AREA, np.uint8)) for _ in cores]
    for _ in range(chosen.rounds):
        for series in report.series:
            used, _ = settings[series.contestant]
            series.values.append(bandwidth(used, areas))
    one, together = (bars.values(report, key, "bandwidth", PIECE) for key in settings)
    gain = bars.paired_ratio(together, one)
    rows = [
        ("who", "MB/s"),
        *((s.contestant, table.number(bars.median(s.values))) for s in report.series),
    ]
    ratio = f"All at once / one: {gain.median:.2f} (95 %: {gain.low:.2f} to {gain.high:.2f})"
    options.publish(
        report, chosen.json, f"{table.heading(report)}\n\n{table.columns(rows)}\n\n{ratio}"
    )
    return 0


def bandwidth(cores: list[int], areas: list[tuple[Area, Area]]) -> float:
    """The MB/s of one thread on each of these cores, in sum."""
    together = threading.Barrier(len(cores))
    found = [0.0] * len(cores)

    def copy(number: int, core: int) -> None:
        os.sched_setaffinity(0, {core})  # of this thread only
        to, from_ = areas[number]
        copied = 0
        together.wait()
        begin = time.perf_counter()
        while (now := time.perf_counter()) - begin < ROUND:
            at = copied % AREA
            np.copyto(to[at : at + PIECE], from_[at : at + PIECE])
            copied += PIECE
        found[number] = copied / (now - begin) / 1e6

    threads = [threading.Thread(target=copy, args=each) for each in enumerate(cores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(found)


if __name__ == "__main__":
    sys.exit(main())
