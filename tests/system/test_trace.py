# SPDX-License-Identifier: BSD-3-Clause
"""ADMA_TRACE: a timeline of posts, matches and chunks, and of who copied each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from adma._core import trace as core_trace
from adma._core._native import ffi, lib
from adma.cli.trace import merge
from adma.testing.limits import HANG

TIMEOUT = HANG * 2
COPIES = """
import adma
adma.configure(engine="thread", queues=2, callers_help=False)
source, target = bytearray(b"x" * (4 << 20)), bytearray(4 << 20)
requests = [adma.icopy(target, source), adma.icopy(bytearray(1 << 20), target[: 1 << 20])]
adma.wait_all(requests)
adma.icopy(bytearray(10), bytes(10))
"""
# Two processes over a socket pair, since the question is which of them copied.
TALK = """
import adma, os, socket, sys
mechanism, nbytes = sys.argv[1], int(sys.argv[2])
here, there = socket.socketpair()
pid = os.fork()
if pid == 0:
    here.close()
    with adma.from_socket(there, mechanism=mechanism) as channel:
        buffer = bytearray(nbytes)
        channel.read(buffer)
        channel.write(b"thanks")
    sys.exit(0)
there.close()
with adma.from_socket(here, mechanism=mechanism) as channel:
    channel.write(bytes(nbytes))
    channel.read(bytearray(6))
os.waitpid(pid, 0)
"""


def run(code: str, place: object, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "ADMA_TRACE": str(place), **more},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


def load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def well(found: dict[str, Any]) -> None:
    """As the Trace Event Format wants it."""
    open_: Counter[tuple[str, str, int]] = Counter()
    for event in found["traceEvents"]:
        assert {"name", "ph", "pid", "tid"} <= set(event), event
        if event["ph"] == "M":
            continue
        assert event["ts"] > 0
        if event["ph"] == "X":
            assert event["dur"] >= 0
        elif event["ph"] == "b":
            open_[event["cat"], event["id"], event["pid"]] += 1
        elif event["ph"] == "e":
            key = event["cat"], event["id"], event["pid"]
            assert open_[key] > 0, f"an end without its begin: {event}"
            open_[key] -= 1
        else:
            assert event["ph"] == "i"
    assert not +open_, "begun and not ended"


def named(found: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [event for event in found["traceEvents"] if event["name"] == name]


def threads(found: dict[str, Any]) -> dict[int, str]:
    return {event["tid"]: event["args"]["name"] for event in named(found, "thread_name")}


def test_copies_and_who_made_their_parts(tmp_path: Path) -> None:
    path = tmp_path / "copies.json"
    done = run(COPIES, path)
    assert (done.returncode, done.stderr) == (0, "")
    found = load(path)
    well(found)
    assert found["otherData"]["dropped"] == 0
    parts = Counter(event["args"]["copy"] for event in named(found, "part"))
    assert sorted(parts.values()) == [8, 32]  # 128 KiB each
    who = {threads(found)[event["tid"]] for event in named(found, "part")}
    assert who <= {"adma-queue-0", "adma-queue-1"}
    posts = named(found, "post")
    assert [event["args"]["bytes"] for event in posts] == [4 << 20, 1 << 20]
    assert {event["tid"] for event in posts} == {found["otherData"]["pid"]}
    assert [event["args"]["bytes"] for event in named(found, "copy in the post")] == [10]
    ends = [event for event in named(found, "copy") if event["ph"] == "b"]
    assert [event["args"] for event in ends] == [
        {"bytes": 4 << 20, "errno": 0},
        {"bytes": 1 << 20, "errno": 0},
    ]


def test_who_waits_is_seen_to_copy(tmp_path: Path) -> None:
    path = tmp_path / "callers.json"
    code = (
        "import adma; adma.configure(engine='caller');adma.copy(bytearray(1 << 20), bytes(1 << 20))"
    )
    done = run(code, path)
    assert (done.returncode, done.stderr) == (0, "")
    found = load(path)
    assert {threads(found)[event["tid"]] for event in named(found, "part")} == {
        threads(found)[found["otherData"]["pid"]]
    }
    assert threads(found)[found["otherData"]["pid"]].endswith(" (main)")


@pytest.mark.parametrize("mechanism", ["shared", "mapped:cma", "loopback:tcp"])
def test_both_ends_of_a_message(tmp_path: Path, mechanism: str) -> None:
    """Each process writes a file; together they tell of every byte."""
    nbytes = 2 << 20
    done = run(TALK, tmp_path / "talk-%p.json", mechanism, str(nbytes))
    assert (done.returncode, done.stderr) == (0, "")
    traces = [load(path) for path in sorted(tmp_path.glob("talk-*.json"))]
    assert len(traces) == 2
    for found in traces:
        well(found)
    both = merge(traces)
    well(both)
    assert len({event["pid"] for event in both["traceEvents"]}) == 2
    matches = named(both, f"match: {mechanism}")
    large = [event for event in matches if event["args"]["bytes"] == nbytes]
    assert len(large) == 2
    assert len({event["args"]["match"] for event in large}) == 1
    ours = {(event["pid"], event["args"]["match"], event["args"]["direction"]) for event in large}
    assert {direction for _, _, direction in ours} == {"in", "out"}

    def is_ours(event: dict[str, Any]) -> bool:
        args = event["args"]
        return (event["pid"], args["match"], args["direction"]) in ours

    chunks = [event for event in named(both, "chunk") if is_ours(event)]
    copied = sum(event["args"]["bytes"] for event in chunks)
    # One copy by whoever was free, or one in and one out.
    assert copied == (nbytes if mechanism == "mapped:cma" else 2 * nbytes)
    told = [event for event in named(both, "copied by the peer") if is_ours(event)]
    assert len(told) == (2 if mechanism == "mapped:cma" else 0)
    for event in told:
        theirs = [chunk for chunk in chunks if chunk["pid"] != event["pid"]]
        assert event["args"]["chunks"] == len(theirs)
    verbs = Counter(event["name"] for event in both["traceEvents"] if event.get("cat") == "message")
    assert verbs["read"] >= 2
    assert verbs["write"] >= 2
    assert {event["args"]["error"] for event in both["traceEvents"] if event["ph"] == "e"} == {0}


def test_small_messages(tmp_path: Path) -> None:
    done = run(TALK, tmp_path / "talk-%p.json", "auto", "8")
    assert (done.returncode, done.stderr) == (0, "")
    both = merge([load(path) for path in tmp_path.glob("talk-*.json")])
    sizes = [event["args"]["bytes"] for event in named(both, "write at once")]
    assert sorted(sizes) == [6, 8]


def test_a_child_without_a_name_of_its_own_writes_nothing(tmp_path: Path) -> None:
    """It must not overwrite its parent's."""
    path = tmp_path / "one.json"
    done = run(TALK, path, "shared", str(1 << 20))
    assert (done.returncode, done.stderr) == (0, "")
    found = load(path)
    well(found)
    assert {event["pid"] for event in found["traceEvents"]} == {found["otherData"]["pid"]}


