# SPDX-License-Identifier: BSD-3-Clause
"""Pytest in a process of its own, over a test module as somebody else would write it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from adma.testing.limits import HANG
from adma.testing.observe import children, state
from adma.testing.peer import search_path


def run(place: Path, module: str, *arguments: str, **environment: str) -> tuple[int, str]:
    """Write the text of `module` to a file in `place` and run its tests: exit status, output.

    Nothing of ours applies there but what is installed: no conftest.py, no settings.
    """
    file = place / "test_somebody.py"
    file.write_text(module)
    (place / "pytest.ini").write_text("[pytest]\n")
    before = children(os.getpid())
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--rootdir={place}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *arguments, str(file)],
        env={**os.environ, "PYTHONPATH": search_path(), **environment},
        cwd=place,
        capture_output=True,
        text=True,
        timeout=10 * HANG,
    )
    # Orphans that the tests there have killed: this process is a subreaper (conftest.py).
    for pid in children(os.getpid()).keys() - before.keys():
        if state(pid) == "Z":
            os.waitpid(pid, 0)
    return done.returncode, done.stdout + done.stderr


def counted(output: str, word: str) -> int:
    """How many tests "passed" or "failed", by pytest's last line."""
    found = re.search(rf"(\d+) {word}", output.splitlines()[-1])
    return int(found[1]) if found else 0
