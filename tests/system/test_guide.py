# SPDX-License-Identifier: BSD-3-Clause
"""The programs of the guide run as they stand, and print what their comments say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.pages import programs, run_together

pytest.importorskip("numpy")  # which some of the programs need

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"
SECTION = re.compile(r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
PROGRAMS = {
    title: found for title, text in SECTION.findall(GUIDE.read_text()) if (found := programs(text))
}
COMMENT = re.compile(r"print\(.*#(?: meanwhile:)? (.*)")


def words(text: str) -> list[str]:
    return text.replace(",", " ").split()


@pytest.mark.parametrize("section", PROGRAMS)
def test_the_programs_of_a_section(section: str) -> None:
    """The client may start before the server listens: it waits."""
    found = PROGRAMS[section]
    for program, text in zip(found, run_together(found), strict=True):
        assert words(text) == words(" ".join(COMMENT.findall(program)))
