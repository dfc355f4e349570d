# SPDX-License-Identifier: BSD-3-Clause
"""The programs of a page of Markdown."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable


def programs(text: str) -> list[str]:
    """Its blocks of Python, in order."""
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def run_together(texts: Iterable[str]) -> list[str]:
    """Start them all, waiting for none; what each of them printed."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for program in texts
    ]
    said = [process.communicate(timeout=60) for process in running]
    complaints = "".join(errors for _, errors in said)
    assert [process.returncode for process in running] == [0] * len(running), complaints
    return [output for output, _ in said]