def test_a_child_of_multiprocessing_writes_its_own(tmp_path: Path) -> None:
    code = (
        "import adma, multiprocessing\n"
        "def work(): adma.copy(bytearray(5000), bytes(5000))\n"
        "process = multiprocessing.get_context('fork').Process(target=work)\n"
        "process.start(); print(process.pid); process.join()"
    )
    done = run(code, tmp_path / "%p.json")
    assert (done.returncode, done.stderr) == (0, "")
    found = load(tmp_path / f"{done.stdout.strip()}.json")
    assert [event["args"]["bytes"] for event in named(found, "copy in the post")] == [5000]


def test_it_is_bounded_and_tells_what_was_dropped(tmp_path: Path) -> None:
    path = tmp_path / "few.json"
    code = "import adma\nfor n in range(1, 1001): adma.copy(bytearray(n), bytes(n))"
    done = run(code, path, ADMA_TRACE_EVENTS="100")
    assert (done.returncode, done.stderr) == (0, "")
    found = load(path)
    well(found)
    made = named(found, "copy in the post")
    assert [event["args"]["bytes"] for event in made] == list(range(1000 - 127, 1001))
    assert found["otherData"]["dropped"] == 1000 - 128


def test_a_begin_that_is_lost_takes_no_end_along(tmp_path: Path) -> None:
    """Whatever events are left make a sound file."""
    for events in ("1", "4", "16"):
        done = run(
            TALK, tmp_path / f"{events}-%p.json", "mapped:cma", "4000000", ADMA_TRACE_EVENTS=events
        )
        assert (done.returncode, done.stderr) == (0, "")
    paths = list(tmp_path.glob("*.json"))
    assert len(paths) == 6
    for path in paths:
        well(load(path))


def test_what_is_pending_at_the_end_is_there(tmp_path: Path) -> None:
    path = tmp_path / "pending.json"
    code = (
        "import adma, socket\n"
        "import threading\n"
        "here, there = socket.socketpair()\n"
        "ends = []\n"
        "thread = threading.Thread(target=lambda: ends.append(adma.from_socket(there)))\n"
        "thread.start(); ends.append(adma.from_socket(here)); thread.join()\n"
        "import os\n"
        "request = ends[0].iread(bytearray(10))\n"
        "from adma import trace\n"
        "trace.write()\n"
        "os._exit(0)\n"
    )
    done = run(code, path)
    assert (done.returncode, done.stderr) == (0, "")
    found = load(path)
    well(found)
    assert len(named(found, "post of a read")) == 1


