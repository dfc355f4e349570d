# SPDX-License-Identifier: BSD-3-Clause
"""Copies at the edges: buffers, ends, forks, signals, threads, and an engine that cannot be had."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import adma
from adma._core import faults as fault_points
from adma.copying import engine as adma_engine
from adma.messages import waitset
from adma.testing.limits import GIB, HANG, KIB, MIB, SHORT
from adma.testing.observe import state, until, until_asleep
from adma.testing.payload import difference, pattern
from adma.testing.peer import Peer, search_path
from support import engine
from support.calls import copies, faults
from support.endpoints import NOBODY_SPECIAL, InChild, InThread, pair
from support.engine import LINE, OUTSTANDING, PART, queue_threads
from support.memory import OVERHEAD
from support.quick import QUICK

Ends = tuple[adma.Channel, adma.Channel]
THREAD: dict[str, Any] = {"engine": "thread", "queues": 2}


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    """Disarm the fault points that a test armed in this process."""
    yield
    if fault_points.BUILT:
        faults.disarm_all()


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Both ends of a channel in this process."""
    one, other = pair()
    joining = InThread(lambda: adma.from_socket(other))
    with adma.from_socket(one) as near, joining.result() as far:
        yield near, far


def run(script: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """A Python program of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, "PYTHONPATH": search_path(), **more.pop("environment", {})},
        capture_output=True,
        text=True,
        timeout=2 * HANG,
        **more,
    )


# Buffers


@pytest.mark.faults
def test_a_buffer_is_held_until_its_copy_is_done() -> None:
    buffer, source = bytearray(MIB), bytearray(pattern(MIB, 2))
    with engine.held():
        request = adma.icopy(buffer, source)
        for held in (buffer, source):
            with pytest.raises(BufferError):
                held.append(0)
    request.wait(HANG)
    buffer.append(0)
    source.clear()


@pytest.mark.faults
@pytest.mark.parametrize(
    "look", [lambda request: request.check(), lambda request: request.cancel()]
)
def test_a_buffer_is_free_once_it_is_seen_to_be_done(look: Callable[[Any], bool]) -> None:
    """A check sees it, or a cancel wins, while others are still being copied."""
    buffer = bytearray(MIB)
    with engine.held() as (blocker, _):
        request = adma.icopy(buffer, bytes(MIB))
        if look(request):
            buffer.append(0)
        else:
            engine.release()
            adma.wait_all([request, blocker], HANG)
            assert look(request)
            buffer.append(0)


@pytest.mark.faults
def test_what_is_dropped_happens() -> None:
    """The copy is made though the request and every reference to the source are dropped."""
    targets = [bytearray(100 * KIB) for _ in range(50)]
    with engine.held():
        for seed, target in enumerate(targets):
            adma.icopy(target, pattern(100 * KIB, seed))
    engine.drain()
    for seed, target in enumerate(targets):
        assert not difference(target, pattern(100 * KIB, seed))


@pytest.mark.faults
def test_a_failed_post_lets_go() -> None:
    """No engine can be had, and that is an error here (-W error): nothing is held, or happens."""
    adma_engine._warned.clear()
    engine.configure(**THREAD)
    faults.arm(None, faults.THREAD, "fail", errno.EAGAIN)
    buffer = bytearray(MIB)
    with pytest.raises(RuntimeWarning, match="cannot be started"):
        adma.icopy(buffer, pattern(MIB))
    assert buffer == bytes(MIB)
    buffer.append(0)


# Very many


@pytest.mark.faults
def test_a_hundred_thousand_outstanding() -> None:
    """What each costs is bounded, and all are made in order."""
    count, cells = 100_000, 1000
    memory = bytearray(8 * cells)
    view = memoryview(memory)
    with engine.held() as (_, target):
        # Behind the held copy, of whose bytes each takes eight.
        source = memoryview(target)
        requests = []
        before = _resident()
        for number in range(count):
            if number == LINE:
                each = (_resident() - before) / number
                assert adma.stats()["in_line"] > LINE - 2 * OUTSTANDING
                engine.release()
            at, from_ = 8 * (number % cells), number % (len(target) - 8)
            requests.append(adma.icopy(view[at : at + 8], source[from_ : from_ + 8]))
    assert adma.wait_all(requests, HANG) == [8] * count
    want = bytearray(8 * cells)
    for number in range(count - cells, count):
        at, from_ = 8 * (number % cells), number % (len(target) - 8)
        want[at : at + 8] = target[from_ : from_ + 8]
    assert memory == want
    assert each < 3 * KIB * OVERHEAD, f"{each:.0f} bytes for each"


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.faults
def test_a_full_line_is_waited_for() -> None:
    """The post blocks until there is room, and meanwhile dropped requests are released."""
    with engine.held() as (_, target):
        source, sink = memoryview(target)[:8], bytearray(8)
        for _ in range(LINE + OUTSTANDING - 1):
            adma.icopy(sink, source)
        assert adma.stats()["in_line"] == LINE
        posting = InThread(lambda: adma.icopy(sink, source))
        assert adma.stats()["outstanding"] == LINE + OUTSTANDING
        assert posting._thread.is_alive()
        engine.release()
        posting.result().wait(HANG)
    engine.drain()


# The end of the interpreter


EXIT = """
import mmap, sys
import adma
from adma._core._native import lib
adma.configure(engine={engine!r}, queues=2, callers_help=False)
file = open({path!r}, "r+b")
target = mmap.mmap(file.fileno(), 0)
file.close()
source = bytes(range(256)) * {kib} * 4
view = memoryview(target)
for at in range(0, len(target), len(source)):
    adma.icopy(view[at : at + len(source)], source)
"""


@pytest.mark.parametrize("engine_", ["thread", "caller"])
@pytest.mark.parametrize("kib", [1, 1024])
def test_exit_completes_what_is_pending(tmp_path: Path, engine_: str, kib: int) -> None:
    """No crash, no hang, and what was posted is in the file."""
    path = tmp_path / "target"
    path.write_bytes(bytes(16 * MIB))
    done = run(EXIT.format(engine=engine_, path=str(path), kib=kib))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    wrong = difference(path.read_bytes(), bytes(range(256)) * (64 * KIB))
    assert not wrong, wrong


@pytest.mark.faults
def test_exit_waits_for_a_held_copy(tmp_path: Path) -> None:
    """The exit also waits for a part that takes long to begin, and keeps sys.exit()'s status."""
    path = tmp_path / "target"
    path.write_bytes(bytes(MIB))
    delay = "\nlib.adma_fault_arm(lib.ADMA_FAULT_CHUNK, lib.ADMA_FAULT_DELAY, 200000, 1)\n"
    script = EXIT.format(engine="thread", path=str(path), kib=1024)
    done = run(script.replace("\nview", delay + "view") + "sys.exit(7)")
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")
    assert path.read_bytes() == bytes(range(256)) * (4 * KIB)


@pytest.mark.faults
def test_ctrl_c_at_exit_ends_it() -> None:
    """The held copy would never end; its buffers stay as long as the process."""
    script = """
import adma
from adma._core._native import lib
adma.configure(engine="thread", queues=2, callers_help=False)
lib.adma_fault_arm(lib.ADMA_FAULT_CHUNK, lib.ADMA_FAULT_HOLD, 0, 1)
requests = [adma.icopy(bytearray(1 << 20), bytes(1 << 20)) for _ in range(9)]
print("at the end", flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": search_path()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at the end\n"
        until_asleep(process.pid)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=HANG)
    assert "KeyboardInterrupt" in errors
    assert process.returncode in (0, 1, 130)  # what atexit makes of it is Python's


def test_a_daemon_thread_may_post_while_the_interpreter_ends() -> None:
    """The thread itself makes the copies that it posts after the workers have ended."""
    script = """
import threading
import adma
adma.configure(engine="thread", queues=2)
begun = threading.Event()
def post():
    buffers = [bytearray(1 << 20) for _ in range(8)]
    while True:
        requests = [adma.icopy(buffer, bytes(1 << 20)) for buffer in buffers]
        begun.set()
        del requests
for _ in range(2):
    threading.Thread(target=post, daemon=True).start()
begun.wait()
"""
    for _ in range(5):
        done = run(script)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_copies_at_exit_after_the_queues_have_ended() -> None:
    """Exit handlers that were registered before adma's run after it."""
    script = """
import atexit
def late():
    import os
    buffer = bytearray(1 << 21)
    assert adma.icopy(buffer, b"x" * len(buffer)).wait() == len(buffer)
    assert buffer == b"x" * len(buffer)
    assert len(os.listdir("/proc/self/task")) == 1
    print("late")
atexit.register(late)
import adma
adma.configure(engine="thread", queues=2)
adma.icopy(bytearray(1 << 20), bytes(1 << 20))
"""
    done = run(script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "late\n", "")


MULTIPROCESSING = """
import mmap, multiprocessing
import adma

def post(target):
    adma.configure(engine="thread", queues=1, callers_help=False)
    adma.icopy(target, bytes(range(256)) * (4 * 64 * 1024))

def main():
    target = mmap.mmap(-1, 64 << 20)
    child = multiprocessing.get_context("fork").Process(target=post, args=(target,))
    child.start()
    child.join()
    print(child.exitcode, target[:] == bytes(range(256)) * (4 * 64 * 1024))

main()
"""


def test_the_end_of_a_multiprocessing_child_completes_what_is_pending() -> None:
    """Such a child leaves without the usual end of the interpreter."""
    done = run(MULTIPROCESSING)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 True\n", "")


CONFIGURED_LATE = """
import atexit

def late():
    adma.configure(engine="thread")
    adma.configure(engine="caller")

atexit.register(late)  # before adma's own, so it runs after that
import adma
adma.configure(engine="thread", queues=16)
adma.icopy(bytearray(1 << 20), bytes(1 << 20)).wait()
"""


def test_configured_after_the_end() -> None:
    """The threads are joined only once."""
    done = run(CONFIGURED_LATE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("variable", "value", "settings_"),
    [("ADMA_ENGINE", "gpu", {"engine": "thread"}), ("ADMA_QUEUES", "many", {"queues": 1})],
)
def test_configure_overrides_the_environment(
    variable: str, value: str, settings_: dict[str, Any]
) -> None:
    """For an argument that is given, the environment is not looked at, not even to refuse it."""
    script = (
        f"import adma; adma.configure(**{settings_!r}); print(adma.copy(bytearray(9), bytes(9)))"
    )
    done = run(script, environment={variable: value})
    assert (done.returncode, done.stdout, done.stderr) == (0, "9\n", "")


HANDLER = """
import signal
import adma
from adma.copying import engine

def handler(number, frame):
    print(adma.copy(bytearray(1 << 20), bytes(1 << 20)))

signal.signal(signal.SIGUSR1, handler)
apply = engine._apply

def interrupted(config):
    engine._apply = apply
    signal.raise_signal(signal.SIGUSR1)
    apply(config)

engine._apply = interrupted
engine.configure(queues=1)
"""


def test_a_handler_copies_while_its_thread_configures() -> None:
    done = run(HANDLER)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1048576\n", "")


# fork


@pytest.mark.faults
def test_fork_while_copies_are_pending(peer: Peer) -> None:
    """They stay the parent's. The child says so, and starts worker threads for its own copies."""
    found = peer.call(copies.fork_while_pending)
    assert found["threads before"] == 1
    for call in ("check", "wait", "wait_all", "wait_any"):
        assert "fork" in found[call], (call, found[call])
        assert "ProcessLookupError" in found[call], (call, found[call])
        assert "posted by the parent process" in found[call]
    assert found["cancel"] == "returned False"
    assert found["own held"].startswith("TimeoutError"), found["own held"]
    assert found["helped"] == 0
    assert found["own and the parent's"] == 0
    assert found["anew"]
    assert found["threads after"] == 1
    assert not any(found["stats before"].values()), found["stats before"]
    assert found["stats after"]["copies"] == 2
    assert found["stats after"]["outstanding"] == 0
    assert found["pending in the parent"]
    assert found["parent"] == [64 * KIB, MIB, 64 * KIB]
    assert found["right"]


def test_fork_among_threads_that_copy(peer: Peer) -> None:
    """Wherever the threads are at the fork, the locks of the engine are free in the child."""
    assert peer.call(copies.fork_among_threads, 40) == 40


# Threads that cannot be had


@pytest.mark.faults
def test_no_thread_can_be_made() -> None:
    """Then the thread that waits copies; one warning says so, and `configure` tries again."""
    adma_engine._warned.clear()
    engine.configure(**THREAD)
    faults.arm(None, faults.THREAD, "fail", errno.EAGAIN)
    buffer = bytearray(MIB)
    with pytest.warns(RuntimeWarning, match=r"'thread' cannot be started \(Resource temp"):
        request = adma.icopy(buffer, pattern(MIB, 1))
    assert request.check()
    assert buffer == pattern(MIB, 1)
    assert adma.icopy(buffer, pattern(MIB, 2)).wait() == MIB  # no second warning: an error here
    assert buffer == pattern(MIB, 2)
    assert not queue_threads()
    assert adma_engine.describe()["refused"] == os.strerror(errno.EAGAIN)
    adma.configure()
    assert adma.icopy(buffer, pattern(MIB, 3)).wait(HANG) == MIB
    assert len(queue_threads()) == 2
    assert adma_engine.describe()["refused"] is None


@pytest.mark.faults
@pytest.mark.parametrize("schedule", ["adaptive", "round-robin"])
def test_some_threads_can_be_made(schedule: str) -> None:
    """Fewer worker threads than asked for will do, and no warning is given."""
    engine.configure(engine="thread", queues=4, schedule=schedule, callers_help=False)
    faults.arm(None, faults.THREAD, "fail", errno.EAGAIN, 3)
    targets = [bytearray(MIB) for _ in range(8)]
    requests = [adma.icopy(target, pattern(MIB, seed)) for seed, target in enumerate(targets)]
    adma.wait_all(requests, HANG)
    for seed, target in enumerate(targets):
        assert target == pattern(MIB, seed)
    assert sorted(queue_threads().values()) == ["adma-queue-0", "adma-queue-1"]
    assert adma_engine.describe()["running"] == 2


@pytest.mark.alone  # the limit counts what other tests run as the same user
@pytest.mark.root
@pytest.mark.parametrize(("tasks", "queues"), [(1, 0), (3, 2)])
def test_a_limit_of_threads(tasks: int, queues: int) -> None:
    """RLIMIT_NPROC, which holds for every user but root."""
    child = InChild(lambda: copies.without_threads(NOBODY_SPECIAL, tasks, 4 * MIB))
    found = child.result()
    assert found["right"]
    assert found["queues"] == queues
    assert found["described"]["running"] == queues
    if queues:
        assert not found["warnings"]
    else:
        (text,) = found["warnings"]
        assert "cannot be started" in text


# cancel


@pytest.mark.faults
def test_cancel_before_it_begins() -> None:
    """Nothing of it is written; a thread that waits for it is woken, and later copies go on."""
    buffer, behind = bytearray(MIB), bytearray(MIB)
    with engine.held() as (blocker, _):
        first = adma.icopy(buffer, pattern(MIB, 1))
        second = adma.icopy(behind, buffer)
        waiting = InThread(lambda: first.wait(HANG))
        assert first.cancel()
        with pytest.raises(adma.Cancelled):
            waiting.result()
        assert first.cancel()
        for look in (first.check, first.wait):
            with pytest.raises(adma.Cancelled):
                look()
        assert "cancelled" in repr(first)
        assert not second.check()
        assert not blocker.cancel()
        # Also in the backlog behind the outstanding ones.
        view = memoryview(behind)
        many = [adma.icopy(view[:8], b"12345678") for _ in range(OUTSTANDING + 9)]
        assert all(request.cancel() for request in reversed(many))
    assert second.wait(HANG) == MIB
    assert buffer == behind == bytes(MIB)
    assert adma.stats()["outstanding"] == 0


@pytest.mark.faults
def test_cancel_while_it_is_copied_and_after() -> None:
    """It is too late: cancel says so, and the whole copy is made."""
    with engine.held(MIB) as (request, target):
        assert not request.cancel()
        assert not request.check()
        assert "0 %" in repr(request)
    assert request.wait(HANG) == MIB
    assert not request.cancel()
    assert target == pattern(MIB, 1)
    done = adma.icopy(bytearray(1), b"x")
    assert not done.cancel()
    assert done.check()


# Configuration


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("ADMA_ENGINE", "gpu", ["'gpu'", "auto", "caller", "thread", "dmaengine"]),
        ("ADMA_QUEUES", "many", ["'many'", "whole number"]),
        ("ADMA_QUEUES", "17", ["17", "1 to 16"]),
        ("ADMA_QUEUES", "-1", ["-1", "1 to 16"]),
        ("ADMA_SCHEDULE", "fair", ["'fair'", "adaptive", "round-robin"]),
    ],
)
def test_a_wrong_environment(variable: str, value: str, words: list[str]) -> None:
    """The first copy that is handed over says which variable, and what may be chosen."""
    script = """
import adma
for _ in range(2):
    try:
        adma.icopy(bytearray(1 << 20), bytes(1 << 20))
    except ValueError as error:
        print(error)
"""
    done = run(script, environment={variable: value})
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == second
    for word in (variable, *words):
        assert word in first, first


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"engine": "gpu"}, ValueError, ["configure(engine)", "'gpu'", "caller"]),
        ({"engine": 1}, TypeError, ["configure(engine)", "int"]),
        ({"queues": 17}, ValueError, ["configure(queues)", "17"]),
        ({"queues": 1.5}, TypeError, ["configure(queues)", "float"]),
        ({"schedule": "fair"}, ValueError, ["configure(schedule)", "round-robin"]),
    ],
)
def test_a_wrong_configuration(
    arguments: dict[str, Any], kind: type[Exception], words: list[str]
) -> None:
    before = adma_engine.describe()
    with pytest.raises(kind) as caught:
        adma.configure(**arguments)
    for word in words:
        assert word in str(caught.value)
    assert adma_engine.describe() == before


