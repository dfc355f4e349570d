# SPDX-License-Identifier: BSD-3-Clause
"""The memory that two endpoints of a channel share, to look at and to spoil.

Mirrors transport/native/shm/layout.h. A hostile peer is an honest one up to the end of the
handshake; then it writes what it likes into memory that it has mapped anyway.
"""

from __future__ import annotations

import ctypes
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Final

from adma._core.constants import SEGMENT_SIZE

CELLS: Final = 128
SLOTS_FIRST: Final = 64  # those that are allocated at the handshake
SLOTS_MAX: Final = 131072
BLOCK: Final = 64  # slots of a block
BOUNCE: Final = 32 * 1024
BUFFERS: Final = 2
BUFFER: Final = 32 * 1024  # bytes of a bounce buffer

INLINE, EAGER, SLOT, BUFFERED = 1, 2, 3, 4  # enum adma_carry
BYTES, OBJECT, PART, TAGGED = 1, 2, 3, 4  # enum adma_kind
# enum adma_slot_state
POSTED, MATCHED, CANCELLED, ABORTED, DONE, RESERVED, LOST, AGAIN = range(1, 9)

_u16, _u32, _u64 = ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64


class _Fields(ctypes.Structure):
    """Structures that can be filled in by name."""

    def set(self, **values: int) -> None:
        names = {name for name, *_ in type(self)._fields_}
        for name, value in values.items():
            assert name in names, f"no field {name}"
            setattr(self, name, value)


class Cell(_Fields):
    """A descriptor and the sequence that publishes it."""

    _fields_: ClassVar = [
        ("seq", _u64),
        ("length", _u64),
        ("total", _u64),
        ("kind", _u16),
        ("carry", _u16),
        ("parts", _u32),
        ("first", _u32),  # slot index, or low 32 bits of the bounce offset
        ("second", _u32),  # slot generation, or the high 32 bits
        ("posted_at", ctypes.c_int64),  # of a slot or a bounce buffer
        ("rest", ctypes.c_uint8 * 16),
    ]


class Slot(_Fields):
    """A large message on its way."""

    _fields_: ClassVar = [
        ("source", _u64),
        ("length", _u64),
        ("offered", _u32),
        ("mechanism", _u32),
        ("destination", _u64),
        ("chunk", _u64),
        ("base", _u64),
        ("manner", _u32),
        ("nothing", _u32),
        ("reserved", _u64),
        ("state", _u64),
        ("cursor", _u64),
        ("done", _u64),
        ("error", _u64),
        ("seen", _u64),
        ("spare", _u64 * 3),
    ]


class NewsWord(_Fields):
    """A bit for each slot of a block."""

    _fields_: ClassVar = [("bits", _u64), ("nothing", _u64 * 7)]


class SlotBlock(_Fields):
    """Slots and the news about them."""

    _fields_: ClassVar = [
        ("news_for_maker", NewsWord),
        ("news_for_reader", NewsWord),
        ("slots", Slot * BLOCK),
    ]


