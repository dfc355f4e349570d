# SPDX-License-Identifier: BSD-3-Clause
"""Arrays that are sent as objects."""

from __future__ import annotations

from adma.testing import Endpoint
from adma.testing.limits import HANG


def send_numbers(endpoint: Endpoint, counts: list[int]) -> None:
    """An array of each of these lengths."""
    import numpy

    for count in counts:
        endpoint.channel.send(numpy.arange(float(count)), timeout=HANG)
