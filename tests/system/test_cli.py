# SPDX-License-Identifier: BSD-3-Clause
"""The command line, run as users run it: a process of its own."""

from __future__ import annotations

import ctypes
import errno
import importlib.util
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from adma import MechanismUnavailable
from adma.bench import schema
from adma.cli import helper, info, main, probe
from adma.mechanisms.helper import Circumstances
from adma.testing.limits import SLOWNESS
from support.endpoints import NOBODY_SPECIAL, InChild, become
from support.mechanisms import HELPER, KNOWN

TIMEOUT = 60 * SLOWNESS


def adma(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [sys.executable, "-m", "adma", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, **more)


def small(*arguments: str) -> list[str]:
    return ["pingpong", "--sizes", "8,70000", "--rounds", "2", "--iters", "2", *arguments]


def test_version() -> None:
    done = adma("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("adma ")


@pytest.mark.parametrize(
    "arguments",
    [[], ["info"], ["pingpong"], ["plot"], ["bench"], ["demo"], ["demo", "overlap"], ["tune"]],
)
def test_every_command_explains_itself(arguments: list[str]) -> None:
    done = adma(*arguments, "--help")
    assert done.returncode == 0
    assert "usage: adma" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "COMMAND"),
        (["pingpong", "--sizes", "8:4"], "LOW is larger"),
        (["pingpong", "--mechanism", "carrier-pigeon"], "carrier-pigeon"),
        (["pingpong", "--iters", "0"], "whole number"),
        (["plot"], "FILE.json"),
    ],
)
def test_a_wrong_command_line_is_explained(arguments: list[str], named: str) -> None:
    done = adma(*arguments)
    assert done.returncode == 2
    assert named in done.stderr


# ---- info ----


def test_info_tries_every_mechanism() -> None:
    done = adma("info")
    assert done.returncode == 0, done.stderr
    for name in KNOWN:
        assert f"\n  {name} " in done.stdout
    assert "open files" in done.stdout
    assert "\nkernel helper:\n  /dev/adma " in done.stdout
    assert "\ncopies within a process:\n  engine " in done.stdout
    assert "\n  dmaengine " in done.stdout