def test_an_engine_that_cannot_be_had() -> None:
    """The error comes when the engine is chosen, not when it is used."""
    for name, why in adma_engine.describe()["engines"].items():
        if why is None:
            adma.configure(engine=name)
            buffer = bytearray(MIB)
            assert adma.icopy(buffer, pattern(MIB, 1)).wait(HANG) == MIB
            assert buffer == pattern(MIB, 1)
        else:
            with pytest.raises(OSError, match=name):
                adma.configure(engine=name)


def test_the_environment_is_taken_in() -> None:
    script = """
import adma
from adma.copying import engine
adma.icopy(bytearray(1 << 20), bytes(1 << 20)).wait()
found = engine.describe()
print(found["engine"], found["running"], found["schedule"])
"""
    environment = {"ADMA_ENGINE": "thread", "ADMA_QUEUES": "3", "ADMA_SCHEDULE": "round-robin"}
    done = run(script, environment=environment)
    assert (done.stdout, done.stderr) == ("thread 3 round-robin\n", "")


CHANNEL = """
import socket, threading, warnings
import adma
from adma._core._native import ffi, lib
warnings.simplefilter("default")
ours, theirs = socket.socketpair()
other = threading.Thread(target=lambda: adma.from_socket(theirs).close())
other.start()
try:
    adma.from_socket(ours).close()
    state = ffi.new("struct adma_engine_state *")
    lib.adma_engine_look(state)
    print(state.queues)
finally:
    other.join()
"""


