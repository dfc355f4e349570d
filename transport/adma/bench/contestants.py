# SPDX-License-Identifier: BSD-3-Clause
"""The contestants: adma by each mechanism, ``multiprocessing.Pipe``, mpi4py on two MPIs."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adma.bench import bare, forms, mpi, ucx
from adma.bench.forms import Case
from adma.bench.pair import ContestantError, Pair, Program
from adma.bench.schema import Contestant
from adma.bench.sizes import LARGEST

# What workers do in each form; the persistent requests of MPI are contestants of their own.
MODES = {"plain": "plain", "window": "window", "objects": "object", "idle": "idle"}
MECHANISMS = ("auto", "dma", "mapped:helper", "mapped:cma", "shared", "loopback:tcp")


@dataclass
class Entrant:
    """A contestant in one form of traffic, and how to start it.

    Entrants of the same `pair` share its two processes. `form`: the cases in which it takes part,
    as ``forms.py`` names them; of these only those of `sizes` and `metrics`, unless that is None,
    and of `least` to `most` bytes. `rounds`: of so many rounds, the first ones; 0 means of all.
    `mode`: what its workers do then. `more`: what they are told beside the case.
    """

    contestant: Contestant
    make: Callable[[Path], Pair]
    pair: str
    mode: str = "plain"
    sizes: frozenset[int] | None = None
    describe: Callable[[Pair, Contestant], None] | None = None
    form: str = "plain"
    metrics: frozenset[str] | None = None
    least: int = 0
    most: int = LARGEST
    rounds: int = 0
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return self.contestant.key

    def enters(self, case: Case) -> bool:
        """Does it take part in this case?"""
        return (
            case.form == self.form
            and (self.sizes is None or case.size in self.sizes)
            and (self.metrics is None or case.metric in self.metrics)
            and self.least <= (case.size or 0) <= self.most
        )

    def prepare(self, case: Case) -> dict[str, Any]:
        """The command that tells its workers to prepare the case."""
        told = {"op": "prepare", "form": self.mode, "case": case.name, "key": self.key}
        return {**told, **case.command, **self.more}


@dataclass(frozen=True)
class Local:
    """Starts a local pair: two interpreters, joined by a socket pair that they inherit."""

    key: str
    kind: str
    mechanism: str = "auto"
    environment: dict[str, str] = field(default_factory=dict)
    module: str = "adma.bench.worker"

    def __call__(self, directory: Path) -> Pair:
        return Pair(self.key, directory, self.programs)

    def programs(self, control: Path) -> Sequence[Program]:
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return [self._program(rank, control, end.detach()) for rank, end in enumerate(ends)]

    def _program(self, rank: int, control: Path, link: int) -> Program:
        argv = [sys.executable, "-m", self.module, self.kind, str(rank), str(control), str(link)]
        return Program([*argv, self.mechanism], {**os.environ, **self.environment}, (link,))


def adma_key(mechanism: str) -> str:
    """The contestant's key: ``adma`` for the free choice, ``adma:NAME`` for a forced mechanism."""
    return "adma" if mechanism == "auto" else f"adma:{mechanism}"


def adma_entrant(
    mechanism: str,
    key: str | None = None,
    title: str | None = None,
    environment: dict[str, str] | None = None,
) -> Entrant:
    """A channel with the given mechanism forced, or ``auto``."""
    key = key or adma_key(mechanism)
    title = title or ("adma" if mechanism == "auto" else mechanism)
    local = Local(key, "adma", mechanism, environment or {})
    contestant = Contestant(key, title, library="adma")
    return Entrant(contestant, local, key, describe=_describe_adma)


def in_forms(entrant: Entrant, wanted: Iterable[str]) -> list[Entrant]:
    """The same contestant in each of these forms that it can do."""
    return [replace(entrant, form=form, mode=MODES[form]) for form in MODES if form in wanted]


def pipe_entrant() -> Entrant:
    contestant = Contestant("pipe", "Pipe", library="multiprocessing.Pipe", peer=True)
    return Entrant(contestant, Local("pipe", "pipe"), "pipe", describe=_describe_pipe)