def test_info_as_json() -> None:
    done = adma("info", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    nouns = {"machine", "software", "limits", "thresholds", "mechanisms", "auto", "engine"}
    nouns |= {"helper"}
    assert nouns <= set(found)
    assert [each["mechanism"] for each in found["mechanisms"]] == list(KNOWN)
    for each in found["mechanisms"]:
        assert each["available"] or each["cause"]
    # Of a message that needs a mechanism, each way is told of; nothing is known of it here.
    ways = found["auto"][-1]["learnt"]
    works = {each["mechanism"] for each in found["mechanisms"] if each["available"]}
    assert {way["mechanism"] for way in ways} == works & {"shared", "mapped:cma"}
    assert all(way["samples"] == 0 and way["seconds"] is None for way in ways)


def test_a_refused_mechanism_keeps_cause_and_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(sock: socket.socket, timeout: float, mechanism: str) -> Any:
        del timeout
        sock.close()
        raise MechanismUnavailable(
            errno.EPERM, "refused", mechanism=mechanism, cause="Yama is 2", cure="set it to 1"
        )

    monkeypatch.setattr("adma.from_socket", refuse)
    here, there = socket.socketpair()
    with there:
        found = probe._probe(here, "mapped:cma")
    assert found == probe.Finding("mapped:cma", False, errno.EPERM, "Yama is 2", "set it to 1")
    lines = "\n".join(info._mechanism(found))
    assert "refused: Yama is 2" in lines
    assert "cure: set it to 1" in lines


# ---- info: the copy engine ----

ENGINE: dict[str, Any] = {
    "error": None,
    "engine": "thread",
    "asked": "auto",
    "queues": 3,
    "running": 0,
    "schedule": "adaptive",
    "callers_help": True,
    "kernel": "auto",
    "kernels": {},
    "at_once": 65536,
    "learns": True,
    "learnt": [],
    "refused": None,
    "engines": {"auto": None, "caller": None, "thread": None, "dmaengine": None},
    "refusals": {},
}


def engine_lines(**changed: Any) -> list[str]:
    return [f"{name}: {value}" for name, value in info._engine({**ENGINE, **changed})]


def test_the_engine_in_rows() -> None:
    assert engine_lines() == [
        "engine: thread, auto was asked for",
        "queues: 3 queues, adaptive, started by the first copy that is large enough",
        "a waiting thread: copies, too",
        "learnt: nothing yet of how copies are spread; `adma tune` measures it once",
        "dmaengine: available, where it is asked for",
    ]


def test_what_the_engine_has_learnt_in_rows() -> None:
    way = {"nbytes": 1 << 20, "chosen": True}
    larger, other = {"nbytes": 4 << 20, "chosen": True}, {"nbytes": 8 << 20, "chosen": False}
    rows = engine_lines(learnt=[way, larger, other])
    assert (
        "learnt: how copies of 1024 KiB to 4096 KiB are spread; `adma tune --show` lists it" in rows
    )
    assert "learnt: nothing: ADMA_LEARN=0 switches it off" in engine_lines(learns=False)


def test_the_engine_of_one_core_in_rows() -> None:
    rows = engine_lines(engine="caller", queues=0, callers_help=False)
    assert rows[1] == "a waiting thread: copies, too"


def test_why_there_is_no_dmaengine() -> None:
    why = {"errno": errno.ENODEV, "cause": "no channel", "cure": "a driver"}
    rows = engine_lines(
        engines={**ENGINE["engines"], "dmaengine": "no channel; cure: a driver"},
        refusals={"dmaengine": why},
        error="'dmaengine' cannot be had here",
        callers_help=False,
    )
    assert rows == [
        "engine: thread, auto was asked for",
        ": not what the environment asks for: 'dmaengine' cannot be had here",
        "queues: 3 queues, adaptive, started by the first copy that is large enough",
        "a waiting thread: only waits",
        "learnt: nothing yet of how copies are spread; `adma tune` measures it once",
        "dmaengine: refused: no channel",
        ": cure: a driver",
    ]


@pytest.mark.parametrize(
    ("environment", "engine", "error"),
    [
        ({"ADMA_ENGINE": "thread", "ADMA_QUEUES": "2"}, "thread", None),
        ({"ADMA_ENGINE": "caller"}, "caller", None),
        ({"ADMA_SCHEDULE": "fifo"}, None, "ADMA_SCHEDULE is 'fifo'"),
        pytest.param(
            {"ADMA_ENGINE": "dmaengine"},
            None,
            "'dmaengine' cannot be had here",
            marks=pytest.mark.skipif(HELPER, reason="the kernel module adma is loaded here"),
        ),
    ],
)
def test_info_tells_of_the_engine(
    environment: dict[str, str], engine: str | None, error: str | None
) -> None:
    """Also of one that the environment asks for in vain."""
    done = adma("info", "--json", env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["engine"]
    assert set(found) == set(ENGINE)
    assert engine is None or (found["engine"], found["asked"]) == (engine, engine)
    assert (error or "") in (found["error"] or "")
    assert bool(found["error"]) == bool(error)
    assert ("dmaengine" in found["refusals"]) == (not HELPER)


# ---- info: the kernel helper ----

INFO = {
    "abi": helper.ABI,
    "features": 0b1111,
    "channels": 1,
    "retired": 0,
    "entries": 1024,
    "iov_max": 64,
    "length_max": 1 << 40,
    "window": 4 << 20,
    "pin_limit": 256 << 20,
    "dma_min": 65536,
    "requests_max": 4096,
    "connections_max": 256,
}
CHANNEL = {
    "index": 0,
    "state": "works",
    "align": 64,
    "bytes": 12 << 20,
    "pieces": 30,
    "errors": 0,
    "timeouts": 0,
    "name": "dma0chan0",
    "driver": "zynqmp_dma",
}


class Device:
    """Stands for /dev/adma."""

    def __init__(self, path: str) -> None:
        self.said, self.channels_said = INFO, [CHANNEL]

    def info(self) -> dict[str, int]:
        return self.said

    def channels(self) -> list[dict[str, Any]]:
        return self.channels_said

    def refused(self) -> list[dict[str, str]]:
        return []

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *what: object) -> None:
        pass


def lines(found: dict[str, Any]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in helper.rows(found))


def test_the_helper_in_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper, "Helper", Device)
    monkeypatch.setattr(helper, "_module_version", lambda: "0.1")
    monkeypatch.setattr(helper, "_memlock", lambda: 8 << 20)
    found = helper.describe()
    assert found["available"]
    assert found["channels"] == [CHANNEL]
    assert json.loads(json.dumps(found)) == found
    assert lines(found).splitlines() == [
        "/dev/adma: ABI 1, version 0.1: mapped copy, DMA, copies within a process, time split",
        "dma0chan0: zynqmp_dma, works, aligned to 64 bytes; 12 MiB in 30 pieces",
        "DMA: from 64 KiB on, shorter ones by the CPU",
        "pinned at a time: 4 MiB for each side of a transfer",
        "pin cache: 256 MiB at most",
        "post: 1048576 MiB in 64 pieces at most",
        "requests: 4096 pending ones of a user at most",
        "connections: 256 of a user at most",
        "RLIMIT_MEMLOCK: 8 MiB: both sides of 1 transfer at a time",
    ]


