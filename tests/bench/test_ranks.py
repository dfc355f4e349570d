# SPDX-License-Identifier: BSD-3-Clause
"""``adma bench mpi``: what it compares, what it starts, and that it says what is missing.

Nothing here asserts on how fast anything is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numpy")

from adma.bench import forms, mpi, ranks, ranks_job, schema
from adma.bench.contestants import Entrant
from adma.bench.pair import Pair, Program
from adma.bench.session import Session, private_directory
from adma.testing.limits import SLOWNESS

PRESENT = [flavour for flavour in mpi.FLAVOURS if os.environ.get(flavour.variable)]
RANK = """
import os, sys
from adma.bench.control import Line
rank, line = int(sys.argv[1]), Line.dial(sys.argv[2])
line.send({"rank": rank, "pid": os.getpid(), "cores": sorted(os.sched_getaffinity(0))})
while line.receive()["op"] != "exit":
    line.send({"rank": rank})
"""


def adma(*arguments: str, mpis: bool = False) -> Any:
    """Run `adma bench mpi` to its end, without any MPI unless asked for."""
    environment = dict(os.environ)
    if not mpis:
        for flavour in mpi.FLAVOURS:
            environment.pop(flavour.variable, None)
    return subprocess.run(
        [sys.executable, "-m", "adma", "bench", "mpi", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100 * SLOWNESS,
    )


def test_without_an_mpi_it_says_how_to_get_one() -> None:
    done = adma("--quick")
    assert done.returncode == 1
    for flavour in mpi.FLAVOURS:
        assert f"{flavour.variable} is not set" in done.stdout
    assert "pip install mpi4py" in done.stdout
    assert "not measured: adma:mpich was not measured" in done.stdout
    assert "Traceback" not in done.stderr


def test_options_of_the_bars_are_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "adma", "bench", "--bars", "mpi"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "--bars is no part of an experiment" in done.stderr


@pytest.mark.skipif(not PRESENT, reason="neither ADMA_PEER_MPICH nor ADMA_PEER_OPENMPI is set")
def test_both_imports_are_measured_in_one_job(tmp_path: Path) -> None:
    done = adma("--quick", "--json", str(tmp_path / "mpi.json"), mpis=True)
    assert done.returncode == 0, done.stdout + done.stderr
    stored = schema.load(tmp_path / "mpi.json")
    for flavour in PRESENT:
        for key in (ranks_job.ours(flavour), ranks_job.theirs(flavour)):
            measured = {each.metric for each in stored.series if each.contestant == key}
            assert {forms.LATENCY, forms.WINDOW, ranks.ANYBODY, ranks.STEP, ranks.SPENT} < measured
            assert ranks.IDLE in measured
        whats = [each.what for each in stored.verdicts if each.ours == ranks_job.ours(flavour)]
        assert any("ANY_SOURCE" in what for what in whats)
    for each in stored.verdicts:
        assert each.held is not None or "quick" in each.what


def test_a_contestant_may_have_more_than_two_processes() -> None:
    def programs(control: Path) -> Sequence[Program]:
        base = [sys.executable, "-c", RANK]
        return [Program([*base, str(rank), str(control)], dict(os.environ)) for rank in range(3)]

    def make(directory: Path) -> Pair:
        return Pair("three", directory, programs, size=3)

    entrant = Entrant(schema.Contestant("three", "three"), make, "three")
    with Session([entrant]) as session:
        assert session.ask_both(entrant, {"op": "run"}) == [{"rank": rank} for rank in range(3)]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is only one core")
def test_the_ranks_of_a_job_can_be_kept_to_a_few_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    def programs(flavour: mpi.Flavour, control: Path, *_: Any) -> Sequence[Program]:
        return [Program([sys.executable, "-c", RANK, "0", str(control)], dict(os.environ))]

    monkeypatch.setattr(mpi.Flavour, "programs", programs)
    allowed = os.sched_getaffinity(0)
    with private_directory() as directory:
        with ranks_job.Job(mpi.FLAVOURS[0], ranks=1, cores=1)(directory) as pair:
            pair.start()
            assert pair.ranks[0].hello["cores"] == sorted(allowed)[:1]
        assert os.sched_getaffinity(0) == allowed


def test_a_job_imports_this_adma_and_nothing_else_of_this_environment() -> None:
    with private_directory() as directory:
        job = ranks_job.Job(mpi.FLAVOURS[0])
        job(directory)
        job(directory)  # of another number of ranks, say
        (made,) = (directory / "packages").iterdir()
        assert (made / "bench" / "ranks_worker.py").samefile(ranks_job.WORKER)


def test_a_bar_compares_with_the_better_import_of_mpi4py() -> None:
    report = schema.Report("mpi", settings={"quick": False, "rounds": 3})
    times = {"mpi4py:mpich": 2.0, "mpi4py:openmpi": 1.0, "adma:mpich": 0.9, "adma:openmpi": 1.5}
    for key, time in times.items():
        report.contestants.append(schema.Contestant(key, key))
        report.series.append(schema.Series(key, forms.LATENCY, "us", [time] * 3, 8))
    report.verdicts = ranks.verdicts(report)
    found = {each.ours: each for each in report.verdicts if each.what == "8"}
    assert {key: each.against for key, each in found.items()} == {
        "adma:mpich": "mpi4py:openmpi",
        "adma:openmpi": "mpi4py:openmpi",
    }
    assert (found["adma:mpich"].measured, found["adma:mpich"].held) == (0.9, True)
    assert (found["adma:openmpi"].measured, found["adma:openmpi"].held) == (1.5, False)
    assert "not in this run" in ranks.text(report)
