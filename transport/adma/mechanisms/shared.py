# SPDX-License-Identifier: BSD-3-Clause
"""`shared`: two copies through a bulk segment that both ends have mapped.

The writer makes the segment. That is what can fail, where /dev/shm is small. So the probe
makes one of the real size and kind, and lets go of it again: an idle channel keeps none.
"""

from __future__ import annotations

import errno
import mmap
import os
import secrets

from .._core.constants import BULK_SIZE, MECH_SHARED
from ..connect.identity import judged
from ..connect.record import Entry
from ..errors import ProtocolError, is_shortage
from . import segment
from .interface import Probe, refusal_in

__all__ = ["Shared"]

_TOKEN = 16  # bytes of the pattern, written to both ends of the segment
_ANSWER_AT = 4096  # where the peer puts its copy


class Shared(Probe):
    """Each end makes a segment; the other one finds a pattern in it, and writes one back."""

    name = "shared"
    id = MECH_SHARED

    _fd = -1
    _map: mmap.mmap | None = None
    _token = b""

    def offer(self) -> Entry:
        """Pass a segment with a random pattern, and say what the pattern is."""
        try:
            self._fd = segment.make(self.context.peer.same_user)
            self._map = mmap.mmap(self._fd, BULK_SIZE)
        except OSError as error:
            if is_shortage(error):
                raise
            number = error.errno or errno.EIO
            cause, _, cure = str(error.strerror).partition("; cure: ")
            self.out = self.refuse(number, cause, cure)
            return self.out.entry(self.id)
        self._token = secrets.token_bytes(_TOKEN)
        self._map[:_TOKEN] = self._map[BULK_SIZE - _TOKEN :] = self._token
        return Entry(self.id, 0, self._token, [self._fd])

    def answer(self, offer: Entry) -> Entry:
        """Look for the pattern in the peer's segment and copy it to another place of it."""
        if offer.error:
            self.in_ = refusal_in(offer, self.name)
            return Entry(self.id)
        fd = offer.take_fd()
        with judged(fd, self.context.peer.uid):
            segment.check(fd, self.context.peer.same_user)
        try:
            with mmap.mmap(fd, BULK_SIZE) as peers:
                found = peers[:_TOKEN], peers[BULK_SIZE - _TOKEN :]
                if found != (offer.data, offer.data):
                    raise ProtocolError("the peer's pattern is not in the segment it sent")
                peers[_ANSWER_AT : _ANSWER_AT + _TOKEN] = offer.data
        finally:
            os.close(fd)
        return Entry(self.id)

    def verdict(self, answer: Entry) -> Entry:
        """Look for the peer's copy of the pattern in our segment."""
        if self.out is not None or self._map is None:
            return Entry(self.id)
        if answer.error:
            self.out = refusal_in(answer, self.name)
        elif self._map[_ANSWER_AT : _ANSWER_AT + _TOKEN] != self._token:
            self.out = self.refuse(errno.EIO, "what the peer wrote to the segment is not seen here")
        else:
            return Entry(self.id)
        return self.out.entry(self.id)

    def conclude(self, verdict: Entry) -> None:
        """The peer says whether its own segment works."""
        if verdict.error and self.in_ is None:
            self.in_ = refusal_in(verdict, self.name)

    @classmethod
    def make_segment(cls, same_user: bool) -> int:
        """The segment for what this end writes. The core asks for it before the first write."""
        return segment.make(same_user)

    @classmethod
    def sweep(cls) -> None:
        """Remove the names of segments whose makers died between making and unlinking them."""
        segment.sweep()

    def close(self) -> None:
        """Unmap and close the segment."""
        if self._map is not None:
            self._map.close()
            self._map = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
