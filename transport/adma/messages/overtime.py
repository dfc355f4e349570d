# SPDX-License-Identifier: BSD-3-Clause
"""A blocking call whose time is over: how much longer it waits for what it posted.

A timeout bounds waiting, not copying. What is not matched is taken back. What is matched goes on
while bytes move, since nobody could take back half a copy without losing the message.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from .._core.channel import peer_reads
from .._core.constants import DONE, MATCHED
from .._core.operation import Operation, remainder
from .._core.waiting import OneWaiter

if TYPE_CHECKING:
    from .._core.types import Chan

__all__ = ["STALLED_BELOW", "wait_for_match", "wait_until", "wait_while_moving"]

STALLED_BELOW: Final = 1_000_000  # bytes in a second; a transfer that moves fewer is stalled
_SECOND: Final = 1.0
_LATE: Final = 0.5  # seconds; this process did not run for so long, so it judges nobody else
_MATCHING: Final = 0.02  # seconds that a peer with posted reads has to match one of them
_LOOK_EVERY: Final = 0.001  # seconds between looks at whether it still has any


def wait_until(chan: Chan, operations: Sequence[Operation], deadline: float | None) -> bool:
    """Wait until all are done; results are not looked at. False: the deadline passed before."""
    return all(each.done or OneWaiter(chan, each.req).wait(deadline) for each in operations)


def wait_for_match(chan: Chan, first: Operation) -> None:
    """Leave a write posted for a moment longer, while the peer says that it has reads posted.

    Or that it is about to, because it looks at the message first.

    The reader's process matches. It has to wake for that, so that a write without any time
    would be taken back before a read that waits for it could have it.
    """
    end = time.monotonic() + _MATCHING
    while first.req.state not in (MATCHED, DONE) and peer_reads(chan):
        now = time.monotonic()
        if now >= end or OneWaiter(chan, first.req).wait(min(end, now + _LOOK_EVERY)):
            return


def wait_while_moving(chan: Chan, operations: Sequence[Operation]) -> bool:
    """Wait until all are done, which are matched, for as long as bytes move.

    False: in a full second less than `STALLED_BELOW` bytes arrived, of these and of what was
    matched before them. What this end copies by itself counts: nobody is waited for meanwhile.
    Bytes that it sends ahead of a reader do not.
    """
    left = remainder(chan, operations)
    while True:
        second = time.monotonic() + _SECOND
        if wait_until(chan, operations, second):
            return True
        before, left = left, remainder(chan, operations)
        if before - left < STALLED_BELOW and time.monotonic() < second + _LATE:
            return False
