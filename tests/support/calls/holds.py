# SPDX-License-Identifier: BSD-3-Clause
"""Buffers that are let go while signals come in."""

from __future__ import annotations

import signal
import time
from types import FrameType

import adma
from adma.testing import Endpoint
from adma.testing.limits import MIB
from adma.testing.observe import until


def is_free(buffer: bytearray) -> bool:
    """Can it be resized, so that nothing holds it?"""
    try:
        buffer.append(0)
    except BufferError:
        return False
    buffer.pop()
    return True


def drop_interrupted(endpoint: Endpoint, role: str, nbytes: int) -> str:
    """Block in a huge copy, be interrupted, drop the request, and make no call any more."""
    buffer = bytearray(nbytes)
    call = endpoint.channel.write if role == "writer" else endpoint.channel.read
    had = False
    try:
        endpoint.say("blocking")
        call(buffer)
    except KeyboardInterrupt as interruption:
        had = hasattr(interruption, "request")
    held = not is_free(buffer)
    endpoint.say("dropped")
    until("the buffer is free", lambda: is_free(buffer))
    return f"request: {had}, held by it: {held}"


class Tick(Exception):
    """What a signal handler raises."""


def ticks(endpoint: Endpoint, seconds: float) -> tuple[int, int]:
    """Dropped copies, and a handler that raises: how often it did, and how often it was caught."""
    del endpoint
    raised = caught = 0

    def tick(number: int, frame: FrameType | None) -> None:
        del number, frame
        nonlocal raised
        raised += 1
        raise Tick

    buffers = [bytearray(MIB // 4) for _ in range(4)]
    before = signal.signal(signal.SIGALRM, tick)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0005)  # once, so that none comes in between
            while True:
                for _ in range(20):
                    adma.icopy(buffers[0], buffers[1])
                adma.icopy(buffers[2], buffers[3]).wait()
        except Tick:
            caught += 1
    signal.signal(signal.SIGALRM, before)
    until("the buffers are free", lambda: all(map(is_free, buffers)))
    return raised, caught