def test_channels_take_the_environment_in() -> None:
    """Worker threads assist with the messages of channels."""
    done = run(CHANNEL, environment={"ADMA_ENGINE": "thread", "ADMA_QUEUES": "5"})
    assert (done.stdout, done.stderr) == ("5\n", "")
    done = run(CHANNEL, environment={"ADMA_QUEUES": "many"})
    assert done.returncode == 0, "messages do without"
    assert "RuntimeWarning: ADMA_QUEUES is 'many'" in done.stderr


@pytest.mark.faults
def test_configure_waits_for_what_is_outstanding() -> None:
    buffer = bytearray(MIB)
    with engine.held() as (blocker, _):
        request = adma.icopy(buffer, pattern(MIB, 1))
        # It comes after the configuration in any case: the new engine makes it, or the old one.
        configuring = InThread(lambda: adma.configure(queues=3, schedule="round-robin"))
        until("it waits", lambda: adma.stats()["outstanding"] == 2)
        assert not request.check()
        assert configuring._thread.is_alive()
        assert not blocker.check()
        assert adma_engine.describe()["schedule"] == "adaptive"
        engine.release()
        configuring.result()
    assert request.check()
    assert buffer == pattern(MIB, 1)
    assert adma_engine.describe()["schedule"] == "round-robin"
    assert not queue_threads()
    assert adma.icopy(buffer, pattern(MIB, 2)).wait(HANG) == MIB
    assert len(queue_threads()) == 3


