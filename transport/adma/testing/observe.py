# SPDX-License-Identifier: BSD-3-Clause
"""Looking at processes from outside, through /proc.

Tests never sleep and hope: they look again and again until something is so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from .limits import HANG

_PAUSE = 0.001


def until(what: str, condition: Callable[[], bool], limit: float = HANG) -> None:
    """Look until `condition()`; AssertionError naming `what` after `limit` seconds."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {limit:g} s: {what}")
        time.sleep(_PAUSE)


def state(pid: int, tid: int | None = None) -> str:
    """The letter of /proc/pid/stat: R runs, S sleeps, T is stopped, Z a zombie; "" is gone."""
    path = f"/proc/{pid}/stat" if tid is None else f"/proc/{pid}/task/{tid}/stat"
    try:
        text = Path(path).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return text[text.rindex(")") + 2]


def until_asleep(pid: int, limit: float = HANG) -> None:
    """Until the main thread of `pid` is asleep in the kernel, and stays so for a moment."""

    def settled() -> bool:
        # One S may be a lock passed on; a few in a row, with no switch between, is sleep.
        before = _switches(pid)
        for _ in range(3):
            if state(pid, pid) != "S":
                return False
            time.sleep(_PAUSE)
        return _switches(pid) == before

    until(f"process {pid} sleeps", settled, limit)


def _switches(pid: int) -> str:
    try:
        lines = Path(f"/proc/{pid}/task/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return "gone"
    return next((line for line in lines if line.startswith("voluntary")), "")


def until_stopped(pid: int, limit: float = HANG) -> None:
    """Until our child `pid` has been stopped by a signal. The stop stays to be continued."""

    def stopped() -> bool:
        found, status = os.waitpid(pid, os.WUNTRACED | os.WNOHANG)
        if found and not os.WIFSTOPPED(status):
            raise AssertionError(f"process {pid} ended (status {status:#x}) instead of stopping")
        return bool(found)

    until(f"process {pid} is stopped", stopped, limit)


def children(pid: int) -> dict[int, str]:
    """The children of `pid`, zombies included: their pids and command lines."""
    found: dict[int, str] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            text = Path(f"/proc/{entry}/stat").read_text()
            after = text[text.rindex(")") + 2 :].split()
            if int(after[1]) != pid:
                continue
            command = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found[int(entry)] = f"{command.strip() or '(no command line)'} [{after[0]}]"
    return found
