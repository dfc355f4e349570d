# SPDX-License-Identifier: BSD-3-Clause
"""The benchmark harness: figures, reports, and pairs of processes that leave nothing behind.

Nothing here asserts on how fast anything is.
"""

from __future__ import annotations

import ast
import ctypes
import importlib.util
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import cffi
import pytest

from adma.bench import (
    bars,
    clock,
    counts,
    dma,
    figures,
    helper,
    machine,
    mpi,
    options,
    plot,
    schema,
    table,
    tracing,
)
from adma.bench.contestants import (
    MECHANISMS,
    Entrant,
    Local,
    adma_entrant,
    entrants,
    mpi_entrants,
    pipe_entrant,
)
from adma.bench.forms import WINDOW
from adma.bench.pair import ContestantError, Pair, Program
from adma.bench.session import METRIC, Plan, Session, private_directory
from adma.bench.sizes import format_size, parse_size, parse_sizes
from adma.testing.limits import SLOWNESS

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
    sizes = parse_sizes(options.SIZES)
    assert sizes[0] == 8
    assert sizes == sorted(sizes)
    assert {1 << power for power in range(11, 20)} <= set(sizes)
    assert {bar.size for bar in bars.PINGPONG} <= set(sizes)


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("64", [64]),
        ("1M,8,8", [8, 1 << 20]),
        ("1K:4K:2", [1024, 2048, 4096]),
        ("5:64", [5, 16, 64]),
        ("8:8", [8]),
        ("8,1K:4K:2,64K:256K,2K", [8, 1024, 2048, 4096, 64 << 10, 256 << 10]),
    ],
)
def test_sizes(text: str, sizes: list[int]) -> None:
    assert parse_sizes(text) == sizes


@pytest.mark.parametrize(
    "text", ["", "x", "0", "-8", "8,", "8:4", "8,16:8", "1:2:3:4", "1:8:1", "1:8:x", "4T"]
)
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


# ---- emulated machines ----


def emulated(monkeypatch: pytest.MonkeyPatch) -> schema.Report:
    monkeypatch.setenv(machine.EMULATED, "a thing of paper")
    return report(adma=[1.0] * 3, mpich=[2.0] * 3)


def test_an_emulated_machine_is_named_wherever_a_figure_can_be_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = emulated(monkeypatch)
    mark = "EMULATED (a thing of paper)"
    assert mark in table.heading(made)
    assert mark in machine.one_line()
    for text in (table.latencies(made), table.bandwidths(made), table.instructions(made)):
        assert mark in text.splitlines()[0]
    made.save(tmp_path / "report.json")
    stored = schema.load(tmp_path / "report.json")
    assert stored.machine["emulated"] == "a thing of paper"
    assert mark in table.latencies(stored)


def test_a_real_machine_is_not_called_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(machine.EMULATED, raising=False)
    if machine.describe_machine()["emulated"]:
        pytest.skip("this machine is emulated")
    made = report(adma=[1.0] * 3)
    for text in (table.heading(made), table.latencies(made), table.bandwidths(made)):
        assert "EMULATED" not in text


def test_reports_from_before_machines_were_marked_are_read(tmp_path: Path) -> None:
    made = report(adma=[1.0])
    del made.machine["emulated"], made.machine["dma_channels"]
    made.save(tmp_path / "old.json")
    old = schema.load(tmp_path / "old.json")
    assert "EMULATED" not in table.heading(old) + table.latencies(old)


