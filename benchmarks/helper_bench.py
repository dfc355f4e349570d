# SPDX-License-Identifier: BSD-3-Clause
"""The paper's experiments with the DMA channels of the kernel helper, in a short form.

The script runs each experiment of ``adma bench`` with the engine `dmaengine`, at few sizes and for
few rounds. The contestants are memcpy, one DMA channel, and all DMA channels. The script fails
unless each contestant was measured and at least --channels DMA channels carried data.
`make bench-vm` runs it in an emulated machine with eight DMA channels.
"""

from __future__ import annotations

import sys
from pathlib import Path

from adma.bench import options
from adma.bench.experiment import Experiment, whole_text
from adma.bench.experiments import EXPERIMENTS
from adma.bench.helper import Helper
from adma.bench.machine import one_line
from adma.bench.progress import Progress
from adma.bench.schema import Report
from adma.bench.sizes import parse_sizes

ENGINE = "dmaengine"
ROUNDS = 5
SIZES = {
    "copy": "4K,64K,1M,4M",
    "window": "16K,64K,256K",
    "overlap": "256K,1M,4M",
    "splitup": "64K,1M,4M",
    "pollution": "1M,4M",
}


def main() -> int:
    parser = options.parser_for(__doc__)
    options.add_channels(parser)
    parser.add_argument("--quick", action="store_true", help="does each run? no figures")
    parser.add_argument("--json", metavar="DIRECTORY", help="store each report there")
    chosen = parser.parse_args()
    try:
        with Helper() as helper:
            missing = [
                each
                for name, experiment in EXPERIMENTS.items()
                if name != "worker"  # which uses no engine
                for each in unmeasured(run(name, experiment, chosen.quick, chosen.json))
            ]
            carried = sum(bool(each["bytes"]) for each in helper.channels())
    except OSError as error:
        print(f"helper_bench: {error}", file=sys.stderr)
        return 1
    print(f"# {one_line()}: {carried} DMA channels carried data")
    for each in missing:
        print(f"helper_bench: {each}", file=sys.stderr)
    if carried < chosen.channels:
        print(f"helper_bench: {chosen.channels} channels were to carry data", file=sys.stderr)
    return 0 if not missing and carried >= chosen.channels else 1


def run(name: str, experiment: Experiment, quick: bool, directory: str | None) -> Report:
    """Measure, print and store one experiment. Raises OSError."""
    short = not quick and name in SIZES
    sizes = parse_sizes(SIZES[name]) if short else []
    settings = experiment.settings(ENGINE, sizes=sizes, rounds=0 if quick else ROUNDS, quick=quick)
    report = experiment.run(settings, Progress())
    path = str(Path(directory) / f"{name}.json") if directory else None
    options.publish(report, path, f"{whole_text(experiment, report)}\n")
    return report


def unmeasured(report: Report) -> list[str]:
    """Our own contestants that were not measured, each with the reason."""
    return [
        f"{report.benchmark}: {each.title} was not measured: {each.why}"
        for each in report.contestants
        if not each.measured and not each.peer
    ]


if __name__ == "__main__":
    sys.exit(main())
