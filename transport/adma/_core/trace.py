# SPDX-License-Identifier: BSD-3-Clause
"""The core's events: what happened when, and in which thread. adma_trace.h says more."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from ._native import ffi, lib

COPY_POST: Final = lib.ADMA_TRACE_COPY_POST
COPY_HERE: Final = lib.ADMA_TRACE_COPY_HERE
COPY_PART: Final = lib.ADMA_TRACE_COPY_PART
COPY_GIVE: Final = lib.ADMA_TRACE_COPY_GIVE
COPY_DEVICE: Final = lib.ADMA_TRACE_COPY_DEVICE
COPY_END: Final = lib.ADMA_TRACE_COPY_END
POST: Final = lib.ADMA_TRACE_POST
MATCH: Final = lib.ADMA_TRACE_MATCH
CHUNK: Final = lib.ADMA_TRACE_CHUNK
PEER: Final = lib.ADMA_TRACE_PEER
COMPLETE: Final = lib.ADMA_TRACE_COMPLETE
WRITE_NOW: Final = lib.ADMA_TRACE_WRITE_NOW
READ_NOW: Final = lib.ADMA_TRACE_READ_NOW

_EVENT = struct.Struct("=qqQQQQII")  # the fields of Event, in their order
_THREADS = 256

start = lib.adma_trace_start
stop = lib.adma_trace_stop


class Event(NamedTuple):
    """`struct adma_trace_event`: what `a`, `b` and `c` are depends on the kind."""

    at: int
    lasted: int
    id: int
    a: int
    b: int
    c: int
    tid: int
    kind: int


def take(most: int) -> tuple[list[Event], int]:
    """Up to `most` events since the start, and how many others happened."""
    ring = ffi.new("struct adma_trace_event[]", most)
    dropped = ffi.new("uint64_t *")
    count = lib.adma_trace_take(ring, most, dropped)
    taken = bytes(ffi.buffer(ring)[: count * _EVENT.size])
    return [Event._make(each) for each in _EVENT.iter_unpack(taken)], int(dropped[0])


def threads() -> dict[int, str]:
    """The names of the threads in which events happened."""
    found = ffi.new("struct adma_trace_thread[]", _THREADS)
    count = lib.adma_trace_threads(found, _THREADS)
    return {found[i].tid: ffi.string(found[i].name).decode(errors="replace") for i in range(count)}