@pytest.mark.parametrize("path", ["/nowhere/trace.json", "/", "/proc/version/x"])
def test_a_file_that_cannot_be_written_is_said_at_once(path: str) -> None:
    done = run("import adma\nprint('imported')", path)
    assert done.returncode == 1
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert f"ADMA_TRACE: {path!r} cannot be written: " in last


@pytest.mark.parametrize("size", ["0", "-1", "many", "99999999999"])
def test_a_wrong_number_of_events(tmp_path: Path, size: str) -> None:
    done = run("import adma", tmp_path / "x.json", ADMA_TRACE_EVENTS=size)
    assert done.returncode == 1
    assert "ADMA_TRACE_EVENTS is" in done.stderr


def test_a_file_that_went_meanwhile(tmp_path: Path) -> None:
    """It is reported on stderr, and the exit status of the program does not change."""
    place = tmp_path / "gone"
    place.mkdir()
    done = run(f"import adma, shutil; shutil.rmtree({str(place)!r})", place / "x.json")
    assert done.returncode == 0
    assert "was not written" in done.stderr


def test_the_name_is_not_moved_by_chdir(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import adma, os; os.chdir('/')"],
        cwd=tmp_path,
        env={**os.environ, "ADMA_TRACE": "here.json"},
        timeout=TIMEOUT,
    )
    assert done.returncode == 0
    well(load(tmp_path / "here.json"))


def test_off_it_keeps_nothing() -> None:
    """There is no ring and no event, no thread is noted, and the writing module is not loaded."""
    code = (
        "import adma, sys; adma.copy(bytearray(5000), bytes(5000));"
        "adma.copy(bytearray(1 << 20), bytes(1 << 20));"
        "from adma._core._native import ffi, lib; n = ffi.new('uint64_t *');"
        "print('adma.trace' in sys.modules, lib.adma_trace_take(ffi.NULL, 0, n), n[0],"
        "lib.adma_trace_threads(ffi.NULL, 0))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "ADMA_TRACE"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert (done.stdout, done.stderr) == ("False 0 0 0\n", "")


def test_an_event_is_as_python_reads_it() -> None:
    assert ffi.sizeof("struct adma_trace_event") == core_trace._EVENT.size
    for name in ("at", "lasted", "id", "a", "b", "c", "tid", "kind"):
        assert hasattr(ffi.new("struct adma_trace_event *"), name)
    assert lib.adma_trace_start(3) == -22  # no power of two


# ---- adma trace merge ----


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "adma", "trace", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)


def test_timelines_are_joined(tmp_path: Path) -> None:
    for name, dropped in (("a", 1), ("b", 2)):
        content = {
            "otherData": {"dropped": dropped, "pid": dropped},
            "traceEvents": [{"name": name}],
        }
        (tmp_path / name).write_text(json.dumps(content))
    done = cli("merge", str(tmp_path / "out"), str(tmp_path / "a"), str(tmp_path / "b"))
    assert (done.returncode, done.stdout) == (0, "2 events, 3 dropped\n")
    found = load(tmp_path / "out")
    assert [event["name"] for event in found["traceEvents"]] == ["a", "b"]


def test_who_was_killed_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('{"traceEvents": []}')
    done = run("import adma, os; os._exit(0)", tmp_path / "b")
    assert done.returncode == 0
    done = cli("merge", str(tmp_path / "out"), str(tmp_path / "a"), str(tmp_path / "b"))
    assert (done.returncode, done.stdout) == (0, "0 events, 0 dropped\n")
    assert done.stderr == f"{tmp_path / 'b'}: empty, its process was killed or still runs\n"


def test_a_child_that_becomes_another_program_leaves_no_file(tmp_path: Path) -> None:
    code = (
        "import adma, os\n"
        "pid = os.fork()\n"
        "if pid == 0: os.execv('/bin/true', ['true'])\n"
        "os.waitpid(pid, 0); print(os.getpid())"
    )
    done = run(code, tmp_path / "%p.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.stem for path in tmp_path.iterdir()] == [done.stdout.strip()]


@pytest.mark.parametrize("content", ["{", "[]", '{"traceEvents": 3}'])
def test_what_is_no_timeline_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "a").write_text(content)
    done = cli("merge", str(tmp_path / "out"), str(tmp_path / "a"))
    assert done.returncode == 1
    assert str(tmp_path / "a") in done.stderr
