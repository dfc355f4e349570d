# SPDX-License-Identifier: BSD-3-Clause
"""The mechanisms that the suite runs over, and a channel forced to each."""

from __future__ import annotations

import pytest

import adma
from support.mechanisms import NAMES
from support.peer import Peer


@pytest.fixture(params=NAMES)
def mechanism(request: pytest.FixtureRequest) -> str:
    """The name of every mechanism that is registered, and "auto"."""
    return str(request.param)


@pytest.fixture
def channel(peer: Peer, mechanism: str) -> adma.Channel:
    """Our end of a channel to `peer`. The test fails when the mechanism does not work here."""
    return peer.connect(mechanism)
