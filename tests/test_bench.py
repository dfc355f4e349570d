# SPDX-License-Identifier: BSD-3-Clause
"""The benchmark harness: figures, reports, and pairs of processes that leave nothing behind.

Nothing here asserts on how fast anything is.
"""

from __future__ import annotations

import ast
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from adma.bench import bars, figures, mpi, plot, schema, table
from adma.bench.contestants import (
    Entrant,
    Local,
    adma_entrant,
    entrants,
    mpi_entrants,
    pipe_entrant,
)
from adma.bench.pair import ContestantError, Pair, Program
from adma.bench.session import METRIC, Plan, Session, private_directory
from adma.bench.sizes import format_size, parse_size, parse_sizes
from support.limits import SLOWNESS

QUICK = Plan(rounds=3, iterations=2)


# ---- figures ----


def test_quantiles_interpolate() -> None:
    assert figures.median([3.0, 1.0, 2.0]) == 2.0
    assert figures.median([4.0, 1.0, 2.0, 3.0]) == 2.5
    assert figures.quantile([0.0, 10.0], 0.1) == pytest.approx(1.0)
    assert figures.quantile([7.0], 0.9) == 7.0


@pytest.mark.parametrize(("values", "q"), [([], 0.5), ([1.0], 1.5), ([1.0], -0.1)])
def test_quantiles_of_nothing_or_beyond_are_refused(values: list[float], q: float) -> None:
    with pytest.raises(ValueError, match=r"values|q:"):
        figures.quantile(values, q)


def test_paired_ratio_cancels_what_both_sides_suffer() -> None:
    drift = [1.0, 5.0, 2.0, 9.0, 1.5, 3.0, 7.0]
    ratio = figures.paired_ratio([0.5 * d for d in drift], drift)
    assert (ratio.low, ratio.median, ratio.high) == (0.5, 0.5, 0.5)
    assert ratio.count == len(drift)
    assert ratio.holds(0.5)
    assert not ratio.holds(0.49)


def test_interval_is_the_same_every_time_and_holds_the_median() -> None:
    ours = [1.0, 1.3, 0.8, 1.1, 0.9, 2.0, 0.7, 1.2, 1.0]
    theirs = [1.0] * len(ours)
    first, second = (figures.paired_ratio(ours, theirs) for _ in range(2))
    assert first == second
    assert 0.7 <= first.low <= first.median <= first.high <= 2.0
    assert first.low < first.high


def test_ratio_uses_the_rounds_that_both_have() -> None:
    assert figures.paired_ratio([1.0, 2.0, 3.0], [1.0]).count == 1
    with pytest.raises(ValueError, match="share no round"):
        figures.paired_ratio([], [1.0])


# ---- sizes ----


def test_default_sizes_hold_those_that_bars_are_stated_for() -> None:
    sizes = parse_sizes("8:16M")
    assert sizes[0] == 8
    assert sizes == sorted(sizes)
    assert {bar.size for bar in bars.PINGPONG} <= set(sizes)


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("64", [64]),
        ("1M,8,8", [8, 1 << 20]),
        ("1K:4K:2", [1024, 2048, 4096]),
        ("5:64", [5, 16, 64]),
        ("8:8", [8]),
    ],
)
def test_sizes(text: str, sizes: list[int]) -> None:
    assert parse_sizes(text) == sizes