def test_configure_among_threads_that_copy() -> None:
    """Engines are replaced while threads post, wait and check: no copy is lost."""
    stop = False

    def work(seed: int) -> int:
        rounds, buffers = 0, [bytearray(200 * KIB) for _ in range(5)]
        while not stop or not rounds:
            requests = [adma.icopy(buffer, pattern(200 * KIB, seed)) for buffer in buffers]
            while not requests[0].check():
                time.sleep(0)
            adma.wait_all(requests, HANG)
            assert all(buffer == pattern(200 * KIB, seed) for buffer in buffers)
            rounds += 1
        return rounds

    with ThreadPoolExecutor(3) as pool:
        working = [pool.submit(work, seed) for seed in range(3)]
        for number in range(30):
            adma.configure(
                engine=("thread", "caller")[number % 5 == 4],
                queues=number % 4 + 1,
                schedule=("adaptive", "round-robin")[number % 2],
                callers_help=number % 3 > 0,
            )
        stop = True
        assert all(one.result(HANG) for one in working)


# Cores


ONE_CORE = """
import os
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
import adma
from adma.copying import engine
buffer = bytearray(1 << 22)
source = bytes(range(256)) * (len(buffer) // 256)
request = adma.icopy(buffer, source)
assert request.wait() == len(buffer) and buffer == source
assert adma.copy(memoryview(buffer)[1:], source[:-1]) and buffer[1:] == source[:-1]
stats = adma.stats()
print(engine.describe()["engine"], stats["parts_queues"], len(os.listdir("/proc/self/task")))
"""


