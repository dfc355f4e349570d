# SPDX-License-Identifier: BSD-3-Clause
"""One message of 3 GiB: more than a signed 32-bit length, and than one system call copies."""

from __future__ import annotations

import pytest

from adma.testing import Peer
from adma.testing.limits import GIB, HANG, MIB
from adma.testing.payload import Repeated, difference, pattern
from support.calls import large
from support.mechanisms import NAMES

WINDOW = 16 * MIB
HUGE = 3 * GIB


@pytest.mark.parametrize("mechanism", NAMES)
@pytest.mark.parametrize("direction", ["read", "write"])
def test_three_gibibytes(peer: Peer, mechanism: str, direction: str) -> None:
    """Source and destination map one small file over and over."""
    channel = peer.connect(mechanism)
    task = peer.begin(large.write if direction == "read" else large.read, HUGE, WINDOW)
    if direction == "read":
        with Repeated(HUGE, window=WINDOW) as target:
            assert channel.read(target.view, timeout=3 * HANG) == HUGE
            wrong = difference(target.content(), pattern(WINDOW, 1))
        assert not wrong, wrong
    else:
        with Repeated(HUGE, window=WINDOW, content=pattern(WINDOW, 1)) as source:
            channel.write(source.view, timeout=3 * HANG)
    task.result(3 * HANG)
