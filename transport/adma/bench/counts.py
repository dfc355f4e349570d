# SPDX-License-Identifier: BSD-3-Clause
"""Counts that need no clock: system calls, pins, DMA descriptors, instructions.

Each function takes a pair of ``count_worker`` processes (or starts contestants of its own) and
returns series: a value per repetition, most of which should be the same number.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from adma.bench import clock
from adma.bench.contestants import Entrant, Local, adma_key
from adma.bench.helper import TIMES, Helper, difference
from adma.bench.pair import Pair
from adma.bench.schema import Series
from adma.bench.session import Plan, Session
from adma.bench.table import INSTRUCTIONS
from adma.bench.tracing import Calls, SystemCalls

SPLIT = tuple(f"helper's {name} a message" for name in TIMES)
BLOCKING = "calls a message, blocking"
POST = "calls a post"
CHECK = "calls a check, pending"
BEYOND = "calls a check, pending, beyond looks for the peer"
LOOK_NS = 1_000_000  # a check that finds nothing looks for the peer's death this often at most
LOOKS = ("poll", "ppoll")
POSTED = 16  # requests at a time
POSTED_SIZE = 64 << 10
CHECKS = 100  # of each pending request
ROUND_TRIPS = 50
REPEATS = 3


def local(mechanism: str) -> Local:
    """A pair of counting workers over one mechanism."""
    return Local(adma_key(mechanism), "adma", mechanism, module="adma.bench.count_worker")


class Caller:
    """Gives a pair commands, and counts their system calls without those of a command itself."""

    def __init__(self, pair: Pair, calls: SystemCalls) -> None:
        self._pair = pair
        self._calls = calls
        self._pids = [int(rank.hello["pid"]) for rank in pair.ranks]
        self.of_both({"op": "nothing"})

    def of_both(self, command: dict[str, Any]) -> Calls:
        """What both processes called while they did this."""
        return self._cost((0, 1), command)[0]

    def of_rank(self, rank: int, command: dict[str, Any]) -> tuple[Calls, dict[str, Any]]:
        """What one process called, and what it answered."""
        return self._cost((rank,), command)

    def _cost(self, ranks: Sequence[int], command: dict[str, Any]) -> tuple[Calls, dict[str, Any]]:
        framing, _ = self._during(ranks, {"op": "nothing"})
        calls, answer = self._during(ranks, command)
        return calls - framing, answer

    def _during(
        self, ranks: Sequence[int], command: dict[str, Any]
    ) -> tuple[Calls, dict[str, Any]]:
        pids = [self._pids[rank] for rank in ranks]
        before = self._calls.of(pids)
        answers = (
            self._pair.ask(command) if len(ranks) > 1 else [self._pair.ask_rank(ranks[0], command)]
        )
        return self._calls.of(pids) - before, answers[0]


def blocking_calls(key: str, caller: Caller, pair: Pair, size: int) -> list[Series]:
    """System calls per message of a blocking ping-pong, of both processes together, by name.

    It is what N more round trips take, so that the beginning and the end of a run do not count.
    """
    pair.ask({"op": "prepare", "form": "plain", "case": f"{size}", "key": key, "size": size})
    runs = []
    run = {"op": "run", "key": key, "warmup": 0, "iterations": ROUND_TRIPS}
    caller.of_both(run)
    for _ in range(REPEATS):
        short = caller.of_both(run)
        long = caller.of_both({**run, "iterations": 2 * ROUND_TRIPS})
        runs.append(_share(long, short, 2 * ROUND_TRIPS))
    return _by_name(key, BLOCKING, runs, size)


def posted_calls(key: str, caller: Caller, pair: Pair) -> list[Series]:
    """System calls per post and per check, of requests that are posted ahead.

    The reads are posted and checked while nothing is written, then the writes are posted, then both
    ends check until all is done: as long as that takes, by nothing but checks. Once a millisecond a
    check looks whether the peer lives; other calls are a figure of their own.
    """
    pair.ask({"op": "buffers", "count": POSTED, "size": POSTED_SIZE})
    reads, writes, waiting, beyond = [], [], [], []
    for number in range(REPEATS + 1):
        read, _ = caller.of_rank(1, {"op": "post"})
        pending, answer = caller.of_rank(1, {"op": "check", "times": CHECKS})
        if answer["done"]:
            raise RuntimeError("a read was done before its write was posted")
        write, _ = caller.of_rank(0, {"op": "post"})
        pair.ask({"op": "finish"})
        if number:  # the first time does what later ones find done
            reads.append(_share(read, Calls(), POSTED))
            writes.append(_share(write, Calls(), POSTED))
            waiting.append(_share(pending, Calls(), POSTED * CHECKS))
            beyond.append(_without_looks(pending, answer["ns"]) / (POSTED * CHECKS))
    return [
        *_by_name(key, f"{POST}, read", reads, POSTED_SIZE),
        *_by_name(key, f"{POST}, write", writes, POSTED_SIZE),
        *_by_name(key, CHECK, waiting, POSTED_SIZE),
        Series(key, BEYOND, "calls", beyond, POSTED_SIZE),
    ]


def _without_looks(found: Calls, ns: int) -> int:
    """How many calls there were, without the looks for the peer that this time allows."""
    looks = min(sum(found[name] for name in LOOKS), 1 + ns // LOOK_NS)
    return found.total() - looks


def _share(more: Calls, less: Calls, parts: int) -> dict[str, float]:
    names = more.keys() | less.keys()
    return {name: (more[name] - less[name]) / parts for name in names if more[name] != less[name]}


def _by_name(key: str, metric: str, runs: list[dict[str, float]], size: int) -> list[Series]:
    """The sum, under the metric's own name, then each system call under ``METRIC: NAME``."""
    names = sorted({name for run in runs for name in run})
    total = Series(key, metric, "calls", [sum(run.values()) for run in runs], size)
    return [
        total,
        *(
            Series(key, f"{metric}: {name}", "calls", [run.get(name, 0.0) for run in runs], size)
            for name in names
        ),
    ]


