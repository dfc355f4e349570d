# SPDX-License-Identifier: BSD-3-Clause
"""Programs of several ranks on each MPI: adma's own promises, examples, rewritten programs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from jobs import EXAMPLES, KILLED, LIMIT, MPICH_FIRST, MPIS, OUTLIVES, run

HERE = Path(__file__).parent
CASES = (
    "arguments",
    "numbers",
    "nobody",
    "freed",
    "strangers",
    "order",
    "object_order",
    "tags",
    "truncation",
    "unexpected",
    "anybody",
    "synchronous",
    "layouts",
    "twice",
    "mixed",
    "compiled",
    "compiled_objects",
    "flat",
    "timeouts",
    "cancelled",
    "dropped",
    "awaited",
    "halves",
    "interrupted",
    "unmade",
    "in_a_barrier",
    "sleeping",
    "threads",
    "arrivals",
    "buffered_by_threads",
    "first_meeting",
    "forked",
    "explained",
    "channels",
    "late_channel",
)
#: Those that take ranks of one machine.
OF_ONE_NODE = {
    "awaited",
    "cancelled",
    "compiled",
    "compiled_objects",
    "first_meeting",
    "forked",
    "late_channel",
    "sleeping",
}
ENDS = ("finalized", "just_ends", "buffered", "early", "ended")
LONG_ENDS = [("openmpi", name) for name in ("buffered", "early", "ended")]
WHOLE = pytest.mark.whole


@pytest.mark.parametrize(
    ("mpi", "ranks"),
    [
        ("mpich", 1),
        ("mpich", 2),
        ("mpich", 4),
        pytest.param("openmpi", 1, marks=WHOLE),
        ("openmpi", 2),
        pytest.param("openmpi", 4, marks=WHOLE),
    ],
)
def test_cases(mpi: str, ranks: int) -> None:
    """All that a rank by itself, or several of them, can rely on; one after the other."""
    output = run(mpi, ranks, HERE / "cases.py", ",".join(CASES), LIMIT)
    for name in CASES:
        assert output.split().count(name) == ranks


@pytest.mark.parametrize("ranks", [pytest.param(2, marks=WHOLE), 4])
def test_cases_between_nodes(ranks: int) -> None:
    """Ranks of even and of odd number are on different nodes, as far as MPICH knows."""
    names = [name for name in CASES if name not in OF_ONE_NODE]
    output = run("cliques", ranks, HERE / "cases.py", ",".join(names), LIMIT)
    for name in names:
        assert output.split().count(name) == ranks


@pytest.mark.parametrize(
    ("mpi", "name"),
    [
        pytest.param(mpi, name, marks=WHOLE if (mpi, name) in LONG_ENDS else ())
        for mpi in KILLED
        for name in ENDS
    ],
)
def test_ends(mpi: str, name: str) -> None:
    run(mpi, 3, HERE / "cases.py", name, LIMIT)


def one_is_killed(mpi: str, name: str, tmp_path: Path) -> None:
    """By options of the launchers the others live on: they are told, and go on with each other."""
    told = tmp_path / "told"
    output = run(
        mpi,
        3,
        HERE / "cases.py",
        name,
        LIMIT,
        options=KILLED[mpi],
        variables={"TOLD_AFTER": str(told)},
        status=(0, 9, 137),
        below=OUTLIVES if mpi == "mpich" else (),
    )
    assert told.exists(), output


@MPIS
@pytest.mark.parametrize("name", ["killed", "dead_to_tests"])
def test_a_rank_is_killed(mpi: str, name: str, tmp_path: Path) -> None:
    one_is_killed(mpi, name, tmp_path)


@MPICH_FIRST
def test_a_rank_is_killed_while_anybody_is_asked(mpi: str, tmp_path: Path) -> None:
    one_is_killed(mpi, "killed_while_asked", tmp_path)


@MPICH_FIRST
def test_examples(mpi: str) -> None:
    assert run(mpi, 4, EXAMPLES / "ring.py") == "the token has seen [0, 1, 2, 3]\n"
    assert run(mpi, 4, EXAMPLES / "farm.py") == "sum of squares: 2470\n"
    assert run(mpi, 4, EXAMPLES / "pipeline.py") == "sum over the blocks: 184.0\n"
    heat = run(mpi, 4, EXAMPLES / "halo.py")
    assert heat.startswith("heat in the rod: 749.380"), heat
    block = run(mpi, 4, EXAMPLES / "stencil.py", 8, 64, 64, 3)
    assert re.match(r"heat in the block: 1423\.665\n(\w+: .* ms a step, overlap .*\n){2}$", block)


@MPICH_FIRST
def test_the_kit_over_channels_of_ranks(mpi: str) -> None:
    """All of adma's conformance kit, but for the peer's death."""
    output = run(mpi, 2, HERE / "channel_ranks.py")
    assert re.search(r"^\d{3} passed in", output, re.MULTILINE), output


PROGRAM = """
import mpi4py
from mpi4py import MPI, get_config
import mpi4py.MPI as Again
from mpi4py.MPI import COMM_WORLD
import helper

