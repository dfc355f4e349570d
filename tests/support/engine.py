# SPDX-License-Identifier: BSD-3-Clause
"""The copy engine of this process: set up for a test, held in the middle of a copy, put to rest."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import adma
from adma._core._native import ffi, lib
from adma.testing.limits import HANG, KIB
from adma.testing.observe import until
from adma.testing.payload import pattern
from support.calls import faults

#: Copies of up to this are made in the post.
AT_ONCE: Final = 64 * KIB
#: What a queue does at a time.
PART: Final = 128 * KIB
#: Blocking copies of up to this are made in the call.
SPREAD: Final = 512 * KIB
#: So many are compared with each other, and so many wait in line behind them.
OUTSTANDING: Final = lib.ADMA_OUTSTANDING
LINE: Final = lib.ADMA_BACKLOG_MAX

_QUEUE = re.compile(r"adma-queue-\d+")


def configure(at_once: int = AT_ONCE, **settings: Any) -> None:
    """`adma.configure`, and from which size on copies are handed over, which no user can say."""
    adma.configure(**settings)
    state = ffi.new("struct adma_engine_state *")
    lib.adma_engine_look(state)
    state.config.at_once = at_once
    assert lib.adma_engine_configure(ffi.addressof(state, "config")) == 0


def queue_threads(pid: int | str = "self") -> dict[int, str]:
    """The threads of a process that are queues, by the name they bear."""
    found = {}
    for entry in os.listdir(f"/proc/{pid}/task"):
        try:
            name = Path(f"/proc/{pid}/task/{entry}/comm").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if _QUEUE.fullmatch(name):
            found[int(entry)] = name
    return found


def drain() -> None:
    """Until nothing is outstanding."""
    deadline = time.monotonic() + HANG
    while not lib.adma_engine_drain(5_000_000):
        assert time.monotonic() < deadline, "copies do not come to their end"


def rest() -> None:
    """Stop the queues, as adma does itself at exit, and set it up as it is by default.

    AssertionError when copies were left outstanding: these are somebody's who did not wait.
    """
    left = adma.stats()["outstanding"]
    drain()
    default = {"engine": lib.ADMA_ENGINE_AUTO, "callers_help": True, "at_once": AT_ONCE}
    config = ffi.new("struct adma_engine_config *", default)
    assert lib.adma_engine_configure(config) == 0
    assert not left, f"{left} copies were outstanding still"


@contextmanager
def held(nbytes: int = 64 * KIB, **settings: Any) -> Iterator[tuple[adma.Request, bytearray]]:
    """One queue and nobody who helps it, held in a copy: what is posted meanwhile stays pending.

    Yields the request and the destination of that copy, whose source is `pattern(nbytes, 1)`.
    It goes on when the context ends, or at `release()`.
    """
    configure(16 * KIB, **{"engine": "thread", "queues": 1, "callers_help": False, **settings})
    faults.arm(None, faults.CHUNK, "hold")
    target = bytearray(nbytes)
    try:
        request = adma.icopy(target, pattern(nbytes, 1))
        until("the queue is held", lambda: faults.passes(None, faults.CHUNK) > 0)
        yield request, target
    finally:
        release()
    request.wait(HANG)


def release() -> None:
    """Let a held queue go on."""
    faults.arm(None, faults.CHUNK, "none")
