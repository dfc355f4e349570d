# SPDX-License-Identifier: BSD-3-Clause
"""Messages that are larger than memory."""

from __future__ import annotations

from adma.testing import Endpoint
from adma.testing.limits import HANG
from adma.testing.payload import Repeated, difference, pattern


def write(endpoint: Endpoint, nbytes: int, window: int) -> None:
    with Repeated(nbytes, window=window, content=pattern(window, 1)) as source:
        endpoint.channel.write(source.view, timeout=3 * HANG)


def read(endpoint: Endpoint, nbytes: int, window: int) -> None:
    with Repeated(nbytes, window=window) as target:
        assert endpoint.channel.read(target.view, timeout=3 * HANG) == nbytes
        wrong = difference(target.content(), pattern(window, 1))
        assert not wrong, wrong
