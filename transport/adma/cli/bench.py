# SPDX-License-Identifier: BSD-3-Clause
"""``adma bench``: the paper's experiments with the copy engine, one command each."""

from __future__ import annotations

import argparse
import sys
from functools import partial

from adma._core.constants import QUEUES_MAX
from adma.bench import allbars, ranks
from adma.bench.experiment import Experiment, whole_text
from adma.bench.experiments import EXPERIMENTS, draw
from adma.bench.options import add_json, check_outputs, positive, publish, size_list
from adma.bench.plot import require
from adma.bench.progress import Progress
from adma.bench.ways import NAMES


def declare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and those below it to the parser."""
    parser = commands.add_parser(
        "bench",
        help="measure the copy engine: the paper's experiments; or all bars",
        description=(
            "The paper's experiments with the copy engine. Contestants alternate round by round "
            "in one run; bars are printed with what was measured, and fail nothing."
        ),
    )
    parser.add_argument(
        "--bars",
        action="store_true",
        help="in place of an experiment: measure all that a bar is about, and judge it",
    )
    # Those of an experiment go behind its name. What is left out there must not hide these.
    parser.add_argument(
        "--quick", action="store_true", dest="bars_quick", help="with --bars: does it run?"
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        dest="bars_json",
        help="with --bars: write the report; - for stdout",
    )
    parser.set_defaults(run=partial(run_bars, parser=parser))
    found = parser.add_subparsers(metavar="EXPERIMENT")
    for each in EXPERIMENTS.values():
        _declare(found, each)
    _declare_mpi(found)


def _declare(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], experiment: Experiment
) -> None:
    parser = commands.add_parser(
        experiment.name,
        help=f"{experiment.summary} ({experiment.figures})",
        description=experiment.description,
    )
    parser.add_argument(
        "--engine",
        default="auto",
        choices=NAMES,
        metavar="NAME",
        help=f"one of {', '.join(NAMES)} (default: auto, all that can be had)",
    )
    parser.add_argument(
        "--queues", type=_queues, default=0, metavar="N", help="the many of 'one and many' (2 to 4)"
    )
    if experiment.sizes:
        parser.add_argument(
            "--sizes",
            type=size_list,
            default=[],
            metavar="LOW:HIGH[:FACTOR]",
            help=f"sizes of copies, or a list (default: {experiment.sizes})",
        )
    parser.add_argument(
        "--rounds",
        type=positive,
        default=0,
        metavar="N",
        help=f"rounds (default: {experiment.plan.rounds})",
    )
    parser.add_argument(
        "--iters", type=positive, metavar="N", help="operations in a round (default: by time)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="few rounds and sizes: does it run? no figures"
    )
    add_json(parser)
    parser.add_argument("--plot", metavar="FILE.png", help="draw it")
    parser.set_defaults(run=partial(run, parser=parser, experiment=experiment))


def _declare_mpi(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "mpi",
        help="programs of mpi4py by `from adma import MPI`, beside mpi4py's own import",
        description=(
            "Start ranks on MPICH and on Open MPI that have both imports, and use these in turn: "
            "messages, windows, objects, overlap, ANY_SOURCE, four ranks on two cores, and a rank "
            "that waits. Ratios are to mpi4py's own import on the better of both MPIs, which are "
            "found by ADMA_PEER_MPICH and ADMA_PEER_OPENMPI (make peers makes them)."
        ),
    )
    parser.add_argument("--quick", action="store_true", help="few rounds: does it run? no figures")
    add_json(parser)
    parser.set_defaults(run=partial(run_mpi, parser=parser))


def run_mpi(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Measure, print, store. 0 when adma's import was measured on an MPI, else 1."""
    _refuse_bars(options, parser)
    check_outputs(options.json)
    report = ranks.measure(Progress(), options.quick)
    publish(report, options.json, ranks.text(report))
    return 0 if report.series else 1


def run_bars(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Measure, print and store all bars. 0 when one of them or more was measured, else 1."""
    if not options.bars:
        parser.error("name an EXPERIMENT, or --bars")
    check_outputs(options.bars_json)
    report = allbars.measure(Progress(), options.bars_quick)
    publish(report, options.bars_json, allbars.text(report))
    return 0 if any(each.held is not None for each in report.verdicts) else 1


def run(
    options: argparse.Namespace, parser: argparse.ArgumentParser, experiment: Experiment
) -> int:
    """Measure, print, store, draw. 0 when anything of adma was measured, else 1."""
    _refuse_bars(options, parser)
    check_outputs(options.json, options.plot)
    if options.plot:
        require()
    settings = experiment.settings(
        options.engine,
        options.queues,
        getattr(options, "sizes", []),
        options.rounds,
        options.iters,
        options.quick,
    )
    report = experiment.run(settings, Progress())
    publish(report, options.json, whole_text(experiment, report))
    if options.plot:
        draw(report, options.plot)
        print(f"drawn: {options.plot}", file=sys.stderr)
    ours = {each.key for each in report.contestants if not each.peer}
    return 0 if any(series.contestant in ours for series in report.series) else 1


def _refuse_bars(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    if options.bars or options.bars_quick or options.bars_json:
        parser.error("--bars is no part of an experiment; other options go behind its name")


def _queues(text: str) -> int:
    number = positive(text)
    if number > QUEUES_MAX:
        raise argparse.ArgumentTypeError(f"{text}: {QUEUES_MAX} queues at most")
    return number
