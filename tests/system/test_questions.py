# SPDX-License-Identifier: BSD-3-Clause
"""Who asks a channel or a worker something makes no progress on it, and no system call."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from adma.testing.limits import HANG
from adma.testing.peer import search_path

# The allocator's, at any time; what Python asks of forks; the progress thread may have the lock.
OTHERS = ("mmap", "munmap", "brk", "madvise", "mremap", "getpid", "futex")


def strace_works() -> bool:
    try:
        subprocess.run(["strace", "-o", "/dev/null", "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def test_a_question_changes_nothing(tmp_path: Path) -> None:
    """What the peer sent stays where it is until a call that makes progress (support.asker)."""
    log = tmp_path / "calls"
    traced = strace_works()
    strace = ["strace", "-o", str(log), "-s", "200"] if traced else []
    script = [sys.executable, "-m", "support.asker"]
    environment = {**os.environ, "PYTHONPATH": search_path()}
    subprocess.run([*strace, *script], check=True, timeout=3 * HANG, env=environment)
    if not traced:
        return
    calls = log.read_text().splitlines()
    begin, end = (
        next(i for i, call in enumerate(calls) if f'"{word}"' in call) for word in ("begin", "end")
    )
    assert [call for call in calls[begin + 1 : end] if call.split("(")[0] not in OTHERS] == []
