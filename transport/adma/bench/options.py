# SPDX-License-Identifier: BSD-3-Clause
"""Options and output that all benchmarks have in common: sizes, rounds, ``--json``."""

from __future__ import annotations

import argparse
import os
import sys

from adma.bench.schema import Report
from adma.bench.sizes import parse_sizes

SIZES = "8:1K,2K:512K:2,1M:16M"
ROUNDS = 25


def add_measuring(
    parser: argparse.ArgumentParser, sizes: str = SIZES, rounds: int = ROUNDS
) -> None:
    """Add the options for what is measured and for how long, which ``benchmarks/`` has too."""
    parser.add_argument(
        "--sizes",
        type=size_list,
        default=parse_sizes(sizes),
        metavar="SIZES",
        help=(
            "message sizes: a list of sizes and ranges LOW:HIGH[:FACTOR], such as 8,64K,1M:16M:2 "
            f"(default: {sizes}; the factor is 4)"
        ),
    )
    parser.add_argument(
        "--iters",
        type=positive,
        metavar="N",
        help="round trips in a round (default: as many as fill 10 ms)",
    )
    parser.add_argument(
        "--rounds",
        type=positive,
        default=rounds,
        metavar="N",
        help=f"rounds per size (default: {rounds})",
    )


def parser_for(text: str | None) -> argparse.ArgumentParser:
    """A parser described by the first paragraph of a module's docstring."""
    return argparse.ArgumentParser(description=(text or "").partition("\n\n")[0])


def add_channels(parser: argparse.ArgumentParser) -> None:
    """Add the option for how many DMA channels have to work where the helper is measured."""
    parser.add_argument(
        "--channels",
        type=positive,
        default=1,
        metavar="N",
        help="DMA channels that have to carry data (1)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the option for a stored report."""
    parser.add_argument("--json", metavar="FILE", help="write the report; - for stdout, alone")


def publish(report: Report, json_path: str | None, printed: str) -> None:
    """Print the text and store the report; ``-`` puts the report on stdout in its place."""
    if json_path == "-":
        sys.stdout.write(report.to_json())
        return
    print(printed)
    if json_path:
        report.save(json_path)
        print(f"written: {json_path}", file=sys.stderr)


def check_outputs(*paths: str | None) -> None:
    """Check now, and not after minutes, that the files can be written. Raises OSError."""
    for path in paths:
        if not path or path == "-":
            continue
        target = path if os.path.lexists(path) else os.path.dirname(path) or "."
        if os.path.isdir(path) or not os.access(target, os.W_OK):
            raise OSError(f"{path}: cannot be written")


def size_list(text: str) -> list[int]:
    """Sizes, for argparse."""
    try:
        return parse_sizes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def positive(text: str) -> int:
    """A whole number of 1 or more, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of 1 or more")
    return int(text)