def test_one_core() -> None:
    """On one core a worker thread would only compete: the thread that posts makes the copy."""
    done = run(ONE_CORE)
    assert (done.stdout, done.stderr) == ("caller 0 1\n", "")


def test_threads_on_one_core() -> None:
    """Worker threads that were asked for work on one core, too."""
    script = ONE_CORE.replace(
        "from adma.copying import engine",
        "from adma.copying import engine; adma.configure(engine='thread', queues=4)",
    )
    done = run(script)
    assert (done.stdout.split()[0], done.stderr) == ("thread", ""), done
    assert int(done.stdout.split()[2]) == 5


def test_more_processes_than_cores(fresh_peers: tuple[Peer, Peer]) -> None:
    others = [Peer() for _ in range(4)]
    try:
        peers = [*fresh_peers, *others]
        tasks = [peer.begin(copies.many, seed, 60) for seed, peer in enumerate(peers)]
        assert [task.result(2 * HANG) for task in tasks] == [1] * len(peers)
    finally:
        for peer in others:
            peer.close()


# Threads that share requests


@pytest.mark.parametrize(
    "settings_",
    [{**THREAD}, {**THREAD, "callers_help": False}, {"engine": "caller"}],
    ids=["thread", "without help", "caller"],
)
def test_threads_that_post_and_wait_for_the_same(settings_: dict[str, Any]) -> None:
    engine.configure(0, **settings_)
    count, each = 8, 60
    shared: list[adma.Request] = []
    targets = [[bytearray(20 * KIB + 1000 * k) for k in range(each)] for _ in range(count)]

    def work(number: int) -> None:
        for target in targets[number]:
            shared.append(adma.icopy(target, pattern(len(target), number)))
            for other in shared[-5:]:
                other.check()
            adma.wait_some(shared[-10:], HANG)
        adma.wait_all(shared[: number * each], HANG)

    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(work, number) for number in range(count)]:
            done.result(HANG)
    adma.wait_all(shared, HANG)
    for number, part in enumerate(targets):
        assert all(target == pattern(len(target), number) for target in part)


