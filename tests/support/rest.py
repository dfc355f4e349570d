# SPDX-License-Identifier: BSD-3-Clause
"""What peers undo after each test: every peer of these tests imports this module first."""

from __future__ import annotations

from adma.testing import at_rest
from support import engine
from support.calls import faults

at_rest(faults.disarm_all)
at_rest(engine.rest)
