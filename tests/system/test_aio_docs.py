# SPDX-License-Identifier: BSD-3-Clause
"""The programs in docs/aio.md do what the page says."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from adma.testing.limits import HANG
from support.pages import programs

PAGE = Path(__file__).parents[2] / "docs" / "aio.md"


def output(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=HANG
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_program_of_the_page() -> None:
    server, client, timeout, stream = programs(PAGE.read_text())
    with subprocess.Popen([sys.executable, "-c", server], stderr=subprocess.DEVNULL) as serving:
        try:
            assert output(client) == "b'HELLO'\n"
        finally:
            serving.send_signal(signal.SIGINT)
    assert output(timeout) == "nothing came\nb'late'\n"
    assert output(stream) == "b'first line\\n'\nb'second line\\n'\n"
