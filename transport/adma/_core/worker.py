# SPDX-License-Identifier: BSD-3-Clause
"""The core's worker: endpoints, and messages that match by tags. adma_worker.h says what each does.

Results are as adma.h says: negative ones are errors, for `results.error_for`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from ..errors import failure
from . import channel
from ._native import ffi, lib
from .constants import MECH_SHARED
from .results import raise_for

if TYPE_CHECKING:
    from .types import Arrived, Req, Worker

ANY_SOURCE: Final = lib.ADMA_ANY_SOURCE
TAGGED: Final = lib.ADMA_TAGGED
SYNCHRONOUS: Final = lib.ADMA_REQ_SLOT
CONSUME: Final = lib.ADMA_REQ_CONSUME
TAKE: Final = lib.ADMA_REQ_TAKE

#: Of a worker that was freed.
NO_WORKER: Final[Worker] = ffi.NULL
NO_REQUESTS: Final = ffi.NULL

_MOMENT: Final = 0.001  # seconds for which an event loop is kept from its other tasks

free = lib.adma_worker_free
drain = lib.adma_worker_drain
drop = lib.adma_worker_drop
abandon = lib.adma_worker_abandon
health = lib.adma_worker_health
drive = lib.adma_worker_drive
nothing = lib.adma_spin_max_ns  # the shortest call, for benchmarks to compare with
fileno = lib.adma_worker_fileno
send = lib.adma_worker_send
receive = lib.adma_worker_receive
receive_taken = lib.adma_worker_receive_taken
cancel = lib.adma_worker_cancel
observe = lib.adma_worker_observe
notify = lib.adma_worker_notify
give_bulk = lib.adma_worker_give_bulk
refuse_bulk = lib.adma_worker_no_bulk


class Found(NamedTuple):
    """A message that waits for a receive."""

    source: int  # the number of the endpoint
    tag: int
    nbytes: int


def make() -> Worker:
    """A worker without endpoints, to be freed by `free`."""
    out = ffi.new("struct adma_worker **")
    if rc := lib.adma_worker_new(secrets.randbits(64), out):
        raise failure("worker", -rc)
    worker: Worker = out[0]
    return worker


def address(worker: Worker) -> int:
    """Where the core has it."""
    return int(ffi.cast("uintptr_t", worker))


def connect(worker: Worker, config: channel.Config) -> int:
    """Add an endpoint; returns its number.

    The worker owns descriptors and segments unless this raises.
    """
    number = ffi.new("uint32_t *")
    if rc := lib.adma_worker_connect(worker, channel.fill(config), number):
        raise_for(rc)
    return int(number[0])


def connect_self(worker: Worker) -> int:
    """Add an endpoint to this worker itself; returns its number."""
    number = ffi.new("uint32_t *")
    if rc := lib.adma_worker_connect_self(worker, number):
        raise_for(rc)
    return int(number[0])


def wanted_segment(worker: Worker, number: int, nbytes: int) -> int:
    """The mechanism that has to make a segment before a send of `nbytes`; 0: none."""
    return MECH_SHARED if lib.adma_worker_wants_bulk(worker, number, nbytes) else 0


def probe(worker: Worker, source: int, tag: int, mask: int) -> Found | None:
    """One round of progress, and the oldest message that such a receive would get."""
    found = ffi.new("struct adma_tagged_message *")
    rc = lib.adma_worker_probe(worker, source, tag, mask, found)
    if rc < 0:
        raise_for(rc)
    return Found(found.source, found.tag, found.length) if rc else None


def take(worker: Worker, source: int, tag: int, mask: int) -> tuple[Found, Arrived] | None:
    """The same, and the message is out of the queue. It has to be received."""
    found = ffi.new("struct adma_tagged_message *")
    taken = ffi.new("struct adma_arrived **")
    rc = lib.adma_worker_take(worker, source, tag, mask, found, taken)
    if rc < 0:
        raise_for(rc)
    return (Found(found.source, found.tag, found.length), taken[0]) if rc else None


def taken_by(req: Req) -> tuple[Found, Arrived] | None:
    """The message that a complete receive took whole (`TAKE`). It has to be received."""
    taken = req.taken
    return (Found(req.source, req.tag, req.needed), taken) if taken else None


def counts(worker: Worker) -> tuple[int, int]:
    """How many endpoints there are, and how many of them each round looks at directly."""
    endpoints, direct = ffi.new("uint32_t *"), ffi.new("uint32_t *")
    lib.adma_worker_counts(worker, endpoints, direct)
    return int(endpoints[0]), int(direct[0])


def stats(worker: Worker, number: int) -> dict[str, int]:
    """Counters of an endpoint, by name."""
    counters = ffi.new("struct adma_stats *")
    if rc := lib.adma_worker_stats(worker, number, counters):
        raise_for(rc)
    return {name: int(getattr(counters, name)) for name in channel.COUNTERS}


def progress(worker: Worker) -> bool:
    """Make progress without waiting, until there is nothing to do for now. True: there was any."""
    did = False
    while (state := lib.adma_worker_progress(worker)) > 0:
        did = True
    if state < 0:
        raise_for(state)
    return did


def advance(worker: Worker) -> bool:
    """Make progress for a moment. Never sleeps. True: call again."""
    end = time.monotonic() + _MOMENT
    while lib.adma_worker_progress(worker) > 0:
        if time.monotonic() >= end:
            return True
    return False


def complete(worker: Worker, reqs: Sequence[Req], spin_ns: int, budget_ns: int) -> int:
    """Drive and sleep until all are done, for benchmarks: signals wait. 0, or an error."""
    many, count = ffi.new("struct adma_req *[]", reqs), len(reqs)
    while state := lib.adma_worker_drive(worker, many, count, count, spin_ns, budget_ns):
        if state < 0:
            return state
        if state != lib.ADMA_BUSY:
            lib.adma_worker_sleep(worker, many, count, count, -1, ffi.NULL)
    return 0
