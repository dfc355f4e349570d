# SPDX-License-Identifier: BSD-3-Clause
"""What `Channel.explain` returns: how a message would travel, and why not otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..mechanisms import Refusal

__all__ = ["Explanation"]


@dataclass(frozen=True)
class Explanation:
    """How a message of `nbytes` would travel from here to the peer.

    `carry`: "inline" (in the descriptor), "eager" (in the bounce ring), "rendezvous" (matched
    first), or "refused" (nothing can carry it). `mechanism`: what moves a rendezvous message;
    None for the others. `why`: the reason in words. `others`: for every other mechanism, why
    it is not used. `refusals`: errno, cause and cure for those that do not work at all.
    """

    nbytes: int
    carry: str
    mechanism: str | None
    why: str
    others: Mapping[str, str] = field(default_factory=dict)
    refusals: Mapping[str, Refusal] = field(default_factory=dict)

    def __str__(self) -> str:
        how = f"{self.carry} over {self.mechanism}" if self.mechanism else self.carry
        lines = [f"{self.nbytes} bytes: {how}: {self.why}"]
        lines += [f"  not {name}: {reason}" for name, reason in self.others.items()]
        return "\n".join(lines)
