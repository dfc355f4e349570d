# SPDX-License-Identifier: BSD-3-Clause
"""One message under way: the core's request, and the hold on the buffer that it may touch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from . import holds
from ._native import ffi, lib
from .constants import DONE, TELL

if TYPE_CHECKING:
    from .types import Chan, Hold, Req

__all__ = ["Operation", "post", "quarantine", "remainder", "stage_times", "whose_memory_is_gone"]

# Each of these is one call into C: adma.h says what it does.
run = lib.adma_run
supply = lib.adma_supply
cancel = lib.adma_cancel
refresh = lib.adma_refresh
observe = lib.adma_observe
give_up = lib.adma_give_up_one
check = lib.adma_check

STAGES: Final = ("post", "match", "pin", "start", "copy", "complete")


class Operation:
    """One message under way: the core's request and the buffer it may touch.

    Its keeper, a set, has it until it is done, whoever else drops it: what is posted happens,
    and its buffer stays for as long.
    """

    __slots__ = ("_keeper", "_told", "hold", "req")

    def __init__(self, hold: Hold | None, *, read: bool, kind: int, flags: int = 0) -> None:
        self.hold = hold
        self._keeper: set[Operation] | None = None
        self._told = bool(flags & TELL)  # is it on the core's list when it is done?
        self.req: Req = ffi.new("struct adma_req *")
        self.req.kind = kind
        self.req.is_read = read
        self.req.flags = flags
        if hold is not None:
            self.aim(hold)

    def aim(self, hold: Hold) -> None:
        """Say which buffer the message is in, or will be in."""
        self.hold = hold
        self.req.address = hold
        self.req.length = len(hold)

    @property
    def done(self) -> bool:
        """Will the core not touch the buffer any more?"""
        return bool(self.req.state == DONE)

    def keep(self, keeper: set[Operation]) -> None:
        """Before it is posted: stay in `keeper` until the buffer was given back."""
        self._keeper = keeper
        keeper.add(self)
        if self._told:
            holds.keep(self.req, self)

    def tell(self, chan: Chan) -> None:
        """The call that posted it leaves it pending: from now on others look after the buffer."""
        if self._keeper is None:
            return  # it was done in its post
        self._told = True
        holds.keep(self.req, self)
        if lib.adma_tell(chan, self.req):
            self.let_go_if_done()

    def release(self) -> None:
        """Give the buffer back to its owner. The operation is done, or was never posted."""
        self.let_go()
        if (keeper := self._keeper) is not None:
            if self.req.held:
                quarantine.append(self)
            keeper.discard(self)
        if self._told:
            holds.forget(self.req)
        self._keeper = None

    def let_go_if_done(self) -> bool:
        """Give the buffer back to its owner, if the core is through with it: True."""
        if self._keeper is None:
            return True
        if not self.done:
            return False
        self.release()
        return True

    def let_go_after_fork(self) -> None:
        """The core does not touch buffers in a forked child."""
        self.release()

    def let_go(self) -> None:
        """Give the buffer back to its owner. The core is through with it.

        The hold is released by hand, since a traceback may refer to what refers to it.
        """
        if not self.req.held:
            hold, self.hold = self.hold, None  # two threads may come by at once
            if hold is not None:
                ffi.release(hold)


def whose_memory_is_gone(operation: Operation) -> str:
    """After EFAULT: the buffer of which a page cannot be accessed, in words."""
    gone = lib.adma_memory_is_gone(operation.req.address, operation.req.length)
    if gone < 0:
        return "one of the two buffers"
    return "this end's buffer" if gone else "the peer's buffer"


# Kept for ever: buffers that a stopped peer may still touch.
quarantine: list[Operation] = []


def post(chan: Chan, operations: Sequence[Operation]) -> int:
    """Post in order, all or none. 0, or an error."""
    if len(operations) == 1:
        return lib.adma_post_one(chan, operations[0].req)
    reqs = ffi.new("struct adma_req *[]", [operation.req for operation in operations])
    return lib.adma_post(chan, reqs, len(operations))


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
