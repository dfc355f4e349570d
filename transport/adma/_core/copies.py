# SPDX-License-Identifier: BSD-3-Clause
"""The core's copies inside this process: planned, posted, waited for. adma_copy.h says more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from . import _messages
from ._native import ffi, lib

if TYPE_CHECKING:
    from ._native import adma_copy_signal
    from .types import Copy, Dims, Plan

# enum adma_copy_state
IDLE: Final = lib.ADMA_COPY_IDLE
READY: Final = lib.ADMA_COPY_READY
RUNNING: Final = lib.ADMA_COPY_RUNNING
DONE: Final = lib.ADMA_COPY_DONE

# Compiled for Python: binding/copies.h, binding/copy_type.h.
copy = _messages.copy
icopy = _messages.icopy
type_on = _messages.copy_type_on
#: A request that holds nothing yet, for a copy that is planned here.
new = _messages.new_copy
#: All that were posted, and hold their buffers still.
kept_copies = _messages.kept_copies
# Each of these is one call into C.
copy_now = lib.adma_copy_now
cancel = lib.adma_copy_cancel
wait_one = lib.adma_copy_wait_one
wait_room = lib.adma_copy_wait_room
notify = lib.adma_copy_notify
check = lib.adma_copy_check


def plan_of(copy: Copy) -> Plan:
    """The plan that is a part of a copy."""
    plan: Plan = ffi.addressof(copy, "plan")
    return plan


def plan_bytes(plan: Plan, dst: int, src: int, nbytes: int) -> None:
    """Plan to copy `nbytes` from one address to another."""
    lib.adma_plan_bytes(plan, ffi.cast("void *", dst), ffi.cast("void *", src), nbytes)


def plan_strided(
    plan: Plan, dst: int, src: int, width: int, dims: Sequence[tuple[int, int, int]]
) -> tuple[int, Dims]:
    """Plan to copy elements of `width` bytes; of each dimension how many, and both steps.

    A result (see adma_plan_strided), and memory that has to live as long as the plan.
    """
    raw: Dims = ffi.new("struct adma_dim[]", list(dims))
    to, from_ = ffi.cast("void *", dst), ffi.cast("void *", src)
    return lib.adma_plan_strided(plan, to, from_, width, raw, len(dims)), raw


class Copies:
    """Several copies that one call waits for."""

    __slots__ = ("_count", "_structs")

    def __init__(self, copies: Sequence[Copy]) -> None:
        self._structs = ffi.new("struct adma_copy *[]", copies)
        self._count = len(copies)

    def wait(self, need: int, slice_ns: int) -> int:
        """Wait until `need` are done, at most `slice_ns`: 1 then, 0 before, or an error."""
        return lib.adma_copy_wait(self._structs, self._count, need, slice_ns)


class Signal:
    """A descriptor that is readable once a copy has ended after `arm`. To be closed."""

    __slots__ = ("_signal",)

    def __init__(self) -> None:
        self._signal: adma_copy_signal = ffi.new("struct adma_copy_signal *", {"fd": -1})

    def open(self) -> int:
        """The descriptor. OSError when there is none left."""
        if rc := lib.adma_copy_signal_open(self._signal):
            raise OSError(-rc, "no descriptor to wait for copies and messages at once")
        return self._signal.fd

    def arm(self) -> None:
        """From now on the end of a copy is told. What was told before is forgotten."""
        lib.adma_copy_signal_arm(self._signal)

    def close(self) -> None:
        """Close the descriptor, if there is one."""
        lib.adma_copy_signal_close(self._signal)


def _copy(address: int) -> Copy:
    copy: Copy = ffi.cast("struct adma_copy *", address)
    return copy


_messages.copy_cast_by(_copy)
