# SPDX-License-Identifier: BSD-3-Clause
"""The mechanisms there are, by name."""

from __future__ import annotations

from typing import Final

from adma.mechanisms import MECHANISMS

#: Those that can be forced, in the order of the registry.
FORCED: Final = tuple(mechanism.name for mechanism in MECHANISMS)

#: What the `mechanism` argument accepts.
NAMES: Final = ("auto", *FORCED)
