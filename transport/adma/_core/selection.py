# SPDX-License-Identifier: BSD-3-Clause
"""What the core says of how messages would travel, and why: from a channel, or from an endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ._native import ffi, lib
from .constants import MECH_MAX
from .results import raise_for

if TYPE_CHECKING:
    from .types import Chan, Worker

# Why a mechanism would carry a message, or would not: enum adma_reason.
FORCED: Final = lib.ADMA_REASON_FORCED
SINGLE_COPY: Final = lib.ADMA_REASON_SINGLE_COPY
ONLY_SINGLE_COPY: Final = lib.ADMA_REASON_ONLY_SINGLE_COPY
TWO_COPIES_SHORT: Final = lib.ADMA_REASON_TWO_COPIES_SHORT
TWO_COPIES_WAITING: Final = lib.ADMA_REASON_TWO_COPIES_WAITING
ONLY_TWO_COPIES: Final = lib.ADMA_REASON_ONLY_TWO_COPIES
LAST: Final = lib.ADMA_REASON_LAST
WITHDRAWN: Final = lib.ADMA_REASON_WITHDRAWN
UNAVAILABLE: Final = lib.ADMA_REASON_UNAVAILABLE
NOT_NEEDED: Final = lib.ADMA_REASON_NOT_NEEDED
SLOW: Final = lib.ADMA_REASON_SLOW
TWO_COPIES_MORE: Final = lib.ADMA_REASON_TWO_COPIES_MORE
SLOWER_WAITING: Final = lib.ADMA_REASON_SLOWER_WAITING
SLOWER_SHORT: Final = lib.ADMA_REASON_SLOWER_SHORT
LEARNT: Final = lib.ADMA_REASON_LEARNT
SLOWER_LEARNT: Final = lib.ADMA_REASON_SLOWER_LEARNT


class Candidate(NamedTuple):
    """How a mechanism stands to a message: `struct adma_candidate`."""

    mechanism: int
    reason: int  # enum adma_reason
    error: int  # errno, where there is one


class Learnt(NamedTuple):
    """What one way of carrying a message took: `struct adma_learnt_way`."""

    carry: int  # 0: of a transfer; otherwise enum adma_carry
    mechanism: int
    chunk: int  # bytes
    aliased: bool  # buffers a few bytes apart in their pages
    detour: bool
    window: bool  # messages that were under way beside others
    chosen: bool
    samples: int
    nanoseconds: int  # 0: unknown


class Choices:
    """The questions, for a channel (`of_channel`) or an endpoint of a worker (`of_endpoint`)."""

    def __init__(self, prefix: str, *of: object) -> None:
        library: Any = lib
        names = ("choose", "candidates", "learnt", "withdrawn")
        asks = (getattr(library, f"{prefix}_{name}") for name in names)
        self._choose, self._candidates, self._learnt, self._withdrawn = asks
        self._of = of

    def choose(self, nbytes: int) -> tuple[int, int]:
        """How a write of `nbytes` would travel now: enum adma_carry, and the mechanism, 0 for none.

        A negative first number is the error for which it would not travel at all.
        """
        chosen = self._choose(*self._of, nbytes)
        return (chosen, 0) if chosen < 0 else (chosen & 0xFF, chosen >> 8)

    def candidates(self, nbytes: int) -> list[Candidate]:
        """How each mechanism stands to a write of `nbytes`. Raises why the channel is over."""
        found = ffi.new("struct adma_candidate[]", MECH_MAX)
        count = self._candidates(*self._of, nbytes, found)
        if count < 0:
            raise_for(count)
        return [Candidate(each.mechanism, each.reason, each.error) for each in found[0:count]]

    def learnt(self, nbytes: int) -> list[Learnt]:
        """What this process has learnt of messages of `nbytes`. Raises why the channel is over."""
        found = ffi.new("struct adma_learnt_way[]", lib.ADMA_LEARNT_MAX)
        count = self._learnt(*self._of, nbytes, found)
        if count < 0:
            raise_for(count)
        return [
            Learnt(
                way.carry,
                way.mechanism,
                way.chunk,
                bool(way.aliased),
                bool(way.detour),
                bool(way.window),
                bool(way.chosen),
                way.samples,
                way.nanoseconds,
            )
            for way in found[0:count]
        ]

    def withdrawn(self) -> dict[int, int]:
        """The errno of each mechanism that worked at first and failed since."""
        errs = ffi.new("int32_t[]", MECH_MAX)
        mask = self._withdrawn(*self._of, errs)
        return {number: errs[number] for number in range(MECH_MAX) if mask >> number & 1}


def of_channel(chan: Chan) -> Choices:
    """Of a channel."""
    return Choices("adma", chan)


def of_endpoint(worker: Worker, number: int) -> Choices:
    """Of an endpoint of a worker."""
    return Choices("adma_worker", worker, number)
