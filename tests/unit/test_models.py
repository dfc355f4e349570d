# SPDX-License-Identifier: BSD-3-Clause
"""The check of the models' names finds a name that does not exist, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
DOCS = TOP / "docs" / "models.md"


def check(docs: Path) -> subprocess.CompletedProcess[str]:
    """Run the check on this text of docs/models.md."""
    script = TOP / "tests" / "model" / "names.py"
    return subprocess.run(
        [sys.executable, script, "--docs", docs], capture_output=True, text=True, check=False
    )


def test_the_names_of_the_models_exist() -> None:
    done = check(DOCS)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("there", "instead", "complaint"),
    [
        ("`adma_enter`", "`adma_attend`", "the sources have no adma_attend"),
        ("(`copy/schedule.c`)", "(`copy/lines.c`)", "the sources have no copy/lines.c"),
        ("`cookie.c:cookie_sleep()`", "`cookie.c:pin_anew()`", "the sources have no pin_anew"),
        ("`take_lock`", "`grab_lock`", "`grab_lock` is not in wakeup.pml"),
        ("`NO_REMARK`", "nothing", "`NO_REMARK` is not listed"),
        ("(`ASSISTED`)", "", "`ASSISTED` is not listed"),
        ("| model | code |", "| code | model |", "no table binds it to the code"),
        ("## pin.pml", "## pins", "pin.pml: no section"),
    ],
)
def test_a_name_that_does_not_exist_is_found(
    tmp_path: Path, there: str, instead: str, complaint: str
) -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert there in text
    docs = tmp_path / "models.md"
    docs.write_text(text.replace(there, instead), encoding="utf-8")
    done = check(docs)
    assert done.returncode == 1
    assert complaint in done.stderr
