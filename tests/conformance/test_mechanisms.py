# SPDX-License-Identifier: BSD-3-Clause
"""Each part of the conformance kit over every mechanism that works here, and over `auto`."""

from __future__ import annotations

from adma.testing import conformance
from support.mechanisms import NAMES


class Own(conformance.Conformance):
    mechanisms = NAMES
    check_leaks = False  # conftest.py does it after every test


class TestSizes(Own, conformance.Sizes):
    pass


class TestOrder(Own, conformance.Order):
    pass


class TestKinds(Own, conformance.Kinds):
    pass


class TestProbing(Own, conformance.Probing):
    pass


class TestWaiting(Own, conformance.Waiting):
    pass


class TestTooLong(Own, conformance.TooLong):
    pass


class TestCancelling(Own, conformance.Cancelling):
    pass


class TestTimeouts(Own, conformance.Timeouts):
    pass


class TestClosing(Own, conformance.Closing):
    pass


class TestDeath(Own, conformance.Death):
    pass


class TestReports(Own, conformance.Reports):
    pass


class TestRandomSteps(Own, conformance.RandomSteps):
    pass
