# SPDX-License-Identifier: BSD-3-Clause
"""The README's lines of Python do what it says they do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.pages import programs, run_together

pytest.importorskip("numpy")  # which the programs need
ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "SECURITY.md"]
# What the piece of a program about posted reads stands in: a channel, two arrays, some work.
AROUND = """
import adma
import numpy as np

def process(frame):
    return frame.sum()

with adma.connect("frames", timeout=5) as ch:
    frame, coming = np.full((64, 64), 2.0), np.empty((64, 64))
    ch.write(frame)
    {}
    print(result, coming.sum())
"""
ECHO = """
import adma

with adma.listen("frames") as server, server.accept(timeout=60) as ch:
    ch.write(ch.read_bytes())
"""


def blocks() -> list[str]:
    return programs(PAGES[0].read_text())


def program(name: str) -> str:
    (found,) = (block for block in blocks() if block.startswith(f"# {name}\n"))
    return found


def test_both_programs_run_and_understand_each_other() -> None:
    client = program("client.py")
    printed = re.search(r"print\(.*# (.*)", client)
    assert printed is not None
    _, said = run_together([program("server.py"), client])
    assert said == printed[1] + "\n"


def test_a_posted_read_is_filled_meanwhile() -> None:
    (piece,) = (block for block in blocks() if "iread" in block)
    _, said = run_together([ECHO, AROUND.format(piece.replace("\n", "\n    "))])
    assert said == "8192.0 8192.0\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    """Those to other pages and pictures of ours."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target
