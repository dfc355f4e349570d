# SPDX-License-Identifier: BSD-3-Clause
"""Buffered sends: copied, and on their way when the call returns. See MPI-4.1, section 3.6.

The copies are of adma's own memory. Of the buffers that a program attaches only the size
counts, so that a program that has not attached enough fails here as it does with MPI.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from mpi4py import MPI

from .activity import Activity, wait_for

if TYPE_CHECKING:
    from .context import Context

__all__ = ["COMMON", "Attached", "attached_to", "flush_all"]


class Attached:
    """The buffer of a communicator, or the one that all share, and what is under way from it."""

    def __init__(self) -> None:
        self.buf: Any = None
        self.size = 0.0
        self._under_way: list[tuple[Activity, int]] = []
        self._lock = threading.RLock()  # of this list: several threads may send at once

    def attach(self, buf: Any) -> None:
        """Attach a buffer. None, or BUFFER_AUTOMATIC: as much as is needed."""
        if self.buf is not None:
            raise MPI.Exception(MPI.ERR_BUFFER)
        if buf is None or buf is MPI.BUFFER_AUTOMATIC:
            self.buf, self.size = MPI.BUFFER_AUTOMATIC, float("inf")
            return
        held = MPI.buffer.frombuffer(buf)
        if held.readonly:
            raise BufferError("the buffer that is attached is read-only")
        self.buf, self.size = held, held.nbytes

    def detach(self) -> Any:
        """Wait until all that was sent from it is on its way; returns the buffer, or None."""
        self.flush()
        buf, self.buf, self.size = self.buf, None, 0.0
        return buf

    def flush(self) -> None:
        """Wait until all that was sent from it is on its way."""
        activities = self.pending()
        wait_for(activities, len(activities), None)
        self.pending()

    def pending(self) -> list[Activity]:
        """What was sent from it and is not on its way yet."""
        with self._lock:
            self._under_way = [each for each in self._under_way if not each[0].poll()]
            return [activity for activity, _ in self._under_way]

    def has_room(self, nbytes: int) -> bool:
        """Is there room for a message of this size?"""
        self.pending()
        used = sum(size + MPI.BSEND_OVERHEAD for _, size in self._under_way)
        return self.buf is not None and used + nbytes + MPI.BSEND_OVERHEAD <= self.size

    def add(self, activity: Activity, nbytes: int) -> None:
        """A message is under way from it."""
        with self._lock:
            self._under_way.append((activity, nbytes))
            _used.add(self)


COMMON = Attached()
_used: set[Attached] = {
    COMMON
}  # those that something was sent from, whatever became of their owner


def flush_all() -> None:
    """Wait until everything that was sent from any buffer is on its way: MPI ends after that."""
    for each in list(_used):
        each.flush()


def attached_to(context: Context) -> Attached:
    """The buffer that sends on this communicator use."""
    own = context.attached
    return own if own is not None and own.buf is not None else COMMON
