# SPDX-License-Identifier: BSD-3-Clause
"""The types of the compiled core are what the C headers say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from adma import _core
from adma._core._native import lib

NATIVE = Path(__file__).parents[2] / "transport" / "native"
STUB = Path(_core.__file__).with_name("_native.pyi")  # as it is installed


def test_they_have_not_drifted() -> None:
    pytest.importorskip("pycparser")
    done = subprocess.run(
        [sys.executable, str(NATIVE / "stubs.py"), "--check", str(STUB)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_name_is_there() -> None:
    """What type checkers see exists in the module that was built, and the other way round."""
    text = STUB.read_text().partition("class _Lib:")[2]
    names = {line.split("(")[0].split(":")[0].split()[-1] for line in text.splitlines() if line}
    names = {name for name in names if name.lower().startswith("adma_")}
    assert names == {name for name in dir(lib) if name.lower().startswith("adma_")}
