# SPDX-License-Identifier: BSD-3-Clause
"""One side of a race whose outcome both sides must agree on."""

from __future__ import annotations

import random

from ..endpoint import Endpoint
from ..limits import HANG
from ..payload import pattern


def write_and_cancel(endpoint: Endpoint, rounds: int, nbytes: int) -> list[int]:
    """Post writes and cancel them; the numbers of those that could not be cancelled.

    The first two bytes of a message are its number. An empty message ends the run.
    """
    lost = []
    for seed in range(rounds):
        request = endpoint.channel.iwrite(seed.to_bytes(2, "little") + pattern(nbytes - 2, seed))
        for _ in range(random.Random(seed).randrange(4)):
            request.check()
        if not request.cancel():
            request.wait(timeout=HANG)
            lost.append(seed)
    endpoint.channel.write(b"", timeout=HANG)
    return lost
