# SPDX-License-Identifier: BSD-3-Clause
"""``adma bench`` and ``adma demo``: that they run, refuse and store what they should.

Nothing here asserts on how fast anything is.
"""

from __future__ import annotations

import ast
import errno
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numpy")

from adma.bench import (
    bars,
    compute,
    copies,
    demo,
    digest,
    experiment,
    helper,
    mpi,
    overlap,
    overlap_pair,
    places,
    schema,
    splitup,
    turns,
    ways,
)
from adma.bench.experiments import EXPERIMENTS
from adma.bench.helper import ChannelsFixed, Helper
from adma.bench.helper import difference as counted
from adma.bench.progress import Progress
from adma.bench.session import Plan
from adma.testing.limits import MIB, SLOWNESS
from support.mechanisms import HELPER

HERE = Path(__file__).resolve().parents[2]
TINY = ["--rounds", "2", "--iters", "1"]
# Below and above what icopy makes at once; no more than a test needs.
SIZES = {"copy": "4K,64K", "window": "4K,64K", "overlap": "64K", "splitup": "64K"}
SIZES["pollution"] = "64K"


def adma(*arguments: str, cwd: Path | None = None, mpis: bool = False) -> Any:
    """Run the command to its end, without any MPI unless asked for."""
    environment = dict(os.environ)
    if not mpis:
        for flavour in mpi.FLAVOURS:
            environment.pop(flavour.variable, None)
    return subprocess.run(
        [sys.executable, "-m", "adma", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100 * SLOWNESS,
    )


def plotting() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


# ---- the commands ----


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_runs_stores_and_draws(name: str, tmp_path: Path) -> None:
    sizes = ["--sizes", SIZES[name]] if name in SIZES else []
    quick = [] if sizes else ["--quick"]
    wanted = ["--json", "report.json", *(["--plot", "plot.png"] if plotting() else [])]
    done = adma("bench", name, *sizes, *quick, *TINY, *wanted, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    stored = schema.load(tmp_path / "report.json")
    assert stored.benchmark == name
    assert stored.settings["rounds"] == 2
    assert stored.series
    assert all(len(each.values) == 2 for each in stored.series)
    assert {each.key for each in stored.contestants if each.measured} >= {
        each.contestant for each in stored.series
    }
    for each in stored.contestants:
        assert each.measured or each.why
    for each in stored.verdicts:
        assert each.held is not None or each.why
        assert each.what in done.stdout
    assert f" {name}, " in done.stdout.splitlines()[0]
    if plotting():
        assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(not HELPER, reason="the kernel module adma is not loaded here")
@pytest.mark.root
@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name != "worker"])
def test_an_experiment_by_dma_channels_names_who_copied(name: str, tmp_path: Path) -> None:
    sizes = ["--sizes", SIZES[name]] if name in SIZES else ["--quick"]
    arguments = ["--engine", "dmaengine", *sizes, *TINY, "--json", "report.json"]
    done = adma("bench", name, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    stored = schema.load(tmp_path / "report.json")
    measured = {each.contestant for each in stored.series}
    titles = [each.title for each in stored.contestants if each.key in measured]
    for who in ("memcpy", "1 channel", f"{helper.channels()} channels"):
        assert any(who in title for title in titles), who
        assert who in done.stdout
    missed = [title for title in titles if title.endswith(" channel miss")]
    assert bool(missed) == (name in ("copy", "window", "splitup"))
    assert not any("queue" in title for title in titles)
    assert bool(stored.machine["emulated"]) == ("EMULATED" in done.stdout)


def test_an_emulated_machine_is_named_at_each_table_and_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADMA_EMULATED", "a test")
    done = adma("bench", "costs", "--quick", *TINY, "--json", "report.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "# EMULATED (a test): What a call costs" in done.stdout
    assert "# Bars" not in done.stdout
    assert schema.load(tmp_path / "report.json").verdicts == []


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_explains_itself(name: str) -> None:
    done = adma("bench", name, "--help")
    assert done.returncode == 0
    assert f"usage: adma bench {name}" in done.stdout


def test_a_stored_experiment_is_drawn_again(tmp_path: Path) -> None:
    if not plotting():
        pytest.skip("matplotlib is not installed")
    done = adma("bench", "splitup", "--sizes", "64K", *TINY, "--json", "s.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = adma("plot", "s.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "s.png").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "named"),
    [
        (["bench"], 2, "EXPERIMENT"),
        (["bench", "flight"], 2, "flight"),
        (["bench", "copy", "--engine", "pigeon"], 2, "pigeon"),
        (["bench", "copy", "--queues", "0"], 2, "whole number"),
        (["bench", "copy", "--queues", "17"], 2, "16 queues at most"),
        (["bench", "copy", "--sizes", "8:4"], 2, "LOW is larger"),
        (["bench", "costs", "--sizes", "8"], 2, "--sizes"),
        (["bench", "window", "--rounds", "0"], 2, "whole number"),
        (["bench", "copy", "--json", "/nonexistent/report.json"], 1, "/nonexistent/report.json"),
        (["bench", "schedule", "--engine", "caller"], 1, "no queue"),
        (["bench", "pollution", "--engine", "caller"], 1, "only the thread that waits copies"),
        (["demo"], 2, "WHAT"),
        (["demo", "overlap", "--seconds", "soon"], 2, "soon"),
        (["demo", "overlap", "--size", "0"], 2, "size"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], status: int, named: str) -> None:
    done = adma(*arguments)
    assert done.returncode == status
    assert named in done.stderr
    assert "Traceback" not in done.stderr


def test_an_engine_that_was_named_and_cannot_be_had_is_an_error() -> None:
    if os.path.exists("/dev/adma"):
        pytest.skip("the kernel helper is here")
    done = adma("bench", "copy", "--engine", "dmaengine", "--sizes", "64K", *TINY)
    assert done.returncode == 1
    assert "'dmaengine' cannot be had here" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_numpy_an_experiment_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    tried = EXPERIMENTS["copy"]
    with pytest.raises(RuntimeError, match=r"pip install 'adma\[bench\]'"):
        tried.run(tried.settings(), Progress(quiet=True))


def test_the_makefile_runs_all_of_them() -> None:
    makefile = HERE / "Makefile"
    if not makefile.exists():
        pytest.skip("the Makefile is not beside the tests")
    found = re.search(r"^EXPERIMENTS := (.*)$", makefile.read_text(), re.MULTILINE)
    assert found is not None
    assert found[1].split() == list(EXPERIMENTS)


# ---- the demonstration ----


def test_the_demonstration_works_without_mpi_and_says_how_to_get_it() -> None:
    done = adma("demo", "overlap", "--once", "--size", "256K")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^adma .* ms  overlap ", done.stdout, re.MULTILINE)
    for flavour in mpi.FLAVOURS:
        assert flavour.variable in done.stderr
    assert "pip install mpi4py" in done.stderr


def test_the_demonstration_ends_after_its_seconds() -> None:
    done = adma("demo", "overlap", "--seconds", "0.2", "--size", "64K")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\nadma ") == 1, "off a terminal: the last picture alone"


def test_a_bar_is_as_long_as_both_take_and_shows_what_was_not_hidden() -> None:
    hidden, not_hidden = demo.Lane("adma"), demo.Lane("MPI")
    hidden.add({"copy": 0.001, "compute": 0.002, "total": 0.002})
    not_hidden.add({"copy": 0.001, "compute": 0.002, "total": 0.003})
    assert (hidden.overlap, not_hidden.overlap) == (1.0, pytest.approx(0.0))
    lines = demo.picture(1 << 20, [hidden, not_hidden], ("#", ".")).splitlines()
    ours, theirs = (line for line in lines if line.startswith(("adma", "MPI")))
    assert ours.count(".", 0, 50) == 0
    assert theirs.count("#", 0, 50) == ours.count("#", 0, 50)
    assert theirs.count(".", 0, 50) > demo.WIDTH // 4
    assert "(receive" in ours
    narrow = demo.picture(1 << 20, [hidden, not_hidden], ("#", "."), columns=60)
    assert max(map(len, narrow.splitlines()[3:5])) <= 60


# ---- between two processes ----


@pytest.mark.parametrize("flavour", mpi.FLAVOURS, ids=lambda flavour: flavour.key)
def test_an_mpi_overlaps_or_says_why_not(flavour: mpi.Flavour, tmp_path: Path) -> None:
    if not os.environ.get(flavour.variable):
        pytest.skip(f"{flavour.variable} is not set")
    arguments = ["bench", "overlap", "--sizes", "64K", *TINY, "--json", "o.json"]
    done = adma(*arguments, cwd=tmp_path, mpis=True)
    assert done.returncode == 0, done.stderr
    stored = schema.load(tmp_path / "o.json")
    theirs = stored.contestant(flavour.key)
    assert theirs.measured or "numpy" in theirs.cure
    if theirs.measured:
        for mode in overlap_pair.TITLES:
            assert stored.find(flavour.key, f"total, {mode}", 64 << 10)


def test_the_worker_of_both_libraries_needs_neither() -> None:
    allowed = {"numpy", "adma", "mpi4py", "compute", "mpi_worker"}
    for name in ("overlap_worker.py", "compute.py"):
        tree = ast.parse((Path(overlap_pair.__file__).parent / name).read_text())
        imported = {
            each.name if isinstance(node, ast.Import) else node.module or ""
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for each in node.names
        }
        foreign = {each.partition(".")[0] for each in imported} - set(sys.stdlib_module_names)
        assert foreign <= allowed


# ---- figures ----


def reported(**parts: list[float]) -> schema.Report:
    """A report of an overlap with one contestant at 4 MB."""
    made = schema.Report("overlap", settings={"engine": "auto", "queues": 2, "sizes": [4 << 20]})
    made.contestants.append(schema.Contestant("thread:1", "1 queue"))
    for part, values in parts.items():
        series = schema.Series("thread:1", f"{part}, {overlap.HOT}", "us", values, 4 << 20)
        made.series.append(series)
    return made


def test_overlap_is_taken_within_each_round() -> None:
    made = reported(
        copy=[10.0, 10.0, 10.0],
        compute=[20.0, 20.0, 20.0],
        during=[20.0, 25.0, 20.0],
        total=[20.0, 25.0, 30.0],
    )
    assert overlap.overlap(made, "thread:1", overlap.HOT, 4 << 20) == [1.0, 0.5, 0.0]
    # What slows computing down is not charged there.
    assert overlap.imb(made, "thread:1", overlap.HOT, 4 << 20) == [1.0, 1.0, 0.0]
    assert overlap.overlap(made, "nobody", overlap.HOT, 4 << 20) == []


@pytest.mark.parametrize(
    ("values", "bar", "at_least", "held"),
    [
        ([0.95] * 5, 0.9, True, True),
        ([0.85] * 5, 0.9, True, False),
        ([0.95, 0.95, 0.2], 0.9, True, False),
        ([1.0] * 5, 1.05, False, True),
        ([1.1] * 5, 1.05, False, False),
    ],
)
def test_limits_hold_when_the_whole_interval_is_on_the_right_side(
    values: list[float], bar: float, at_least: bool, held: bool
) -> None:
    assert bars.limit("x", values, bar, at_least=at_least).held is held


def test_limits_on_ratios_are_paired_and_nothing_is_judged_without_samples() -> None:
    assert bars.limit("x", [2.0, 20.0], 2.0, against=[1.0, 10.0]).measured == 2.0
    assert bars.limit("x", [], 2.0).held is None
    assert bars.limit("x", [1.0], 2.0, against=[]).why


def test_parts_of_a_copy_are_those_that_a_request_tells() -> None:
    import adma as library

    with ways.kept():  # which stops the worker threads, too
        request = library.icopy(bytearray(1 << 20), bytes(1 << 20))
        request.wait()
    assert tuple(request.times()) == splitup.TIMES
    assert set(splitup.TIMES) < set(splitup.PARTS)


def test_parts_of_a_copy_by_dma_channels_are_the_modules() -> None:
    counted = {"time_post": 1, "time_pin": 20, "time_start": 4, "time_copy": 50, "time_complete": 2}
    seen = {"post": 5, "start": 6, "copy": 80, "complete": 7}
    found = splitup.refined(seen, counted)
    assert found == {"post": 5, "pin": 20, "start": 11, "copy": 50, "complete": 12}
    assert sum(found.values()) == sum(seen.values())
    assert splitup.refined(seen, {}) == seen


# ---- what is shared ----


def test_cold_places_advance_and_begin_anew() -> None:
    made = places.Places(area=4096)
    taken = made.cold(1500, 3)
    starts = [dst.ctypes.data - taken[0][0].ctypes.data for dst, _ in taken]
    assert starts == [0, 1500, 0]
    assert all(len(dst) == len(src) == 1500 for dst, src in taken)
    with pytest.raises(ValueError, match="areas hold"):
        made.hot(4097, 1)


def test_places_may_lie_apart_within_a_page() -> None:
    ((dst, src),) = places.Places(area=8192).hot(4096, 1, places.OFFSET)
    assert (src.ctypes.data - dst.ctypes.data) % 4096 == places.OFFSET
    for dst, src in places.fresh(5000, 3, places.OFFSET):
        assert dst.ctypes.data % 4096 == 0
        assert src.ctypes.data % 4096 == places.OFFSET


def test_turns_begin_with_another_each_round_and_end_with_their_budget() -> None:
    order: list[str] = []

    def turn(key: str) -> turns.Turn:
        def run(count: int) -> turns.Result:
            order.append(key)
            return {"time": float(count)}

        return turns.Turn(schema.Contestant(key, key), lambda: None, run)

    entered = [turn("a"), turn("b")]
    plan = Plan(rounds=2, iterations=3)
    found = turns.alternate(entered, 8, plan, lambda text: None)
    assert order == ["a", "a", "b", "b", "b", "b", "a", "a"]
    assert [(each.contestant, each.values) for each in found] == [
        ("a", [3.0, 3.0]),
        ("b", [3.0, 3.0]),
    ]
    hurried = Plan(rounds=50, iterations=1, budget=0.0)
    (first, _) = turns.alternate(entered, 8, hurried, lambda text: None)
    assert len(first.values) == 3


def test_computing_takes_about_as_many_units_as_it_should() -> None:
    for make in (compute.by_numpy, compute.by_python):
        few, many = (compute.units_for(make(), seconds) for seconds in (1e-5, 1e-2))
        assert 1 <= few < many


def test_dma_channels_copy_between_pages_that_are_pinned_and_that_are_not() -> None:
    channels = ways.ways("dmaengine", 2)
    assert [each.title for each in channels] == ["1 channel", "2 channels"]
    made = places.Places(area=1 << 20)
    cold = copies.turns(channels, made, copies.COLD, 8192)
    missed = [each for each in cold if each.contestant.key.endswith(" miss")]
    assert [each.contestant.key for each in missed] == ["dmaengine:1 miss", "dmaengine:2 miss"]
    assert "never pinned" in missed[0].contestant.path
    assert missed[0].run(2)[copies.COLD] > 0
    hot = copies.turns(channels, made, copies.HOT, 8192)
    assert not any(each.contestant.key.endswith(" miss") for each in hot)


@pytest.mark.skipif(not HELPER, reason="the kernel module adma is not loaded here")
@pytest.mark.root
def test_dma_channels_are_as_many_as_is_said_and_pins_are_hit_or_missed() -> None:
    """By what the module counts."""
    made = places.Places(area=16 * MIB)
    before = helper.MAX_CHANNELS.read_text()
    with ways.kept(), Helper() as device:
        for way in ways.ways("dmaengine", helper.channels()):
            for take, hit in ((way.found(made.cold), True), (places.fresh, False)):
                way.enter()
                taken = take(MIB, 4)
                begin, carried = device.counters(), device.channels()
                for dst, src in taken:
                    ways.icopy_wait(dst, src)
                found = counted(begin, device.counters())
                assert (found["pin_misses"] == 0) == hit
                assert (found["pin_hits"] > 0) == hit
                pairs = zip(carried, device.channels(), strict=True)
                assert sum(old["bytes"] < new["bytes"] for old, new in pairs) == way.queues
    assert helper.MAX_CHANNELS.read_text() == before


def test_so_many_dma_channels_that_cannot_be_had_are_not_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(number: int) -> None:
        raise ChannelsFixed(errno.EACCES, f"not {number}")

    monkeypatch.setattr("adma.configure", lambda **asked: None)
    monkeypatch.setattr(helper, "use_channels", refuse)
    here, absent = ways.usable(ways.ways("dmaengine", 2), demanded=True)
    assert not here
    assert [(each.title, each.why) for each in absent] == [
        ("1 channel", "not 1"),
        ("2 channels", "not 2"),
    ]


def test_the_engine_is_left_as_it_was() -> None:
    from adma.copying import engine

    before = engine.describe()
    with ways.kept():
        ways.Way("x", "x", "thread", 3, helps=False, schedule="round-robin").enter()
        assert engine.describe()["queues"] == 3
    after = engine.describe()
    kept = ("asked", "queues", "schedule", "callers_help")
    assert {name: before[name] for name in kept} == {name: after[name] for name in kept}


def test_quick_runs_are_short_and_defaults_are_whole() -> None:
    for each in EXPERIMENTS.values():
        whole, quick = each.settings(), each.settings(quick=True)
        assert quick.plan.rounds == experiment.QUICK_ROUNDS < whole.plan.rounds
        assert set(quick.sizes) <= set(whole.sizes)
        assert whole.queues >= 2


# ---- the table in the documents ----


def test_a_digest_goes_between_its_marks() -> None:
    made = reported(copy=[10.0] * 3, compute=[20.0] * 3, during=[20.0] * 3, total=[21.0] * 3)
    made.verdicts = [bars.limit("4 MB, hot: overlap", [0.9] * 3, 0.9, at_least=True)]
    text = digest.digest([made])
    assert (
        "| 6a | overlap, hot, 4 MB | CPU 0, 1 channel 0.92, 4 channels 0.87 | 1 queue 0.90 |"
        in (text)
    )
    assert "| 4 MB, hot: overlap | 0.90 (0.90 to 0.90) | >= 0.9 | held |" in text
    document = f"before\n{digest.BEGIN}\nold\n{digest.END}\nafter\n"
    replaced = digest.replace(document, text)
    assert replaced.startswith("before\n")
    assert replaced.endswith("after\n")
    assert "\nold\n" not in replaced
    assert digest.replace(replaced, text) == replaced
    with pytest.raises(ValueError, match="missing"):
        digest.replace("nothing", text)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_digest_is_made_of_any_report(name: str) -> None:
    made = schema.Report(name, settings={"engine": "auto", "queues": 2, "sizes": [], "large": 1})
    assert "| figure |" in digest.digest([made])


def test_the_documents_have_the_marks() -> None:
    document = HERE / "docs/benchmarks.md"
    if not document.exists():
        pytest.skip("the documents are not beside the tests")
    assert digest.BEGIN in document.read_text()
    assert digest.END in document.read_text()
