# SPDX-License-Identifier: BSD-3-Clause
"""What state a copy of an end of a pipe is in."""

from __future__ import annotations

import enum
from typing import Final

__all__ = ["ELSEWHERE", "LIVE", "State"]

ELSEWHERE: Final = (
    "another process has claimed this end of the pipe, by moving a message: only that process "
    "uses it; cure: make a pipe for each pair of processes, and close the copies that are not used"
)


class State(enum.Enum):
    """Of this copy of an end."""

    UNCLAIMED = enum.auto()
    CLAIMED = enum.auto()  # by this process
    MET = enum.auto()  # the channel is there
    THROUGH = enum.auto()  # and nothing is left on the line
    CLOSED = enum.auto()
    ELSEWHERE = enum.auto()  # another process has claimed it
    FORKED = enum.auto()  # this is a child of the process that had claimed it


LIVE: Final = (State.UNCLAIMED, State.CLAIMED)
