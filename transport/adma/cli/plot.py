# SPDX-License-Identifier: BSD-3-Clause
"""``adma plot``: draw a stored report again."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from adma.bench.experiments import draw
from adma.bench.schema import load


def declare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "plot",
        help="draw the plot of a stored report",
        description="Draw a report that --json wrote.",
    )
    parser.add_argument("report", metavar="FILE.json", help="the report")
    parser.add_argument(
        "--plot", metavar="FILE.png", help="where to draw; FILE.png beside the report unless given"
    )
    parser.add_argument("--json", action="store_true", help="say as JSON what was drawn")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Draw it. Raises as :func:`adma.bench.schema.load` and :func:`adma.bench.experiments.draw`."""
    report = load(options.report)
    path = Path(options.plot or Path(options.report).with_suffix(".png"))
    draw(report, path)
    if options.json:
        print(json.dumps({"report": options.report, "plot": str(path)}))
    else:
        print(f"drawn: {path}")
    return 0