assert MPI.__name__ == Again.__name__ == helper.MPI.__name__ == "adma.MPI"
assert mpi4py.MPI is MPI and COMM_WORLD is MPI.COMM_WORLD
assert callable(get_config) and __name__ == "__main__" and __file__.endswith("prog.py")
import sys
assert sys.modules["mpi4py.MPI"].__name__ == "mpi4py.MPI" and sys.argv[1:] == ["one", "two"]
comm = MPI.COMM_WORLD
if comm.rank:
    comm.send("sent", 0)
else:
    print(comm.recv(source=1))
"""


@MPICH_FIRST
def test_an_unchanged_program(mpi: str, tmp_path: Path) -> None:
    (tmp_path / "prog.py").write_text(PROGRAM)
    (tmp_path / "helper.py").write_text("from mpi4py import MPI\n")
    output = run(mpi, 2, "-m", "adma.mpi", tmp_path / "prog.py", "one", "two")
    assert output == "sent\n"
    assert not (tmp_path / "__pycache__").exists()


@MPICH_FIRST
def test_what_was_carried_is_told(mpi: str) -> None:
    output = run(mpi, 2, EXAMPLES / "ring.py", variables={"ADMA_MPI_STATS": "1"})
    for rank in (0, 1):
        assert f"adma.MPI: rank {rank}: messages sent: carried 1, by_mpi 0" in output


FATAL = """
from adma import MPI
comm = MPI.COMM_WORLD
comm.Set_errhandler(MPI.ERRORS_ARE_FATAL)
if comm.rank == 0:
    comm.Send(b"", 99)
comm.recv(source=0)
"""


@MPIS
def test_a_fatal_error_of_one_rank_ends_all(mpi: str) -> None:
    run(mpi, 3, "-c", FATAL, status=tuple(range(1, 256)))


KILLED_BEFORE = """
import os, socket
from pathlib import Path
directory = Path(os.environ["XDG_RUNTIME_DIR"], "adma")
directory.mkdir(mode=0o700)
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
    sock.bind(str(directory / "mpi-1-0.sock"))
from adma import MPI
print([each.name.split("-")[1] == str(os.getpid()) for each in directory.iterdir()])
"""


@MPICH_FIRST
def test_sockets_of_killed_ranks_are_removed_by_the_next_ones(mpi: str) -> None:
    assert run(mpi, 1, "-c", KILLED_BEFORE) == "[True]\n"


USERS = """
import os, sys
from mpi4py import MPI as theirs
from adma import mpi
rank = theirs.COMM_WORLD.rank
os.environ["XDG_RUNTIME_DIR"] = sys.argv[1 + rank]
os.setresuid(*[int(sys.argv[3]) + rank] * 3)
comm = mpi.wrap(theirs.COMM_WORLD)
print(comm.sendrecv("x", 1 - rank, source=1 - rank), mpi.stats(), flush=True)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes other users")
def test_ranks_of_different_users_use_mpi() -> None:
    first = 61_000  # whoever that is
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        os.chown(one, first, first)
        os.chown(two, first + 1, first + 1)
        output = run("mpich", 2, "-c", USERS, one, two, first)
    assert output.count("x {'carried': 0, 'by_mpi': 1}") == 2, output


def test_a_rank_that_does_not_come_is_named() -> None:
    """After 30 s, and after 3 s here."""
    text = (
        "from mpi4py import MPI as raw\n"
        "from adma.mpi import agreement\n"
        "agreement._PATIENCE = 3.0\n"
        "if raw.COMM_WORLD.rank != 1:\n"
        "    try:\n"
        "        from adma import MPI\n"
        "    except RuntimeError as error: print(error, flush=True)\n"
        "    raw.COMM_WORLD.Abort(0)\n"
        "raw.COMM_WORLD.recv(source=0, tag=99)\n"
    )
    output = run("mpich", 3, "-c", text, aborts=True)
    assert "ranks 1 of MPI_COMM_WORLD did not come within 3 s" in output, output


def test_without_mpi4py() -> None:
    """In an environment that does not have it."""
    found = subprocess.run(
        [sys.executable, "-c", "import adma\nfrom adma import MPI"], capture_output=True, text=True
    )
    assert found.returncode == 1
    assert "mpi4py" in found.stderr.splitlines()[-1]
