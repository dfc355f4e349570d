# SPDX-License-Identifier: BSD-3-Clause
"""What `Channel.explain` returns: how a message would travel, and why not otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ..mechanisms import Refusal

__all__ = ["Carry", "Explanation", "Learnt"]

# "self" and "MPI" are for messages of ranks: see adma.mpi.
Carry: TypeAlias = Literal["inline", "eager", "rendezvous", "refused", "self", "MPI"]


@dataclass(frozen=True)
class Learnt:
    """What one way of carrying a message took, as this process has learnt.

    `mechanism` copies in chunks of `chunk` bytes. `aliased`: of buffers that lie up to 31 bytes
    apart, modulo the size of a page; of these `detour` tells whether the copies went through a
    buffer beside them, which is quicker on some processors. `window`: of messages that are under
    way beside others. `chosen`: messages travel in this way, but for tries. `samples`: how many
    messages of about this size it was measured with, or how many runs of 4 to 64 of them that were
    under way together. `seconds`: what a message takes from the match on, or what each of many adds
    to the time of all; without samples it is predicted from other sizes, and None where nothing is
    known.

    For messages of 8 to 32 KiB there are two more ways, which are compared with each other: "eager"
    and "rendezvous" in place of a mechanism. The latter is by whatever mechanism. They have 0 for
    `chunk`, and their times count from the post on.
    """

    mechanism: str
    chunk: int
    aliased: bool
    detour: bool
    window: bool
    chosen: bool
    samples: int
    seconds: float | None

    def __str__(self) -> str:
        how = self.mechanism
        if self.chunk:
            how += f", chunks of {self.chunk // 1024} KiB"
        if self.aliased:
            how += ", buffers a few bytes apart" + (" by a detour" if self.detour else "")
        if self.window:
            how += ", beside others"
        took = "unknown" if self.seconds is None else f"{self.seconds * 1e6:.1f} us"
        number = f"{self.samples} samples" if self.samples else "no samples"
        return f"{'*' if self.chosen else ' '} {how}: {took}, {number}"


@dataclass(frozen=True)
class Explanation:
    """How a message of `nbytes` would travel from here to the peer.

    `carry`: "inline" (in the descriptor), "eager" (in the bounce ring, or in a bounce buffer),
    "rendezvous" (matched first), or "refused" (nothing can carry it). `mechanism`: what moves a
    rendezvous message; None for the others. `why`: the reason in words. `others`: for every other
    mechanism, why it is not used. `refusals`: errno, cause and cure for those that do not work at
    all. `learnt`: what this process has learnt of messages of this size that it read from processes
    of the peer's user while both ends waited. It is empty where nothing is learnt: for messages
    that need no mechanism, with a forced one, and with ADMA_LEARN=0.
    """

    nbytes: int
    carry: Carry
    mechanism: str | None
    why: str
    others: Mapping[str, str] = field(default_factory=dict)
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    learnt: tuple[Learnt, ...] = ()

    def __str__(self) -> str:
        how = f"{self.carry} over {self.mechanism}" if self.mechanism else self.carry
        lines = [f"{self.nbytes} bytes: {how}: {self.why}"]
        lines += [f"  not {name}: {reason}" for name, reason in self.others.items()]
        lines += [f"  {way}" for way in self.learnt if way.samples]
        return "\n".join(lines)
