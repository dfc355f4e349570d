# SPDX-License-Identifier: BSD-3-Clause
"""A job of ``adma bench mpi``: ranks on one MPI that have both imports, and its contestants."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import adma
from adma.bench import forms, mpi
from adma.bench.contestants import Entrant
from adma.bench.pair import Pair, Program
from adma.bench.schema import Contestant

WORKER = Path(__file__).with_name("ranks_worker.py")


def ours(flavour: mpi.Flavour) -> str:
    """The key of adma's import on an MPI."""
    return f"adma:{flavour.key}"


def theirs(flavour: mpi.Flavour) -> str:
    """The key of mpi4py's own import on an MPI."""
    return f"mpi4py:{flavour.key}"


def pkl5(flavour: mpi.Flavour) -> str:
    """The key of mpi4py's module for pickles with large buffers out of band."""
    return f"{theirs(flavour)}:pkl5"


@dataclass(frozen=True)
class Job:
    """A job on one MPI: how many ranks, and on how many cores at most; 0 means all."""

    flavour: mpi.Flavour
    ranks: int = 2
    cores: int = 0

    def __call__(self, directory: Path) -> Pair:
        packages = _packages(directory)

        def programs(control: Path) -> Sequence[Program]:
            # Paths of sockets below this directory, so that those of a rank that fails go, too.
            variables = {"PYTHONPATH": str(packages), "XDG_RUNTIME_DIR": str(directory)}
            return self.flavour.programs(control, WORKER, (), self.ranks, variables)

        return _Confined(self.flavour.key, directory, programs, self.ranks, self.cores)

    def entrants(self, of: str = "plain") -> list[Entrant]:
        """Both imports in a form of traffic."""
        return [
            Entrant(
                self.contestant(by),
                self,
                self.flavour.key,
                "object" if of == "objects" else of,
                describe=self.flavour.describe if by == "plain" else self._describe,
                form=of,
                more={"by": by},
            )
            for by in ("plain", "adma")
        ]

    def by_pkl5(self) -> Entrant:
        """mpi4py's module for pickles, for an array."""
        plain, _ = self.entrants("objects")
        contestant = Contestant(
            pkl5(self.flavour),
            f"{self.flavour.title} pkl5",
            library=plain.contestant.library,
            peer=True,
            partial=True,
        )
        array = frozenset((forms.object_metric("array"),))
        return replace(plain, contestant=contestant, mode="pkl5", metrics=array)

    def contestant(self, by: str) -> Contestant:
        """An import on this MPI."""
        title = self.flavour.title
        if by == "plain":
            key, library = theirs(self.flavour), f"mpi4py on {title}"
            return Contestant(key, title, library=library, peer=True)
        return Contestant(ours(self.flavour), f"adma on {title}", library=f"adma on {title}")

    def _describe(self, pair: Pair, contestant: Contestant) -> None:
        hello = pair.ranks[0].hello
        contestant.version = f"{hello['version']} ({hello['build']})"
        contestant.wait = str(hello["wait"])


class _Confined(Pair):
    """The processes of a job, all on the first few of the cores that this process may use."""

    def __init__(
        self,
        key: str,
        directory: Path,
        make: Callable[[Path], Sequence[Program]],
        size: int,
        cores: int,
    ) -> None:
        super().__init__(key, directory, make, size)
        self._cores = cores

    def start(self, *timeout: float) -> None:
        with _only(self._cores):
            super().start(*timeout)


@contextlib.contextmanager
def _only(cores: int) -> Iterator[None]:
    """What is started meanwhile may use so many cores; 0 means all that this process may."""
    allowed = os.sched_getaffinity(0)
    if cores:
        os.sched_setaffinity(0, sorted(allowed)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _packages(directory: Path) -> Path:
    """A directory to import this adma from, and nothing else: the MPI has packages of its own."""
    made = directory / "packages"
    made.mkdir(exist_ok=True)
    link = made / "adma"
    if not link.is_symlink():
        link.symlink_to(Path(adma.__file__).parent)
    return made
