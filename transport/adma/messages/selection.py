# SPDX-License-Identifier: BSD-3-Clause
"""What the core is told of a link, and what it says about the mechanisms it chooses from."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .. import config, errors, tuned
from .._core import channel as core
from .._core import selection as reasons
from .._core.constants import (
    BUFFERED,
    COPY_AS_READER,
    COPY_AS_WRITER,
    EAGER,
    EAGER_MAX,
    INLINE,
    INLINE_MAX,
    RENDEZVOUS,
)
from .._core.results import NO_MECHANISM, raise_for
from ..errors import MechanismUnavailable
from ..mechanisms import NAMES, Refusal
from .explanation import Carry, Explanation, Learnt

if TYPE_CHECKING:
    from .._core.selection import Choices
    from .._core.types import Chan
    from ..handshake.link import Link

__all__ = ["SINGLE_COPY_FROM", "configuration", "explain", "stats", "unavailable"]

# Bytes from which one copy in the kernel beats two copies through a segment: when one end
# computes, and when both wait. Measured on one machine, see docs/benchmarks.md: this is where
# learning begins.
SINGLE_COPY_FROM = 512 * 1024
SINGLE_COPY_FROM_WAITING = 32 * 1024 * 1024

_COPIERS = {
    "both": COPY_AS_READER | COPY_AS_WRITER,
    "reader": COPY_AS_READER,
    "writer": COPY_AS_WRITER,
}
_CARRIES: dict[int, Carry] = {INLINE: "inline", EAGER: "eager", RENDEZVOUS: "rendezvous"}


def copiers() -> int:
    """Which end may copy chunks, as ADMA_COPIERS says: both (the default), reader or writer.

    A RuntimeWarning tells of any other word, which no channel fails for.
    """
    word = config.copiers()
    if word not in _COPIERS:
        text = f"{config.COPIERS}={word!r} is ignored: choose one of {', '.join(_COPIERS)}"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        word = "both"
    return _COPIERS[word]


def configuration(link: Link) -> core.Config:
    """What the core's channel is made of.

    The first channel of a process takes up what `adma tune` has stored, if it may learn.
    """
    if config.learns() and not link.forced:
        tuned.take_up()
    return core.Config(
        sock=link.sock,
        pidfd=link.pidfd,
        pid=link.pid,
        local=link.local,
        remote=link.remote,
        nonce=link.nonce,
        nonce_address=link.nonce_address,
        out_mask=link.out_mask,
        in_mask=link.in_mask,
        forced=link.forced_id,
        same_user=link.same_user,
        uid=link.uid,
        copiers=copiers(),
        single_copy_from=SINGLE_COPY_FROM,
        single_copy_from_waiting=SINGLE_COPY_FROM_WAITING,
        learns=config.learns(),
        fds=link.fds,
        found=link.found,
    )


def explain(choices: Choices, link: Link, nbytes: int) -> Explanation:
    """What the core would do with a write of `nbytes`, in words."""
    way, _ = choices.choose(nbytes)
    if way < 0 and way != -NO_MECHANISM:
        raise_for(way)
    carry: Carry = "refused" if way < 0 else _CARRIES[way]
    refusals = dict(_refusals(choices, link))
    # The chosen one comes first. (The core may have changed its mind since the line above.)
    candidates = {each.mechanism: each for each in choices.candidates(nbytes)}
    chosen = next(iter(candidates.values())) if way == RENDEZVOUS else None
    others = {
        name: str(refusals.get(name) or _why_not(candidates.get(number), nbytes, carry, link))
        for number, name in NAMES.items()
        if chosen is None or number != chosen.mechanism
    }
    learnt = tuple(_learnt(choices, nbytes))
    if chosen is None:
        asked = carry == "eager" and nbytes > EAGER_MAX
        why = _ASKED if asked else _CARRIED[carry]
        return Explanation(nbytes, carry, None, why, others, refusals, learnt)
    why = _TEXTS[chosen.reason]
    return Explanation(nbytes, carry, NAMES[chosen.mechanism], why, others, refusals, learnt)


def _learnt(choices: Choices, nbytes: int) -> Iterator[Learnt]:
    for way in choices.learnt(nbytes):
        yield Learnt(
            _WAYS.get(way.carry) or NAMES[way.mechanism],
            way.chunk,
            way.aliased,
            way.detour,
            way.window,
            way.chosen,
            way.samples,
            way.nanoseconds / 1e9 if way.nanoseconds else None,
        )


def _why_not(candidate: reasons.Candidate | None, nbytes: int, carry: str, link: Link) -> str:
    """Why a mechanism that works would not carry a message."""
    if candidate is None:
        return "the core does not have it"
    if link.forced:
        return f"{link.forced} was asked for"
    # One that was probed and let go is told of as the others are where none is needed.
    if candidate.reason == reasons.NOT_NEEDED or carry in ("inline", "eager"):
        return f"{nbytes} bytes travel {carry}, which needs no mechanism"
    return _TEXTS[candidate.reason]


def _refusals(choices: Choices, link: Link) -> list[tuple[str, Refusal]]:
    """The mechanisms that do not work, or not any more, and why."""
    found = [(name, refusal) for name, refusal in link.out.items() if refusal is not None]
    withdrawn = choices.withdrawn()
    for number, name in NAMES.items():
        if number in withdrawn:
            cause, cure = errors.explain(name, withdrawn[number])
            cause = f"{_TEXTS[reasons.WITHDRAWN]}: {cause}"
            found.append((name, Refusal(name, withdrawn[number], cause, cure)))
    return found


_CARRIED = {
    "refused": "no mechanism works",
    "inline": f"up to {INLINE_MAX} bytes ride in the descriptor",
    "eager": f"up to {EAGER_MAX} bytes go through the bounce ring, without a handshake",
}
_ASKED = "the reader has learnt that this size is quicker without a rendezvous, and asks for it"
_WAYS = {RENDEZVOUS: "rendezvous", BUFFERED: "eager"}
_ON_DEMAND = "slower than others: used only when it is asked for, or when nothing else works"
_TEXTS = {
    reasons.FORCED: "this mechanism was asked for",
    reasons.SINGLE_COPY: (
        f"from {SINGLE_COPY_FROM} bytes one copy costs less than two; either end copies, or both"
    ),
    reasons.ONLY_SINGLE_COPY: (
        "one copy; two copies would be quicker at this size, but no mechanism that makes two works"
    ),
    reasons.TWO_COPIES_SHORT: (
        f"below {SINGLE_COPY_FROM} bytes two copies in user space beat one in the kernel"
    ),
    reasons.TWO_COPIES_WAITING: (
        "both ends wait, and there are cores for both: two copies that overlap are quicker"
    ),
    reasons.ONLY_TWO_COPIES: (
        "two copies that overlap; one copy would cost less, but no mechanism that makes one works"
    ),
    reasons.LAST: "nothing better works here",
    reasons.LEARNT: "it was the quickest here, as was measured with earlier messages",
    reasons.SLOWER_LEARNT: "another one was quicker here, as was measured with earlier messages",
    reasons.WITHDRAWN: "it worked when the channel was made, and failed in mid-life",
    reasons.SLOW: _ON_DEMAND,
    # It worked when it was tried. Its descriptor was let go, since the channel will not use it.
    reasons.UNAVAILABLE: _ON_DEMAND,
    reasons.TWO_COPIES_MORE: (
        f"two copies: from {SINGLE_COPY_FROM} bytes on only up to {SINGLE_COPY_FROM_WAITING}, "
        "and while the peer waits, too, and there are cores for both"
    ),
    reasons.SLOWER_WAITING: "one copy, in the kernel; while both ends wait two copies are quicker",
    reasons.SLOWER_SHORT: (
        f"a system call for each chunk; below {SINGLE_COPY_FROM} bytes two copies are quicker"
    ),
}


def unavailable(chan: Chan, link: Link) -> MechanismUnavailable:
    """The error for a message that nothing can carry (any more)."""
    for name, refusal in _refusals(reasons.of_channel(chan), link):
        if link.forced in (None, name):
            return refusal.error()
    return MechanismUnavailable(mechanism=link.forced or "", cause="the peer cannot serve it")


def stats(chan: Chan) -> dict[str, int]:
    """The core's counters by name; `mechanism:NAME` counts transfers of that mechanism."""
    result, transfers = core.stats(chan)
    for number, name in NAMES.items():
        result[f"mechanism:{name}"] = transfers[number]
    return result
