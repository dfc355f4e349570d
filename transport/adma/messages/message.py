# SPDX-License-Identifier: BSD-3-Clause
"""What a message is to its reader, and how an object becomes messages.

An object travels as one message of kind OBJECT: the sizes of its out-of-band
buffers (8 bytes each, whose highest bit says that the buffer is read-only), then
the pickle. The buffers follow as messages of kind PART, each copied straight
from the object's own memory. Small buffers stay in the pickle: a message of
their own would cost more than copying them.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, SupportsIndex, TypeAlias

from .._core.calls import dump as pickled
from .._core.calls import object_limits
from .._core.constants import BYTES, MESSAGE_MAX, OBJECT, PART, PARTS_MAX
from ..arguments import whole_between
from ..errors import ProtocolError

__all__ = [
    "KINDS",
    "Frames",
    "Kind",
    "Message",
    "Part",
    "bytes_of",
    "dump",
    "frames_of",
    "load",
    "parts_of",
]

OUT_OF_BAND_FROM = 64 * 1024  # bytes; a smaller buffer is pickled with the rest
READ_ONLY = 1 << 63  # beside a size: no message is that long

Kind: TypeAlias = Literal["bytes", "object"]

KINDS: Final[dict[int, Kind]] = {BYTES: "bytes", OBJECT: "object", PART: "object"}


@dataclass(frozen=True)
class Message:
    """The next message to read. `kind` is "bytes", for read(), or "object", for recv().

    `nbytes`: its length; for an object, out-of-band buffers included.
    """

    kind: Kind
    nbytes: int


@dataclass(frozen=True)
class Frames:
    """An object that is ready to be written: `head` is one message, each part another."""

    head: bytes
    parts: Sequence[memoryview]

    @property
    def nbytes(self) -> int:
        """Bytes of all messages together."""
        return len(self.head) + sum(part.nbytes for part in self.parts)


def frames_of(body: bytes, parts: Sequence[memoryview]) -> Frames:
    """An object that was pickled, and those of its buffers that stay outside, as messages."""
    if not parts:
        return Frames(body, ())
    sizes = struct.pack(
        f"={len(parts)}Q", *(part.nbytes | (READ_ONLY if part.readonly else 0) for part in parts)
    )
    return Frames(sizes + body, parts)


def dump(obj: object) -> Frames:
    """Pickle an object (protocol 5), large contiguous buffers out of band. Raises as pickle."""
    return frames_of(*pickled(obj))


def bytes_of(value: SupportsIndex, what: str) -> int:
    """A number of bytes; TypeError and ValueError name what it is for."""
    return whole_between(
        value,
        0,
        MESSAGE_MAX,
        f"{what} is a whole number of bytes",
        f"{what} is {{}}: a message has from 0 to {MESSAGE_MAX} bytes",
    )


class Part(NamedTuple):
    """What the head of an object tells of one of its parts."""

    nbytes: int
    read_only: bool


def parts_of(head: Any, count: int, total: int) -> list[Part]:
    """An object's `count` parts, as its head tells of them. ProtocolError.

    All of it comes from the peer, and is judged before anything is made of it.
    """
    if count > PARTS_MAX:
        raise ProtocolError(f"the peer announced an object of {count} parts: {PARTS_MAX} may be")
    if len(head) < 8 * count:
        raise ProtocolError("the peer announced an object with parts, and did not tell their sizes")
    told: tuple[int, ...] = struct.unpack_from(f"={count}Q", head)
    parts = [Part(size & ~READ_ONLY, size >= READ_ONLY) for size in told]
    if len(head) + sum(part.nbytes for part in parts) != total:
        raise ProtocolError("the sizes of an object's parts do not add up")
    return parts


def load(head: Any, parts: Sequence[Any]) -> Any:
    """The object. Its large buffers are `parts` themselves, not copies of them.

    A buffer has the type that pickle gives to one that it copies: `bytes` if it was read-only,
    else `bytearray`. (It leaves a read-only buffer as it is where it was to be made so.)
    """
    with memoryview(head) as view, view[8 * len(parts) :] as body:
        return pickle.loads(body, buffers=parts)


object_limits(OUT_OF_BAND_FROM, PARTS_MAX)
