# SPDX-License-Identifier: BSD-3-Clause
"""``adma trace merge``: one timeline of what several processes wrote under ADMA_TRACE."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any


def declare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "trace",
        help="join timelines of several processes",
        description=(
            "Processes that run with ADMA_TRACE=FILE-%p.json each write a timeline, by one clock. "
            "Join them into one file for ui.perfetto.dev or chrome://tracing."
        ),
    )
    parser.add_argument("verb", choices=["merge"], help="what to do")
    parser.add_argument("out", metavar="OUT", help="the file to write")
    parser.add_argument("inputs", metavar="IN", nargs="+", help="files that ADMA_TRACE named")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write what was joined. Returns 0."""
    found = {path: _load(path) for path in options.inputs}
    for path in (path for path, trace in found.items() if trace is None):
        print(f"{path}: empty, its process was killed or still runs", file=sys.stderr)
    joined = merge([trace for trace in found.values() if trace is not None])
    with open(options.out, "w", encoding="utf-8") as file:
        json.dump(joined, file)
    print(f"{len(joined['traceEvents'])} events, {joined['otherData']['dropped']} dropped")
    return 0


def merge(traces: list[dict[str, Any]]) -> dict[str, Any]:
    """All their events in one trace."""
    return {
        "displayTimeUnit": "ns",
        "otherData": {
            "processes": [trace.get("otherData", {}) for trace in traces],
            "dropped": sum(trace.get("otherData", {}).get("dropped", 0) for trace in traces),
        },
        "traceEvents": [event for trace in traces for event in trace["traceEvents"]],
    }


def _load(path: str) -> dict[str, Any] | None:
    """A trace; None for an empty file, whose process was killed or still runs."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    try:
        found = json.loads(text) if text else None
    except ValueError as error:
        raise ValueError(f"{path}: no JSON: {error}") from None
    if not text:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("traceEvents"), list):
        raise ValueError(f"{path}: no timeline of adma's")
    return found