@pytest.mark.parametrize(
    ("memlock", "words"),
    [
        (None, "RLIMIT_MEMLOCK: no limit"),
        (0, "0 bytes: not one page can be pinned, so DMA is not for this user; cure: ulimit -l"),
        (8191 << 10, "8191 KiB: less than both sides pin at a time"),
        (25 << 20, "25 MiB: both sides of 3 transfers at a time"),
    ],
)
def test_the_limit_on_pinned_memory(
    monkeypatch: pytest.MonkeyPatch, memlock: int | None, words: str
) -> None:
    monkeypatch.setattr(helper, "Helper", Device)
    monkeypatch.setattr(helper, "_memlock", lambda: memlock)
    assert words in lines(helper.describe())


@pytest.mark.root
@pytest.mark.parametrize("uid", [0, NOBODY_SPECIAL])
def test_the_limit_is_not_for_who_may_lock_any_memory(uid: int) -> None:
    """As the kernel has it, in whichever container this is."""

    def look() -> tuple[bool, int | None]:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
        become(uid)
        page = ctypes.create_string_buffer(1)
        # Not mlock: under ASan that is a call which does nothing and succeeds.
        return ctypes.CDLL(None).mlock2(page, ctypes.c_size_t(1), 0) == 0, helper._memlock()

    may, limit = InChild(look).result()
    assert limit == (None if may else 0)


def test_a_helper_without_dma_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare(Device):
        def __init__(self, path: str) -> None:
            self.said, self.channels_said = {**INFO, "channels": 0, "features": 0x11}, []

    monkeypatch.setattr(helper, "Helper", Bare)
    found = helper.describe()
    assert found["available"]
    assert found["features"] == ["mapped copy", "others (0x10)"]
    assert "DMA channels: none" in lines(found)
    assert "cure: such a driver" in lines(found)


def test_drivers_that_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = {"name": "fd4d0000.dma", "driver": "xilinx-zynqmp-dma", "reason": "silent"}
    wide = {"name": "0000:00:04.0", "driver": "wide", "reason": "align"}

    class Refusing(Device):
        def refused(self) -> list[dict[str, str]]:
            return [silent, wide]

    monkeypatch.setattr(helper, "Helper", Refusing)
    found = helper.describe()
    assert found["refused"] == [silent, wide]
    said = lines(found)
    assert "fd4d0000.dma: not used: xilinx-zynqmp-dma is not known to report errors" in said
    assert "modprobe adma trust=xilinx-zynqmp-dma" in said
    assert "0000:00:04.0: not used: wide wants its copies aligned" in said


