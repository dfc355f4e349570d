# SPDX-License-Identifier: BSD-3-Clause
"""`adma tune`: what it stores is taken up by later processes, or is told of and ignored."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adma import tuned
from adma._core.constants import MECH_CMA, MECH_SHARED
from adma._core.learning import Cost, Spread, size_of
from adma.cli import tune
from adma.testing.limits import SLOWNESS
from support.mechanisms import FORCED

TIMEOUT = 120 * SLOWNESS
KIB_16, KIB_256, MIB_4 = 4, 12, 20  # size classes
PLAIN = (False, False, False)  # neither aliased nor by a detour nor beside others
COSTS = [
    Cost(KIB_256, MECH_SHARED, 0, *PLAIN, False, 90_000),
    Cost(KIB_256, MECH_CMA, 2, *PLAIN, True, 40_000),
    Cost(KIB_256, MECH_CMA, 0, False, False, True, True, 35_000),
    Cost(KIB_256, MECH_CMA, 7, *PLAIN, False, 40_000),  # of another version: it is left out
    Cost(KIB_16, 0, 0, *PLAIN, False, 400_000),  # a rendezvous
    Cost(KIB_16, 0, 1, *PLAIN, True, 200_000),  # eager
    Cost(KIB_256, 0, 1, *PLAIN, True, 200_000),  # never eager: it is left out
]
SPREADS = [
    Spread(MIB_4, True, 1, 0, False, 20, 128 * 1024, 90_000),
    Spread(MIB_4, True, 1, 1, True, 20, 512 * 1024, 80_000),
    Spread(MIB_4, True, 99, 0, False, 20, 128 * 1024, 70_000),  # there are not so many queues
]
# The ways in which a process begins to spread copies that its one queue and a caller make.
TELL_SPREADS = """
from adma.copying import engine
learnt = engine.describe()["learnt"]
print([(way["queues"], way["part_bytes"] > 128 * 1024, way["chosen"]) for way in learnt])
"""
# A process with both ends of a channel: the way that messages of 256 KiB would take.
TELL = """
import socket, threading, adma
a, b = socket.socketpair()
other = []
thread = threading.Thread(target=lambda: other.append(adma.from_socket(b)))
thread.start()
with adma.from_socket(a) as channel:
    thread.join()
    found = [*channel.explain(256 * 1024).learnt, *channel.explain(16 * 1024).learnt[-2:]]
    print([(way.mechanism, way.chunk) for way in found if way.chosen and not way.aliased])
    other[0].close(0)
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)


def chosen() -> str:
    """What a fresh process begins with, and of what it warns."""
    done = python("-W", "default::RuntimeWarning", "-c", TELL)
    assert done.returncode == 0, done.stderr
    return (done.stdout + done.stderr).strip()


def refused(why: str) -> None:
    """The file is told of, and the process that would take it up goes on without it."""
    with pytest.raises(tuned.Unusable, match=why):
        tuned.load()
    assert "tuned.json is ignored" in chosen()
    done = python("-m", "adma", "tune", "--show")
    assert done.returncode == 1
    assert "tuned.json is ignored" in done.stderr


def change(**fields: Any) -> None:
    """Store something, and then change a part of it."""
    path = Path(tuned.store(COSTS, SPREADS, "today"))
    found = {**json.loads(path.read_text()), **fields}
    path.write_text(json.dumps(found))


def test_what_is_stored_is_loaded() -> None:
    assert tuned.load() is None
    path = tuned.store(COSTS, SPREADS, "today")
    assert tuned.load() == tuned.Tuned("today", tuned.machine(), COSTS, SPREADS)
    assert os.listdir(os.path.dirname(path)) == ["tuned.json"]
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert size_of(KIB_256) == 256 * 1024


@pytest.mark.skipif(
    not {"shared", "mapped:cma"} <= set(FORCED), reason="needs mechanisms to choose from"
)
def test_a_process_begins_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen() == "[('shared', 16384), ('rendezvous', 0)]"
    tuned.store(COSTS, SPREADS, "today")
    assert chosen() == f"[('mapped:cma', {512 * 1024}), ('eager', 0)]"
    monkeypatch.setenv("ADMA_LEARN", "0")
    assert chosen() == "[]"


def begins_with(monkeypatch: pytest.MonkeyPatch) -> str:
    """How a fresh process with one queue begins to spread copies."""
    monkeypatch.setenv("ADMA_ENGINE", "thread")
    monkeypatch.setenv("ADMA_QUEUES", "1")
    done = python("-W", "error", "-c", TELL_SPREADS)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_copy_engine_begins_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert begins_with(monkeypatch) == "[]"
    tuned.store(COSTS, SPREADS, "today")
    assert begins_with(monkeypatch) == "[(1, False, False), (1, True, True)]"
    monkeypatch.setenv("ADMA_LEARN", "0")
    assert begins_with(monkeypatch) == "[]"


