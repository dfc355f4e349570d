# SPDX-License-Identifier: BSD-3-Clause
"""The conformance kit over channels between two ranks: channel_ranks.py runs it on one of them.

What is left out kills the peer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import channel_ranks
import pytest

from adma.testing import conformance


class TestOfRanks(conformance.WithoutDeath):
    check_leaks = False  # the rank that serves looks at what it holds

    @pytest.fixture
    def peer(self) -> Iterator[Any]:
        yield channel_ranks.peers[0]
        channel_ranks.peers[0].rest()