@pytest.mark.faults
def test_many_wait_for_one() -> None:
    with engine.held(MIB) as (request, target):
        waiting = [InThread(lambda: request.wait(HANG)) for _ in range(8)]
        waiting += [InThread(lambda: adma.wait_all([request], HANG)[0]) for _ in range(4)]
        assert not request.check()
    assert [one.result() for one in waiting] == [MIB] * 12
    assert target == pattern(MIB, 1)


@pytest.mark.faults
@pytest.mark.parametrize("schedule", ["adaptive", "round-robin"])
def test_what_a_caller_puts_back_goes_on(schedule: str) -> None:
    """A caller copies a part, puts the rest back, and wakes the worker thread, which sleeps."""
    nbytes = 8 * PART
    buffer = bytearray(pattern(nbytes + PART, 1))
    view = memoryview(buffer)
    want = bytes(view[:nbytes])
    with engine.held(schedule=schedule, callers_help=True) as (blocker, _):
        request = adma.icopy(view[PART:], view[:nbytes])
        faults.arm(None, faults.COPIED, "hold")
        leaving = InThread(lambda: request.wait(timeout=0))
        until("the caller is in a part", lambda: faults.passes(None, faults.COPIED) > 0)
        engine.release()
        until("the queue is through", blocker.check)
        until("and sleeps", lambda: adma.stats()["sleeps"] - adma.stats()["wakes"] == 1)
        faults.arm(None, faults.COPIED, "none")
        # The caller wakes the worker before it leaves, and the worker may be done by then.
        with contextlib.suppress(TimeoutError):
            leaving.result()
        until("the queue goes on", request.check)
    assert view[PART:] == want


@pytest.mark.faults
def test_threads_that_post_while_much_is_outstanding() -> None:
    """Copies that are done and dropped are found among those that other threads post."""
    count, each = 6, 2000
    with engine.held() as (_, target):
        source, sinks = memoryview(target)[:8], [bytearray(8) for _ in range(count)]

        def work(sink: bytearray) -> None:
            for _ in range(each):
                adma.icopy(sink, source)

        with ThreadPoolExecutor(count) as pool:
            for done in [pool.submit(work, sink) for sink in sinks]:
                done.result(HANG)
        assert adma.stats()["outstanding"] == count * each + 1
    engine.drain()
    assert sinks == [bytearray(source)] * count


# Ctrl-C


@pytest.mark.faults
@pytest.mark.parametrize("call", ["wait", "wait_all", "wait_any", "wait_some"])
def test_ctrl_c_in_a_wait(peer: Peer, call: str) -> None:
    """It stays pending, and can be waited for again."""
    task = peer.begin(copies.interrupted_wait, call)
    assert peer.heard() == "blocking"
    until_asleep(peer.pid)
    peer.signal(signal.SIGINT)
    assert task.result() == "pending, then right"


