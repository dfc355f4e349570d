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


class OfRanks(conformance.Conformance):
    check_leaks = False  # the rank that serves looks at what it holds

    @pytest.fixture
    def peer(self) -> Iterator[Any]:
        yield channel_ranks.peers[0]
        channel_ranks.peers[0].rest()


class TestSizes(OfRanks, conformance.Sizes):
    pass


class TestOrder(OfRanks, conformance.Order):
    pass


class TestKinds(OfRanks, conformance.Kinds):
    pass


class TestProbing(OfRanks, conformance.Probing):
    pass


class TestWaiting(OfRanks, conformance.Waiting):
    pass


class TestTooLong(OfRanks, conformance.TooLong):
    pass


class TestCancelling(OfRanks, conformance.Cancelling):
    pass


class TestTimeouts(OfRanks, conformance.Timeouts):
    pass


class TestClosing(OfRanks, conformance.Closing):
    pass


class TestReports(OfRanks, conformance.Reports):
    pass


class TestRandomSteps(OfRanks, conformance.RandomSteps):
    pass
