# SPDX-License-Identifier: BSD-3-Clause
"""System calls as the kernel itself counts them, by thread and by name.

A histogram of the kernel's tracing counts every entry into a system call. It misses none, and stops
nobody as ptrace(2) would. It needs tracefs, root, and a kernel with histogram triggers.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from adma.bench import helper
from adma.closing import Closing

PLACES = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
CURE = "run as root, with tracefs mounted (mount -t tracefs tracefs /sys/kernel/tracing)"
# Counts every system call by thread and number; and for ioctl also by its request.
EVENTS = {
    "raw_syscalls/sys_enter": "hist:keys=common_pid,id.syscall:size=4096",
    "syscalls/sys_enter_ioctl": "hist:keys=common_pid,cmd.hex:size=4096",
}
SLEEP_TIMEOUT = 10.0
_LINE = r"\{ common_pid:\s*(\d+), %s \} hitcount:\s*(\d+)"
_CALL = re.compile(_LINE % r"id:\s*(?:sys_)?(\w+)\s*\[\s*\d+\]")
_REQUEST = re.compile(_LINE % r"cmd:\s*([0-9a-f]+)")

Calls = Counter[str]


class TracingUnavailable(RuntimeError):
    """System calls cannot be counted here. `cure`: what would change that."""

    cure = CURE


class SystemCalls(Closing):
    """Counts from the moment it is made until it is closed; a context manager.

    Raises TracingUnavailable.
    """

    def __init__(self) -> None:
        self._instance = _place() / "instances" / f"adma-bench-{os.getpid()}"
        self._stack = contextlib.ExitStack()
        try:
            self._instance.mkdir()
            self._stack.callback(self._instance.rmdir)
            for event, trigger in EVENTS.items():
                self._trigger(event, trigger)
        except OSError as error:
            self._stack.close()
            raise TracingUnavailable(f"tracing: {error}") from error

    def of(self, pids: Iterable[int]) -> Calls:
        """How often the threads of these processes called each system call so far.

        A command of the kernel helper is counted under ``ioctl:NAME``. Waits until the processes
        sleep: call it when they have nothing to do. Raises OSError when one has ended.
        """
        threads: set[int] = set()
        for pid in pids:
            _until_asleep(pid)
            threads.update(int(name) for name in os.listdir(f"/proc/{pid}/task"))
        calls, requests = (self._read(event) for event in EVENTS)
        return count(calls, requests, threads)

    def close(self) -> None:
        """Stop counting, and leave nothing in the kernel. Closing twice is no error."""
        self._stack.close()

    def _trigger(self, event: str, trigger: str) -> None:
        path = self._instance / "events" / event / "trigger"
        path.write_text(trigger, encoding="ascii")
        self._stack.callback(path.write_text, f"!{trigger}", encoding="ascii")

    def _read(self, event: str) -> str:
        return (self._instance / "events" / event / "hist").read_text(encoding="ascii")


def count(calls: str, requests: str, threads: set[int]) -> Calls:
    """The two histograms, as the kernel prints them, for these threads."""
    found: Calls = Counter()
    for pid, name, hits in _CALL.findall(calls):
        if int(pid) in threads:
            found[name] += int(hits)
    for pid, request, hits in _REQUEST.findall(requests):
        command = helper.command_of(int(request, 16))
        if int(pid) in threads and command is not None:
            found[f"ioctl:{command}"] += int(hits)
            found["ioctl"] -= int(hits)
    return +found


def _place() -> Path:
    for place in PLACES:
        if os.path.isdir(f"{place}/instances"):
            return Path(place)
    raise TracingUnavailable("the kernel's tracing is not to be seen")


def _until_asleep(pid: int) -> None:
    """Wait until the process sleeps: its answer is not the last thing that it does."""
    deadline = time.monotonic() + SLEEP_TIMEOUT
    while True:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
        if state == "S":
            return
        if time.monotonic() > deadline:
            raise TracingUnavailable(f"process {pid} does not come to rest")
        time.sleep(0.001)
