# SPDX-License-Identifier: BSD-3-Clause
"""What the core is told of a link, and what it says about the mechanisms it chooses from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import config
from .._core import channel as core
from .._core.constants import (
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
from .explanation import Explanation

if TYPE_CHECKING:
    from .._core.types import Chan
    from ..handshake.link import Link

__all__ = ["SINGLE_COPY_FROM", "configuration", "explain", "stats", "unavailable"]

# Bytes from which one copy in the kernel beats two copies through a segment: when one end
# computes, and when both wait. Measured on the development machine, see docs/benchmarks.md.
SINGLE_COPY_FROM = 512 * 1024
SINGLE_COPY_FROM_WAITING = 32 * 1024 * 1024

_COPIERS = {
    "both": COPY_AS_READER | COPY_AS_WRITER,
    "reader": COPY_AS_READER,
    "writer": COPY_AS_WRITER,
}
_CARRIES = {INLINE: "inline", EAGER: "eager", RENDEZVOUS: "rendezvous"}


def copiers() -> int:
    """Which end may copy chunks, as ADMA_COPIERS says: both (the default), reader or writer."""
    word = config.copiers()
    if word not in _COPIERS:
        raise ValueError(f"{config.COPIERS}={word!r}: choose one of {', '.join(_COPIERS)}")
    return _COPIERS[word]


def configuration(link: Link) -> core.Config:
    """What the core's channel is made of. ValueError for a wrong ADMA_COPIERS."""
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
        copiers=copiers(),
        single_copy_from=SINGLE_COPY_FROM,
        single_copy_from_waiting=SINGLE_COPY_FROM_WAITING,
        fds=link.fds,
        found=link.found,
    )


def explain(chan: Chan, link: Link, nbytes: int) -> Explanation:
    """What the core would do with a write of `nbytes`, in words."""
    way, number = core.choose(chan, nbytes)
    if way < 0 and way != -NO_MECHANISM:
        raise_for(way)
    refusals = dict(_refusals(chan, link))
    if way < 0:
        others = {name: _why_not(name, "", nbytes, link, refusals) for name in NAMES.values()}
        return Explanation(nbytes, "refused", None, "no mechanism works", others, refusals)
    carry = _CARRIES[way]
    name = NAMES.get(number)
    others = {
        other: _why_not(other, name or carry, nbytes, link, refusals)
        for other in NAMES.values()
        if other != name
    }
    return Explanation(
        nbytes, carry, name, _why(carry, name, nbytes, link, refusals), others, refusals
    )


def _refusals(chan: Chan, link: Link) -> list[tuple[str, Refusal]]:
    found = [(name, refusal) for name, refusal in link.out.items() if refusal is not None]
    withdrawn = core.withdrawn(chan)
    for number, name in NAMES.items():
        if number in withdrawn:
            cause = "it worked when the channel was made, and failed in mid-life"
            found.append((name, Refusal(name, withdrawn[number], cause, "connect anew")))
    return found


def _why(
    carry: str, name: str | None, nbytes: int, link: Link, refusals: dict[str, Refusal]
) -> str:
    if carry == "inline":
        return f"up to {INLINE_MAX} bytes ride in the descriptor"
    if carry == "eager":
        return f"up to {EAGER_MAX} bytes go through the bounce ring, without a handshake"
    if link.forced == name:
        return "this mechanism was asked for"
    if name == "mapped:cma" and nbytes >= SINGLE_COPY_FROM:
        return (
            f"from {SINGLE_COPY_FROM} bytes one copy costs less than two; "
            "either end copies, or both"
        )
    if name == "mapped:cma":
        return "one copy; shared would be quicker at this size, but does not work here"
    if name == "shared" and nbytes < SINGLE_COPY_FROM:
        return f"below {SINGLE_COPY_FROM} bytes two copies in user space beat one in the kernel"
    if name == "shared" and "mapped:cma" not in refusals:
        return "both ends wait, and there are cores for both: two copies that overlap are quicker"
    if name == "shared":
        return "two copies that overlap; mapped:cma would cost less, but does not work here"
    return "nothing better works here"


def _why_not(name: str, chosen: str, nbytes: int, link: Link, refusals: dict[str, Refusal]) -> str:
    if name in refusals:
        return str(refusals[name])
    if link.forced:
        return f"{link.forced} was asked for"
    if chosen in ("inline", "eager"):
        return f"{nbytes} bytes travel {chosen}, which needs no mechanism"
    if name == "loopback:tcp":
        return "the network stack copies twice and more: only when asked for, or nothing else works"
    if name == "shared":
        return (
            f"two copies: from {SINGLE_COPY_FROM} bytes on only up to {SINGLE_COPY_FROM_WAITING}, "
            "and while the peer waits, too, and there are cores for both"
        )
    if nbytes >= SINGLE_COPY_FROM:
        return "one copy, in the kernel; while both ends wait shared is quicker"
    return f"a system call for each chunk; below {SINGLE_COPY_FROM} bytes shared is quicker"


def unavailable(chan: Chan, link: Link) -> MechanismUnavailable:
    """The error for a message that nothing can carry (any more)."""
    for name, refusal in _refusals(chan, link):
        if link.forced in (None, name):
            return refusal.error()
    return MechanismUnavailable(mechanism=link.forced or "", cause="the peer cannot serve it")


def stats(chan: Chan) -> dict[str, int]:
    """The core's counters by name; `mechanism:NAME` counts transfers of that mechanism."""
    result, transfers = core.stats(chan)
    for number, name in NAMES.items():
        result[f"mechanism:{name}"] = transfers[number]
    return result
