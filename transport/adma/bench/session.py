# SPDX-License-Identifier: BSD-3-Clause
"""One run of a comparison: all contestants, alternating round by round within each size."""

from __future__ import annotations

import contextlib
import errno
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adma.bench.contestants import Entrant
from adma.bench.forms import LATENCY, Case, plain
from adma.bench.pair import ContestantError, Pair
from adma.bench.progress import Progress
from adma.bench.schema import Contestant, Series
from adma.bench.signals import ended_by_signals

METRIC = LATENCY
UNIT = "us"
ROUNDS_LEAST = 3  # however long they take
COLD_TURNS = 8  # of a contestant in a round
SOCKET_PATH_MAX = 80  # of the directory; sun_path holds 107 bytes in all


@dataclass(frozen=True)
class Plan:
    """How long to measure. Times in seconds.

    Without `iterations`, each contestant makes as many round trips per round as fill
    `round_time`, at least `least`; a trial at each size finds the number. `budget`: seconds
    after which a size gets no more rounds than the first few. With `cold` the contestants alternate
    message by message, so that each finds in the caches what the others left.
    """

    rounds: int = 25
    round_time: float = 0.01
    iterations: int | None = None
    least: int = 2
    most: int = 20_000
    warmup_share: int = 10
    budget: float | None = None
    cold: bool = False

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

    @property
    def contestants(self) -> list[Contestant]:
        """All contestants, each once, whether or not they failed."""
        return list({entrant.key: entrant.contestant for entrant in self.entrants}.values())

    def measure(self, sizes: Sequence[int], plan: Plan) -> list[Series]:
        """Latency series of all contestants: one-way time in us, one value per round."""
        return self.measure_cases([plain(size) for size in sizes], plan)

    def measure_cases(self, cases: Sequence[Case], plan: Plan) -> list[Series]:
        """Series of all contestants in these cases: the time in us, one value per round."""
        series: list[Series] = []
        with self.progress.task("measuring", len(cases) * plan.rounds) as step:
            for case in cases:
                series.extend(self._measure_case(case, plan, step))
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

    def _measure_case(self, case: Case, plan: Plan, step: Callable[[str], None]) -> list[Series]:
        found = {e.key: self._prepare(e, case, plan) for e in self._entered(case)}
        begin = time.monotonic()
        for number in range(plan.rounds):
            if plan.spent(number, time.monotonic() - begin):
                break
            entered = [
                e for e in self._entered(case) if found.get(e.key) and not 0 < e.rounds <= number
            ]
            # Each round begins with another contestant, so that none always follows the same one.
            first = number % len(entered) if entered else 0
            self._round(entered[first:] + entered[:first], found, plan)
            step(case.name)
        return [each for each in found.values() if each is not None and each.values]

    def _entered(self, case: Case) -> list[Entrant]:
        return [entrant for entrant in self.running if entrant.enters(case)]

    def _start(self, name: str, stack: contextlib.ExitStack) -> None:
        sharing = [entrant for entrant in self.entrants if entrant.pair == name]
        self.progress.say(f"starting {sharing[0].contestant.title}")
        try:
            pair = sharing[0].make(self._directory)
        except ContestantError as error:
            self._miss(name, error)
            return
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
        self._miss(name, error)

    def _miss(self, name: str, error: ContestantError) -> None:
        for entrant in self.entrants:
            if entrant.pair == name:
                entrant.contestant.measured = False
                entrant.contestant.why = str(error)
                entrant.contestant.cure = error.cure

    def _ask(self, entrant: Entrant, command: dict[str, Any]) -> dict[str, Any] | None:
        answers = self.ask_both(entrant, command)
        return answers[0] if answers else None

    def _prepare(self, entrant: Entrant, case: Case, plan: Plan) -> Series | None:
        """Make and check buffers of this case; and find how many turns make a round."""
        ready = self._ask(entrant, entrant.prepare(case))
        if ready is None:
            return None
        iterations = COLD_TURNS if plan.cold else plan.iterations or self._calibrate(entrant, plan)
        if iterations is None:
            return None
        path = str(ready.get("path", ""))
        return Series(entrant.key, case.metric, UNIT, [], case.size, iterations, path)

    def _calibrate(self, entrant: Entrant, plan: Plan) -> int | None:
        """How many turns fill a round: a trial grows until it is long enough."""
        iterations = 1
        while True:
            answer = self._time(entrant, iterations, plan)
            if answer is None:
                return None
            wanted = int(plan.round_time / max(answer["each"], 1e-9))
            fitting = min(plan.most, max(plan.least, wanted))
            if iterations * 4 >= fitting:
                return fitting
            iterations = min(fitting, iterations * 8)

    def _time(self, entrant: Entrant, iterations: int, plan: Plan) -> dict[str, float] | None:
        command = {
            "op": "run",
            "key": entrant.key,
            "iterations": iterations,
            "warmup": plan.warmup(iterations),
            "cold": plan.cold,
        }
        return self._ask(entrant, command)

    def _round(
        self, entered: Sequence[Entrant], found: dict[str, Series | None], plan: Plan
    ) -> None:
        """A value of each contestant. Cold, it is the mean of turns in which they alternate."""
        taken: dict[str, list[float]] = {}
        for _ in range(COLD_TURNS if plan.cold else 1):
            for entrant in entered:
                series = found[entrant.key]
                if series is None:
                    continue
                answer = self._time(entrant, 1 if plan.cold else series.iterations, plan)
                if answer is not None:
                    taken.setdefault(entrant.key, []).append(answer["seconds"] * 1e6)
        for key, values in taken.items():
            series = found[key]
            if series is not None:
                series.values.append(sum(values) / len(values))


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
