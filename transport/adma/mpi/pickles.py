# SPDX-License-Identifier: BSD-3-Clause
"""Python objects as messages: one pickle, and large buffers beside it.

Pickling is MPI.pickle's, whose functions and protocol users may replace. Where both functions are
the standard ones and the protocol is 5 or later, large buffers stay out of the pickle. They are
sent from where they are and received where they stay, so nobody copies them.
"""

from __future__ import annotations

import gc
import pickle
import struct
import sys
from typing import Any, Final

from mpi4py import MPI

from ..errors import ProtocolError

__all__ = ["OUT_OF_BAND", "allocate", "dump", "head", "load", "parse"]

#: Buffers from this many bytes on travel as messages of their own. Such a message costs about as
#: much as two copies of that many bytes, which it saves. So the exact number matters little.
OUT_OF_BAND: Final = 1 << 16

_WITHOUT_PARTS: Final = frozenset({type(None), bool, int, float, complex, str, bytes})
_COUNT: Final = struct.Struct("<Q")


def dump(obj: Any) -> tuple[bytes, list[memoryview]]:
    """The pickle of an object, and the buffers that are not in it."""
    if type(obj) in _WITHOUT_PARTS or not _is_standard():
        return MPI.pickle.dumps(obj), []
    parts: list[memoryview] = []

    def is_in_band(buffer: pickle.PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:  # not in one piece
            return True
        if raw.nbytes < OUT_OF_BAND:
            return True
        parts.append(raw)
        return False

    return pickle.dumps(obj, MPI.pickle.PROTOCOL, buffer_callback=is_in_band), parts


def load(data: Any, parts: list[Any]) -> Any:
    """The object. Its parts become its memory: nobody else may use them any more."""
    if parts:
        return MPI.pickle.loads_oob(data, parts)
    return MPI.pickle.loads(data) if len(data) else None


def allocate(sizes: list[int]) -> list[memoryview]:
    """Memory for the parts of an object."""
    return [memoryview(MPI.buffer.allocate(size)) for size in sizes]


def head(data: bytes, parts: list[memoryview]) -> bytes:
    """The pickle of an object with parts, after their number and their sizes."""
    sizes = [part.nbytes for part in parts]
    return struct.pack(f"<{len(sizes) + 1}Q", len(sizes), *sizes) + data


def parse(message: Any) -> tuple[list[int], memoryview]:
    """The sizes of the parts, and the pickle. ProtocolError for what `head` did not make."""
    view = memoryview(message)
    if len(view) < _COUNT.size:
        raise ProtocolError(f"an object with parts has {len(view)} bytes, too few for their number")
    (number,) = _COUNT.unpack_from(view)
    start = _COUNT.size * (number + 1)
    if not number or start >= len(view):
        raise ProtocolError(f"an object with {number} parts has {len(view)} bytes")
    sizes = list(struct.unpack_from(f"<{number}Q", view, _COUNT.size))
    if min(sizes) < OUT_OF_BAND or sum(sizes) > sys.maxsize:
        raise ProtocolError(f"an object has parts of {sizes} bytes")
    return sizes, view[start:]


def _is_standard() -> bool:
    """Does MPI.pickle use Python's functions, with a protocol that knows buffers?

    It does not show its functions. But it holds them, and the garbage collector tells what an
    object holds.
    """
    protocol = MPI.pickle.PROTOCOL
    if protocol is None or 0 <= protocol < 5:
        return False
    held = gc.get_referents(MPI.pickle)
    return pickle.dumps in held and pickle.loads in held