@pytest.mark.parametrize("marked", [True, False])
def test_the_plot_of_an_emulated_machine_is_marked_in_title_and_panels(
    marked: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed")
    made = emulated(monkeypatch)
    if not marked:
        made.machine["emulated"] = None
    made.save(tmp_path / "plot.json")
    (tmp_path / "matplotlibrc").write_text("svg.fonttype: none\n")
    # In a process of its own: matplotlib keeps fonts open.
    subprocess.run(
        [sys.executable, "-m", "adma", "plot", "plot.json", "--plot", "plot.svg"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        timeout=60 * SLOWNESS,
    )
    assert (tmp_path / "plot.svg").read_text().count(">EMULATED") == (3 if marked else 0)


# ---- DMA channels ----

INTERRUPTS = """\
           CPU0       CPU1
 13:       1017       2031     GICv3  27 Level     arch_timer
 21:          5         10     GICv3 156 Level     zynqmp-dma
 22:          0          0     GICv3 157 Level     zynqmp-dma
 30:          7          0     GICv3 143 Edge      ttyAMA0
IPI0:       104        118       Rescheduling interrupts
ERR:          0
"""


def test_interrupts_of_dma_engines_are_summed_over_processors() -> None:
    assert dma.interrupts(INTERRUPTS) == {"21 zynqmp-dma": 15, "22 zynqmp-dma": 0}
    assert dma.interrupts("") == {}


def test_dma_channels_are_told_with_their_drivers(tmp_path: Path) -> None:
    drivers = tmp_path / "drivers" / "some-dma"
    drivers.mkdir(parents=True)
    for name in ("dma10chan0", "dma9chan0", "dma9chan1"):
        (tmp_path / "class" / name / "device").mkdir(parents=True)
    (tmp_path / "class" / "dma9chan0" / "device" / "driver").symlink_to(drivers)
    found = dma.describe_channels(tmp_path / "class")
    assert [each["name"] for each in found] == ["dma9chan0", "dma9chan1", "dma10chan0"]
    assert [each["driver"] for each in found] == ["some-dma", "unknown", "unknown"]
    assert dma.describe_channels(tmp_path / "nowhere") == []


# ---- what the helper counts ----

UAPI = Path(__file__).resolve().parents[2] / "kernel/include/uapi/linux/adma.h"


def uapi() -> tuple[str, cffi.FFI]:
    """The UAPI header without comments, and its structures as a C compiler lays them out."""
    if not UAPI.exists():
        pytest.skip("the kernel helper's header is not beside the tests")
    text = re.sub(r"/\*.*?\*/", " ", UAPI.read_text(), flags=re.DOTALL)
    times = re.search(r"#define ADMA_TIMES\s+(\d+)", text)
    assert times is not None
    structures = "\n".join(re.findall(r"struct adma_\w+ \{.*?\};", text, flags=re.DOTALL))
    for old, new in (("__u", "uint"), ("__s", "int")):
        structures = re.sub(rf"\b{old}(32|64)\b", rf"{new}\1_t", structures)
    builder = cffi.FFI()
    builder.cdef(structures.replace("ADMA_TIMES", times[1]))
    return text, builder


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("adma_info", helper.Info),
        ("adma_channel", helper.Channel),
        ("adma_counters", helper.Counters),
    ],
)
def test_structures_are_those_of_the_header(name: str, ours: type[ctypes.Structure]) -> None:
    _, builder = uapi()
    theirs = builder.typeof(f"struct {name}")
    assert ctypes.sizeof(ours) == builder.sizeof(theirs)
    expected = [(field, builder.offsetof(theirs, field)) for field, _ in theirs.fields]
    assert [(field[0], getattr(ours, field[0]).offset) for field in ours._fields_] == expected


def test_commands_are_those_of_the_header() -> None:
    text, builder = uapi()
    pattern = r"#define ADMA_IOC_(\w+)\s+_IO(W?R?)\(ADMA_IOC_MAGIC, (0x\w+), struct (\w+)\)"
    found = {}
    for name, way, number, structure in re.findall(pattern, text):
        bits = {"W": 1, "R": 2, "WR": 3}[way]
        size = builder.sizeof(f"struct {structure}")
        found[name.lower()] = bits << 30 | size << 16 | helper.MAGIC << 8 | int(number, 16)
    assert sorted(found) == sorted(helper.COMMANDS.values())
    for name, request in found.items():
        assert helper.command_of(request) == name
    assert (found["info"], found["channel"], found["counters"]) == (
        helper.INFO,
        helper.CHANNEL,
        helper.COUNTERS,
    )
    assert helper.command_of(0x5401) is None


def test_the_time_split_is_that_of_the_header() -> None:
    text, _ = uapi()
    found = re.findall(r"#define ADMA_TIME_(\w+)\s+(\d)", text)
    assert tuple(name.lower() for name, _ in sorted(found, key=lambda f: f[1])) == helper.TIMES


def test_without_the_module_the_device_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="adma"):
        helper.Helper(str(tmp_path / "adma"))


def test_the_helper_tells_its_channels_and_counters() -> None:
    if not os.access(helper.DEVICE, os.R_OK | os.W_OK):
        pytest.skip("the kernel helper is not here")
    with helper.Helper() as opened:
        info = opened.info()
        assert info["abi"] == 1
        assert len(opened.channels()) == info["channels"]
        before = opened.counters()
        assert set(helper.difference(before, opened.counters())) == set(before)
        assert before["pages_pinned"] >= before["pages_unpinned"]


# ---- counting ----

CALLS = """\
# event histogram
#
{ common_pid:       1000, id: sys_ioctl                     [ 29] } hitcount:         12
{ common_pid:       1000, id: sys_recvfrom                  [207] } hitcount:          3
{ common_pid:       1001, id: sys_ppoll                     [ 73] } hitcount:          2
{ common_pid:         99, id: sys_openat                    [ 56] } hitcount:         70

Totals:
    Hits: 87
"""
REQUESTS = """\
{ common_pid:       1000, cmd: c048ad10 } hitcount:          9
{ common_pid:       1000, cmd: 5421 } hitcount:          3
{ common_pid:         99, cmd: c048ad10 } hitcount:          4
"""