@pytest.mark.parametrize("text", ["", "x", "0", "-8", "8:4", "1:2:3:4", "1:8:1", "1:8:x", "4T"])
def test_sizes_that_make_no_sense_are_named(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_sizes(text)


@pytest.mark.parametrize("size", [1, 8, 1023, 1024, 1536, 1 << 20, (1 << 30) + 1])
def test_formatted_sizes_are_exact(size: int) -> None:
    assert parse_size(format_size(size)) == size


# ---- reports ----


def report(**values: list[float]) -> schema.Report:
    """A report with one series at 1 MiB per keyword."""
    made = schema.Report("pingpong", settings={"rounds": 3})
    for key, samples in values.items():
        made.contestants.append(schema.Contestant(key, key, peer=key in ("mpich", "openmpi")))
        made.series.append(schema.Series(key, METRIC, "us", samples, 1 << 20, 4))
    return made


def test_report_survives_being_stored(tmp_path: Path) -> None:
    made = report(adma=[1.0, 2.0], mpich=[3.0, 4.0])
    made.verdicts = bars.judge(made, bars.PINGPONG)
    path = tmp_path / "report.json"
    made.save(path)
    assert schema.load(path) == made
    stored = json.loads(path.read_text())
    assert stored["schema"] == "adma-bench/1"
    assert stored["samples"][0]["values"] == [1.0, 2.0]
    assert stored["figures"]["summaries"][0]["median"] == 1.5


def change(data: dict[str, Any], path: str, value: Any) -> None:
    """Set a field named by a dotted path; None removes it."""
    *parents, last = path.split(".")
    at: Any = data
    for name in parents:
        at = at[int(name)] if name.isdecimal() else at[name]
    if value is None:
        del at[last]
    else:
        at[last] = value


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("schema", "adma-bench/2", "schema"),
        ("samples", None, "samples"),
        ("machine", [], "machine"),
        ("machine.cpu", None, "machine.cpu"),
        ("contestants.0.key", "mpich", "contestants"),
        ("contestants.0.colour", "red", "colour"),
        ("contestants.0.title", None, "title"),
        ("samples.0.contestant", "nobody", "nobody"),
        ("samples.0.size", -1, "size"),
        ("samples.0.values", 3, "values"),
        ("samples.0.values", ["1"], "values"),
        ("samples.0.values", [float("nan")], "values"),
        ("samples.0.contestant", "mpich", "second series"),
    ],
)
def test_what_is_no_report_is_refused_by_name(path: str, value: Any, named: str) -> None:
    data = json.loads(report(adma=[1.0], mpich=[2.0]).to_json())
    change(data, path, value)
    with pytest.raises(ValueError, match=named):
        schema.from_dict(data)


@pytest.mark.parametrize("text", ["", "[", "[]", "3", "\xff"])
def test_a_file_that_is_no_report_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"odd\.json"):
        schema.load(path)


# ---- bars ----


def verdict(made: schema.Report) -> schema.Verdict:
    return next(v for v in bars.judge(made, bars.PINGPONG) if v.what == "1M")


def test_a_bar_is_judged_against_the_better_peer() -> None:
    found = verdict(report(adma=[1.0] * 5, mpich=[3.0] * 5, openmpi=[2.0] * 5))
    assert found.against == "openmpi"
    assert found.measured == 0.5
    assert found.held is True


def test_a_bar_is_not_held_when_the_interval_reaches_over_it() -> None:
    found = verdict(report(adma=[1.0, 3.0, 1.0], mpich=[2.0] * 3))
    assert found.measured == 0.5
    assert found.held is False
    assert "openmpi" in found.why


def test_a_bar_without_contestants_says_so() -> None:
    assert "adma was not measured" in verdict(report(mpich=[1.0])).why
    lonely = verdict(report(adma=[1.0]))
    assert lonely.held is None
    assert "mpich, openmpi" in lonely.why


# ---- pairs and sessions ----


def test_pipe_is_measured_round_by_round() -> None:
    with Session([pipe_entrant()]) as session:
        series = session.measure([8, 70_000], QUICK)
    assert [(each.size, len(each.values), each.iterations) for each in series] == [
        (8, 3, 2),
        (70_000, 3, 2),
    ]
    assert all(value > 0 for each in series for value in each.values)


def test_iterations_fill_a_round_unless_given() -> None:
    with Session([pipe_entrant()]) as session:
        (series,) = session.measure([8], Plan(rounds=1, round_time=0.002, most=50))
    assert 2 <= series.iterations <= 50


@pytest.mark.parametrize("mechanism", ["auto", "shared", "mapped:cma", "loopback:tcp"])
def test_adma_is_measured_or_says_why_not(mechanism: str) -> None:
    with Session([adma_entrant(mechanism)]) as session:
        series = session.measure([1, 100_000], QUICK)
        (entrant,) = session.entrants
    if entrant.contestant.measured:
        assert [len(each.values) for each in series] == [3, 3]
    else:
        assert mechanism in entrant.contestant.why


