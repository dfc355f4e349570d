# SPDX-License-Identifier: BSD-3-Clause
"""The forms of traffic, hot and cold buffers, and the limits beside the contestants.

Nothing here asserts on how fast anything is.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from adma.bench import bare, bars, forms, mpi, plot, schema, session, table, ucx
from adma.bench.contestants import (
    Entrant,
    Local,
    adma_entrant,
    bare_entrants,
    in_forms,
    mpi_entrants,
    pipe_entrant,
    ucx_entrant,
)
from adma.bench.pair import ContestantError
from adma.bench.samples import OBJECTS, SYNC, SYNCS, same
from adma.bench.session import Plan, Session
from adma.bench.sizes import parse_sizes
from adma.bench.traffic import Traffic, Window, placed
from adma.bench.worker import Pinger
from adma.testing.limits import SLOWNESS

QUICK = Plan(rounds=2, iterations=2)
NUMPY = importlib.util.find_spec("numpy") is not None
if NUMPY:
    import numpy as np  # here, since its threads stay

    assert np.__name__ == "numpy"
KINDS = [kind for kind in OBJECTS if kind != "array" or NUMPY]


# ---- which there are ----


def test_forms_are_named_or_refused() -> None:
    assert forms.parse_forms("all") == forms.FORMS
    assert forms.parse_forms("idle,plain") == ("plain", "idle")
    for text in ("", "plane", "plain,"):
        with pytest.raises(ValueError, match="is unknown; choose from all, plain"):
            forms.parse_forms(text)


def test_each_form_has_its_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [8, 64 << 10, 16 << 20]
    assert [case.size for case in forms.cases(("plain", "persistent"), sizes)] == sizes
    assert [case.size for case in forms.cases(("persistent",), sizes)] == [8]
    assert [case.size for case in forms.cases(("window",), sizes)] == [8, 64 << 10]
    default = forms.cases(("window",), sizes, chosen=False)
    assert [case.size for case in default] == parse_sizes(forms.WINDOW_SIZES)
    assert {bar.size for bar in bars.BY_FORM["window"]} <= {case.size for case in default}
    monkeypatch.setattr(forms, "has_numpy", lambda: False)
    metrics = [case.metric for case in forms.cases(("objects", "idle"), sizes)]
    assert metrics == [*(forms.object_metric(kind) for kind in ("int", "dict", "list")), forms.IDLE]


def test_bars_are_those_of_the_forms() -> None:
    assert bars.of_forms(("plain",)) == list(bars.PINGPONG)
    assert set(bars.BY_FORM) == set(forms.FORMS)
    metrics = {bar.metric for bar in bars.of_forms(("window", "objects", "idle"))}
    assert {forms.WINDOW, forms.IDLE} <= metrics
    assert forms.LATENCY not in metrics


# ---- they are measured ----


@pytest.mark.parametrize("make", [lambda: adma_entrant("auto"), pipe_entrant])
def test_a_contestant_does_all_its_forms_in_one_pair(make: Callable[[], Entrant]) -> None:
    entrant = make()
    wanted = [
        form
        for form in ("plain", "window", "objects", "idle")
        if entrant.key != "pipe" or form != "window"
    ]
    cases = forms.cases(wanted, [8, 70_000])
    with Session(in_forms(entrant, wanted)) as opened:
        assert len(opened.contestants) == 1
        series = opened.measure_cases(cases, QUICK)
    assert entrant.contestant.measured, entrant.contestant.why
    assert [(each.metric, each.size) for each in series] == [
        (case.metric, case.size) for case in cases
    ]
    assert all(len(each.values) == 2 and min(each.values) > 0 for each in series)


@pytest.mark.parametrize("flavour", mpi.FLAVOURS, ids=lambda flavour: flavour.key)
def test_an_mpi_does_all_forms_but_idling(flavour: mpi.Flavour) -> None:
    if not os.environ.get(flavour.variable):
        pytest.skip(f"{flavour.variable} is not set")
    entered = mpi_entrants(flavour, forms.FORMS)
    with Session(entered) as opened:
        series = opened.measure_cases(forms.cases(forms.FORMS, [8, 70_000]), QUICK)
    assert entered[0].contestant.measured, entered[0].contestant.why
    found = {(each.contestant, each.metric) for each in series}
    key = flavour.key
    assert {
        (key, forms.LATENCY),
        (f"{key}:persistent", forms.LATENCY),
        (key, forms.WINDOW),
    } <= found
    assert {(key, forms.object_metric(kind)) for kind in KINDS} <= found
    assert ((f"{key}:pkl5", forms.object_metric("array")) in found) == NUMPY
    assert forms.IDLE not in {metric for _, metric in found}


@pytest.mark.parametrize("kind", KINDS)
def test_objects_are_told_from_others(kind: str) -> None:
    made = OBJECTS[kind]()
    assert same(made, OBJECTS[kind]())
    assert not same(made, made * 2 if kind != "dict" else {})


class Deaf:
    """An end whose receives bring nothing."""

    def send(self, buf: Any) -> None: ...
    def receive(self, buf: Any) -> None: ...
    def post_send(self, buf: Any) -> None: ...
    def post_receive(self, buf: Any) -> None: ...
    def wait_all(self, requests: Sequence[Any]) -> None: ...


def test_a_window_that_does_not_arrive_is_an_error() -> None:
    end: Any = Deaf()
    with pytest.raises(ValueError, match="window of 4 messages arrived that was not sent"):
        Window(end, 1, {"size": 8, "window": 4}).verify()


@pytest.mark.parametrize("offset", [0, 1, 4064])
def test_buffers_lie_where_they_are_wanted(offset: int) -> None:
    place = placed(bytearray(b"abc"), offset)
    assert bytes(place) == b"abc"
    assert ctypes.addressof(ctypes.c_char.from_buffer(place)) % 4096 == offset


# ---- hot and cold ----


class Recorder(Traffic):
    """Traffic that remembers what it was told."""

    def __init__(self, told: list[tuple[str, str, int]], command: dict[str, Any]) -> None:
        self.told = told
        self.name = str(command.get("key", f"{command['size']} bytes"))

    def loop(self, count: int) -> None:
        self.told.append(("loop", self.name, count))

    def verify(self) -> None: ...

    def timed(self, count: int) -> float:
        self.told.append(("timed", self.name, count))
        return float(count)


class Nowhere:
    def path(self, size: int) -> str:
        return f"{size} bytes nowhere"


def recording() -> tuple[Pinger, list[tuple[str, str, int]]]:
    told: list[tuple[str, str, int]] = []
    pinger = Pinger(Nowhere(), 0, {"plain": lambda end, rank, command: Recorder(told, command)})
    return pinger, told


def prepare(pinger: Pinger, key: str, case: str = "one") -> None:
    pinger.prepare({"form": "plain", "case": case, "key": key, "size": 5})


def test_hot_buffers_are_used_before_they_are_timed_and_cold_ones_are_not() -> None:
    pinger, told = recording()
    prepare(pinger, "mine")
    answer = pinger.run({"key": "mine", "iterations": 4, "warmup": 3})
    assert told == [("loop", "mine", 3), ("timed", "mine", 4)]
    assert answer["seconds"] == 0.5  # of a message: there are two in a turn
    told.clear()
    pinger.run({"key": "mine", "iterations": 1, "warmup": 3, "cold": True})
    assert told == [("loop", f"{SYNC} bytes", SYNCS), ("timed", "mine", 1)]


def test_contestants_of_a_pair_keep_their_buffers_until_the_next_case() -> None:
    pinger, told = recording()
    prepare(pinger, "mine")
    prepare(pinger, "yours")
    for key in ("mine", "yours"):
        pinger.run({"key": key, "iterations": 1, "warmup": 0})
    assert [name for what, name, _ in told if what == "timed"] == ["mine", "yours"]
    prepare(pinger, "yours", "another")
    with pytest.raises(KeyError, match="mine"):
        pinger.run({"key": "mine", "iterations": 1, "warmup": 0})


@pytest.mark.parametrize("cold", [False, True])
def test_cold_contestants_alternate_message_by_message(
    cold: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[tuple[str, int]] = []

    def answer(self: Session, entrant: Entrant, count: int, plan: Plan) -> dict[str, float]:
        order.append((entrant.key, count))
        return {"seconds": len(order) / 1e6}

    monkeypatch.setattr(Session, "_time", answer)
    both = [adma_entrant("auto", "a"), adma_entrant("auto", "b")]
    found: dict[str, schema.Series | None] = {
        each.key: schema.Series(each.key, forms.LATENCY, "us", [], 8, 5) for each in both
    }
    Session(both)._round(both, found, Plan(cold=cold))
    turns = session.COLD_TURNS if cold else 1
    assert order == [("a", 1 if cold else 5), ("b", 1 if cold else 5)] * turns
    a, b = (found[key] for key in ("a", "b"))
    assert a is not None
    assert b is not None
    assert (a.values, b.values) == ([turns], [turns + 1])


def test_cold_rounds_are_measured() -> None:
    with Session([pipe_entrant()]) as opened:
        (series,) = opened.measure([4096], Plan(rounds=2, cold=True))
    assert (series.iterations, len(series.values)) == (session.COLD_TURNS, 2)


# ---- limits ----

compiled = pytest.mark.skipif(
    not any(map(shutil.which, bare.COMPILERS)), reason="there is no C compiler here"
)


@compiled
def test_loops_in_c_are_measured_and_carry_what_was_sent() -> None:
    entered = bare_entrants()
    with Session(entered) as opened:
        series = opened.measure([8, 100_000], QUICK)
    for each in entered:
        assert each.contestant.measured, each.contestant.why
    assert {(each.contestant, each.size) for each in series} == {
        ("bare:line", 8),
        ("bare:copier", 8),
        ("bare:copier", 100_000),
        ("bare:claim", 100_000),
        ("bare:shared", 100_000),
    }


@compiled
def test_the_structure_is_that_of_the_library(tmp_path: Path) -> None:
    library = bare.load(bare.compiled(tmp_path))
    assert ctypes.sizeof(bare.End) == library.bare_end_size()


@compiled
@pytest.mark.parametrize(("size", "threads"), [(100_003, 1), (100_003, 3), (1, 2)])
def test_bare_threads_copy_all_bytes(size: int, threads: int, tmp_path: Path) -> None:
    library = bare.load(bare.compiled(tmp_path))
    dst, src = bytearray(size), bytearray(os.urandom(size))
    places = [ctypes.addressof(ctypes.c_char.from_buffer(each)) for each in (dst, src)]
    assert bare.checked(library.bare_threads(*places, size, threads)) >= 0
    assert dst == src


@compiled
def test_no_threads_copy_nothing(tmp_path: Path) -> None:
    library = bare.load(bare.compiled(tmp_path))
    with pytest.raises(OSError, match="Invalid argument"):
        bare.checked(library.bare_threads(None, None, 0, 0))


def test_without_a_compiler_they_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    entered = bare_entrants((bare.LINE,))
    with Session([*entered, pipe_entrant()]) as opened:
        series = opened.measure([8], QUICK)
    assert [each.contestant for each in series] == ["pipe"]
    assert "no C compiler" in entered[0].contestant.why
    assert entered[0].contestant.cure == "install gcc"


@compiled
def test_what_does_not_compile_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "bad.c"
    source.write_text("int oops(void) { return no_such_name; }\n")
    monkeypatch.setattr(bare, "SOURCE", source)
    with pytest.raises(ContestantError, match="no_such_name"):
        bare.compiled(tmp_path)


PERFTEST = """\
#!{python}
import socket, sys
port = int(sys.argv[sys.argv.index("-p") + 1])
if "-t" not in sys.argv:
    with socket.create_server(("127.0.0.1", port)) as server:
        server.accept()[0].close()
    sys.exit(0)
