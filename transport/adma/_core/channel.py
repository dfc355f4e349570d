# SPDX-License-Identifier: BSD-3-Clause
"""The core's channel: made, asked, closed.

Results are as adma.h says: negative ones are errors, for `results.error_for`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import failure
from ._native import ffi, lib
from .constants import MECH_MAX, MECH_SHARED

if TYPE_CHECKING:
    from ._native import adma_config
    from .types import Chan, Segment

# Each of these is one call into C: adma.h says what it does.
needed = lib.adma_needed  # bytes of the message that was too long for this thread
health = lib.adma_health
fileno = lib.adma_fileno
completions_fileno = lib.adma_completions_fileno
drain = lib.adma_chan_drain
linger = lib.adma_chan_linger
close = lib.adma_chan_close
abandon = lib.adma_chan_abandon
free = lib.adma_chan_free
limit_pending = lib.adma_limit_pending
count_blocked = lib.adma_blocked
is_deadlocked = lib.adma_deadlocked
give_bulk = lib.adma_give_bulk
refuse_bulk = lib.adma_no_bulk
progress_error = lib.adma_progress_error  # why there was no progress thread, or 0
count_probing = lib.adma_probing
peer_reads = lib.adma_peer_reads  # how many the peer has posted, or is about to


def addresses(chan: Chan) -> tuple[int, int, int]:
    """The channel, adma_write_now and adma_read_now, for C that is no part of the core."""
    library: Any = lib  # the stub knows addresses of data only
    functions = (ffi.addressof(library, name) for name in ("adma_write_now", "adma_read_now"))
    found = [int(ffi.cast("uintptr_t", each)) for each in (chan, *functions)]
    return found[0], found[1], found[2]


@dataclass(frozen=True)
class Config:
    """What a channel is made of: `struct adma_config`."""

    sock: int  # the connected AF_UNIX socket
    pidfd: int  # of the peer, or -1
    pid: int  # of the peer as seen from here; 0 when it is not to be seen
    local: Segment
    remote: Segment
    nonce: bytes  # the peer's
    nonce_address: int  # where it is in the peer's memory
    out_mask: int  # mechanisms that carry our writes
    in_mask: int  # mechanisms that carry our reads
    forced: int  # enum adma_mechanism_id; 0: the core chooses
    same_user: bool
    uid: int  # of the peer
    copiers: int  # mask of enum adma_copier
    single_copy_from: int  # bytes
    single_copy_from_waiting: int  # bytes, while both endpoints wait
    learns: bool  # these numbers are only where learning begins
    fds: Mapping[int, int] = field(default_factory=dict)  # by mechanism, what its probe left
    found: Mapping[int, int] = field(default_factory=dict)  # by mechanism, bits of its own


def fill(config: Config) -> adma_config:
    """The same as the core takes it."""
    raw = ffi.new("struct adma_config *")
    for name in _PLAIN:
        setattr(raw, name, getattr(config, name))
    ffi.memmove(raw.nonce, config.nonce, len(config.nonce))
    for number in range(MECH_MAX):
        raw.mech_fd[number] = config.fds.get(number, -1)
        raw.mech_found[number] = config.found.get(number, 0)
    return raw


def place() -> Any:
    """Where `make` puts a channel: NULL before that."""
    return ffi.new("struct adma_chan **")


def make(config: Config, out: Any) -> None:
    """Put a channel there, to be freed by `free`. It owns descriptors and segments then."""
    if rc := lib.adma_chan_new(fill(config), out):
        raise failure("channel", -rc)


_PLAIN = [name for name in Config.__annotations__ if name not in ("nonce", "fds", "found")]


def peek(chan: Chan) -> tuple[int, int, int]:
    """One round of progress: a result, then kind and bytes of the next message; kind 0: none."""
    found = ffi.new("struct adma_message *")
    rc = lib.adma_peek(chan, found)
    return rc, found.kind if found.present else 0, found.nbytes


def skip(chan: Chan) -> tuple[int, int, int]:
    """Drop the next message: a result (see adma_skip), then its kind and bytes."""
    found = ffi.new("struct adma_message *")
    rc = lib.adma_skip(chan, found)
    return rc, found.kind, found.nbytes


def wanted_segment(chan: Chan, nbytes: int) -> int:
    """The mechanism that has to make a segment before a write of `nbytes` is posted; 0: none."""
    return MECH_SHARED if lib.adma_wants_bulk(chan, nbytes) else 0


class Loss(NamedTuple):
    """What closes took back: `struct adma_loss`."""

    messages: int  # ours
    nbytes: int
    peer_posted: int
    peer_withdrawn: int


def loss(chan: Chan) -> Loss:
    """What our close, and the peer's, took back."""
    found = ffi.new("struct adma_loss *")
    lib.adma_get_loss(chan, found)
    return Loss(found.messages, found.bytes, found.peer_posted, found.peer_withdrawn)


def has_mechanism(number: int) -> bool:
    """Does the core have a mechanism of this id?"""
    return bool(lib.adma_mechanism_name(number))


def register_mechanism(address: int) -> None:
    """Add the `struct adma_mechanism` at an address, which stays there for ever. OSError."""
    if rc := lib.adma_mechanism_register(ffi.cast("const struct adma_mechanism *", address)):
        raise OSError(-rc, f"the core does not take this mechanism: {os.strerror(-rc)}")


def stats(chan: Chan) -> tuple[dict[str, int], list[int]]:
    """Counters by name, and transfers by mechanism."""
    counters = ffi.new("struct adma_stats *")
    lib.adma_get_stats(chan, counters)
    return {name: int(getattr(counters, name)) for name in COUNTERS}, list(counters.mechanism)


COUNTERS = [name for name, _ in ffi.typeof("struct adma_stats").fields if name != "mechanism"]
