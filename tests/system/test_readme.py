# SPDX-License-Identifier: BSD-3-Clause
"""The README's lines of Python do what it says they do."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import adma

README = Path(__file__).parents[2] / "README.md"


def programs() -> tuple[str, str]:
    block = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert block is not None
    lines = block[1].strip()
    assert len(lines.splitlines()) <= 11, "ten lines of code, and a blank one"
    one, other = lines.split("\n\n")
    return one, other


def test_both_programs_of_the_readme_run_and_understand_each_other() -> None:
    server_code, client_code = programs()
    # The client may only start once the server listens: it says so here.
    listening = server_code.replace("with adma", "import sys\nwith adma", 1).replace(
        "server.accept() as", "print('up', flush=True) or server.accept() as"
    )
    assert listening != server_code
    server = subprocess.Popen([sys.executable, "-c", listening], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    with server.stdout:
        assert server.stdout.readline() == "up\n"
        client = subprocess.run(
            [sys.executable, "-c", client_code], capture_output=True, text=True, timeout=60
        )
    assert server.wait(timeout=60) == 0
    assert client.returncode == 0, client.stderr
    nbytes = 5 << 20
    assert client.stdout.startswith(f"{{'got': {nbytes}}} {nbytes} ")
    assert adma.Explanation.__name__ not in client.stdout, "explain() prints as text"
