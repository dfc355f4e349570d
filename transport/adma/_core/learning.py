# SPDX-License-Identifier: BSD-3-Clause
"""What the core has learnt of ways to carry messages, as it is stored and taken up again."""

from __future__ import annotations

from typing import NamedTuple

from ._native import ffi, lib

__all__ = ["Cost", "size_of", "take_up", "tell"]

#: The smallest message of a size class; 0: there is no such class.
size_of = lib.adma_learnt_size


class Cost(NamedTuple):
    """What messages of a size class take by one way: `struct adma_learnt_cost`."""

    size_class: int
    mechanism: int
    choice: int  # which of its chunk sizes
    aliased: bool  # buffers a few bytes apart in their pages
    detour: bool
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
