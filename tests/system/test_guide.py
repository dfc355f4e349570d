# SPDX-License-Identifier: BSD-3-Clause
"""The programs of the guide run as they stand, and print what their comments say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numpy")  # which some of the programs need

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"
SECTION = re.compile(r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
PROGRAMS = {
    title: blocks
    for title, text in SECTION.findall(GUIDE.read_text())
    if (blocks := BLOCK.findall(text))
}
COMMENT = re.compile(r"print\(.*#(?: meanwhile:)? (.*)")


def words(text: str) -> list[str]:
    return text.replace(",", " ").split()


@pytest.mark.parametrize("section", PROGRAMS)
def test_the_programs_of_a_section(section: str) -> None:
    """The client may start before the server listens: it waits."""
    programs = PROGRAMS[section]
    running = [
        subprocess.Popen([sys.executable, "-c", each], stdout=subprocess.PIPE, text=True)
        for each in programs
    ]
    said = [each.communicate(timeout=60)[0] for each in running]
    assert [each.returncode for each in running] == [0] * len(running)
    for program, text in zip(programs, said, strict=True):
        assert words(text) == words(" ".join(COMMENT.findall(program)))
