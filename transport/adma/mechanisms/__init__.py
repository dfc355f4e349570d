# SPDX-License-Identifier: BSD-3-Clause
"""The mechanisms that can carry a message between two processes, and how they are probed."""

from __future__ import annotations

from . import cma, helper, loopback, shared
from .interface import Context, Probe, Refusal, refusal_in

__all__ = ["MECHANISMS", "NAMES", "Context", "Probe", "Refusal", "check_name", "refusal_in"]

MECHANISMS: tuple[type[Probe], ...] = (
    shared.Shared,
    cma.MappedCMA,
    loopback.LoopbackTCP,
    helper.Dma,
    helper.MappedHelper,
)

# Mechanism names by enum adma_mechanism_id.
NAMES: dict[int, str] = {probe.id: probe.name for probe in MECHANISMS}


def check_name(mechanism: str) -> int:
    """The id of a mechanism's name, 0 for "auto". ValueError when there is none of that name."""
    if mechanism == "auto":
        return 0
    for number, name in NAMES.items():
        if name == mechanism:
            return number
    known = ", ".join(["auto", *NAMES.values()])
    raise ValueError(f"mechanism={mechanism!r} is unknown: choose one of {known}")
