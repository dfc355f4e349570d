# SPDX-License-Identifier: BSD-3-Clause
"""Watch copying and computing overlap."""

from __future__ import annotations

import argparse
import importlib.util
import sys

from adma.bench.demo import show
from adma.bench.sizes import parse_size

SECONDS = 10.0


def declare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and those below it to the parser."""
    parser = commands.add_parser(
        "demo", help="see copying and computing overlap, beside mpi4py", description=__doc__
    )
    found = parser.add_subparsers(metavar="WHAT", required=True)
    overlap = found.add_parser(
        "overlap",
        help="the same receive and computing, with mpi4py and with adma",
        description=(
            "Two processes each: one sends and waits, the other receives while it computes. A bar "
            "is as long as both take; its end is the part of the receive that computing did not "
            "hide. MPIs are found by ADMA_PEER_MPICH and ADMA_PEER_OPENMPI (make peers makes them)."
        ),
    )
    overlap.add_argument(
        "--seconds", type=_seconds, default=SECONDS, metavar="S", help="how long (default: 10)"
    )
    overlap.add_argument("--once", action="store_true", help="one turn each, printed")
    overlap.add_argument(
        "--size",
        type=_size,
        default=16 << 20,
        metavar="N",
        help="bytes of a message (default: 16M)",
    )
    overlap.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Show it. Returns 0 when adma was shown, with or without MPI."""
    if importlib.util.find_spec("numpy") is None:
        raise RuntimeError("adma demo needs NumPy: pip install 'adma[bench]'")
    outcome = show(options.size, options.seconds, options.once)
    for line in outcome.absent:
        print(line, file=sys.stderr)
    return 0 if any(lane.title == "adma" for lane in outcome.lanes) else 1


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r}: expected seconds, from 0 to 3600")
    return found


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
