# SPDX-License-Identifier: BSD-3-Clause
"""Programs that others have written for mpi4py, as they are on PyPI, over adma's communicators.

In each of them a worker is killed in one test: the master gets an exception, and ends by Abort.
How late it is told is printed, and fails nothing.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jobs import KILLED, MPICH_FIRST, OUTLIVES, ROOT, run

pytestmark = pytest.mark.alone
CLIENTS = Path(__file__).parent / "clients"
PACKAGES = ROOT / "build" / "clients"
#: What each prints when it has worked.
WORKS = {
    "pool": r"\(60, 16, 2\), sent by adma: ([1-9]\d*)\n",
    "ensemble": r"\d+ simulations, sent by adma: ([1-9]\d*)\n",
}
PROGRAMS = pytest.mark.parametrize("name", WORKS)


def client(mpi: str, name: str, how: str, directory: Path, **more: object) -> str:
    packages = PACKAGES / name
    if not (packages / "ready").exists():
        pytest.skip(f"{packages} is not there: make test-mpi makes it")
    program = CLIENTS / f"{name}.py"
    return run(mpi, 4, program, how, directory, packages=(packages,), **more)  # type: ignore[arg-type]


@MPICH_FIRST
@PROGRAMS
def test_it_works(mpi: str, name: str, tmp_path: Path) -> None:
    assert re.fullmatch(WORKS[name], client(mpi, name, "works", tmp_path))


@MPICH_FIRST
@PROGRAMS
def test_a_worker_is_killed(
    mpi: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    below = OUTLIVES if mpi == "mpich" else ()
    any_status = tuple(range(256))  # with the shell, MPICH's launcher does not see the Abort's
    options = KILLED[mpi]
    output = client(mpi, name, "killed", tmp_path, options=options, status=any_status, below=below)
    told = tmp_path / "told"
    assert told.exists(), output
    words = told.read_text()
    with capsys.disabled():
        print(f"\n{name} on {mpi}: the master was told after {words.partition(':')[0]}")
    assert "ended while others wait" in words or "the peer is gone" in words