@pytest.mark.faults
@pytest.mark.parametrize("nbytes", [8, 64 * KIB])
def test_ctrl_c_in_a_copy_that_has_not_begun(peer: Peer, nbytes: int) -> None:
    task = peer.begin(copies.interrupted_copy, nbytes)
    assert peer.heard() == "blocking"
    until_asleep(peer.pid)
    peer.signal(signal.SIGINT)
    assert task.result() == "taken back"


@pytest.mark.faults
def test_ctrl_c_in_a_copy_that_has_begun(peer: Peer) -> None:
    """The exception carries the request, since the copy still uses the buffers."""
    task = peer.begin(copies.interrupted_running)
    assert peer.heard() == "blocking"
    until_asleep(peer.pid)
    peer.signal(signal.SIGINT)
    assert task.result() == f"False, {4 * MIB}, ''"


@pytest.mark.parametrize("settings_", [THREAD, {"engine": "caller"}], ids=["thread", "caller"])
def test_ctrl_c_in_a_huge_copy(peer: Peer, settings_: dict[str, Any]) -> None:
    task = peer.begin(copies.huge_copy, settings_, 8 * GIB)
    assert peer.heard() == "copying"
    peer.signal(signal.SIGINT)
    assert task.result(3 * HANG) == "True, ''"


# Copies and messages


def test_wait_any_of_a_copy_and_a_read(ends: Ends) -> None:
    near, far = ends
    engine.configure(**THREAD)
    buffer, message = bytearray(4 * MIB), bytearray(5)
    read = near.iread(message)
    copy = adma.icopy(buffer, pattern(4 * MIB, 1))
    assert adma.wait_any([read, copy], timeout=HANG) == 1
    assert copy.check()
    assert not read.check()
    far.write(b"hello")
    assert adma.wait_any([read, copy], timeout=HANG) in (0, 1)
    assert adma.wait_all([read, copy], timeout=HANG) == [5, 4 * MIB]
    assert message == b"hello"


def comes_after_a_look(monkeypatch: pytest.MonkeyPatch, ends: Ends, message: adma.Request) -> None:
    """Whenever a wait has sorted out what is pending, `message` arrives, if it has not yet."""
    near, far = ends
    looked = waitset.pending

    def then_it_comes(requests: Sequence[adma.Request]) -> Any:
        found = looked(requests)
        if not message._done:
            far.write(b"hello")
            near.iprobe()
        return found

    monkeypatch.setattr(waitset, "pending", then_it_comes)


