# SPDX-License-Identifier: BSD-3-Clause
"""One run of a comparison: all contestants, alternating round by round within each size."""

from __future__ import annotations

import contextlib
import errno
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adma.bench.contestants import Entrant
from adma.bench.pair import ContestantError, Pair
from adma.bench.progress import Progress
from adma.bench.schema import Series
from adma.bench.signals import ended_by_signals

METRIC = "latency"
UNIT = "us"
ROUNDS_LEAST = 3  # however long they take
SOCKET_PATH_MAX = 80  # of the directory; sun_path holds 107 bytes in all


@dataclass(frozen=True)
class Plan:
    """How long to measure. Times in seconds.

    Without `iterations`, each contestant makes as many round trips per round as fill
    `round_time`, at least `least`; a trial at each size finds the number. `budget`: seconds
    after which a size gets no more rounds than the first few.
    """

    rounds: int = 25
    round_time: float = 0.01
    iterations: int | None = None
    least: int = 2
    most: int = 20_000
    warmup_share: int = 10
    budget: float | None = None

    def spent(self, rounds: int, seconds: float) -> bool:
        """Has a size had its budget, so that it gets no more rounds?"""
        return self.budget is not None and rounds >= ROUNDS_LEAST and seconds >= self.budget

    def warmup(self, iterations: int) -> int:
        """Round trips before a round that are not timed: the caches were another contestant's."""
        return max(1, iterations // self.warmup_share)


class Session:
    """Owns the processes and the private directory of one run.

    A context manager: on the way out, whatever the reason, every process is ended and the
    directory removed. A contestant that fails, at the start or later, is marked as not measured
    with the cause and the cure, and the others go on.
    """

    def __init__(self, entrants: Sequence[Entrant], progress: Progress | None = None) -> None:
        self.entrants = list(entrants)
        self.progress = progress or Progress(quiet=True)
        self._pairs: dict[str, Pair] = {}
        self._directory = Path()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Session:
        with contextlib.ExitStack() as stack:
            stack.enter_context(ended_by_signals())
            self._directory = stack.enter_context(private_directory())
            for name in dict.fromkeys(entrant.pair for entrant in self.entrants):
                self._start(name, stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._pairs.clear()
        self._stack.close()

    @property
    def running(self) -> list[Entrant]:
        """The contestants that did not fail."""
        return [entrant for entrant in self.entrants if entrant.pair in self._pairs]

    def measure(self, sizes: Sequence[int], plan: Plan) -> list[Series]:
        """Latency series of all contestants: one-way time in us, one value per round."""
        series: list[Series] = []
        with self.progress.task("measuring", len(sizes) * plan.rounds) as step:
            for size in sizes:
                series.extend(self._measure_size(size, plan, step))
        return series

    def ask_both(self, entrant: Entrant, command: dict[str, Any]) -> list[dict[str, Any]]:
        """The answers of both ranks; None if the contestant has failed, before or now."""
        pair = self._pairs.get(entrant.pair)
        if pair is None:
            return []
        try:
            return pair.ask(command)
        except ContestantError as error:
            self._drop(entrant.pair, pair, error)
            return []

    def _measure_size(self, size: int, plan: Plan, step: Callable[[str], None]) -> list[Series]:
        found = {e.key: self._prepare(e, size, plan) for e in self._entered(size)}
        for number in range(plan.rounds):
            entered = [e for e in self._entered(size) if found.get(e.key)]
            # Each round begins with another contestant, so that none always follows the same one.
            first = number % len(entered) if entered else 0
            for entrant in entered[first:] + entered[:first]:
                self._round(entrant, found[entrant.key], plan)
            step(f"{size} bytes")
        return [each for each in found.values() if each is not None and each.values]

    def _entered(self, size: int) -> list[Entrant]:
        return [e for e in self.running if e.sizes is None or size in e.sizes]

    def _start(self, name: str, stack: contextlib.ExitStack) -> None:
        sharing = [entrant for entrant in self.entrants if entrant.pair == name]
        self.progress.say(f"starting {sharing[0].contestant.title}")
        pair = sharing[0].make(self._directory)
        stack.callback(pair.close)
        try:
            pair.start()
        except ContestantError as error:
            self._drop(name, pair, error)
            return
        self._pairs[name] = pair
        for entrant in sharing:
            if entrant.describe is not None:
                entrant.describe(pair, entrant.contestant)

    def _drop(self, name: str, pair: Pair, error: ContestantError) -> None:
        """End a contestant that failed at once, so that it disturbs no other."""
        self._pairs.pop(name, None)
        pair.close()
        for entrant in self.entrants:
            if entrant.pair == name:
                entrant.contestant.measured = False
                entrant.contestant.why = str(error)
                entrant.contestant.cure = error.cure

    def _ask(self, entrant: Entrant, command: dict[str, Any]) -> dict[str, Any] | None:
        answers = self.ask_both(entrant, command)
        return answers[0] if answers else None

    def _prepare(self, entrant: Entrant, size: int, plan: Plan) -> Series | None:
        """Make and check buffers of this size; and find how many round trips make a round."""
        ready = self._ask(entrant, {"op": "prepare", "size": size})
        if ready is None:
            return None
        iterations = plan.iterations or self._calibrate(entrant, plan)
        if iterations is None:
            return None
        path = str(ready.get("path", ""))
        return Series(entrant.key, METRIC, UNIT, [], size, iterations, path)

    def _calibrate(self, entrant: Entrant, plan: Plan) -> int | None:
        """How many round trips fill a round: a trial grows until it is long enough."""
        iterations = 1
        while True:
            seconds = self._time(entrant, iterations, plan)
            if seconds is None:
                return None
            wanted = int(plan.round_time / (2 * max(seconds, 1e-9)))
            fitting = min(plan.most, max(plan.least, wanted))
            if iterations * 4 >= fitting:
                return fitting
            iterations = min(fitting, iterations * 8)

    def _time(self, entrant: Entrant, iterations: int, plan: Plan) -> float | None:
        command = {
            "op": "run",
            "iterations": iterations,
            "warmup": plan.warmup(iterations),
            "mode": entrant.mode,
        }
        answer = self._ask(entrant, command)
        return None if answer is None else float(answer["seconds"])

    def _round(self, entrant: Entrant, series: Series | None, plan: Plan) -> None:
        if series is None:
            return
        seconds = self._time(entrant, series.iterations, plan)
        if seconds is not None:
            series.values.append(seconds * 1e6)


@contextlib.contextmanager
def private_directory() -> Iterator[Path]:
    """A directory of the user's own for sockets, removed afterwards.

    Raises OSError where none can be made, or where its path is too long for a socket's.
    """
    path = Path(tempfile.mkdtemp(prefix="adma-bench-"))
    if len(str(path)) > SOCKET_PATH_MAX:
        path.rmdir()
        raise OSError(
            errno.ENAMETOOLONG,
            f"{path.parent} is too long a path for sockets in it: set TMPDIR to a shorter one",
        )
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
