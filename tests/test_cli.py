# SPDX-License-Identifier: BSD-3-Clause
"""The command line, run as users run it: a process of its own."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
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
from adma.cli import info, main, probe
from support.limits import SLOWNESS

TIMEOUT = 60 * SLOWNESS


def adma(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [sys.executable, "-m", "adma.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, **more)


def small(*arguments: str) -> list[str]:
    return ["pingpong", "--sizes", "8,70000", "--rounds", "2", "--iters", "2", *arguments]


def test_version() -> None:
    done = adma("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("adma ")


@pytest.mark.parametrize("arguments", [[], ["info"], ["pingpong"], ["plot"]])
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
    for name in ("shared", "mapped:cma", "loopback:tcp"):
        assert name in done.stdout
    assert "open files" in done.stdout


def test_info_as_json() -> None:
    done = adma("info", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {"machine", "software", "limits", "thresholds", "mechanisms", "auto"} <= set(found)
    assert [each["mechanism"] for each in found["mechanisms"]] == [
        "shared",
        "mapped:cma",
        "loopback:tcp",
    ]
    for each in found["mechanisms"]:
        assert each["available"] or each["cause"]


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
    assert [each.key for each in report.contestants] == [
        "adma",
        "adma:shared",
        "adma:mapped:cma",
        "adma:loopback:tcp",
    ]
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
        [sys.executable, "-m", "adma.cli", "pingpong", "--rounds", "100000", "--sizes", "8"],
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
