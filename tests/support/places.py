# SPDX-License-Identifier: BSD-3-Clause
"""Directories that several users can reach. Whoever makes one removes it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest


def public() -> Path:
    """A new directory where everybody may look, with a short path; below a sticky one."""
    made = Path(tempfile.mkdtemp(prefix="a-", dir=os.path.join(os.sep, "var", "tmp")))
    made.chmod(0o755)
    return made


def crowded(monkeypatch: pytest.MonkeyPatch) -> Path:
    """As `public`, with a directory in it that holds this test's open names, as /tmp would."""
    base = public()
    (base / "open").mkdir()
    (base / "open").chmod(0o1777)
    monkeypatch.setenv("ADMA_OPEN_DIR", str(base / "open"))
    return base


def below_root() -> Path:
    """As `public`, but below directories that root alone may write to. Needs root."""
    for name in ("run", "srv", "opt", "mnt"):
        place = os.path.join(os.sep, name)
        if os.path.isdir(place) and not os.path.islink(place) and _is_roots(place):
            made = Path(tempfile.mkdtemp(prefix="a-", dir=place))
            made.chmod(0o755)
            return made
    pytest.skip("no directory here is for root alone to write to, down from /")


def _is_roots(place: str) -> bool:
    found = (os.stat(os.sep), os.stat(place))
    return all(each.st_uid == 0 and not each.st_mode & 0o022 for each in found)
