# SPDX-License-Identifier: BSD-3-Clause
"""The contestants: adma by each mechanism, ``multiprocessing.Pipe``, mpi4py on two MPIs."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adma.bench import mpi
from adma.bench.pair import ContestantError, Pair, Program
from adma.bench.schema import Contestant

MECHANISMS = ("auto", "dma", "mapped:helper", "mapped:cma", "shared", "loopback:tcp")


@dataclass
class Entrant:
    """A contestant and how to start it.

    Entrants of the same `pair` share its two processes and differ in `mode` only. `sizes`: those
    at which it takes part; None means all.
    """

    contestant: Contestant
    make: Callable[[Path], Pair]
    pair: str
    mode: str = "plain"
    sizes: frozenset[int] | None = None
    describe: Callable[[Pair, Contestant], None] | None = None

    @property
    def key(self) -> str:
        return self.contestant.key


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


def pipe_entrant() -> Entrant:
    contestant = Contestant("pipe", "Pipe", library="multiprocessing.Pipe", peer=True)
    return Entrant(contestant, Local("pipe", "pipe"), "pipe", describe=_describe_pipe)


def mpi_entrants(flavour: mpi.Flavour, persistent_at: Iterable[int] = (8,)) -> list[Entrant]:
    """mpi4py on one MPI: plain calls at every size, persistent requests at a few."""

    def make(directory: Path) -> Pair:
        return Pair(flavour.key, directory, flavour.programs)

    def entrant(mode: str, suffix: str, sizes: frozenset[int] | None) -> Entrant:
        contestant = Contestant(
            flavour.key + suffix.replace(" ", ":"),
            flavour.title + suffix,
            library=f"mpi4py on {flavour.title}",
            peer=True,
            partial=sizes is not None,
        )
        return Entrant(contestant, make, flavour.key, mode, sizes, flavour.describe)

    persistent = entrant("persistent", " persistent", frozenset(persistent_at))
    return [entrant("plain", "", None), persistent]


def entrants(mechanism: str, peers: bool) -> list[Entrant]:
    """The entrants of ``adma pingpong``. Raises ValueError for an unknown mechanism."""
    if mechanism != "all" and mechanism not in MECHANISMS:
        known = ", ".join(("all", *MECHANISMS))
        raise ValueError(f"mechanism {mechanism!r}: is unknown; choose one of {known}")
    chosen = MECHANISMS if mechanism == "all" else (mechanism,)
    found = [adma_entrant(each) for each in chosen]
    if peers:
        found.append(pipe_entrant())
        for flavour in mpi.FLAVOURS:
            found.extend(mpi_entrants(flavour))
    return found


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
