# SPDX-License-Identifier: BSD-3-Clause
"""``adma bench --bars``: that every section runs, and that each bar is told with its verdict.

Nothing here asserts on how fast anything is.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numpy")

from adma.bench import allbars, bare, bars, forms, mpi, schema
from adma.bench.allbars import SECTIONS
from adma.bench.pair import ContestantError
from adma.bench.progress import Progress
from adma.cli import build_parser
from adma.testing.limits import SLOWNESS

#: What each section is about: words of its bars.
WORDS = {
    "messages beside mpi4py and Pipe": ("8 bytes, plain calls", "window of 64 x 8K", "1024"),
    "programs of mpi4py": ("MPI program: 4M", "on 2 cores", "ANY_SOURCE", "idle rank"),
    "Python above the core": ("Python above the core",),
    "auto against the best forced mechanism": ("auto against the best forced",),
    "offsets within a page": ("the worst offset",),
    "processor time while waiting": ("processor time of both",),
    "overlap": ("both compute, with a core free", "hot, 1 queue: overlap"),
    "bandwidth of icopy": ("share of the bandwidth",),
    "polls of many endpoints": ("a poll",),
    "cache walk after a copy": ("walk after",),
    "death of a peer": ("peer killed in read",),
    "idle channels": ("idle channel: memory", "idle channel: descriptors"),
}
ONE = """
import sys
from adma.bench import allbars
from adma.cli import main
allbars.SECTIONS = {sys.argv[1]: allbars.SECTIONS[sys.argv[1]]}
sys.exit(main(["bench", "--bars", "--quick", "--json", sys.argv[2]]))
"""


#: Those that compare with loops in C.
COMPILED = {"Python above the core", "bandwidth of icopy"}
#: Those that need an MPI: test_ranks.py has them.
OF_RANKS = {"programs of mpi4py"}


def run(title: str, path: Path) -> Any:
    """One section in a process of its own, without any MPI."""
    gone = {flavour.variable for flavour in mpi.FLAVOURS}
    environment = {name: value for name, value in os.environ.items() if name not in gone}
    return subprocess.run(
        [sys.executable, "-c", ONE, title, str(path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100 * SLOWNESS,
    )


def test_all_sections_are_tried() -> None:
    assert set(WORDS) == set(SECTIONS)


@pytest.mark.parametrize("title", [each for each in SECTIONS if each not in OF_RANKS])
def test_a_section_measures_and_judges(title: str, tmp_path: Path) -> None:
    if title in COMPILED and not any(map(shutil.which, bare.COMPILERS)):
        pytest.skip("there is no C compiler here")
    done = run(title, tmp_path / "bars.json")
    assert done.returncode == 0, done.stdout + done.stderr
    stored = schema.load(tmp_path / "bars.json")
    *found, loan = stored.verdicts
    assert not loan.built
    whats = "\n".join(each.what for each in found)
    for words in WORDS[title]:
        assert words in whats
    assert title not in [each.what for each in found], found
    measured = [each for each in found if each.held is not None]
    assert measured
    for each in measured:
        assert each.low is not None
        assert each.high is not None
        assert each.measured is not None
        assert each.low <= each.measured <= each.high
    for each in found:
        assert each.held is not None or each.why
        assert each.what in done.stdout
    assert f"# Bars on {stored.machine['cpu']}, " in done.stdout
    assert "A quick run" in done.stdout
    assert re.search(r"^a loan of any size.* not built: ", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    "error", [ContestantError("not here"), OSError("not here"), RuntimeError("not here")]
)
def test_a_section_that_fails_is_told_and_the_others_go_on(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: allbars.Run) -> list[schema.Verdict]:
        raise error

    def work(run: allbars.Run) -> list[schema.Verdict]:
        return [bars.limit("it works", [1.0, 1.0], 2.0)]

    monkeypatch.setattr(allbars, "SECTIONS", {"it fails": fail, "it works": work})
    report = allbars.measure(Progress(quiet=True), quick=True)
    failed, worked, loan = report.verdicts
    assert (failed.what, failed.held, failed.why) == ("it fails", None, "not here")
    assert worked.held is True
    assert (loan.built, loan.held) == (False, None)
    printed = allbars.text(report)
    assert "not measured: not here" in printed
    assert "not built: regions and loans" in printed


def test_the_worst_offset_is_set_against_the_best() -> None:
    made = schema.Report("bars")
    entered = [allbars._at(offset).contestant for offset in (0, 16, 64)]
    for contestant, us in zip(entered, (2.0, 6.0, 3.0), strict=True):
        made.series.append(schema.Series(contestant.key, forms.LATENCY, "us", [us] * 3, 4096))
    found = allbars._offset_verdict(made, 4096, entered)
    assert (found.measured, found.held) == (3.0, False)
    assert (found.ours, found.against) == ("16 bytes apart", "0 bytes apart")
    assert allbars._offset_verdict(made, 8, entered).why == "not in this run"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["bench"], "EXPERIMENT"),
        (["bench", "--quick"], "EXPERIMENT"),
        (["bench", "--bars", "copy"], "no part of an experiment"),
        (["bench", "--json", "x", "copy"], "behind its name"),
        (["bench", "--quick", "copy"], "behind its name"),
    ],
)
def test_bars_and_experiments_are_not_mixed(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = build_parser().parse_args(arguments)
    with pytest.raises(SystemExit):
        options.run(options)
    assert named in capsys.readouterr().err