def test_system_calls_are_told_by_thread_and_by_the_helpers_commands() -> None:
    assert tracing.count(CALLS, REQUESTS, {1000, 1001}) == {
        "ioctl:post": 9,
        "ioctl": 3,
        "recvfrom": 3,
        "ppoll": 2,
    }
    assert tracing.count(CALLS, REQUESTS, set()) == {}


def test_a_clock_that_counts_instructions_is_known_from_one_that_does_not() -> None:
    assert clock.Calibration(1000, 1004).counts
    assert not clock.Calibration(1000, 1100).counts
    assert not clock.Calibration(1000, 300).counts
    tried = clock.calibrate(turns=2000)
    assert tried.instructions == 2000
    assert tried.ns > 0


class Wires:
    """Counts as the kernel's tracing would, of a machine in which each command is two calls."""

    def __init__(self) -> None:
        self.asked = 0

    def of(self, pids: Sequence[int]) -> tracing.Calls:
        assert all(os.path.isdir(f"/proc/{pid}") for pid in pids)
        self.asked += 1
        return tracing.Calls(recvfrom=self.asked, sendto=self.asked)


@pytest.mark.parametrize("mechanism", ["auto", "shared"])
def test_what_a_command_costs_is_no_part_of_a_message(mechanism: str) -> None:
    wires: Any = Wires()
    with private_directory() as directory, counts.local(mechanism)(directory) as pair:
        pair.start()
        caller = counts.Caller(pair, wires)
        found = counts.blocking_calls("adma", caller, pair, 4096)
        found += counts.posted_calls("adma", caller, pair)
    assert [series.metric for series in found] == [
        counts.BLOCKING,
        f"{counts.POST}, read",
        f"{counts.POST}, write",
        counts.CHECK,
        counts.BEYOND,
    ]
    assert all(series.values == [0.0] * counts.REPEATS for series in found)


class Still:
    """A helper whose counters stand still, but for one descriptor at each look."""

    def __init__(self) -> None:
        self.looks = 0

    def counters(self) -> dict[str, int]:
        self.looks += 1
        return {**dict.fromkeys(counts.FACTS, 0), "pieces": self.looks}


@pytest.mark.parametrize("layout", counts.LAYOUTS, ids=lambda layout: layout.name)
def test_messages_between_laid_out_buffers_arrive(layout: counts.Layout) -> None:
    still: Any = Still()
    with private_directory() as directory, counts.local("auto")(directory) as pair:
        pair.start()
        found = counts.dma_path("adma", pair, still, 300_001, layout)
    values = {series.metric: series.values for series in found}
    assert values[f"pieces, second use, {layout.name}"] == [1.0] * counts.REPEATS
    assert values[f"pages_pinned, second use, {layout.name}"] == [0.0] * counts.REPEATS
    assert f"runs of destination, {layout.name}" in values


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


@pytest.mark.parametrize("mechanism", MECHANISMS)
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

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("cooperative", ["--sizes", "1M", "--rounds", "2", "--iters", "1"]),
        ("idle", ["--channels", "3", "--rounds", "1"]),
        ("death", ["--rounds", "1"]),
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


