# SPDX-License-Identifier: BSD-3-Clause
"""What a reader learns of messages that may be eager, in a process that has learnt nothing else."""

from __future__ import annotations

import os
from typing import Any

from adma._core import learning
from adma._core.constants import MECH_SHARED
from adma.testing import Endpoint
from adma.testing.limits import HANG
from adma.testing.payload import pattern


def know_mechanism(endpoint: Endpoint, size_class: int) -> None:
    """The tries of mechanisms come first. They are skipped where this process knows one."""
    known = [learning.Cost(size_class, MECH_SHARED, 0, False, False, False, True, 400_000)]
    learning.take_up(os.geteuid(), known)


def know_eager(endpoint: Endpoint, size_class: int) -> None:
    """As if this process had learnt that they are quicker through bounce buffers."""
    know_mechanism(endpoint, size_class)
    known = [
        learning.Cost(size_class, 0, way, False, False, False, way == 1, cost)
        for way, cost in enumerate((400_000, 100_000))
    ]
    learning.take_up(os.geteuid(), known)


def exchange(endpoint: Endpoint, nbytes: int, rounds: int) -> list[Any]:
    """Messages there and back; what is known afterwards of both ways of such messages.

    Nothing comes between, since both ends are to be awake.
    """
    channel, into = endpoint.channel, bytearray(nbytes)
    contents = [pattern(nbytes, number) for number in range(rounds)]
    for content in contents:
        channel.write(content, timeout=HANG)
        assert channel.read(into, timeout=HANG) == nbytes
        assert into == content
    return [way for way in channel.explain(nbytes).learnt if not way.chunk]
