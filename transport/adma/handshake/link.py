# SPDX-License-Identifier: BSD-3-Clause
"""What a finished handshake leaves: all that a channel is made of."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .._core.handshake import unmap_segment
from ..connect.identity import hang_up, own_uid
from ..mechanisms import MECHANISMS, Refusal

if TYPE_CHECKING:
    from .._core.types import Nonce, Segment

__all__ = ["Link"]


@dataclass(frozen=True, eq=False)
class Link:
    """Two processes that have met: descriptors, memory, the peer, and what works between them.

    Whoever makes a channel of it gives descriptors and segments to the core, which owns them
    from the moment the channel is there. Without a channel, `discard()` lets go of them.
    `own_nonce` must stay referenced until the channel is closed, since the peer reads it in
    this process's memory.
    """

    sock: int  # the connected AF_UNIX socket, blocking or not
    pidfd: int  # of the peer; -1: the system refuses pidfds
    pid: int  # the peer, as seen from here; 0 when it is not to be seen
    uid: int  # the peer's, as seen from here
    same_user: bool
    local: Segment
    remote: Segment
    own_nonce: Nonce  # freed with the last reference
    nonce: bytes  # the peer's
    nonce_address: int  # where it is in the peer's memory; 0: this end may not look there
    out: Mapping[str, Refusal | None]  # by mechanism, for our writes; None: works
    in_: Mapping[str, Refusal | None]  # by mechanism, for our reads; None: works
    forced: str | None  # the one mechanism to use, or None for auto
    fds: Mapping[int, int]  # by mechanism id: the descriptor that its probe kept for the channel
    found: Mapping[int, int]  # by mechanism id: what its probe found, for the core's side of it
    label: str  # how the two met, for people: the socket's path, or "socket"
    owners: list[object] = field(default_factory=list)  # what closes and unmaps it instead

    @property
    def allow_pickle(self) -> bool:
        """May objects be unpickled without asking? Only those of the same user."""
        return self.same_user

    @property
    def takes_unsealed(self) -> bool:
        """Would the peer take memory that this process makes now, and that cannot be sealed?

        It takes that of the user that both were when they met. This one may have become another.
        """
        return self.same_user and own_uid() == self.uid

    @property
    def forced_id(self) -> int:
        """`forced` as a mechanism id; 0 for auto."""
        return next((probe.id for probe in MECHANISMS if probe.name == self.forced), 0)

    @property
    def out_mask(self) -> int:
        """Mechanisms that can carry our writes, a bit for each id."""
        return self._mask(self.out)

    @property
    def in_mask(self) -> int:
        """Mechanisms that can carry our reads, a bit for each id."""
        return self._mask(self.in_)

    def _mask(self, directions: Mapping[str, Refusal | None]) -> int:
        """What works, but for mechanisms whose descriptor was let go as nobody will use it."""
        works = [probe for probe in MECHANISMS if directions.get(probe.name, _UNKNOWN) is None]
        kept = [each for each in works if not each.keeps_descriptor or each.id in self.fds]
        return sum(1 << probe.id for probe in kept)

    def discard(self) -> None:
        """Close and unmap everything, for a link that became no channel."""
        if self.owners:
            return
        with contextlib.suppress(OSError):
            hang_up(socket.socket(fileno=self.sock), self.uid)
        for fd in (self.pidfd, *self.fds.values()):
            if fd >= 0:
                with contextlib.suppress(OSError):
                    os.close(fd)
        unmap_segment(self.local)
        unmap_segment(self.remote)


_UNKNOWN = Refusal("", 0, "it was registered after the two had met")
