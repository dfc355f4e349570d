# SPDX-License-Identifier: BSD-3-Clause
"""Waiting for messages on many channels, of which most are idle. adma_poll.h says more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ..errors import failure
from ._native import ffi, lib
from .results import CLOSED_HERE, FORKED, raise_for
from .waiting import ManyWaiter, wait_with

if TYPE_CHECKING:
    from ._native import adma_poll_set, sigset_t
    from .types import Chan

__all__ = ["PollSet"]

_NO_POLL_SET: Final[adma_poll_set] = ffi.NULL


class PollSet:
    """The channels that one thread waits for. They may be closed and freed meanwhile.

    It has two descriptors while any of them is open.
    """

    __slots__ = ("_count", "_raw", "_ready")

    def __init__(self) -> None:
        self._raw = _NO_POLL_SET
        self._ready = ffi.new("int32_t[]", 0)
        self._count = ffi.new("int32_t *")
        out = ffi.new("struct adma_poll_set **")
        if rc := lib.adma_poll_set_new(out):
            raise_for(rc)
        self._raw = out[0]

    def update(self, chans: Sequence[Chan]) -> None:
        """Have it wait for these channels, which are all different.

        After an exception it has to be updated again. ChannelClosed: one of them was closed
        here, or is a forked child's copy. OSError: no descriptor is left.
        """
        self._ready = ffi.new("int32_t[]", len(chans))
        raw = ffi.new("struct adma_chan *[]", chans)
        if rc := lib.adma_poll_set_update(self._raw, raw, len(chans)):
            if -rc not in (CLOSED_HERE, FORKED):
                raise failure("wait", -rc)
            raise_for(rc)

    def wait(self, deadline: float | None) -> bool:
        """True when a channel is ready, False when the deadline passed before."""
        return wait_with(self, deadline)

    def look(self) -> list[int]:
        """The places of the channels that are ready now."""
        state = self.drive(0)
        if state < 0:
            raise_for(state)
        return self.found()

    def found(self) -> list[int]:
        """The places of the channels that the last look found ready, in ascending order."""
        return sorted(self._ready[0 : self._count[0]])

    def drive(self, spin: int) -> int:
        return lib.adma_poll_set_drive(self._raw, spin, self._ready, self._count)

    def sleep(self, nanoseconds: int, mask: sigset_t) -> int:
        return lib.adma_poll_set_sleep(self._raw, ffi.NULL, nanoseconds, mask)

    def sleep_for(self, requests: ManyWaiter, nanoseconds: int, mask: sigset_t) -> int:
        """Sleep for requests, too."""
        return lib.adma_poll_set_sleep(self._raw, requests.struct, nanoseconds, mask)

    def give_up(self) -> None:
        """The next wait looks for itself. No channel is left to the thread that waits for it."""
        lib.adma_poll_set_give_up(self._raw)

    def __del__(self) -> None:
        raw, self._raw = self._raw, _NO_POLL_SET
        lib.adma_poll_set_free(raw)
