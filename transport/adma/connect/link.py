# SPDX-License-Identifier: BSD-3-Clause
"""What a finished handshake leaves: all that a channel is built from."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._core._native import lib
from ..mechanisms import MECHANISMS, Refusal
from ..mechanisms.loopback import LoopbackTCP

if TYPE_CHECKING:
    from .._core._native import CData

__all__ = ["Link"]


@dataclass(frozen=True, eq=False)
class Link:
    """Two processes that have met: descriptors, memory, the peer, and what works between them.

    Whoever builds a channel of it owns descriptors and maps from then on (in
    the order of `struct adma_config`: when adma_chan_new() returned 0); else
    `discard()` lets go of them. `own_nonce` must stay referenced until the
    channel is closed: the peer reads it in this process's memory.
    """

    sock: int  # the connected AF_UNIX socket, blocking or not
    pidfd: int  # of the peer
    tcp: int  # of loopback:tcp, non-blocking; -1 when that is not in use
    helper: int  # our end of the kernel helper's pair; -1 unless dma or mapped:helper is forced
    pid: int  # the peer, as seen from here; 0 when it is not to be seen
    uid: int  # the peer's, as seen from here
    same_user: bool
    mine: CData  # struct adma_segment *
    theirs: CData  # struct adma_segment *
    own_nonce: CData  # struct adma_nonce *, freed with the last reference
    nonce: bytes  # the peer's
    nonce_address: int  # where it is in the peer's memory
    out: Mapping[str, Refusal | None]  # by mechanism, for our writes; None: works
    in_: Mapping[str, Refusal | None]  # by mechanism, for our reads; None: works
    forced: str | None  # the one mechanism to use, or None for auto
    can_pull: bool  # process_vm_readv on the peer works
    can_push: bool  # process_vm_writev on the peer works
    label: str  # how the two met, for people: the socket's path, or "socket"

    @property
    def allow_pickle(self) -> bool:
        """May objects be unpickled without asking? Only those of the same user."""
        return self.same_user

    @property
    def forced_id(self) -> int:
        """`forced` as enum adma_mechanism_id; 0 for auto."""
        return next((probe.id for probe in MECHANISMS if probe.name == self.forced), 0)

    @property
    def out_mask(self) -> int:
        """Mechanisms that can carry our writes, as adma_config wants them."""
        return self._mask(self.out)

    @property
    def in_mask(self) -> int:
        """Mechanisms that can carry our reads, as adma_config wants them."""
        return self._mask(self.in_)

    def _mask(self, directions: Mapping[str, Refusal | None]) -> int:
        works = {name for name, refusal in directions.items() if refusal is None}
        if self.tcp < 0:
            works.discard(LoopbackTCP.name)  # it was probed, and its connection let go
        return sum(1 << probe.id for probe in MECHANISMS if probe.name in works)

    def discard(self) -> None:
        """Close and unmap everything: for a link that became no channel."""
        for fd in (self.sock, self.pidfd, self.tcp, self.helper):
            if fd >= 0:
                with contextlib.suppress(OSError):
                    os.close(fd)
        lib.adma_segment_unmap(self.mine)
        lib.adma_segment_unmap(self.theirs)
