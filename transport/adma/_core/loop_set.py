# SPDX-License-Identifier: BSD-3-Clause
"""The channels that an event loop waits for, which sleeps in a poll of its own. See adma_poll.h."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..errors import failure
from ._native import ffi, lib
from .results import CLOSED_HERE, DESCRIPTOR, FORKED, raise_for

if TYPE_CHECKING:
    from ._native import adma_poll_set
    from .types import Chan

__all__ = ["BUSY", "LEFT", "MESSAGES", "MOVED", "PROGRESS", "QUIET", "READY", "LoopSet"]

# What is wanted of a channel: enum adma_wants
MESSAGES: Final = lib.ADMA_WANTS_MESSAGES
PROGRESS: Final = lib.ADMA_WANTS_PROGRESS

# What a look has found: enum adma_drive_result; or that channels have left, or that the
# descriptor is another one, because somebody else has closed it
READY: Final = lib.ADMA_READY
BUSY: Final = lib.ADMA_BUSY
QUIET: Final = lib.ADMA_QUIET
LEFT: Final = -CLOSED_HERE
MOVED: Final = -DESCRIPTOR

_ROOM: Final = 256  # channels that one look finds; the next one finds others
_NO_POLL_SET: Final[adma_poll_set] = ffi.NULL


class LoopSet:
    """Channels, each with a place and with what is wanted of it. They may be closed meanwhile.

    It has two descriptors once a channel has joined.
    """

    __slots__ = ("_count", "_raw", "_ready")

    def __init__(self) -> None:
        self._raw = _NO_POLL_SET
        self._ready = ffi.new("int32_t[]", _ROOM)
        self._count = ffi.new("int32_t *")
        out = ffi.new("struct adma_poll_set **")
        if rc := lib.adma_poll_set_new(out):
            raise_for(rc)
        self._raw = out[0]

    @property
    def fd(self) -> int:
        """The descriptor that tells, after a look that was quiet; -1: no channel has joined."""
        return lib.adma_poll_set_fileno(self._raw)

    def join(self, chan: Chan, place: int, wants: int) -> bool:
        """From now on this is wanted of the channel, which is in the set if it was not.

        False: it is closed here. OSError: no descriptor is left.
        """
        rc = lib.adma_poll_set_join(self._raw, chan, place, wants)
        if not rc:
            return True
        if -rc in (CLOSED_HERE, FORKED):
            return False
        raise failure("poll descriptor", -rc)

    def turn(self, told: bool) -> int:
        """One look: what it has found. `told`: the descriptor was readable."""
        return lib.adma_poll_set_turn(self._raw, told, self._ready, _ROOM, self._count)

    def spin(self, chan: Chan) -> bool:
        """Look at a channel for a moment, if that has paid lately. True: it has a message."""
        return lib.adma_poll_set_spin(self._raw, chan) == READY

    def found(self) -> list[int]:
        """The places of the channels that the last look found ready."""
        count: int = self._count[0]
        return self._ready[0:count] if count > 1 else [self._ready[0]] if count else []

    def __del__(self) -> None:
        raw, self._raw = self._raw, _NO_POLL_SET
        lib.adma_poll_set_free(raw)
