# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of addresses start from: a directory, a path to listen at, a path to call."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adma.connect import access, address
from adma.connect.place import Callee, Place
from adma.testing.limits import HANG

# Found by other users, too, unlike the place where this run's other files are.
_PUBLIC = os.path.abspath(os.path.join(os.sep, "var", "tmp"))


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An XDG_RUNTIME_DIR with a short path, which any user may look for."""
    short = Path(tempfile.mkdtemp(prefix="a-", dir=_PUBLIC))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
    yield short
    for path in sorted(short.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    short.rmdir()


def soon() -> float:
    return time.monotonic() + HANG


def at(path: str | Path) -> Place:
    """A path to listen at."""
    return Place(str(path), os.path.dirname(path))


def calling(path: str | Path) -> Callee:
    """A path to call, whoever is there."""
    return Callee((str(path),), os.path.dirname(path), access.anybody)


def end(bound: address.Bound) -> None:
    bound.remove()
    bound.close()
