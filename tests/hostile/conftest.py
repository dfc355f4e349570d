# SPDX-License-Identifier: BSD-3-Clause
"""What several attacks need: a place that strangers reach, and kernels of both kinds."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from adma._core import handshake as core
from support import places
from support.attackers import nothing_is_being_closed


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory in which all users may make names, as in /tmp."""
    base = places.crowded(monkeypatch)
    yield base
    nothing_is_being_closed()
    shutil.rmtree(base)


@pytest.fixture(params=["kernel refuses descriptors", "kernel cannot refuse them"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Kernels before Linux 6.16 cannot refuse descriptors in the name of a socket's owner."""
    if "cannot" in request.param:
        monkeypatch.setattr(core, "take_rights", lambda sock, take: 0)
    return str(request.param)
