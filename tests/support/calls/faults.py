# SPDX-License-Identifier: BSD-3-Clause
"""Things that go wrong at a named place of the core (fault.h). Needs the test build."""

from __future__ import annotations

from typing import Final

from adma._core._native import lib
from adma.testing import Endpoint
from adma.testing.calls import messages
from adma.testing.limits import HANG

POST: Final = "post"
PUBLISH: Final = "publish"
MATCH: Final = "match"
CHUNK: Final = "chunk"
COPIED: Final = "copied"
COMPLETE: Final = "complete"
WAKE: Final = "wake"
CLOSE: Final = "close"
HANDSHAKE: Final = "handshake"
THREAD: Final = "thread"  # a worker thread of the copy engine
PROGRESS_THREAD: Final = "progress_thread"
GROW: Final = "grow"  # more slots

#: The places that a connected channel passes.
POINTS: Final = (POST, PUBLISH, MATCH, CHUNK, COPIED, COMPLETE, WAKE, CLOSE)


def arm(
    endpoint: Endpoint | None, point: str, action: str, argument: int = 0, nth: int = 1
) -> None:
    """The `nth` pass from now of `point` does `action`: stop, die, fail (errno), delay (us), hold;
    slow (us) is a delay at each pass from that one on.

    A thread that is held goes on when the point is armed anew.
    """
    del endpoint
    number = getattr(lib, f"ADMA_FAULT_{point.upper()}")
    done = lib.adma_fault_arm(number, getattr(lib, f"ADMA_FAULT_{action.upper()}"), argument, nth)
    assert done == 0, f"cannot arm {point}: {done}"


def disarm_all(endpoint: Endpoint | None = None) -> None:
    if not lib.adma_faults_built():
        return  # a release build has none that could be armed
    for point in (*POINTS, HANDSHAKE, THREAD, PROGRESS_THREAD, GROW):
        arm(endpoint, point, "none")


def passes(endpoint: Endpoint | None, point: str) -> int:
    """How often `point` was passed since it was armed."""
    del endpoint
    return int(lib.adma_fault_passes(getattr(lib, f"ADMA_FAULT_{point.upper()}")))


def write_then_close(endpoint: Endpoint, nbytes: int, count: int) -> None:
    for seed in range(count):
        messages.write(endpoint, nbytes, seed)
    endpoint.channels.pop().close(timeout=HANG)


def read_then_close(endpoint: Endpoint, nbytes: int, count: int) -> None:
    for seed in range(count):
        messages.read_expected(endpoint, nbytes, seed)
    endpoint.channels.pop().close(timeout=HANG)


def write_until_closed(endpoint: Endpoint, nbytes: int) -> int:
    """Write the same message again and again; how often it went through before the end."""
    count = 0
    try:
        while True:
            messages.write(endpoint, nbytes)
            count += 1
    except EOFError:
        return count
