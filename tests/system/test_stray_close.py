# SPDX-License-Identifier: BSD-3-Clause
"""Other code closes descriptors of ours by their numbers: what sleeps on them ends all the same.

A double close somewhere does that, and so does a daemoniser. The number may name another file
after that, which is not ours to touch.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

import adma
from adma.testing.limits import HANG, LARGE
from adma.testing.observe import until_asleep
from adma.testing.payload import pattern
from support.stray import KINDS

LATE = 2.5  # seconds: a thread that nobody can wake looks once a second
REPLACED = ["closed", "replaced"]


@contextlib.contextmanager
def program(name: str, *arguments: str) -> Iterator[tuple[adma.Channel, subprocess.Popen[str]]]:
    """The program, with this end of its channel; killed if it does not end by itself."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-m", "support.stray", name, str(theirs.fileno()), *arguments],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    theirs.close()
    with process:
        try:
            with adma.from_socket(ours, timeout=HANG) as channel:
                yield channel, process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> list[str]:
    lines = process.communicate(timeout=HANG)[0].splitlines()
    assert process.returncode == 0, lines
    assert lines[-1] == "end of program"
    return lines[:-1]


@pytest.mark.parametrize("timeout", [0, 1])
@pytest.mark.parametrize("replaced", REPLACED)
@pytest.mark.parametrize("kind", KINDS)
def test_close_and_the_program_end(kind: str, replaced: str, timeout: float) -> None:
    with program("close", kind, replaced, str(timeout)) as (_, process):
        first, *rest = ended(process)
    assert float(first.split()[-1]) < timeout + LATE / 2
    assert rest == (["untouched"] if replaced == "replaced" else [])


@pytest.mark.parametrize("timeout", [0, 0.1, 3])
@pytest.mark.parametrize("kind", ["eventfd", "all"])
def test_close_while_threads_sleep(kind: str, timeout: float) -> None:
    """It does not wait for them beyond its own time, and they wake by themselves."""
    with program("close_under_sleepers", kind, str(timeout)) as (_, process):
        closed, woken = ended(process)
    assert float(closed.split()[-1]) < min(timeout, LATE) + 1
    assert float(woken.split()[2]) < LATE
    assert woken.split()[-1] == "2"


@pytest.mark.parametrize("call", ["read", "write", "wait", "request"])
@pytest.mark.parametrize("replaced", REPLACED)
@pytest.mark.parametrize("kind", ["socket", "eventfd"])
def test_a_call_that_sleeps_finds_out(kind: str, replaced: str, call: str) -> None:
    if kind == "eventfd" and call == "wait":
        pytest.skip("a set of channels is woken by a descriptor of its own")
    with program("find_out", kind, replaced, call) as (_, process):
        first, *rest = ended(process)
    assert first == "OSError EBADF"
    assert rest == (["untouched"] if replaced == "replaced" else [])


def test_a_wake_up_does_not_go_to_a_stranger() -> None:
    """And the peer, which sleeps without it, reads the message within a second or two."""
    with program("write") as (channel, process):
        channel.write(b"first", timeout=HANG)
        with contextlib.suppress(adma.PeerDied):  # the end of the socket may be seen first
            assert channel.read(bytearray(5), timeout=LATE + 2) == 5
        assert process.stdin is not None
        process.stdin.write("read\n")
        assert ended(process) == ["untouched"]


@pytest.mark.parametrize("replaced", REPLACED)
@pytest.mark.parametrize("kind", ["timerfd", "eventpoll", "all"])
def test_the_progress_thread_goes_on(kind: str, replaced: str) -> None:
    with program("go_on", kind, replaced) as (channel, process):
        assert process.stdout is not None
        assert process.stdout.readline() == "go\n"
        channel.write(pattern(LARGE, 1), timeout=HANG)
        first, *rest = ended(process)
    assert first == f"{LARGE}"
    assert rest == (["untouched"] if replaced == "replaced" else [])


def test_the_pidfd_is_not_needed() -> None:
    """Without it the channel goes on: the socket tells of the peer's end as well."""
    with program("without_pidfd") as (channel, process):
        assert process.stdout is not None
        assert process.stdout.readline() == "lost\n"
        channel.write(b"first", timeout=HANG)
        channel.close(timeout=HANG)
        assert ended(process) == ["5", "ChannelClosed"]


def test_ctrl_c_works() -> None:
    """While a call sleeps on descriptors that are gone."""
    with program("interrupted") as (_, process):
        assert process.stdout is not None
        assert process.stdout.readline() == "sleeping\n"
        until_asleep(process.pid)
        process.send_signal(signal.SIGINT)
        assert ended(process) == ["interrupted"]
