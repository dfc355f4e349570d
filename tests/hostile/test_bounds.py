# SPDX-License-Identifier: BSD-3-Clause
"""Whoever feeds the ring without end holds nobody up: each look passes over one ring at most.

A process publishes messages that it has withdrawn already, as fast as it can, and counts them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator
from typing import Final

import pytest

from adma._core.constants import SEGMENT_SIZE
from adma.testing import Peer
from adma.testing.limits import HANG, SLOWNESS
from adma.testing.observe import until
from support.calls import hostile
from support.segment import BYTES, CANCELLED, CELLS, SLOT, Cell, Segment, copy_of, word
from support.spoilt import INDEX, Spoilt, spoilt

numpy = pytest.importorskip("numpy")

HALF: Final = CELLS // 2
WHILE: Final = 1.0  # seconds
#: Rings that one call may pass over: it looks more than once before it is over.
ROUNDS: Final = {"iprobe": 4, "skip": 8, "iread": 8}


def feed(segment: Segment) -> None:
    """Keep the ring full of one message that was withdrawn, for ever."""
    memory = (ctypes.c_char * ctypes.sizeof(segment.cells)).from_buffer(segment.cells)
    seqs = numpy.ndarray(CELLS, dtype="u8", buffer=memory, strides=(ctypes.sizeof(Cell),))
    for cell in segment.cells:
        cell.set(length=100_000, total=100_000, kind=BYTES, carry=SLOT, parts=0)
        cell.set(first=INDEX, second=1)
    head = ctypes.c_uint64.from_buffer(segment, Segment.head.offset)
    tail, steps = 1, numpy.arange(1, HALF + 1, dtype="u8")
    while True:
        while tail + HALF - head.value > CELLS:
            pass
        at, values = tail % CELLS, tail + steps
        seqs[at : at + HALF] = values[: CELLS - at]
        seqs[: max(0, at + HALF - CELLS)] = values[CELLS - at :]
        tail += HALF


@contextlib.contextmanager
def fed(end: Spoilt) -> Iterator[None]:
    """Another process feeds the ring meanwhile. The core unmaps what it knows there."""
    end.slot.set(source=0, length=100_000, offered=0xE, state=word(1, CANCELLED))
    address = copy_of(end.local)
    child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, HANG)
        try:
            feed(Segment.from_address(address))
        finally:
            os._exit(0)
    try:
        until("there is something in the ring", lambda: end.local.cells[1].seq == 2)
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        ctypes.CDLL(None).munmap(ctypes.c_void_p(address), ctypes.c_size_t(SEGMENT_SIZE))


@pytest.mark.parametrize("what", ROUNDS)
def test_a_look_passes_over_one_ring(peer: Peer, what: str) -> None:
    with spoilt(peer) as end, fed(end):
        assert peer.call(hostile.look_for, what, WHILE) <= ROUNDS[what] * (CELLS + 1)


@pytest.mark.parametrize("what", ["read", "recv", "probe", "skip", "wait"])
@pytest.mark.parametrize("timeout", [0, 0.2])
def test_a_call_ends_in_time(peer: Peer, what: str, timeout: float) -> None:
    with spoilt(peer) as end, fed(end):
        assert peer.call(hostile.time_of, what, timeout) < timeout + SLOWNESS


def test_a_close_ends_in_time(peer: Peer) -> None:
    """The progress thread looks after a read meanwhile, and holds nothing for long."""
    with spoilt(peer) as end, fed(end):
        end.closed_there = True
        assert peer.call(hostile.close_with_a_read, 1.0) < 1 + SLOWNESS