def test_a_file_without_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an earlier version stored it: what it says of messages holds."""
    path = Path(tuned.store(COSTS, SPREADS, "today"))
    found = json.loads(path.read_text())
    del found["spreads"]
    path.write_text(json.dumps(found))
    assert tuned.load() == tuned.Tuned("today", tuned.machine(), COSTS)
    assert begins_with(monkeypatch) == "[]"


@pytest.mark.parametrize("name", ["id", "cpu", "cores", "kernel"])
def test_a_file_from_another_machine(name: str) -> None:
    change(machine={**tuned.machine(), name: "another"})
    refused(f"another machine \\({name}\\)")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"format": "adma-tuned/2"}',
        "[" * 100_000,
        "\0" * 100,
        " " * (1 << 21),
    ],
    ids=lambda text: text[:10],
)
def test_a_damaged_file(text: str) -> None:
    Path(tuned.store(COSTS, SPREADS, "today")).write_text(text)
    refused("damaged|longer")


@pytest.mark.parametrize(
    "costs",
    [
        [[1]],
        [["a"] * 8],
        [[1.5, 1, 1, 0, 0, 0, 0, 1]],
        [[-1, 1, 1, 0, 0, 0, 0, 1]],
        [[1, 1, 1, 0, 0, 0, 0, 1 << 70]],
        [[1, 1, 1, 0, 0, 0, 0, 1]] * 3000,
        5,
        {"a": 1},
    ],
    ids=lambda costs: str(costs)[:20],
)
def test_costs_that_are_none(costs: Any) -> None:
    change(costs=costs)
    refused("damaged")


@pytest.mark.parametrize(
    "spreads",
    [[[1]], [[1, 1, "a", 0, 1, 1, 1, 1]], [[1, 1, 1, 0, 1, 1, 1, -1]], [[1] * 8] * 3000, 5],
    ids=lambda spreads: str(spreads)[:20],
)
def test_copies_that_are_none(spreads: Any) -> None:
    change(spreads=spreads)
    refused("damaged")


def test_another_format() -> None:
    change(format="adma-tuned/99")
    refused("another format")


def test_costs_of_ways_that_there_are_not() -> None:
    """They are left out, and keep no others from being taken up."""
    ways = [Cost(1000, 1, 0, *PLAIN, True, 1), Cost(1, 99, 0, *PLAIN, True, 1)]
    tuned.store([*ways, Cost(KIB_256, MECH_SHARED, 0, True, False, False, True, 0)], [], "today")
    assert python("-W", "error", "-c", TELL).returncode == 0


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_may_write(mode: int) -> None:
    os.chmod(tuned.store(COSTS, SPREADS, "today"), mode)
    refused("another user may write it")


@pytest.mark.parametrize("what", ["fifo", "link", "directory"])
def test_what_is_no_file(home: Path, what: str) -> None:
    path = Path(tuned.store(COSTS, SPREADS, "today"))
    path.rename(home / "real")
    if what == "fifo":
        os.mkfifo(path)
    elif what == "link":
        path.symlink_to(home / "real")
    else:
        path.mkdir()
    refused("no regular file|a symbolic link")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="drops privileges")
def test_the_home_of_somebody_else(home: Path) -> None:
    """A daemon that gave up its rights, and still has HOME, is not told of what it cannot see."""
    tuned.store(COSTS, SPREADS, "today")
    home.chmod(0o700)
    drop = "import os, adma; os.setresgid(*[65533] * 3); os.setresuid(*[65533] * 3)"
    done = python("-W", "error", "-c", f"{drop}\n{TELL}")
    assert done.returncode == 0, done.stderr


def test_where_nothing_can_be_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "file"))
    done = python("-m", "adma", "tune")
    assert done.returncode == 1
    assert "Not a directory" in done.stderr
    assert tuned.load() is None


def test_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.delenv("HOME", raising=False)
    done = python("-m", "adma", "tune")
    assert done.returncode == 1
    assert "set HOME or XDG_CONFIG_HOME" in done.stderr
    assert python("-W", "error", "-c", TELL).returncode == 0


def test_tune_when_learning_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMA_LEARN", "0")
    done = python("-m", "adma", "tune")
    assert done.returncode == 1
    assert "ADMA_LEARN=0" in done.stderr


def test_tune_runs() -> None:
    done = python("-m", "adma", "tune", "--quick")
    assert done.returncode == 0, done.stderr
    assert "it runs" in done.stdout
    assert done.stderr == ""
    assert tuned.load() is None


def test_tune_learns_nothing_where_it_cannot(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on a busy machine: it says so, and leaves what was stored before as it is."""
    tuned.store(COSTS, SPREADS, "today")
    monkeypatch.setattr(tune, "measure", lambda quick: None)
    monkeypatch.setattr(tune.learning, "tell", lambda uid: [])
    monkeypatch.setattr(tune.learning, "tell_spreads", list)
    assert tune.tune(quick=False, as_json=False) == 1
    assert "the machine is busy" in capsys.readouterr().err
    found = tuned.load()
    assert found is not None
    assert found.date == "today"


def test_tune_stores_what_it_has_learnt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tune, "measure", lambda quick: None)
    monkeypatch.setattr(tune.learning, "tell", lambda uid: COSTS)
    monkeypatch.setattr(tune.learning, "tell_spreads", lambda: SPREADS)
    assert tune.tune(quick=False, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["file"] == tuned.path()
    found = tuned.load()
    assert found is not None
    assert (found.costs, found.spreads) == (COSTS, SPREADS)


def test_show() -> None:
    done = python("-m", "adma", "tune", "--show")
    assert done.returncode == 1
    assert "run `adma tune`" in done.stderr
    tuned.store(COSTS, SPREADS, "today")
    done = python("-m", "adma", "tune", "--show")
    assert done.returncode == 0, done.stderr
    assert "mapped:cma" in done.stdout
    assert "eager" in done.stdout
    done = python("-m", "adma", "tune", "--show", "--json")
    found = json.loads(done.stdout)
    assert found["machine"] == tuned.machine()
    assert found["ways"][1] == {
        "nbytes": 256 * 1024,
        "mechanism": "mapped:cma",
        "chunks": "large",
        "aliased": False,
        "detour": False,
        "window": False,
        "chosen": True,
        "seconds": 1e-5,
    }
    assert found["spreads"][1] == {
        "nbytes": 4 << 20,
        "waits": True,
        "queues": 1,
        "part_bytes": 512 * 1024,
        "chosen": True,
        "seconds": 0.00032,
    }
