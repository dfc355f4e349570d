# SPDX-License-Identifier: BSD-3-Clause
"""``adma demo overlap``: the same receive and the same computing, with mpi4py and with adma, live.

Each library has a bar, as long as receiving and computing take together. It begins with the time of
computing alone; behind that is the part of the receive that computing does not hide.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from adma.bench import overlap_pair
from adma.bench.contestants import Entrant
from adma.bench.figures import median
from adma.bench.machine import one_line
from adma.bench.session import Session
from adma.bench.sizes import format_size

MODE = "receiver"  # computes; the sender waits in its call
RECENT = 15  # of the latest turns a bar shows the median
WIDTH = 44  # of the longest bar, where there is room
FIGURES, DETAILS = 28, 36  # what stands behind a bar takes so much
REFRESHES = 10  # a second


@dataclass
class Lane:
    """A library, and its latest times in ms."""

    title: str
    copy: list[float] = field(default_factory=list)
    compute: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)

    def add(self, answer: dict[str, float]) -> None:
        """Add the times of one turn, in seconds."""
        for part in ("copy", "compute", "total"):
            values: list[float] = getattr(self, part)
            values.append(answer[part] * 1e3)
            del values[:-RECENT]

    @property
    def overlap(self) -> float:
        """The overlap as the paper defines it, over the latest turns."""
        parts = zip(self.copy, self.compute, self.total, strict=True)
        return median([(c + p - t) / c for c, p, t in parts])


@dataclass(frozen=True)
class Outcome:
    """What a demonstration leaves: a lane for each library; and for missing ones, the cure."""

    lanes: list[Lane]
    absent: list[str]


def show(size: int, seconds: float, once: bool) -> Outcome:
    """Run for `seconds`, or once each, and show it. Raises RuntimeError without NumPy."""
    entrants = _entrants()
    copying = 2 * size / 8e9  # about what two memcpy take; the same for all, whatever it is
    with Session(entrants) as session, _screen(once) as draw:
        for entrant in session.running:
            session.ask_both(entrant, {"op": "prepare", "size": size, "seconds": copying})
        lanes = {entrant.key: Lane(entrant.contestant.title) for entrant in session.running}
        end = time.monotonic() + seconds
        while session.running:
            for entrant in session.running:
                command = {"op": "run", "mode": MODE, "iterations": 1}
                for answer in session.ask_both(entrant, command):
                    if "total" in answer:
                        lanes[entrant.key].add(answer)
            columns = shutil.get_terminal_size((120, 24)).columns
            draw(picture(size, list(lanes.values()), _blocks(), columns))
            if once or time.monotonic() >= end:
                break
    measured = [lane for lane in lanes.values() if lane.total]
    return Outcome(measured, [_absent(e) for e in entrants if not e.contestant.measured])


def picture(size: int, lanes: Sequence[Lane], blocks: tuple[str, str], columns: int = 120) -> str:
    """All lanes as text: full blocks for computing, light ones for what it does not hide."""
    shown = [lane for lane in lanes if lane.total]
    longest = max((median(lane.total) for lane in shown), default=1.0)
    margin = max((len(lane.title) for lane in shown), default=0)
    width = max(10, min(WIDTH, columns - margin - FIGURES))
    detailed = columns >= margin + width + FIGURES + DETAILS
    lines = [f"Receive {format_size(size)} and compute; one bar is both.", one_line(), ""]
    for lane in shown:
        total, compute = median(lane.total), median(lane.compute)
        whole = max(1, round(width * total / longest))
        hidden = min(whole, round(width * min(compute, total) / longest))
        bar = (blocks[0] * hidden + blocks[1] * (whole - hidden)).ljust(width)
        line = f"{lane.title.ljust(margin)}  {bar}  {total:6.2f} ms  overlap {lane.overlap:5.2f}"
        if detailed:
            line += f"  (receive {median(lane.copy):.2f}, compute {compute:.2f})"
        lines.append(line)
    lines += ["", f"{blocks[0]} computing   {blocks[1]} receiving that was not hidden behind it"]
    return "\n".join(lines)


def _entrants() -> list[Entrant]:
    """adma, then each MPI."""
    return [each.entrant for each in overlap_pair.meetings() if each.mode == MODE]


def _absent(entrant: Entrant) -> str:
    contestant = entrant.contestant
    cure = f"\n  cure: {contestant.cure}" if contestant.cure else ""
    return f"{contestant.title}: not shown: {contestant.why}{cure}"


def _blocks() -> tuple[str, str]:
    """A full and a light block, if the terminal's encoding has them."""
    try:
        "\u2588\u2591".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "#", "."
    return "\u2588", "\u2591"


@contextlib.contextmanager
def _screen(once: bool) -> Iterator[Callable[[str], None]]:
    """Draws a picture over the one before. Without a terminal or rich, prints the last one only."""
    last = [""]

    def keep(text: str) -> None:
        last[0] = text

    live = None if once or not sys.stdout.isatty() else _live()
    if live is None:
        yield keep
        print(last[0])
        return
    with live:
        yield lambda text: live.update(_colored(text))


def _live() -> Any:
    try:
        from rich.console import Console
        from rich.live import Live
    except ImportError:
        return None
    return Live(console=Console(highlight=False), refresh_per_second=REFRESHES)


def _colored(text: str) -> Any:
    from rich.text import Text

    full, light = (re.escape(block) for block in _blocks())
    made = Text(text, no_wrap=True, overflow="crop")
    made.highlight_regex(f"{full}+", "green")
    made.highlight_regex(f"{light}{{2,}}", "red")
    return made
