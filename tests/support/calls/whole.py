# SPDX-License-Identifier: BSD-3-Clause
"""Objects for requests that receive them whole."""

from __future__ import annotations

import pickle
from typing import Any

from adma.testing import Endpoint
from adma.testing.limits import HANG
from adma.testing.payload import pattern


class Spoilt:
    """An object that cannot be unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return divmod, (1, 0)


def send_each(endpoint: Endpoint, sizes: list[list[int]]) -> None:
    """For each list of sizes an object: its index, and a buffer of each size."""
    for index, each in enumerate(sizes):
        parts = [pickle.PickleBuffer(bytearray(pattern(n, seed))) for seed, n in enumerate(each)]
        endpoint.channel.send([index, *parts], timeout=HANG)


def send_spoilt(endpoint: Endpoint) -> None:
    endpoint.channel.send(Spoilt(), timeout=HANG)
