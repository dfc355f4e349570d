# SPDX-License-Identifier: BSD-3-Clause
"""What the core has learnt of messages and of copies, as it is stored and taken up again."""

from __future__ import annotations

from typing import NamedTuple

from ._native import ffi, lib

__all__ = ["Cost", "Spread", "size_of", "take_up", "take_up_spreads", "tell", "tell_spreads"]

#: The smallest message or copy of a size class; 0: there is no such class.
size_of = lib.adma_learnt_size


class Cost(NamedTuple):
    """What messages of a size class take by one way: `struct adma_learnt_cost`."""

    size_class: int
    mechanism: int  # 0: of messages of 8 to 32 KiB, by a rendezvous or eagerly
    choice: int  # which of its chunk sizes; without a mechanism, 1: eager
    aliased: bool  # buffers a few bytes apart in their pages
    detour: bool
    window: bool  # messages that were under way beside others
    chosen: bool
    ns_per_mib: int


def tell(uid: int) -> list[Cost]:
    """What was learnt with processes of this user, while both ends waited."""
    count = lib.adma_learnt_tell(uid, ffi.NULL, 0)
    found = ffi.new("struct adma_learnt_cost[]", count)
    count = min(count, lib.adma_learnt_tell(uid, found, count))
    return [
        Cost(
            each.size_class,
            each.mechanism,
            each.choice,
            bool(each.aliased),
            bool(each.detour),
            bool(each.window),
            bool(each.chosen),
            each.ns_per_mib,
        )
        for each in found[0:count]
    ]


def take_up(uid: int, costs: list[Cost]) -> None:
    """Begin with these costs. Those that this core does not know, or has no room for, are left out.

    OverflowError: a number is beyond what the core can have stored.
    """
    for cost in costs:
        lib.adma_learnt_take_up(uid, ffi.new("struct adma_learnt_cost *", tuple(cost)))


class Spread(NamedTuple):
    """What copies of a size class take if they are spread in one way: `struct adma_spread`."""

    size_class: int
    waits: bool  # their callers waited from the beginning, and helped
    queues: int
    size: int  # of the parts: 0 the built-in one, 1 a part for each copier
    chosen: bool
    samples: int
    part_bytes: int
    ns_per_mib: int


def tell_spreads() -> list[Spread]:
    """What was learnt of copies inside this process."""
    count = lib.adma_engine_learnt(ffi.NULL, 0)
    found = ffi.new("struct adma_spread[]", count)
    count = min(count, lib.adma_engine_learnt(found, count))
    return [
        Spread(
            each.size_class,
            bool(each.waits),
            each.queues,
            each.size,
            bool(each.chosen),
            each.samples,
            each.part_bytes,
            each.ns_per_mib,
        )
        for each in found[0:count]
    ]


def take_up_spreads(spreads: list[Spread]) -> None:
    """Begin with these. What this core does not know, or has too few queues for, is left out.

    OverflowError: a number is beyond what the core can have stored.
    """
    for spread in spreads:
        lib.adma_engine_take_up(ffi.new("struct adma_spread *", tuple(spread)))