def test_channels_that_had_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    class Troubled(Device):
        def __init__(self, path: str) -> None:
            self.said = INFO
            self.channels_said = [{**CHANNEL, "state": "retired", "errors": 3, "timeouts": 1}]

    monkeypatch.setattr(helper, "Helper", Troubled)
    assert "zynqmp_dma, retired, " in lines(helper.describe())
    assert "30 pieces, 3 errors, 1 time-outs" in lines(helper.describe())


def test_a_helper_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    class Newer(Device):
        def __init__(self, path: str) -> None:
            self.said, self.channels_said = {"abi": helper.ABI + 1}, []

    monkeypatch.setattr(helper, "Helper", Newer)
    found = helper.describe()
    assert (found["available"], found["errno"]) == (False, errno.EPROTONOSUPPORT)
    assert f"refused: the module speaks ABI {helper.ABI + 1}, this package ABI" in lines(found)
    assert "cure: module and package of the same version" in lines(found)


def test_no_device_no_permission_no_helper(tmp_path: Path) -> None:
    """For real, but for the device."""
    missing = helper.describe(str(tmp_path / "missing"))
    assert (missing["available"], missing["errno"]) == (False, errno.ENOENT)
    (tmp_path / "file").write_text("")
    wrong = helper.describe(str(tmp_path / "file"))
    assert (wrong["available"], wrong["errno"]) == (False, errno.ENOTTY)
    assert "does not answer as the helper does" in lines(wrong)


@pytest.mark.root
def test_a_device_that_is_not_for_this_user() -> None:
    with tempfile.NamedTemporaryFile(dir=os.path.join(os.sep, "var", "tmp")) as device:
        os.chmod(device.name, 0o660)
        os.chown(device.name, 0, 4399)

        def look() -> dict[str, Any]:
            become(NOBODY_SPECIAL)
            return helper.describe(device.name)

        found = InChild(look).result()
    assert (found["available"], found["errno"]) == (False, errno.EACCES)
    assert "cure: usermod -aG 4399 USER" in lines(found)


@pytest.mark.parametrize(
    ("number", "found", "cause", "cure"),
    [
        (errno.ENOENT, Circumstances(), "adma is not loaded", "modprobe adma"),
        (errno.ENXIO, Circumstances(), "adma is not loaded", "modprobe adma"),
        (errno.ENOENT, Circumstances(loaded=True), "no device file", "--device=/dev/adma"),
        (errno.EACCES, Circumstances(), "may not open", "udev rule"),
        (errno.EACCES, Circumstances(group="adma"), "may not open", "udev rule"),
        (errno.EPERM, Circumstances(group="adma", group_may=True), "may not open", "-aG adma"),
        (errno.ENOTTY, Circumstances(), "does not answer", "same version"),
        (errno.EINVAL, Circumstances(), "does not answer", "same version"),
        (errno.EMFILE, Circumstances(), "no file descriptor left", "ulimit -n"),
    ],
)
def test_why_there_is_no_helper(number: int, found: Circumstances, cause: str, cure: str) -> None:
    why, what_to_do = helper.explain(number, found)
    assert cause in why
    assert cure in what_to_do


def test_the_package_speaks_the_headers_abi() -> None:
    header = Path(__file__).parents[2] / "kernel" / "include" / "uapi" / "linux" / "adma.h"
    text = header.read_text()
    match = re.search(r"#define ADMA_ABI_VERSION (\d+)", text)
    assert match is not None
    assert int(match[1]) == helper.ABI
    bits = re.findall(r"#define ADMA_FEATURE_\w+ +\(1u << (\d+)\)", text)
    assert [int(bit) for bit in bits] == list(range(len(helper.FEATURES)))