def test_wait_any_when_one_is_done_between_two_looks(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other threads complete requests, too: the wait is not for one that stays pending.

    These are waits that Python prepares, which it does for whatever is no list.
    """
    near, _ = ends
    message, never = near.iread(bytearray(5)), near.iread(bytearray(5))
    comes_after_a_look(monkeypatch, ends, message)
    assert adma.wait_any(iter([message, never]), timeout=HANG) == 0
    assert message.check()
    assert never.cancel()


def test_wait_any_of_the_last_when_it_is_done_between_two_looks(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, _ = ends
    message = near.iread(bytearray(5))
    comes_after_a_look(monkeypatch, ends, message)
    assert adma.wait_all(iter([message]), timeout=HANG) == [5]
    message = near.iread(bytearray(5))
    comes_after_a_look(monkeypatch, ends, message)
    assert adma.wait_any(iter([message]), timeout=HANG) == 0


@pytest.mark.faults
def test_a_message_ends_a_wait_for_it_and_a_copy(ends: Ends) -> None:
    """One wait sleeps for a message and a copy, and either one ends it."""
    near, far = ends
    buffer = bytearray(MIB)
    with engine.held() as (blocker, _):
        copy = adma.icopy(buffer, pattern(MIB, 1))
        message = bytearray(5)
        read, never = near.iread(message), near.iread(bytearray(1))
        with pytest.raises(TimeoutError):
            adma.wait_any([copy, read], timeout=SHORT)
        waiting = InThread(lambda: adma.wait_some([copy, read, never], timeout=HANG))
        far.write(b"hello")
        assert waiting.result() == [1]
        waiting = InThread(lambda: adma.wait_any([never, copy], timeout=HANG))
        every = InThread(lambda: adma.wait_all([copy, read, blocker], timeout=HANG))
        engine.release()
        assert waiting.result() == 1
        assert every.result() == [MIB, 5, 64 * KIB]
    assert never.cancel()


def test_threads_that_each_wait_for_a_copy_and_a_read(ends: Ends) -> None:
    """A completion wakes the thread it is for, and no other takes the wake-up."""
    near, _ = ends
    engine.configure(engine="thread", queues=2, callers_help=False)

    def work(seed: int) -> None:
        never = near.iread(bytearray(1))
        buffer = bytearray(40 * KIB)
        for number in range(400):
            copy = adma.icopy(buffer, pattern(40 * KIB, seed + number))
            assert adma.wait_any([never, copy], timeout=HANG) == 1
            assert buffer == pattern(40 * KIB, seed + number)
        assert never.cancel()

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, seed) for seed in range(4)]:
            done.result(2 * HANG)


def test_without_queues_copies_and_messages_wait_together(ends: Ends) -> None:
    near, far = ends
    engine.configure(engine="caller")
    message, buffer = bytearray(5), bytearray(MIB)
    read = near.iread(message)
    copy = adma.icopy(buffer, pattern(MIB, 1))
    assert adma.wait_some([read, copy], timeout=HANG) == [1]
    far.write(b"hello")
    assert adma.wait_all([read, copy], timeout=HANG) == [5, MIB]


# Time


@pytest.mark.faults
@pytest.mark.parametrize("timeout", [0, 1e-9, 1e-4, 0.02])
def test_timeouts_leave_it_pending(timeout: float) -> None:
    buffer = bytearray(MIB)
    with engine.held() as (blocker, _):
        request = adma.icopy(buffer, pattern(MIB, 1))
        for wait in (
            lambda: request.wait(timeout),
            lambda: adma.wait_all([request, blocker], timeout),
            lambda: adma.wait_any([request, blocker], timeout),
            lambda: adma.wait_some([request], timeout),
        ):
            with pytest.raises(TimeoutError, match=r"pending|none of"):
                wait()
        assert not request.check()
        with pytest.raises(ValueError, match="what it took"):
            request.times()  # type: ignore[attr-defined]
    assert request.wait(HANG) == MIB
    assert buffer == pattern(MIB, 1)


@pytest.mark.faults
def test_a_wait_of_no_time_that_does_the_rest() -> None:
    """It reports as done what it copied itself."""
    with engine.held(callers_help=True):
        buffers = [bytearray(PART) for _ in range(3)]
        requests = [adma.icopy(buffer, pattern(PART, 1)) for buffer in buffers]
        assert requests[0].wait(timeout=0) == PART
        assert adma.wait_any(requests[1:], timeout=0) == 0
        assert adma.wait_all(requests[1:2], timeout=0) == [PART]


@pytest.mark.parametrize("value", [-1, "1", float("nan")])
def test_a_timeout_that_is_none(value: Any) -> None:
    for request in (adma.icopy(bytearray(1), b"x"), adma.icopy(bytearray(MIB), bytes(MIB))):
        with pytest.raises((TypeError, ValueError), match="timeout"):
            request.wait(value)
        request.wait()


def test_where_the_time_went() -> None:
    """The time until a wait or a check sees the completion is counted."""
    engine.configure(**THREAD)
    before = adma.stats()
    for see in (lambda one: one.wait(HANG), lambda one: until("it is done", one.check)):
        request = adma.icopy(bytearray(MIB), bytes(MIB))
        see(request)
        times = request.times()  # type: ignore[attr-defined]
        assert set(times) == {"post", "start", "copy", "complete"}
        assert times["post"] > 0
        assert times["copy"] > 0
        assert times["complete"] > 0
    after = adma.stats()
    assert after["copies"] - before["copies"] == 2
    assert after["bytes"] - before["bytes"] == 2 * MIB
    assert after["complete_ns"] > before["complete_ns"]
    small = adma.icopy(bytearray(1), b"x")
    assert not any(small.times().values())  # type: ignore[attr-defined]


def test_idle_queues_sleep() -> None:
    """Nothing wakes them for seconds, once they have gone to sleep."""
    engine.configure(engine="thread", queues=3)
    for _ in range(3):
        adma.icopy(bytearray(MIB), bytes(MIB)).wait(HANG)
    until(
        "all queues sleep", lambda: all(state(os.getpid(), one) == "S" for one in queue_threads())
    )
    until("and have said so", lambda: adma.stats()["sleeps"] - adma.stats()["wakes"] == 3)
    before = adma.stats(), {one: _switches(one) for one in queue_threads()}
    assert len(before[1]) == 3
    time.sleep(4 if QUICK else 10)  # the test is about what does not happen
    assert (adma.stats(), {one: _switches(one) for one in queue_threads()}) == before


def _switches(tid: int) -> str:
    text = Path(f"/proc/self/task/{tid}/status").read_text()
    return next(line for line in text.splitlines() if line.startswith("voluntary"))