# ---- the DMA path ----


@dataclass(frozen=True)
class Layout:
    """How the two buffers of a message lie."""

    name: str
    source: int = 0  # bytes behind a page
    destination: int = 0
    huge: bool = False


LAYOUTS = (
    Layout("aligned"),
    Layout("destination 2 KiB off", destination=2048),
    Layout("destination 1 byte off", destination=1),
    Layout("huge pages", huge=True),
    Layout("huge pages, destination 2 KiB off", destination=2048, huge=True),
)
# What is read off the helper's counters for one message, and its unit.
FACTS = {
    "pieces": "descriptors",
    "bytes_dma": "bytes",
    "bytes_edge": "bytes",
    "bytes_cpu": "bytes",
    "bytes_rescued": "bytes",
    "pages_pinned": "pages",
}


def dma_path(key: str, pair: Pair, helper: Helper, size: int, layout: Layout) -> list[Series]:
    """One message between new buffers, then again between the same: what the helper counted.

    Metrics ``FACT, first use, LAYOUT`` and ``FACT, second use, LAYOUT``, and in how many pieces of
    physical memory each buffer lies.
    """
    found: dict[str, list[float]] = {}
    for _ in range(REPEATS):
        placed = (layout.source, layout.destination)
        for rank, offset in enumerate(placed):
            lay = {"op": "lay", "size": size, "offset": offset, "huge": layout.huge}
            runs = pair.ask_rank(rank, lay)["runs"]
            found.setdefault(f"runs of {('source', 'destination')[rank]}", []).append(runs)
        for use in ("first use", "second use"):
            before = helper.counters()
            pair.ask({"op": "stream", "count": 1})
            counted = difference(before, helper.counters())
            for fact in FACTS:
                found.setdefault(f"{fact}, {use}", []).append(float(counted[fact]))
        pair.ask_rank(1, {"op": "verify"})
    units = {metric: FACTS.get(metric.partition(",")[0], "runs") for metric in found}
    return [
        Series(key, f"{metric}, {layout.name}", units[metric], values, size)
        for metric, values in found.items()
    ]


# ---- instructions ----


@dataclass(frozen=True)
class Idle:
    """How long the processor had nothing to do while something was measured."""

    elapsed: float
    idle: float

    @property
    def share(self) -> float:
        return self.idle / self.elapsed if self.elapsed else 0.0


def instructions(
    entrants: Sequence[Entrant], sizes: Iterable[int], plan: Plan
) -> tuple[list[Series], dict[int, Idle]]:
    """Instructions per message: of all processors, in the kernel and in both processes.

    It is the usual ping-pong, in which a microsecond is a thousand instructions. That is true only
    where :func:`adma.bench.clock.calibrate` says so, and as far as no processor idles.
    """
    series: list[Series] = []
    idle: dict[int, Idle] = {}
    with Session(entrants) as session:
        for size in sizes:
            begin = time.monotonic(), clock.idle_seconds()
            timed = session.measure([size], plan)
            idle[size] = Idle(time.monotonic() - begin[0], clock.idle_seconds() - begin[1])
            series.extend(_as_instructions(each) for each in timed)
    return series, idle


def _as_instructions(timed: Series) -> Series:
    values = [us * 1000 for us in timed.values]
    return Series(
        timed.contestant,
        INSTRUCTIONS,
        "instructions",
        values,
        timed.size,
        timed.iterations,
        timed.path,
    )


def split(key: str, pair: Pair, helper: Helper, sizes: Iterable[int]) -> list[Series]:
    """Where the helper says a message's time went (figure 7 of the paper), in instructions.

    Mean over messages one way, both requests of each together, once all pins are cached.
    """
    series: dict[tuple[str, int], Series] = {}
    for size in sizes:
        for rank in (0, 1):
            pair.ask_rank(rank, {"op": "lay", "size": size, "offset": 0, "huge": False})
        pair.ask({"op": "stream", "count": 2})
        for _ in range(REPEATS):
            before = helper.counters()
            pair.ask({"op": "stream", "count": ROUND_TRIPS})
            counted = difference(before, helper.counters())
            for name, metric in zip(TIMES, SPLIT, strict=True):
                empty = Series(key, metric, "instructions", [], size, ROUND_TRIPS)
                each = series.setdefault((name, size), empty)
                each.values.append(counted[f"time_{name}"] / ROUND_TRIPS)
    return list(series.values())