@pytest.mark.skipif(os.environ.get("ADMA_EXPECT_HELPER") != "1", reason="no helper promised")
def test_the_real_helper() -> None:
    done = adma("info", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    said = found["helper"]
    assert said["available"], said
    assert said["abi"] == helper.ABI
    assert said["limits"]["window"] > 0
    works = {each["mechanism"]: each["available"] for each in found["mechanisms"]}
    assert works["mapped:helper"]
    assert works["dma"] == any(each["state"] == "works" for each in said["channels"])
    for each in said["channels"]:
        assert each["driver"]
        assert each["name"].startswith("dma")


# ---- pingpong ----


def test_pingpong_prints_a_table_and_keeps_silent_on_stderr() -> None:
    done = adma(*small("--mechanism", "auto"))
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stderr == ""
    assert "Latency (us)" in done.stdout
    assert "Bandwidth (MB/s)" in done.stdout
    assert "\n70000 " in done.stdout


def test_pingpong_stores_a_report_of_every_mechanism(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    done = adma(*small("--json", str(path)))
    assert done.returncode == 0, done.stderr
    report = schema.load(path)
    assert {each.key for each in report.contestants} >= {"adma", *(f"adma:{n}" for n in KNOWN)}
    for contestant in report.contestants:
        if contestant.measured:
            series = report.find(contestant.key, "latency", 70_000)
            assert series is not None
            assert len(series.values) == 2
        else:
            assert contestant.why
    assert report.argv[1:]
    assert {probe["mechanism"] for probe in report.probes} >= {"shared", "mapped:cma"}


def test_a_report_on_stdout_is_alone_there() -> None:
    done = adma(*small("--mechanism", "shared", "--json", "-"))
    assert done.returncode == 0, done.stderr
    assert schema.from_dict(json.loads(done.stdout)).benchmark == "pingpong"


def test_pingpong_beside_peers_names_those_that_are_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("ADMA_PEER_MPICH", "ADMA_PEER_OPENMPI"):
        monkeypatch.delenv(name, raising=False)
    done = adma(*small("--mechanism", "auto", "--peers"))
    assert done.returncode == 0, done.stderr
    assert "Pipe" in done.stdout
    assert "MPICH: not measured: ADMA_PEER_MPICH is not set; cure:" in done.stdout
    assert "binding later" in done.stdout or "not measured" in done.stdout


def test_a_file_that_cannot_be_written_is_found_before_measuring(tmp_path: Path) -> None:
    done = adma(*small("--json", str(tmp_path / "missing" / "report.json")))
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_pingpong_with_nothing_left(number: signal.Signals) -> None:
    """The leak check after the test looks for processes and files."""
    process = subprocess.Popen(
        [sys.executable, "-m", "adma", "pingpong", "--rounds", "100000", "--sizes", "8"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for_workers(process)
        process.send_signal(number)
        _, words = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 128 + number, words
    assert "Traceback" not in words
    assert list(Path(tempfile.gettempdir()).glob("adma-bench-*")) == []


def wait_for_workers(process: subprocess.Popen[str]) -> None:
    """Until it has started two workers, or ended."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while process.poll() is None and len(children.read_text().split()) < 2:
        os.sched_yield()


# ---- plot ----


def test_plot_draws_a_stored_report(tmp_path: Path) -> None:
    # In a process of its own: matplotlib keeps fonts open and threads running.
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed (extra bench)")
    path = tmp_path / "report.json"
    assert adma(*small("--mechanism", "auto", "--json", str(path))).returncode == 0
    done = adma("plot", str(path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_plot_refuses_what_is_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "odd.json"
    path.write_text("{}")
    assert main(["plot", str(path)]) == 1
    assert "schema: expected 'adma-bench/1'" in capsys.readouterr().err


# ---- imports ----


def test_the_command_line_needs_nothing_beyond_the_core() -> None:
    extras = ("numpy", "matplotlib", "rich", "mpi4py", "click")
    text = f"import sys, adma.cli; print([n for n in {extras!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=TIMEOUT
    )
    assert done.stdout.strip() == "[]", done.stderr
