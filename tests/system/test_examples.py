# SPDX-License-Identifier: BSD-3-Clause
"""The examples, run as a newcomer runs them: two programs, found by a name."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import adma
from adma.testing.limits import HANG, LARGE
from adma.testing.observe import until_asleep
from support.calls import computing
from support.orphans import buried

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(EXAMPLES / program), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


@contextlib.contextmanager
def listening(program: str, name: str) -> Iterator[subprocess.Popen[str]]:
    """The program, once it says that it listens; killed if it is still there in the end."""
    with start(program, name) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"listening as {name!r}\n"
            yield process
        finally:
            process.kill()


def run(program: str, *arguments: str) -> str:
    """The output of a program that ends by itself, in order."""
    with start(program, *arguments) as process:
        try:
            output, _ = process.communicate(timeout=HANG)
        finally:
            process.kill()
    assert process.returncode == 0
    return output


def test_echo() -> None:
    """One server, two clients after each other, and Ctrl-C."""
    with listening("echo_server.py", "test-echo") as server:
        for _ in range(2):
            output = run("echo_client.py", "test-echo")
            assert "16777216 bytes there and back" in output
        server.send_signal(signal.SIGINT)
        assert server.communicate(timeout=HANG)[0] == "bye\n"
        assert server.returncode == 0


def test_select_loop() -> None:
    """The same client, answered from a selector."""
    with listening("select_loop.py", "test-select") as server:
        output = run("echo_client.py", "test-select")
        assert "16777216 bytes there and back" in output
        said = server.communicate(timeout=HANG)[0]
        assert server.returncode == 0
    assert int(said.split()[2]) < 200, said  # five messages and the end; some in several steps


def test_select_loop_sleeps_under_back_pressure() -> None:
    """A client that sends on and takes no answer costs the loop neither turns nor CPU time."""
    with listening("select_loop.py", "test-slow") as server, adma.connect("test-slow") as channel:
        channel.write(bytes(LARGE), timeout=HANG)
        channel.write(b"next", timeout=HANG)
        until_asleep(server.pid)
        before = computing.switches(server.pid, server.pid)
        select.select([], [], [], 1)  # the time itself is what the test is about
        after = computing.switches(server.pid, server.pid)
        assert after - before <= 2
        answer = bytearray(LARGE)
        assert channel.read(answer, timeout=HANG) == LARGE
        assert channel.read(answer, timeout=HANG) == 4
        channel.close(timeout=HANG)
        assert "turns" in server.communicate(timeout=HANG)[0]


def test_many_clients_of_an_event_loop() -> None:
    """A slow one stops nobody, and while clients say nothing the server sleeps."""
    with listening("aio_server.py", "test-aio") as server, contextlib.ExitStack() as clients:
        assert "50 clients, 20 messages each" in run("aio_clients.py", "test-aio", "20")
        for _ in range(5):
            channel = clients.enter_context(adma.connect("test-aio", timeout=HANG))
            channel.write(b"hello", timeout=HANG)
            assert channel.read_bytes(timeout=HANG) == b"HELLO"
        until_asleep(server.pid)
        before = computing.switches(server.pid, server.pid)
        select.select([], [], [], 0.5)  # the time itself is what the test is about
        assert computing.switches(server.pid, server.pid) - before <= 1
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=HANG)
        assert server.returncode == 0


def test_numpy_arrays() -> None:
    """What is printed on both sides has equal sums."""
    if importlib.util.find_spec("numpy") is None:  # not imported here: it starts threads
        pytest.skip("numpy is not installed")
    with listening("numpy_producer.py", "test-arrays") as producer:
        got = run("numpy_consumer.py", "test-arrays").splitlines()
        sent = producer.communicate(timeout=HANG)[0].splitlines()
        assert producer.returncode == 0
    assert [line.removeprefix("got ") for line in got] == [
        line.removeprefix("sent ") for line in sent
    ]
    assert len(got) == 3


def test_a_client_without_a_server() -> None:
    """A plain error that names what is missing, not a hang."""
    with start("echo_client.py", "test-nobody") as process:
        assert process.wait(HANG) != 0


def test_every_example_is_tested() -> None:
    text = Path(__file__).read_text()
    assert [path.name for path in EXAMPLES.glob("*.py") if path.name not in text] == []


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_pool_replaces_a_worker_that_is_killed(method: str) -> None:
    with buried():
        lines = run("pool.py", method).splitlines()
    norms = [f"the norm of array {number} is {256 * number}" for number in range(8)]
    assert lines == [*norms, "a worker was killed, and replaced"]


def test_a_pipeline_of_frames() -> None:
    """Each of them comes through, in order: the last stage asserts that."""
    with buried():
        assert run("frames.py", "10") == "10 frames came through\n"


def test_a_server_of_requests() -> None:
    """It serves on after a client that sends nonsense, and after one that is killed."""
    with listening("request_server.py", "test-requests") as server:
        with adma.connect("test-requests") as nonsense:
            nonsense.write(b"no request")
            with pytest.raises(adma.ChannelEnded):
                nonsense.recv(timeout=HANG)
        with adma.connect("test-requests") as asking:
            killed = start("request_client.py", "test-requests")
            killed.kill()
            killed.communicate()
            asking.send(("add", (1, 2)))
            assert asking.recv(timeout=HANG) == ("done", 3)
            output = run("request_client.py", "test-requests")
        assert output.splitlines()[:2] == ["2 + 3 = 5", "length: 1048576"]
        assert "refused: divide" in output
        server.send_signal(signal.SIGINT)
        assert server.communicate(timeout=HANG)[0] == "ended\n"
        assert server.returncode == 0