socket.create_connection(("127.0.0.1", port)).close()
print("iterations,50.0_percentile_lat,avg_lat,overall_lat,avg_bw\\n1000,0.161,0.5,{us},0.02")
"""


def test_another_benchmark_is_run_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / ucx.TOOL
    program.write_text(PERFTEST.format(python=sys.executable, us="1.25"))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    entrant = ucx_entrant()
    with Session([entrant, pipe_entrant()]) as opened:
        series = opened.measure([8, 16], Plan(rounds=ucx.ROUNDS + 1, iterations=1))
    assert entrant.contestant.measured, entrant.contestant.why
    (theirs,) = (each for each in series if each.contestant == "ucx")
    assert theirs.values == [pytest.approx(1.25)] * ucx.ROUNDS


def test_where_it_is_not_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    entrant = ucx_entrant()
    with Session([entrant]) as opened:
        assert opened.measure([8], QUICK) == []
    assert entrant.contestant.why == "ucx_perftest is not installed"
    assert "ucx-utils" in entrant.contestant.cure


@pytest.mark.parametrize("printed", ["", "connection refused", "iterations,avg_lat"])
def test_what_tells_no_latency_is_refused(printed: str) -> None:
    with pytest.raises(ValueError, match="printed no latency"):
        ucx.latency(printed)


def test_a_local_contestant_is_told_its_library() -> None:
    made = Local("bare:line", "line", "/tmp/bare.so", module="adma.bench.bare_worker")
    for program in made.programs(Path("control")):
        assert program.argv[-1] == "/tmp/bare.so"
        for fd in program.inherit:
            os.close(fd)


# ---- what is printed and drawn ----


def measured() -> schema.Report:
    """A report with all forms: adma at 10, the peers at 20."""
    made = schema.Report("pingpong", settings={"rounds": 3, "window": forms.WINDOW_OF})
    for key, us in (("adma", 10.0), ("pipe", 20.0), ("mpich", 20.0), ("mpich:pkl5", 20.0)):
        partial = ":" in key
        made.contestants.append(schema.Contestant(key, key, peer=us > 10, partial=partial))
        for case in forms.cases(forms.FORMS, [8, 1 << 20]):
            if partial == (case.metric == forms.object_metric("array")) or key == "adma":
                series = schema.Series(key, case.metric, "us", [us] * 3, case.size)
                if made.find(key, case.metric, case.size) is None:
                    made.series.append(series)
    return made


def test_every_form_has_its_table() -> None:
    made = measured()
    windows, objects, idle = table.windows(made), table.objects(made), table.idle(made)
    assert "window of 64" not in windows
    assert f"{forms.WINDOW_OF} messages" in windows
    assert "104858" in windows  # MB/s of 1 MiB in 10 us
    for kind in KINDS:
        assert forms.OBJECTS[kind] in objects
    assert "mpich:pkl5" in objects
    assert "adma" in idle
    assert "pipe" in idle


def test_bars_on_all_forms_are_judged() -> None:
    made = measured()
    found = {each.what: each for each in bars.judge(made, bars.of_forms(forms.FORMS))}
    for what in ("8 bytes, plain calls", "window of 64 x 1M", "send and recv of an int"):
        assert found[what].measured == 0.5, what
        assert found[what].held is True
    assert found["round trip after 10 ms of idling"].against == "pipe"
    if NUMPY:
        assert found["send and recv of an array of 4 MB"].against == "mpich:pkl5"
    assert "mpich:persistent" in found["8 bytes, their persistent requests"].why


@pytest.mark.parametrize(
    ("line", "hold", "note"),
    [(None, 0.7, "bare:line, not measured"), (0.1, 0.7, ""), (9.8, 1.0, "bare:line + 0.2 us")],
)
def test_a_bar_may_be_so_much_above_a_cache_line(
    line: float | None, hold: float, note: str
) -> None:
    made = schema.Report("bars")
    series = [("adma", 9.0), ("mpich", 10.0), ("openmpi", 10.0)]
    for key, us in [*series, *([("bare:line", line)] if line is not None else [])]:
        made.contestants.append(schema.Contestant(key, key))
        # A round that something disturbs does not make the bar wider.
        values = [us, us, 50.0] if key == bars.LINE else [us] * 3
        made.series.append(schema.Series(key, forms.LATENCY, "us", values, 8))
    (found,) = bars.judge(made, bars.PINGPONG[:1])
    assert found.hold == pytest.approx(hold)
    assert found.held is (hold >= 0.9)
    assert found.why.endswith(note)


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="no matplotlib")
def test_windows_and_objects_have_panels(tmp_path: Path) -> None:
    measured().save(tmp_path / "plot.json")
    (tmp_path / "matplotlibrc").write_text("svg.fonttype: none\n")
    # In a process of its own: matplotlib keeps fonts open.
    subprocess.run(
        [sys.executable, "-m", "adma", "plot", "plot.json", "--plot", "plot.svg"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        timeout=60 * SLOWNESS,
    )
    drawn = (tmp_path / "plot.svg").read_text()
    for title in ("latency, one way", "bandwidth of a window of 64", "objects, one way"):
        assert title in drawn
    assert "an int" in drawn


def test_contestants_of_one_library_have_one_colour() -> None:
    colors = plot._colors(measured())
    assert colors["mpich"] == colors["mpich:pkl5"]
    assert len({colors[key] for key in ("adma", "pipe", "mpich")}) == 3


def test_the_command_measures_the_forms_that_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    arguments = [
        "--mechanism",
        "auto",
        "--forms",
        "window,idle",
        "--sizes",
        "8,2M",
        "--rounds",
        "2",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "adma", "pingpong", *arguments, "--iters", "1", "--json", path],
        capture_output=True,
        text=True,
        timeout=60 * SLOWNESS,
    )
    assert done.returncode == 0, done.stderr
    stored = schema.load(path)
    found = [(each.metric, each.size) for each in stored.series]
    assert found == [(forms.WINDOW, 8), (forms.IDLE, forms.IDLE_SIZE)]
    assert "# Window (us per message)" in done.stdout
    assert "Latency" not in done.stdout
