# SPDX-License-Identifier: BSD-3-Clause
"""Runs a program of several ranks on an MPI, and returns what they print."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from launch import FLAVOURS, FOREIGN, Flavour

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "mpi"
LIMIT = 240.0
KILLED = {"mpich": ("-disable-auto-cleanup",), "openmpi": ("--continuous", "--with-ft", "ulfm")}
#: Those that MPICH's alone stand for have the other one in the whole test only.
MPIS = pytest.mark.parametrize("mpi", list(KILLED))
MPICH_FIRST = pytest.mark.parametrize(
    "mpi", ["mpich", pytest.param("openmpi", marks=pytest.mark.whole)]
)
# MPICH's launcher (5.0.2) often kills the other ranks all the same when it sees a signal's death.
# So a shell stands between, which ends well, and is not ended by the signal that tells of a death.
OUTLIVES = ("sh", "-c", 'trap : USR1; "$@"; exit 0', "rank")


def run(
    mpi: str | Flavour,
    ranks: int,
    *command: object,
    options: tuple[str, ...] = (),
    variables: dict[str, str] | None = None,
    status: tuple[int, ...] = (0,),
    aborts: bool = False,
    limit: float = LIMIT,
    below: tuple[str, ...] = (),
    above: tuple[str, ...] = (),
    packages: tuple[Path, ...] = (),
) -> str:
    """What ranks print that run a command of Python's. They must end with such a status.

    `above`: a command that runs mpiexec. `below`: one that runs each rank. `packages`: where the
    ranks find what they import, too.
    """
    flavour = FLAVOURS[mpi] if isinstance(mpi, str) else mpi
    python = ROOT / f".venv-{flavour.environment}" / "bin" / "python"
    with tempfile.TemporaryDirectory(prefix="adma-") as directory:
        environment = {key: value for key, value in os.environ.items() if key not in FOREIGN}
        environment |= flavour.variables | (variables or {})
        environment |= {
            "PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], *map(str, packages)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": directory,
            "XDG_RUNTIME_DIR": directory,
        }
        line = [
            *above,
            python.with_name("mpiexec"),
            *flavour.options,
            *options,
            "-n",
            ranks,
            *below,
            python,
            *command,
        ]
        process = subprocess.Popen(
            [str(each) for each in line],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=limit + 30)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert process.returncode in status, output
        if status == (0,) and not aborts:  # all ranks came to their end
            assert not list(Path(directory).glob("adma*/*.sock")), "a socket is left"
        return output
