# SPDX-License-Identifier: BSD-3-Clause
"""What runs mpi4py's tests finds what is wrong: on an MPI and with tests that are made up.

The made-up mpiexec starts its ranks and waits for them. The made-up mpi4py has no messages; the
made-up adma counts as many as its environment says.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

SUITE = Path(__file__).resolve().parents[1] / "mpi" / "mpi4py_suite.py"

MPIEXEC = """\
    #!{python}
    import os, subprocess, sys
    count = sys.argv.index("-n")
    ranks = [
        subprocess.Popen(sys.argv[count + 2 :], env={{**os.environ, "RANK": str(rank)}})
        for rank in range(int(sys.argv[count + 1]))
    ]
    sys.exit(max([abs(rank.wait()) for rank in ranks]))
"""

NAMESPACE = """\
    import os

    class Comm:
        def Get_rank(self):
            return int(os.environ["RANK"])

        def Get_size(self):
            return 2

        def Dup(self):
            return Comm()

        def Split(self, color, key):
            return Comm()

        def Free(self):
            pass

    COMM_WORLD = Comm()
    NAME = __name__
"""

STATS = """\
    import os

    sent = -1

    def stats():
        global sent
        sent += 1
        return {"carried": sent * int(os.environ["CARRIED"]), "by_mpi": sent}
"""


class Place:
    """A folder with an environment of an MPI, a namespace, and mpi4py's tests."""

    def __init__(self, top: Path) -> None:
        self.top = top
        python = os.path.realpath(sys.executable)
        self.write("mpi4py/__init__.py", "")
        self.write("mpi4py/MPI.py", NAMESPACE)
        self.write("adma/__init__.py", "")
        self.write("adma/MPI.py", NAMESPACE)
        self.write("adma/mpi.py", STATS)
        mpiexec = self.write(".venv-mpich/bin/mpiexec", MPIEXEC.format(python=python))
        mpiexec.chmod(0o755)
        mpiexec.with_name("python").symlink_to(python)

    def write(self, name: str, text: str) -> Path:
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
        return path

    def run(
        self, test: str, *arguments: str, module: str = "test_msgzero", carried: int = 1
    ) -> subprocess.CompletedProcess[str]:
        """Run a module of tests with this text on two ranks."""
        self.write(f"source/test/{module}.py", test)
        command = [sys.executable, SUITE, "--source", self.top / "source", "--path", self.top]
        command += ["--environments", self.top, "--mpi", "mpich", "--ranks", "2", "--only", module]
        return subprocess.run(
            [*command, *arguments],
            env={**os.environ, "CARRIED": str(carried)},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


ANY = """\
    import unittest
    from mpi4py import MPI

    class TestAny(unittest.TestCase):
        def test_it(self):
            {body}
"""


def case(*lines: str) -> str:
    return dedent(ANY).format(body="\n        ".join(lines))


def test_one_that_passes(place: Place) -> None:
    done = place.run(case("pass"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "over adma.MPI: 1 passed, 0 skipped" in done.stdout


@pytest.mark.parametrize(
    "statement",
    [
        "from mpi4py import MPI; self.assertEqual(MPI.NAME, 'adma.MPI')",
        "import mpi4py; self.assertEqual(mpi4py.MPI.NAME, 'adma.MPI')",
        "import mpi4py.MPI as other; self.assertEqual(other.NAME, 'adma.MPI')",
        "from mpi4py.MPI import NAME; self.assertEqual(NAME, 'adma.MPI')",
        "import sys, mpi4py.MPI; self.assertEqual(sys.modules['mpi4py.MPI'].NAME, 'mpi4py.MPI')",
    ],
)
def test_whatever_imports_it_gets_the_namespace(place: Place, statement: str) -> None:
    done = place.run(case(statement))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_failure_on_one_rank_is_one(place: Place) -> None:
    done = place.run(case("if MPI.COMM_WORLD.Get_rank() == 1:", "    self.fail('not here')"))
    assert done.returncode == 1
    assert "FAILED: mpich    2 test_msgzero: TestAny.test_it" in done.stdout
    assert "[rank 1] AssertionError: not here" in done.stdout
    assert "[rank 0] AssertionError" not in done.stdout


def test_what_hangs_is_ended_with_stacks(place: Place) -> None:
    done = place.run(case("while True: pass"), "--limit", "1")
    assert done.returncode == 1
    assert "it hung: see the stacks" in done.stdout
    assert "FAILED: mpich    2 test_msgzero: TestAny.test_it" in done.stdout
    for rank in (0, 1):
        lines = [line for line in done.stdout.splitlines() if f"[rank {rank}]" in line]
        assert any(line.endswith(" in test_it") for line in lines), done.stdout


def test_a_rank_that_dies_is_a_failure(place: Place) -> None:
    done = place.run(case("import os; os._exit(3)"))
    assert done.returncode == 1
    assert "mpiexec ended with status 3" in done.stdout
    assert "rank 0, 1 did not get to the end" in done.stdout


def test_no_message_carried_is_a_failure(place: Place) -> None:
    done = place.run(case("pass"), carried=0)
    assert done.returncode == 1
    assert "adma carried no message" in done.stdout


def test_a_module_that_sends_nothing_may_carry_none(place: Place) -> None:
    done = place.run(case("pass"), module="test_request", carried=0)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_plain_namespace_is_not_asked_for_counts(place: Place) -> None:
    done = place.run(case("pass"), "--namespace", "mpi4py.MPI", carried=0)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "messages" not in done.stdout


def test_what_is_skipped_is_named_with_its_reason(place: Place) -> None:
    done = place.run(case("self.skipTest('of no use')") + "\n    def test_other(self): pass\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mpich test_msgzero (2 ranks): of no use: TestAny.test_it" in done.stdout


def test_a_module_that_cannot_be_imported_is_a_failure(place: Place) -> None:
    done = place.run("raise ValueError('no')")
    assert done.returncode == 1
    assert "[rank 0] ValueError: no" in done.stdout


def test_classes_over_the_world_get_communicators_of_their_own(place: Place) -> None:
    module = """\
        import unittest
        from mpi4py import MPI

        class TestWorld(unittest.TestCase):
            COMM = MPI.COMM_WORLD

            def test_it(self):
                world = type(self).__name__ == "TestWorld"
                self.assertEqual(self.COMM is MPI.COMM_WORLD, world)
    """
    done = place.run(dedent(module))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout  # the world, its duplicate, and its ranks in reverse
