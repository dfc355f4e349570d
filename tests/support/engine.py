# SPDX-License-Identifier: BSD-3-Clause
"""The copy engine of this process: set up, held in the middle of a copy, or stopped."""

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
#: What a worker thread does at a time.
PART: Final = 128 * KIB
#: Blocking copies of up to this are made in the call.
SPREAD: Final = 512 * KIB
#: So many are compared with each other, and so many may wait behind them.
OUTSTANDING: Final = lib.ADMA_OUTSTANDING
LINE: Final = lib.ADMA_BACKLOG_MAX

_QUEUE = re.compile(r"adma-queue-\d+")


def configure(at_once: int = AT_ONCE, learns: bool = False, **settings: Any) -> None:
    """`adma.configure`, with the size from which on copies are handed over always set.

    `learns`: how copies are spread is learnt, so that it depends on what was copied before.
    """
    adma.configure(**settings)
    state = ffi.new("struct adma_engine_state *")
    lib.adma_engine_look(state)
    state.config.at_once = at_once
    state.config.learns = learns
    assert lib.adma_engine_configure(ffi.addressof(state, "config")) == 0


def queue_threads(pid: int | str = "self") -> dict[int, str]:
    """The copy worker threads of a process, by their names."""
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
    """Wait until no copy is outstanding."""
    deadline = time.monotonic() + HANG
    while not lib.adma_engine_drain(5_000_000):
        assert time.monotonic() < deadline, "copies do not come to their end"


def rest() -> None:
    """Stop the worker threads, as adma does at exit, and set the engine up as it is by default.

    AssertionError when copies were outstanding: a test did not wait for them.
    """
    left = adma.stats()["outstanding"]
    drain()
    default = {"engine": lib.ADMA_ENGINE_AUTO, "callers_help": True, "at_once": AT_ONCE}
    config = ffi.new("struct adma_engine_config *", default)
    assert lib.adma_engine_configure(config) == 0
    assert not left, f"{left} copies were outstanding still"


@contextmanager
def held(nbytes: int = 64 * KIB, **settings: Any) -> Iterator[tuple[adma.Request, bytearray]]:
    """One worker thread, without help, held in a copy: what is posted meanwhile stays pending.

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
    """Let a held worker thread go on."""
    faults.arm(None, faults.CHUNK, "none")