def scripted(text: str, key: str = "scripted") -> Entrant:
    """A contestant whose two processes run the given Python, with `line` and `rank` at hand."""
    preface = (
        "import os, sys; from adma.bench.control import Line;"
        "rank = int(sys.argv[1]); line = Line.dial(sys.argv[2]);"
        "hello = lambda **more: line.send({'rank': rank, 'pid': os.getpid(), **more});"
    )

    def programs(control: Path) -> Sequence[Program]:
        base = [sys.executable, "-c", preface + text]
        return [Program([*base, str(rank), str(control)], dict(os.environ)) for rank in (0, 1)]

    contestant = schema.Contestant(key, key)
    return Entrant(contestant, lambda directory: Pair(key, directory, programs), key)


FAILURES = {
    "it ends before it calls": ("os._exit(3)", "gone|ended"),
    "it says why it cannot": ("hello(error='no such thing')", "no such thing"),
    "it talks rubbish": ("hello(); line.receive(); line.sock.sendall(b'rubbish\\n')", "Expecting"),
    "it dies in a round": ("hello(); line.receive(); os._exit(1)", "gone"),
    "its last words are kept": ("print('last words', flush=True); os._exit(1)", "last words"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_contestant_that_fails_does_not_stop_the_others(name: str) -> None:
    text, cause = FAILURES[name]
    failing = scripted(text)
    with Session([failing, pipe_entrant()]) as session:
        series = session.measure([8], QUICK)
        assert [entrant.key for entrant in session.running] == ["pipe"]
    assert [each.contestant for each in series] == ["pipe"]
    assert not failing.contestant.measured
    assert any(word in failing.contestant.why for word in cause.split("|"))
    assert failing.contestant.title in table.cast([failing.contestant])


def test_a_silent_contestant_is_ended_after_the_timeout() -> None:
    entrant = scripted("hello(); line.receive(); import signal; signal.pause()")
    with private_directory() as directory, entrant.make(directory) as pair:
        pair.start()
        with pytest.raises(ContestantError, match="no answer within"):
            pair.ask({"op": "run"}, timeout=0.2)


def test_one_that_never_calls_back_is_ended_after_the_timeout() -> None:
    entrant = scripted("import signal; signal.pause()")
    with (
        private_directory() as directory,
        entrant.make(directory) as pair,
        pytest.raises(ContestantError, match=r"call back|timed out"),
    ):
        pair.start(timeout=0.5)


def test_a_program_that_is_missing_is_named() -> None:
    def programs(control: Path) -> Sequence[Program]:
        del control
        return [Program(["/nonexistent/python"], {})]

    with (
        private_directory() as directory,
        Pair("missing", directory, programs) as pair,
        pytest.raises(ContestantError, match="/nonexistent/python"),
    ):
        pair.start()


def test_an_error_in_the_driver_leaves_nothing() -> None:
    with pytest.raises(KeyboardInterrupt), Session([pipe_entrant()]):
        raise KeyboardInterrupt


def test_a_temporary_directory_that_is_too_deep_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(OSError, match="TMPDIR"), private_directory():
        pass
    assert list(deep.iterdir()) == []


def test_a_local_pair_has_its_environment() -> None:
    local = Local("pipe", "pipe", environment={"ADMA_COPIERS": "reader"})
    for program in local.programs(Path("control")):
        assert program.environment["ADMA_COPIERS"] == "reader"
        for fd in program.inherit:
            os.close(fd)


def test_unknown_mechanisms_are_refused() -> None:
    with pytest.raises(ValueError, match="mapped:cma"):
        entrants("mapped", peers=False)


# ---- the scripts ----

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("cooperative", ["--sizes", "1M", "--rounds", "2", "--iters", "1"]),
        ("idle", ["--channels", "3", "--rounds", "1"]),
        ("death", ["--rounds", "1"]),
        ("bars", ["--sizes", "8", "--rounds", "2", "--iters", "2"]),
    ],
)
def test_a_benchmark_runs_and_stores_its_report(
    name: str, arguments: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "report.json"
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *arguments, "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 * SLOWNESS)
    assert done.returncode == 0, done.stderr
    stored = schema.load(path)
    assert stored.benchmark == name
    assert stored.series
    assert stored.verdicts
    assert "verdict" in done.stdout


# ---- MPI ----


@pytest.mark.parametrize("flavour", mpi.FLAVOURS, ids=lambda flavour: flavour.key)
@pytest.mark.parametrize("python", [None, "/nonexistent/python", sys.executable])
def test_an_mpi_that_is_missing_says_how_to_get_it(
    flavour: mpi.Flavour,
    python: str | None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    if python is None:
        monkeypatch.delenv(flavour.variable, raising=False)
    elif python == sys.executable:
        (tmp_path / "python").symlink_to(python)  # an environment without an mpiexec
        monkeypatch.setenv(flavour.variable, str(tmp_path / "python"))
    else:
        monkeypatch.setenv(flavour.variable, python)
    with Session(mpi_entrants(flavour)) as session:
        assert session.measure([8], QUICK) == []
    for entrant in session.entrants:
        assert flavour.variable in entrant.contestant.why
        assert "pip install mpi4py" in entrant.contestant.cure


@pytest.mark.parametrize("flavour", mpi.FLAVOURS, ids=lambda flavour: flavour.key)
def test_mpi_is_measured_where_it_is(flavour: mpi.Flavour) -> None:
    if not os.environ.get(flavour.variable):
        pytest.skip(f"{flavour.variable} is not set")
    with Session(mpi_entrants(flavour)) as session:
        series = session.measure([8, 100_000], QUICK)
    plain, persistent = (entrant.contestant for entrant in session.entrants)
    assert plain.measured, plain.why
    assert flavour.title in plain.version
    assert plain.path
    assert plain.wait
    assert {(s.contestant, s.size) for s in series} == {
        (plain.key, 8),
        (plain.key, 100_000),
        (persistent.key, 8),
    }


def test_the_worker_for_mpi_needs_no_adma() -> None:
    tree = ast.parse(mpi.WORKER.read_text())
    imported = {
        name.name if isinstance(node, ast.Import) else node.module or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert {name.partition(".")[0] for name in imported} - set(sys.stdlib_module_names) == {
        "mpi4py"
    }


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("MPICH Version:      5.0.2\nMPICH Device: ch4:ofi", "MPICH 5.0.2"),
        ("Open MPI v5.0.11, package: Open MPI", "Open MPI 5.0.11"),
        ("Something else 1.0\nmore", "Something else 1.0"),
    ],
)
def test_library_versions(text: str, version: str) -> None:
    assert mpi.library_version(text) == version


# ---- tables and plots ----


def test_tables_hold_every_contestant_and_size() -> None:
    made = report(adma=[512.0] * 3, mpich=[1024.0] * 3)
    latencies, bandwidths = table.latencies(made), table.bandwidths(made)
    assert "512" in latencies
    assert "1048576" in latencies
    assert "2048" in bandwidths  # 2^20 bytes in 512 us
    assert "held" in table.bars(bars.judge(made, bars.PINGPONG))


def test_one_contestant_has_the_column_that_osu_prints() -> None:
    assert "# Size" in table.latencies(report(adma=[1.0]))
    assert "Latency (us)" in table.latencies(report(adma=[1.0])).splitlines()[1]


def test_a_plot_without_matplotlib_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(RuntimeError, match=r"pip install 'adma\[bench\]'"):
        plot.draw(report(adma=[1.0]), tmp_path / "plot.png")


def test_a_report_without_latencies_is_not_drawn(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        plot.draw(schema.Report("idle"), tmp_path / "plot.png")


def test_labels_are_moved_apart_but_keep_their_order() -> None:
    places = plot._spread([0.1, 0.5, 0.5, 0.51, 0.9])
    assert places[0] == 0.1
    assert places[-1] == 0.9
    gaps = [b - a for a, b in itertools.pairwise(places)]
    assert min(gaps) >= plot.LABEL_STEP - 1e-9
