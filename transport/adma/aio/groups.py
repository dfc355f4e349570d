# SPDX-License-Identifier: BSD-3-Clause
"""What tasks wait for, by what makes progress on it."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..messages.endpoint import Endpoint

if TYPE_CHECKING:
    from ..request import Awaited, Watched

__all__ = ["SHORTEST", "Entry", "Group"]

SHORTEST: Final = 50e-6  # seconds between two looks at requests of which nothing tells


class Entry:
    """A request that is awaited, and whom to wake when it may be done."""

    __slots__ = ("request", "wakes")

    def __init__(self, request: Awaited) -> None:
        self.request = request
        self.wakes: list[Callable[[], None]] = []


class Group:
    """What tasks wait for on one channel, or of requests that one call advances.

    It does not keep a channel alive: whoever waits does.
    """

    __slots__ = (
        "_watched",
        "entries",
        "fd",
        "interval",
        "key",
        "place",
        "readers",
        "ticking",
        "wants",
    )

    def __init__(self, watched: Watched) -> None:
        is_channel = isinstance(watched, Endpoint)
        self._watched = weakref.ref(watched) if is_channel else lambda: watched
        self.key = id(watched)
        self.entries: dict[int, Entry] = {}  # by the request's id
        self.readers: deque[Callable[[], None]] = deque()  # the first one has waited longest
        self.place = -1  # of the channel in the poll set
        self.wants = 0  # of the channel, as the poll set was told
        self.fd = -1
        self.interval = SHORTEST
        self.ticking = False  # a timer is set

    @property
    def watched(self) -> Watched | None:
        """What makes progress. None: the channel is gone, and nobody waits for it."""
        return self._watched()
