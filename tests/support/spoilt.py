# SPDX-License-Identifier: BSD-3-Clause
"""A channel between a victim, which is a peer, and this process, which spoils what they share.

The two shook hands as they should. From then on this process changes the memory that they share
by hand, and the victim calls the library.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from typing import Final

import adma
from adma._core.constants import MECH_CMA, MECH_SHARED, MECH_TCP
from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import HANG
from adma.testing.observe import until
from support.calls import hostile
from support.segment import MATCHED, POSTED, SLOT, Segment, Slot, Spoiler, mapped, word

#: Bytes of a chunk of each mechanism.
CHUNKS: Final = {"shared": 16 * 1024, "loopback:tcp": 256 * 1024, "mapped:cma": 256 * 1024}
IDS: Final = {"shared": MECH_SHARED, "loopback:tcp": MECH_TCP, "mapped:cma": MECH_CMA}
SHUT: Final = 1 << 31  # the closed bit of a cursor
INDEX: Final = 3  # of the slot that is forged


class Spoilt:
    """The channel, and the words of both directions."""

    def __init__(self, victim: Peer, channel: adma.Channel, spoiler: Spoiler) -> None:
        self.victim = victim
        self.channel = channel
        self.local, self.remote = spoiler.local, spoiler.remote
        self.closed_there = False  # the victim has closed it in a call
        self._spoiler = spoiler

    @property
    def slot(self) -> Slot:
        """The slot of ours that is forged."""
        return self.local.slot(INDEX)

    def post(self, nbytes: int, mechanism: str) -> Slot:
        """Publish a message that offers one mechanism, without an address."""
        self.slot.set(source=0, length=nbytes, offered=1 << IDS[mechanism])
        for name in ("cursor", "done", "error"):
            setattr(self.slot, name, word(1, 0))
        self.slot.state = word(1, POSTED)
        self._spoiler.forge(length=nbytes, total=nbytes, carry=SLOT, first=INDEX, second=1)
        return self.slot

    def until_matched(self, name: str) -> None:
        """The victim has matched it, with the read of this name."""
        until(
            "the victim has matched it",
            lambda: (
                not self.victim.call(messages.check, name) and self.slot.state == word(1, MATCHED)
            ),
        )

    def posted(self) -> tuple[Slot, int]:
        """The victim's large message: its slot and its generation."""
        until("it is posted", lambda: any(each.carry == SLOT for each in self.remote.cells))
        return self._spoiler.posted()

    def match(self, mechanism: str, **fields: int) -> tuple[Slot, int]:
        """Match the victim's large message by hand."""
        slot, generation = self.posted()
        slot.set(mechanism=IDS[mechanism], chunk=CHUNKS[mechanism], base=0, destination=0)
        slot.set(**{name: word(generation, value) for name, value in fields.items()})
        slot.state = word(generation, MATCHED)
        return slot, generation

    def close(self) -> None:
        if not self.closed_there:
            self.victim.call(hostile.close_spoilt)
        with contextlib.suppress(Exception):
            self.channel.close(timeout=0)


@contextlib.contextmanager
def spoilt(victim: Peer, mechanism: str = "auto") -> Iterator[Spoilt]:
    """A fresh channel with a first message of one byte, from here to there, behind it."""
    before = {ctypes.addressof(segment) for segment in mapped()}
    channel = victim.connect(mechanism)
    reading = victim.begin(messages.read, 1)
    channel.write(b"!", timeout=HANG)
    assert reading.result() == b"!"
    found = [each for each in mapped() if ctypes.addressof(each) not in before]
    end = Spoilt(victim, channel, Spoiler(found))
    try:
        yield end
    finally:
        end.close()


def words(segment: Segment, upto: int) -> Iterator[tuple[int, int]]:
    """Offset and value of each 8 bytes at the beginning of a segment."""
    base = ctypes.addressof(segment)
    for at in range(0, upto, 8):
        yield at, ctypes.c_uint64.from_address(base + at).value