def mpi_entrants(flavour: mpi.Flavour, wanted: Iterable[str] = forms.BY_DEFAULT) -> list[Entrant]:
    """mpi4py on one MPI: plain calls at every size, persistent requests at a few.

    It spins while it waits, so it takes no part in round trips after idling.
    """

    def make(directory: Path) -> Pair:
        return Pair(flavour.key, directory, flavour.programs)

    def entrant(suffix: str, mode: str = "plain", **more: Any) -> Entrant:
        contestant = Contestant(
            flavour.key + suffix.replace(" ", ":"),
            flavour.title + suffix,
            library=f"mpi4py on {flavour.title}",
            peer=True,
            partial=bool(suffix),
        )
        return Entrant(contestant, make, flavour.key, mode, describe=flavour.describe, **more)

    found = in_forms(entrant(""), set(wanted) - {"idle"})
    if "persistent" in wanted:
        at = frozenset(forms.PERSISTENT_SIZES)
        found.append(entrant(" persistent", "persistent", sizes=at))
    if "objects" in wanted:
        array = frozenset((forms.object_metric("array"),))
        found.append(entrant(" pkl5", "pkl5", form="objects", metrics=array))
    return found


def entrants(
    mechanism: str,
    peers: bool,
    wanted: Iterable[str] = forms.BY_DEFAULT,
    limits: bool = False,
) -> list[Entrant]:
    """The entrants of ``adma pingpong``. Raises ValueError for an unknown mechanism."""
    if mechanism != "all" and mechanism not in MECHANISMS:
        known = ", ".join(("all", *MECHANISMS))
        raise ValueError(f"mechanism {mechanism!r}: is unknown; choose one of {known}")
    chosen = MECHANISMS if mechanism == "all" else (mechanism,)
    found: list[Entrant] = []
    for each in chosen:
        found += in_forms(adma_entrant(each), wanted)
    if peers:
        found += in_forms(pipe_entrant(), set(wanted) - {"window"})
        for flavour in mpi.FLAVOURS:
            found += mpi_entrants(flavour, wanted)
    if limits and "plain" in wanted:
        found += [*bare_entrants(), ucx_entrant()]
    return found


def bare_entrants(wanted: Iterable[bare.Loop] = bare.LOOPS) -> list[Entrant]:
    """Loops in C without a library: what the machine itself gives."""
    return [bare_entrant(each) for each in wanted]


def bare_entrant(loop: bare.Loop) -> Entrant:
    """One of these loops, by blocking calls of its own."""
    key = f"bare:{loop.name}"

    def make(directory: Path) -> Pair:
        library = str(bare.compiled(directory))
        return Local(key, loop.name, library, module="adma.bench.bare_worker")(directory)

    contestant = Contestant(key, loop.title, library="C", path=loop.path, peer=True)
    contestant.wait = "spins without limit"
    contestant.partial = loop.most < loop.least + 8
    return Entrant(contestant, make, key, least=loop.least, most=loop.most)


def ucx_entrant() -> Entrant:
    """UCX's own ping-pong by tagged messages, where its tools are installed."""

    def make(directory: Path) -> Pair:
        tool = ucx.found()
        return Local("ucx", "ucx", tool, module="adma.bench.ucx_worker")(directory)

    contestant = Contestant("ucx", "ucx_perftest", library="UCX", path=ucx.PATH, peer=True)
    contestant.wait = "spins without limit"
    return Entrant(
        contestant, make, "ucx", sizes=ucx.SIZES, describe=_describe_ucx, rounds=ucx.ROUNDS
    )


def _describe_ucx(pair: Pair, contestant: Contestant) -> None:
    contestant.version = str(pair.ranks[0].hello["version"])


def _describe_adma(pair: Pair, contestant: Contestant) -> None:
    hello: dict[str, Any] = pair.ranks[0].hello
    contestant.version = f"{hello.get('version', 'unknown')} ({hello.get('build', 'unknown')})"
    contestant.wait = str(hello.get("wait", ""))


def _describe_pipe(pair: Pair, contestant: Contestant) -> None:
    contestant.version = f"Python {pair.ranks[0].hello['version']}"
    contestant.path = "copied through a socket pair"
    contestant.wait = "sleeps in read"


__all__ = [
    "MECHANISMS",
    "ContestantError",
    "Entrant",
    "Local",
    "adma_entrant",
    "adma_key",
    "entrants",
    "mpi_entrants",
    "pipe_entrant",
]