class Segment(_Fields):
    """One direction: written by its maker, by its reader, or by both."""

    _fields_: ClassVar = [
        ("magic", _u64),
        ("waiting", _u32),
        ("reads", _u32),
        ("nothing", _u32 * 12),
        ("closed", _u32),
        ("blocked", _u32),
        ("filled", _u64),
        ("bit", _u32),
        ("summing", _u32),
        ("ending", _u32),
        ("more", _u32),
        ("posted", _u64),
        ("withdrawn", _u64),
        ("maker", _u64 * 2),
        ("head", _u64),
        ("bounce_head", _u64),
        ("drained", _u64),
        ("eager_off", _u32),
        ("drains", _u32),
        ("bulk_lost", _u32),
        ("buffered", _u32),
        ("reader", _u64 * 3),
        ("event_count", _u64),
        ("quiet", _u64 * 7),
        ("top_for_maker", _u64 * (SLOTS_MAX // BLOCK // 64)),
        ("top_for_reader", _u64 * (SLOTS_MAX // BLOCK // 64)),
        ("cells", Cell * CELLS),
        ("bounce", ctypes.c_uint8 * BOUNCE),
        ("blocks", SlotBlock * (SLOTS_MAX // BLOCK)),
        ("buffers", (ctypes.c_uint8 * BUFFER) * BUFFERS),
    ]

    def slot(self, index: int) -> Slot:
        found: Slot = self.blocks[index // BLOCK].slots[index % BLOCK]
        return found

    def first_slots(self) -> list[Slot]:
        """Those that are allocated at the handshake."""
        return [self.slot(index) for index in range(SLOTS_FIRST)]


assert ctypes.sizeof(Cell) == 64
assert ctypes.sizeof(Slot) == 128
assert (ctypes.sizeof(Segment) + 4095) // 4096 * 4096 == SEGMENT_SIZE


def word(generation: int, value: int) -> int:
    """A word of the slot protocol."""
    return generation << 32 | value


def mapped() -> list[Segment]:
    """The segments that this process has mapped, of all its channels."""
    maps = Path("/proc/self/maps").read_text()
    found = re.findall(r"^([0-9a-f]+)-\S+ rw-s .*/memfd:adma-segment", maps, re.MULTILINE)
    return [Segment.from_address(int(address, 16)) for address in found]


def copy_of(segment: Segment) -> int:
    """The same memory at another address, which the core does not know; to be unmapped."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mremap.restype = ctypes.c_void_p
    libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
    address = libc.mremap(ctypes.addressof(segment), 0, SEGMENT_SIZE, 1)
    assert address not in (None, ctypes.c_void_p(-1).value)
    return int(address)


class Spoiler:
    """Both segments of a fresh channel, whose own first message was written and read."""

    def __init__(self, segments: list[Segment]) -> None:
        """`segments`: those that came with the channel; the local one has a message in it."""
        assert len(segments) == 2, f"{len(segments)} segments of one channel"
        self.local, self.remote = sorted(
            segments, key=lambda segment: segment.cells[0].seq, reverse=True
        )
        assert (self.local.cells[0].seq, self.remote.cells[0].seq) == (1, 0)

    def forge(self, **fields: int) -> None:
        """Publish a second message of our own: one byte, inline, but for the fields given."""
        cell = self.local.cells[1]
        cell.set(length=1, total=1, kind=BYTES, carry=INLINE, parts=0)
        cell.set(**fields)
        cell.seq = fields.get("seq", 2)

    def forge_slot(self, index: int = 3, generation: int = 1, **fields: int) -> None:
        """Publish a large message of our own in a slot, with the slot's fields given."""
        slot = self.local.slot(index)
        honest = {"source": 0x1000, "length": 100_000, "offered": 0xE}
        slot.set(**{**honest, "cursor": word(1, 0), "done": word(1, 0), "error": word(1, 0)})
        slot.set(**{"state": word(1, POSTED), **fields})
        length = 100_000
        self.forge(length=length, total=length, carry=SLOT, first=index, second=generation)

    def posted(self) -> tuple[Slot, int]:
        """The victim's first large message: its slot and generation."""
        cell = next(cell for cell in self.remote.cells if cell.carry == SLOT)
        return self.remote.slot(cell.first), cell.second


class HostileRing:
    """Publishes what it likes into its own ring, as fast as it can, after the first message.

    `kick` makes the reader look: of many peers it looks only at those that tell it something.
    """

    _DESC: ClassVar = struct.Struct("<QQHHIII")

    def __init__(self, local: Segment, kick: Callable[[], object]) -> None:
        self.local = local
        self.kick = kick
        self.tail = 1
        self.bounce = 0
        at = ctypes.addressof(local.cells)
        self._at = at
        self._cells = (ctypes.c_char * ctypes.sizeof(local.cells)).from_address(at)

    def put(
        self,
        length: int = 1,
        tag: int = 0,
        kind: int = TAGGED,
        carry: int = INLINE,
        parts: int = 0,
        first: int = 0,
        second: int = 0,
    ) -> bool:
        """Publish a descriptor. False: the reader has left no room for it yet."""
        if self.tail - self.local.head >= CELLS:
            return False
        at = self.tail % CELLS * ctypes.sizeof(Cell)
        self._DESC.pack_into(self._cells, at + 8, length, tag, kind, carry, parts, first, second)
        self.tail += 1
        # In one store. (`pack_into` fills with zeros first.)
        ctypes.c_uint64.from_address(self._at + at).value = self.tail
        self.kick()
        return True

    def put_eager(self, length: int, tag: int = 0) -> bool:
        """A message whose bytes would be in the bounce ring."""
        offset = self.bounce
        if offset % BOUNCE + length > BOUNCE:
            offset += BOUNCE - offset % BOUNCE
        after = offset + (length + 63) // 64 * 64
        if after - self.local.bounce_head > BOUNCE:
            return False
        if not self.put(length, tag, carry=EAGER, first=offset & 0xFFFFFFFF, second=offset >> 32):
            return False
        self.bounce = after
        return True

    def post_slot(self, index: int, generation: int = 1, length: int = 100_000) -> None:
        """Let a slot be posted, without a descriptor."""
        slot = self.local.slot(index)
        slot.set(source=0x1000, length=length, offered=0xE)
        slot.set(**{name: word(generation, 0) for name in ("cursor", "done", "error")})
        slot.state = word(generation, POSTED)