def test_the_benchmark_of_the_poll_set_runs(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    command = [sys.executable, str(BENCHMARKS / "poll_set.py"), "--json", str(path)]
    command += ["--channels", "5", "--rounds", "2", "--iters", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 * SLOWNESS)
    assert done.returncode == 0, done.stderr
    found = {(each.contestant, each.metric): each.values for each in schema.load(path).series}
    assert set(found) == {("read", "message")} | {
        (key, metric) for key in ("few", "many") for metric in ("look", "message")
    }
    assert all(len(values) == 2 and min(values) > 0 for values in found.values())
    assert "wait, 5 channels" in done.stdout


def benchmark(name: str) -> ModuleType:
    """A script of benchmarks/, as a module."""
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_counts_that_cannot_be_had_are_named_with_the_reason(tmp_path: Path) -> None:
    if os.path.exists(helper.DEVICE):
        pytest.skip("all can be had here, which takes minutes: make counts-vm")
    path = tmp_path / "report.json"
    script = str(BENCHMARKS / "helper_counts.py")
    command = [sys.executable, script, "--instructions", "--sizes", "8", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240 * SLOWNESS)
    stored = schema.load(path)
    notes = "\n".join(stored.settings["notes"])
    counted = {series.contestant for series in stored.series}
    assert "a loop of" in notes
    for contestant in stored.contestants:
        assert contestant.key in counted or contestant.why
    assert helper.DEVICE in notes
    held = bool(stored.verdicts) and all(each.held for each in stored.verdicts)
    assert done.returncode == (0 if held else 1), done.stdout + done.stderr


def counted_report() -> schema.Report:
    """What a run of helper_counts leaves when one post takes two calls, one of them a wait."""
    made = schema.Report("helper_counts")
    made.contestants = [schema.Contestant("adma:dma", "dma")]

    def add(metric: str, value: float, size: int) -> None:
        made.series.append(schema.Series("adma:dma", metric, "x", [value] * 3, size))

    for end in ("read", "write"):
        add(f"{counts.POST}, {end}", 2.0 if end == "read" else 1.0, counts.POSTED_SIZE)
    add(f"{counts.POST}, read: ioctl:post", 1.0, counts.POSTED_SIZE)
    add(f"{counts.POST}, read: ppoll", 1.0, counts.POSTED_SIZE)
    add(counts.CHECK, 0.01, counts.POSTED_SIZE)
    add(counts.BEYOND, 0.0, counts.POSTED_SIZE)
    add("pages_pinned, second use, aligned", 0.0, 4 << 20)
    return made


def test_a_look_for_the_peer_once_a_millisecond_is_no_part_of_a_check() -> None:
    for ns, beyond in ((0, 5), (3_999_999, 2), (60_000_000, 0)):
        assert counts._without_looks(tracing.Calls(ppoll=6), ns) == beyond
    assert counts._without_looks(tracing.Calls({"ioctl:peek": 7, "poll": 1}), 0) == 7


def test_counts_are_held_exactly_and_shown_with_their_names() -> None:
    module = benchmark("helper_counts")
    made = counted_report()
    held = {each.what: each.held for each in module.judge(made)}
    assert held == {
        "calls a post, read, dma": False,
        "calls a post, write, dma": True,
        "calls a check, pending, beyond looks for the peer, dma": True,
        "pages pinned, second use, aligned": True,
    }
    assert "1.00 ioctl:post, 1.00 ppoll; none; none" in module.posts(made)
    assert module.path(made) == ""
    assert module.split(made) == ""


@pytest.mark.parametrize(
    ("wanted", "carried", "came", "measured", "status"),
    [
        (2, [10, 10], 3, True, 0),
        (2, [10, 0], 3, True, 1),
        (1, [10, 0], 3, True, 0),
        (2, [10, 10], 0, True, 1),
        (2, [10, 10], 3, False, 1),
    ],
)
def test_channels_that_carried_nothing_fail_the_run(
    wanted: int,
    carried: list[int],
    came: int,
    measured: bool,
    status: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = report(adma=[1.0])
    made.contestants[0].measured = measured
    made.settings["channels"] = [{"bytes": n} for n in carried]
    made.settings["interrupts"] = {"21 some-dma": came}
    assert benchmark("helper_pingpong").verdict(made, wanted) == status
    assert f"{sum(map(bool, carried))} of 2 DMA channels" in capsys.readouterr().out


class Silent:
    """A helper without DMA channels."""

    def channels(self) -> list[Any]:
        return []


def test_the_helpers_pingpong_measures_windows_over_every_mechanism(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module: Any = benchmark("helper_pingpong")
    here = ("mapped:cma", "shared", "loopback:tcp")
    monkeypatch.setattr(module, "MECHANISMS", here)
    monkeypatch.setattr(module, "WINDOW_SIZES", (4096,))
    made = schema.Report("helper_pingpong", settings={"sizes": [8], "window": module.WINDOW})
    module.measure(made, QUICK, Silent())
    for name in here:
        assert made.find(f"adma:{name}", METRIC, 8)
        windows = made.find(f"adma:{name}", WINDOW, 4096)
        assert windows is not None
        assert len(windows.values) == QUICK.rounds
    assert f"{module.WINDOW} messages one way" in module.text(made)


def test_the_helpers_pingpong_without_the_helper_says_so() -> None:
    if os.path.exists(helper.DEVICE):
        pytest.skip("the kernel helper is here")
    command = [sys.executable, str(BENCHMARKS / "helper_pingpong.py"), "--sizes", "8"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 * SLOWNESS)
    assert done.returncode == 1
    assert helper.DEVICE in done.stderr
    assert "Traceback" not in done.stderr


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


def imported(path: Path) -> set[str]:
    """The modules that a file imports, without those of the standard library."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return {name.partition(".")[0] for name in found} - set(sys.stdlib_module_names)


def test_the_worker_for_mpi_needs_no_adma() -> None:
    # Each import of adma is in a `try`, with a file beside this one in its place.
    beside = {"mpi_traffic", "samples"}
    assert imported(mpi.WORKER) == {"mpi4py", "adma"} | beside
    for name in beside:
        path = mpi.WORKER.with_name(f"{name}.py")
        assert imported(path) <= {"mpi4py", "numpy", "adma"} | beside


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
    assert "held" in table.bars(bars.judge(made, bars.PINGPONG), made.machine)


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
