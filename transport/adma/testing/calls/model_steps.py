# SPDX-License-Identifier: BSD-3-Clause
"""What either endpoint does when a channel is compared with the model."""

from __future__ import annotations

import contextlib

import adma

from ..cut_off import cut_off
from ..endpoint import Endpoint


def cancel(endpoint: Endpoint, name: str) -> bool:
    return bool(endpoint.kept[name].request.cancel())


def all_over(endpoint: Endpoint, names: list[str]) -> bool:
    """Make progress. True when each of these requests is over, whatever came of it."""
    return sum(outcome(endpoint, name)[0] == "pending" for name in names) == 0


def outcome(endpoint: Endpoint, name: str) -> tuple[str, int]:
    """Where a request stands: pending, done with a count, cancelled, or too long with a size."""
    request = endpoint.kept[name].request
    try:
        if not request.check():
            return "pending", 0
        return "done", request.wait(timeout=0)
    except adma.Cancelled:
        return "cancelled", 0
    except adma.MessageTooLong as error:
        return "too long", error.needed


def forget(endpoint: Endpoint) -> None:
    """Close the channel and drop what was kept for it."""
    with contextlib.suppress(adma.PeerDied):
        cut_off(endpoint.channels.pop())
    endpoint.kept.clear()
