# SPDX-License-Identifier: BSD-3-Clause
"""Messages under way: what the core does with the request of an operation."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from . import _messages
from ._messages import Operation
from ._native import ffi, lib
from .constants import NEED
from .types import NO_CHANNEL

if TYPE_CHECKING:
    from .types import Chan, Req

__all__ = [
    "EndpointBase",
    "Operation",
    "advance",
    "notify",
    "post",
    "remainder",
    "stage_times",
    "whose_memory_is_gone",
]

# Each of these is one call into C: adma.h says what it does.
cancel = lib.adma_cancel
refresh = lib.adma_refresh
observe = lib.adma_observe
give_up = lib.adma_give_up_one
check = lib.adma_check
notify = lib.adma_notify

_MOMENT: Final = 0.001  # seconds for which an event loop is kept from its other tasks
STAGES: Final = ("post", "match", "pin", "start", "copy", "complete")


def whose_memory_is_gone(operation: Operation) -> str:
    """After EFAULT: the buffer of which a page cannot be accessed, in words."""
    gone = lib.adma_memory_is_gone(operation.req.address, operation.req.length)
    if gone < 0:
        return "one of the two buffers"
    return "this end's buffer" if gone else "the peer's buffer"


class EndpointBase(_messages.Endpoint):
    """What operations are posted on: it has the core's channel, or none."""

    def __init__(self) -> None:
        self._chan: Chan = NO_CHANNEL

    @property
    def chan(self) -> Chan:
        """The core's channel. Whoever asks for it may see what is posted."""
        self.post_deferred()
        return self._chan

    @chan.setter
    def chan(self, chan: Chan) -> None:
        self._chan = chan
        self.aim(int(ffi.cast("uintptr_t", chan)))


def post(chan: Chan, operations: Sequence[Operation]) -> int:
    """Post in order, all or none. 0, or an error."""
    if len(operations) == 1:
        return lib.adma_post_one(chan, operations[0].req)
    reqs = ffi.new("struct adma_req *[]", [operation.req for operation in operations])
    return lib.adma_post(chan, reqs, len(operations))


def advance(chan: Chan, operations: Iterable[Operation]) -> bool:
    """Make progress on a channel, of which these may be done. Never sleeps. True: call again.

    Those that ask for a buffer are left to whoever has it.
    """
    end = time.monotonic() + _MOMENT
    for operation in operations:
        while not operation.done and operation.req.state != NEED:
            state = lib.adma_check(chan, operation.req)
            if state == lib.ADMA_BUSY:
                if time.monotonic() >= end:
                    return True
            elif state != lib.ADMA_READY:
                return False
    return False


def remainder(chan: Chan, operations: Sequence[Operation]) -> int:
    """Bytes that these, and what was matched before them in their direction, still have to move."""
    reqs = ffi.new("struct adma_req *[]", [operation.req for operation in operations])
    return lib.adma_remainder(chan, reqs, len(operations))


def stage_times(chan: Chan, operations: Sequence[Operation]) -> dict[str, int]:
    """Nanoseconds in each of `STAGES`, over operations that are done. (Paper, figure 7.)

    "pin" is missing where the kernel helper did not tell its part.
    """
    split = ffi.new("struct adma_req_split *")
    found = dict.fromkeys(STAGES, 0)
    for operation in operations:
        lib.adma_tell_times(chan, operation.req)
        lib.adma_split(operation.req, split)
        for name in found:
            found[name] += int(getattr(split, f"{name}_ns"))
    if not any(operation.req.times.kernel.told for operation in operations):
        del found["pin"]
    return found


def _request(address: int) -> Req:
    req: Req = ffi.cast("struct adma_req *", address)
    return req


_messages.cast_by(_request)
