# SPDX-License-Identifier: BSD-3-Clause
"""Between a link and the C core: what is configured, and what the core chooses and why."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .._core._native import ffi, lib
from ..errors import MechanismUnavailable, raise_for
from ..mechanisms import NAMES, Refusal
from .explanation import Explanation

if TYPE_CHECKING:
    from .._core._native import CData
    from ..connect.link import Link

__all__ = ["CMA_FROM", "configuration", "explain", "stats", "unavailable"]

# Bytes from which one copy by process_vm_readv beats two copies through the bulk segment, when
# one end computes, and when both wait: measured on the development machine, see docs/benchmarks.md.
CMA_FROM = 512 * 1024
CMA_FROM_WAITING = 32 * 1024 * 1024

_COPIERS = {"both": 3, "reader": 1, "writer": 2}  # mask of enum adma_copier
_CARRIES = {1: "inline", 2: "eager", 3: "rendezvous"}  # enum adma_carry


def copiers() -> int:
    """Which end may copy chunks: ADMA_COPIERS=both (the default), reader or writer."""
    word = os.environ.get("ADMA_COPIERS", "both")
    if word not in _COPIERS:
        raise ValueError(f"ADMA_COPIERS={word!r}: choose one of {', '.join(_COPIERS)}")
    return _COPIERS[word]


def configuration(link: Link) -> CData:
    """`struct adma_config` for a link."""
    config = ffi.new("struct adma_config *")
    config.sock = link.sock
    config.pidfd = link.pidfd
    for number in range(lib.ADMA_MECH_MAX):
        config.mech_fd[number] = -1
    config.mech_fd[lib.ADMA_MECH_TCP] = link.tcp
    if link.helper >= 0:
        config.mech_fd[link.forced_id] = link.helper
    config.pid = link.pid
    config.local = link.mine
    config.remote = link.theirs
    config.nonce_address = link.nonce_address
    ffi.memmove(config.nonce, link.nonce, len(link.nonce))
    config.out_mask = link.out_mask
    config.in_mask = link.in_mask
    config.forced = link.forced_id
    config.mech_found[lib.ADMA_MECH_CMA] = (
        lib.ADMA_CMA_PULL * link.can_pull | lib.ADMA_CMA_PUSH * link.can_push
    )
    config.same_user = link.same_user
    config.copiers = copiers()
    config.single_copy_from = CMA_FROM
    config.single_copy_from_waiting = CMA_FROM_WAITING
    return config


def explain(chan: CData, link: Link, nbytes: int) -> Explanation:
    """What the core would do with a write of `nbytes`, in words."""
    chosen = lib.adma_choose(chan, nbytes)
    if chosen < 0 and chosen != -lib.ADMA_E_NO_MECHANISM:
        raise_for(chosen)
    refusals = dict(_refusals(chan, link))
    if chosen < 0:
        others = {name: _why_not(name, "", nbytes, link, refusals) for name in NAMES.values()}
        return Explanation(nbytes, "refused", None, "no mechanism works", others, refusals)
    carry = _CARRIES[chosen & 0xFF]
    name = NAMES.get(chosen >> 8)
    others = {
        other: _why_not(other, name or carry, nbytes, link, refusals)
        for other in NAMES.values()
        if other != name
    }
    return Explanation(
        nbytes, carry, name, _why(carry, name, nbytes, link, refusals), others, refusals
    )


def _refusals(chan: CData, link: Link) -> list[tuple[str, Refusal]]:
    found = [(name, refusal) for name, refusal in link.out.items() if refusal is not None]
    errs = ffi.new("int32_t[]", lib.ADMA_MECH_MAX)
    withdrawn = lib.adma_withdrawn(chan, errs)
    for number, name in NAMES.items():
        if withdrawn & (1 << number):
            cause = "it worked when the channel was made, and failed in mid-life"
            found.append((name, Refusal(name, errs[number], cause, "connect anew")))
    return found


def _why(
    carry: str, name: str | None, nbytes: int, link: Link, refusals: dict[str, Refusal]
) -> str:
    if carry == "inline":
        return f"up to {lib.adma_inline_max()} bytes ride in the descriptor"
    if carry == "eager":
        return f"up to {lib.adma_eager_max()} bytes go through the bounce ring, without a handshake"
    if link.forced == name:
        return "this mechanism was asked for"
    if name == "mapped:cma" and nbytes >= CMA_FROM:
        return f"from {CMA_FROM} bytes one copy costs less than two; either end copies, or both"
    if name == "mapped:cma":
        return "one copy; shared would be quicker at this size, but does not work here"
    if name == "shared" and nbytes < CMA_FROM:
        return f"below {CMA_FROM} bytes two copies in user space beat one in the kernel"
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
            f"two copies: from {CMA_FROM} bytes on only up to {CMA_FROM_WAITING}, "
            "and while the peer waits, too, and there are cores for both"
        )
    if nbytes >= CMA_FROM:
        return "one copy, in the kernel; while both ends wait shared is quicker"
    return f"a system call for each chunk; below {CMA_FROM} bytes shared is quicker"


def unavailable(chan: CData, link: Link) -> MechanismUnavailable:
    """The error for a message that nothing can carry (any more)."""
    for name, refusal in _refusals(chan, link):
        if link.forced in (None, name):
            return refusal.error()
    return MechanismUnavailable(mechanism=link.forced or "", cause="the peer cannot serve it")


def stats(chan: CData) -> dict[str, int]:
    """The core's counters by name; `mechanism:NAME` counts transfers of that mechanism."""
    counters = ffi.new("struct adma_stats *")
    lib.adma_get_stats(chan, counters)
    result = {
        name: int(getattr(counters, name))
        for name, _ in ffi.typeof("struct adma_stats").fields
        if name != "mechanism"
    }
    for number, name in NAMES.items():
        result[f"mechanism:{name}"] = int(counters.mechanism[number])
    return result
