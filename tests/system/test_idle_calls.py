# SPDX-License-Identifier: BSD-3-Clause
"""What it costs to fall asleep, to wake another process, and to be awake: system calls.

Their number does not depend on the machine, nor on what else runs on it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import adma
from adma.testing.limits import HANG
from adma.testing.observe import until_asleep
from adma.testing.peer import search_path
from support.idler import IDLE, WARM_UP

ROUNDS = 40
# Calls to sleep, that one included. Idle channels beside make no more of them.
FORMS = {"read": 2, "wait_any": 2, "wait": 3, "wait_of_many": 3}
SLEEPS = ("ppoll", "epoll_pwait")
MEMORY = ("mmap", "munmap", "brk", "madvise", "mremap")  # the allocator's, at any time
# What is asked once a second: the cores of the thread, other threads, whose the descriptors are.
ASKED = ("sched_getaffinity", "newfstatat", "statx", "fstat", "fstatat64")
ASKED_AT_MOST = 8  # a second: 1 and 1, and as many as there are descriptors
ASKED_OF_IDLE = 4  # of those of each idle channel, a second; and when it is closed


def traced(log: Path, arguments: list[str]) -> subprocess.Popen[bytes]:
    strace = ["strace", "-o", str(log), "-s", "200"]
    try:
        subprocess.run([*strace, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("strace does not work here")
    script = [sys.executable, "-m", "support.idler", *arguments]
    return subprocess.Popen([*strace, *script], env={**os.environ, "PYTHONPATH": search_path()})


def answered_after_a_while(server: adma.Listener, idle: int) -> float:
    """Send a message each time that the other process has fallen asleep. How long that took."""
    with contextlib.ExitStack() as stack:
        channel = stack.enter_context(server.accept(timeout=HANG))
        buffer = bytearray(16)
        pid = int(buffer[: channel.read(buffer, timeout=HANG)])
        for _ in range(idle):
            stack.enter_context(server.accept(timeout=HANG))
        for number in range(WARM_UP + ROUNDS):
            if number == WARM_UP:
                begin = time.monotonic()
            until_asleep(pid)
            channel.write(b"x", timeout=HANG)
            assert channel.read(buffer, timeout=HANG) == 1
        return time.monotonic() - begin


def called(log: Path) -> Iterator[str]:
    """The names of the calls after the warm-up; of access(2), what it was asked for."""
    begun = False
    for line in log.read_text().splitlines():
        name = line.split("(")[0]
        if name in ("access", "faccessat2", "faccessat"):
            name = line.split('"')[1]
            begun |= name == "begin"
        if begun and name not in (*MEMORY, "begin"):
            yield name


@pytest.mark.parametrize("threads", [0, 1])
@pytest.mark.parametrize("form", FORMS)
def test_a_round_trip_between_sleepers(tmp_path: Path, form: str, threads: int) -> None:
    """Two or three calls to sleep, two to be awake, one to wake the other; no file is opened."""
    log = tmp_path / "calls"
    idle = IDLE if form == "wait_of_many" else 0
    with adma.listen(f"idle-{os.getpid()}-{form}-{threads}") as server:
        process = traced(log, [server.name, form, str(ROUNDS), str(threads)])
        seconds = answered_after_a_while(server, idle)
        assert process.wait(HANG) == 0
    rounds, asked, told = 0, 0, 0
    calls: list[str] = []  # since the last mark
    for name in called(log):
        if name in ASKED:
            asked += 1
        elif name == "awake":
            told += calls.count("sendto")
            calls = [call for call in calls if call != "sendto"]
            sleeps = [i for i, call in enumerate(calls) if call in SLEEPS]
            assert sleeps[0] + 1 <= FORMS[form], calls
            assert len(calls) - sleeps[-1] - 1 <= 2, calls
            assert not {"open", "openat"} & set(calls), calls
            calls = []
        elif name == "answering":
            told += calls.count("sendto")
            calls = []
        elif name == "told":
            assert calls in ([], ["sendto"]), calls
            calls = []
            rounds += 1
        else:
            calls.append(name)
    assert rounds == ROUNDS
    assert asked <= (ASKED_AT_MOST + ASKED_OF_IDLE * idle) * (seconds + 1), asked
    assert not told  # of room, of which the other end has enough
