# SPDX-License-Identifier: BSD-3-Clause
"""Runs a job on an MPI: mpiexec, its ranks, what they leave. What hangs is ended, with stacks."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RANK = Path(__file__).with_name("rank.py")
# Variables of whoever runs the tests, which would lead a rank to the wrong packages, or have it
# write a line in several pieces, between which other ranks write theirs.
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "PYTHONUNBUFFERED")
NEVER = "it did not come out of this test"
BEGIN_S = 60  # for all ranks to begin their first test, at least
GRACE_S = 5  # for mpiexec to end its ranks, and for what it leaves to end
STACKS_S = 30  # for ranks to print their stacks, however busy the machine is
PR_SET_CHILD_SUBREAPER = 36
CURRENT = "Current thread 0x"  # once in what a process prints of its stacks


@dataclass(frozen=True)
class Flavour:
    """An MPI, and how it is told to run more ranks than there are cores."""

    key: str
    environment: str  # `.venv-` and this
    options: tuple[str, ...]
    variables: dict[str, str] = field(default_factory=dict)
    #: Are the ranks on more than one node, as far as the MPI knows?
    spread: bool = False


# MPICH: "fork" starts the ranks directly, with no ssh and no name to resolve.
_FORK = ("-launcher", "fork")
# Open MPI: ranks that share a core yield to each other; spawned ones need slots, too.
_CROWDED = {
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    "OMPI_MCA_mpi_yield_when_idle": "true",
}
_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}

FLAVOURS = {
    each.key: each
    for each in (
        Flavour("mpich", "mpich", _FORK),
        Flavour("openmpi", "openmpi", (), {**_CROWDED, **(_ROOT if os.getuid() == 0 else {})}),
        # Ranks of even and of odd number are on different nodes, as far as MPICH knows.
        Flavour("cliques", "mpich", _FORK, {"MPIR_CVAR_ODD_EVEN_CLIQUES": "1"}, spread=True),
    )
}


@dataclass
class Ended:
    """How a job ended, and what its ranks left."""

    reports: list[dict[str, Any]]  # of each rank: see `report`
    outputs: list[str]  # of each rank
    words: str  # of mpiexec, and of ranks that had no number yet
    status: int | None  # None: it was ended, because it hung
    seconds: float


def run(
    flavour: Flavour, python: Path, ranks: int, job: dict[str, Any], path: str, limit: float
) -> Ended:
    """Start `ranks` ranks with this job, and wait for them."""
    # What loses its parent becomes a child of this process, and is found when the job is over.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # A short name: paths of Unix sockets end at 107 bytes.
    with tempfile.TemporaryDirectory(prefix="adma-mpi-") as name:
        directory = Path(name)
        (directory / "job.json").write_text(json.dumps(job))
        command = [
            python.with_name("mpiexec"),
            *flavour.options,
            "-n",
            str(ranks),
            python,
            RANK,
            directory,
        ]
        begin = time.monotonic()
        with open(directory / "mpiexec.out", "wb") as words:
            process = subprocess.Popen(
                [str(each) for each in command],
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                env=environment(flavour, directory, job, path),
                start_new_session=True,
            )
            status = wait(process, directory, ranks, limit)
        return Ended(
            [report(text(directory / f"rank-{rank}.log")) for rank in range(ranks)],
            [text(directory / f"rank-{rank}.out") for rank in range(ranks)],
            text(directory / "mpiexec.out"),
            status,
            time.monotonic() - begin,
        )


def environment(
    flavour: Flavour, directory: Path, job: dict[str, Any], path: str
) -> dict[str, str]:
    """All files that a rank makes without being asked go into the job's directory."""
    variables = {key: value for key, value in os.environ.items() if key not in FOREIGN}
    variables |= flavour.variables
    for key, name in (("TMPDIR", "tmp"), ("XDG_RUNTIME_DIR", "run"), ("XDG_CONFIG_HOME", "cfg")):
        (directory / name).mkdir(mode=0o700)
        variables[key] = str(directory / name)
    # The test of pools starts further processes, which look for its functions there.
    variables["PYTHONPATH"] = os.pathsep.join([*filter(None, [path]), f"{job['source']}/test"])
    variables["PYTHONDONTWRITEBYTECODE"] = "1"
    return variables


def wait(process: subprocess.Popen[bytes], directory: Path, ranks: int, limit: float) -> int | None:
    """mpiexec's exit status; None where no test began or ended for `limit` seconds.

    Nothing of it is left running.
    """
    try:
        status = progressing(process, directory, ranks, limit)
        if status is None:
            ask_for_stacks(process, directory)
        return status
    finally:
        if process.poll() is None:
            signalled(process.pid, signal.SIGTERM)
            still(process)
        if process.poll() is None:
            signalled(process.pid, signal.SIGKILL)
            process.wait()
        end_orphans()


def progressing(
    process: subprocess.Popen[bytes], directory: Path, ranks: int, limit: float
) -> int | None:
    """Wait until it ends, or until no rank has written about its tests for `limit` seconds."""
    written, since = [0] * ranks, time.monotonic()
    while time.monotonic() < since + (limit if all(written) else max(limit, BEGIN_S)):
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(1)
        logs = [directory / f"rank-{rank}.log" for rank in range(ranks)]
        sizes = [log.stat().st_size if log.exists() else 0 for log in logs]
        if sizes != written:
            written, since = sizes, time.monotonic()
    return None


def ask_for_stacks(process: subprocess.Popen[bytes], directory: Path) -> None:
    """Have all ranks print their stacks, and wait until they have."""
    asked = list(living(directory))
    for pid in asked:
        signalled(pid, signal.SIGUSR1)
    until, size = time.monotonic() + STACKS_S, -1
    while time.monotonic() < until and process.poll() is None:
        # A rank that has no number yet prints by mpiexec.
        words = "".join(text(file) for file in directory.glob("*.out"))
        before, size = size, len(words)
        if words.count(CURRENT) >= len(asked) and size == before:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)


def still(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)


def end_orphans() -> None:
    """Wait for all that mpiexec left behind, and kill what does not end by itself."""
    until = time.monotonic() + GRACE_S
    with contextlib.suppress(ChildProcessError):  # there is none any more
        while True:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid:
                continue
            if time.monotonic() > until:
                for child in children():
                    signalled(child, signal.SIGKILL)
            time.sleep(0.02)


def children() -> Iterator[int]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The fourth field, behind the name, which may hold anything but ends with the last ")".
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                yield int(stat.parent.name)


def living(directory: Path) -> Iterator[int]:
    """The ranks of this job that still run; a number may have gone to another process since."""
    for file in directory.glob("*.pid"):
        with contextlib.suppress(OSError):
            if str(directory).encode() in Path(f"/proc/{file.stem}/cmdline").read_bytes():
                yield int(file.stem)


def signalled(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def report(log: str) -> dict[str, Any]:
    """What a rank has written, as far as it got. A test that it did not come out of has failed."""
    found: dict[str, Any] = {"tests": {}, "stats": {}, "ended": False}
    for line in log.splitlines(keepends=True):
        if not line.endswith("\n"):
            break  # it ended in the middle of it
        note = json.loads(line)
        if "stats" in note:
            found |= {"stats": note["stats"], "ended": True}
        elif "begin" in note:
            found["tests"][note["begin"]] = {"state": "failed", "text": NEVER, "carried": 0}
        else:
            found["tests"][note.pop("test")] = note
    return found


def text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
