# SPDX-License-Identifier: BSD-3-Clause
"""The mechanisms that the suite runs over, by name."""

from __future__ import annotations

import os
from typing import Final

from adma.mechanisms import MECHANISMS
from adma.mechanisms.helper import DEVICE, Dma, MappedHelper

#: Is the kernel helper here? A guest that is booted for it says that it has to be.
HELPER: Final = os.path.exists(DEVICE) or "ADMA_EXPECT_HELPER" in os.environ

#: All there are, in the order of the registry.
KNOWN: Final = tuple(mechanism.name for mechanism in MECHANISMS)

#: Those that can be forced here.
FORCED: Final = tuple(
    mechanism.name for mechanism in MECHANISMS if HELPER or mechanism not in (Dma, MappedHelper)
)

#: What the `mechanism` argument accepts, of these.
NAMES: Final = ("auto", *FORCED)
