# SPDX-License-Identifier: BSD-3-Clause
"""``adma info``: what this machine offers, found by connecting two processes for real."""

from __future__ import annotations

import argparse
import json
import textwrap
from dataclasses import asdict
from typing import Any

from adma.bench import build
from adma.bench.machine import describe_limits, describe_machine, describe_software, headline
from adma.cli import helper
from adma.cli.probe import Finding, explanations, probe_all
from adma.copying import engine

MARGIN = 24
WIDTH = 96
MIB = 1 << 20


def declare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "info",
        help="which mechanisms work here, and why the others do not",
        description=(
            "Connect this process with a second one over each mechanism, send a message both ways, "
            "and say what works, or why not and what would change that. Then which engine copies "
            "within a process, and what the kernel helper says of itself: its DMA channels and "
            "limits."
        ),
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print what was found. 0 when one mechanism or more works, else 1."""
    found = describe()
    print(json.dumps(found, indent=1) if options.json else text(found))
    return 0 if any(each["available"] for each in found["mechanisms"]) else 1


def describe() -> dict[str, Any]:
    """All of it as plain data."""
    findings = probe_all()
    return {
        "machine": describe_machine(),
        "software": describe_software(),
        "limits": describe_limits(),
        "thresholds": build.thresholds(),
        "mechanisms": [asdict(each) for each in findings],
        "auto": explanations(),
        "engine": engine.describe(),
        "helper": helper.describe(),
    }


def text(found: dict[str, Any]) -> str:
    """The same for people."""
    adma = found["software"]["adma"]
    lines = [
        _line("adma", f"{adma['version']} ({adma['build']} build)"),
        _line("Python", found["software"]["python"]),
        _line("machine", f"{headline(found['machine'])}, {_memory(found['machine'])}"),
        "",
        "mechanisms, tried between two processes of this user:",
    ]
    for each in found["mechanisms"]:
        lines += _mechanism(Finding(**each))
    lines += ["", "copies within a process:"]
    lines += [_line(name, value) for name, value in _engine(found["engine"])]
    lines += ["", "kernel helper:"]
    lines += [_line(name, value) for name, value in helper.rows(found["helper"])]
    lines += ["", "auto chooses:"]
    lines += [_choice(each) for each in found["auto"]]
    lines += ["", "sizes in bytes:"]
    lines += [_line(name, str(value)) for name, value in found["thresholds"].items()]
    lines += ["", "limits:"]
    lines += [_line(name, str(value)) for name, value in found["limits"].items()]
    return "\n".join(lines)


def _mechanism(finding: Finding) -> list[str]:
    if finding.available:
        return [_line(finding.mechanism, "available")]
    lines = [_line(finding.mechanism, f"refused: {finding.cause}")]
    if finding.cure:
        lines.append(_line("", f"cure: {finding.cure}"))
    return lines


def _engine(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Rows about the copy engine: the one in use, its queues, and those that are refused."""
    asked = "" if found["asked"] == found["engine"] else f", {found['asked']} was asked for"
    rows = [("engine", f"{found['engine']}{asked}")]
    if found["error"]:
        rows.append(("", f"not what the environment asks for: {found['error']}"))
    if found["queues"]:
        queues = f"{found['queues']} queue{'s' if found['queues'] > 1 else ''}"
        begin = "started by the first copy that is large enough"
        rows.append(("queues", f"{queues}, {found['schedule']}, {begin}"))
    helps = "copies, too" if found["callers_help"] or not found["queues"] else "only waits"
    rows.append(("a waiting thread", helps))
    rows.append(("learnt", _learnt(found)))
    if found["refused"]:
        why = found["refused"]
        rows.append(("", f"could not be started, so that a waiting thread copies: {why}"))
    for name, refusal in found["refusals"].items():
        rows.append((name, f"refused: {refusal['cause']}"))
        if refusal["cure"]:
            rows.append(("", f"cure: {refusal['cure']}"))
    if not found["engines"]["dmaengine"]:
        rows.append(("dmaengine", "available, where it is asked for"))
    return rows


def _learnt(found: dict[str, Any]) -> str:
    """Of how copies are spread: a process that only looks knows what `adma tune` stored."""
    if not found["learns"]:
        return "nothing: ADMA_LEARN=0 switches it off"
    sizes = {way["nbytes"] for way in found["learnt"] if way["chosen"]}
    if not sizes:
        return "nothing yet of how copies are spread; `adma tune` measures it once"
    least, most = min(sizes) // 1024, max(sizes) // 1024
    return f"how copies of {least} KiB to {most} KiB are spread; `adma tune --show` lists it"


def _choice(each: dict[str, Any]) -> str:
    how = f"{each['carry']} over {each['mechanism']}" if each["mechanism"] else each["carry"]
    return _line(f"{each['nbytes']} bytes", f"{how}: {each['why']}")


def _line(name: str, value: str) -> str:
    """Name and value in two columns; a long value is continued in its own column."""
    margin = " " * (MARGIN + 2)
    start = f"  {name}".ljust(MARGIN) + "  "
    parts = [
        textwrap.fill(part, WIDTH, initial_indent=margin, subsequent_indent=margin)
        for part in str(value).splitlines() or [""]
    ]
    joined = "\n".join(parts)
    return (start + joined[len(margin) :]).rstrip()


def _memory(machine: dict[str, Any]) -> str:
    return f"{machine['memory_bytes'] // MIB} MiB memory"
