# SPDX-License-Identifier: BSD-3-Clause
"""A model of one direction of a channel: which read meets which message, and what is left."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(eq=False)
class Write:
    """A message that was posted; its seed is its number."""

    seed: int
    nbytes: int
    read: Read | None = None
    cancelled: bool = False


@dataclass(eq=False)
class Read:
    """A read that was posted. It gets a message, or is told the size it lacked, or is cancelled."""

    number: int
    room: int
    write: Write | None = None
    needed: int | None = None
    cancelled: bool = False

    @property
    def over(self) -> bool:
        return self.write is not None or self.needed is not None or self.cancelled


@dataclass
class Fifo:
    """The writes of one endpoint and the reads of the other, in the order of their posts."""

    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)

    def post_write(self, nbytes: int) -> Write:
        self.writes.append(Write(len(self.writes), nbytes))
        return self.writes[-1]

    def post_read(self, room: int) -> Read:
        self.reads.append(Read(len(self.reads), room))
        return self.reads[-1]

    def first(self) -> Write | None:
        """The next message: neither read nor cancelled."""
        return next((w for w in self.writes if w.read is None and not w.cancelled), None)

    def match(self) -> None:
        """Let the oldest message meet the oldest read, until one of the two is missing."""
        while (write := self.first()) is not None:
            read = next((read for read in self.reads if not read.over), None)
            if read is None:
                return
            if read.room < write.nbytes:
                read.needed = write.nbytes
            else:
                read.write, write.read = write, read
