# SPDX-License-Identifier: BSD-3-Clause
"""What is complete while nobody looks: its buffers go back to their owners all the same.

A call that finds a request done lets its buffers go. What no call saw is on a list of the core's
(adma_hold.h). The interpreter's main thread empties it between two of its instructions: that
is the pending call which a thread of the core asks for (Py_AddPendingCall). A call of `adma`
that posts or waits empties it as well, since the main thread may be busy elsewhere for long.

Messages are let go in C (binding/interpreter.h). Copies, which are listed as well, are kept here.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from . import _messages
from ._native import ffi, lib

if TYPE_CHECKING:
    from .types import Copy

__all__ = ["any_finished", "count_finished", "forget", "keep", "let_go_finished"]


class Held(Protocol):
    """What has buffers that are to be let go."""

    def let_go_if_done(self) -> bool:
        """Give the buffers back to their owners, and `forget` the core's object, if it is done."""

    def let_go_after_fork(self) -> None:
        """In a forked child: give them back, whatever becomes of them in the parent."""


# By the address of the core's object, which is how cffi compares pointers. What is listed is in it.
_kept: Final[dict[Any, Held]] = {}

_remove: Final[Callable[[Any], None]] = lib.adma_holds_remove
#: Is anything on the list? One call into C.
any_finished = lib.adma_holds_any
#: Let go of the buffers of all that is on the list.
let_go_finished = _messages.let_go_finished


def keep(raw: Copy, held: Held) -> None:
    """Before a post: keep `held` alive, and let go of it once `raw` is done and nobody looks."""
    _kept[raw] = held


def forget(raw: Copy) -> None:
    """`raw` is done, or was not posted: its memory may be freed. Twice is no error.

    To be called last: what a signal interrupts before is still on the list, and is done again.
    """
    try:
        _remove(raw)
    finally:
        _kept.pop(raw, None)


def count_finished() -> int:
    """How many messages and copies are done and still hold a buffer."""
    copies = [held for held in _kept.values() if getattr(held, "_done", False)]
    return len(copies) + _messages.count_finished()


def _let_go_copy(address: int) -> bool:
    """Let go of a copy that is listed. False: another thread is doing that, and goes on."""
    raw = ffi.cast("void *", address)
    held = _kept.get(raw)
    if held is None:
        return False
    if held.let_go_if_done():
        _remove(raw)
    else:  # it is listed just before its state says so: its thread is between the two
        os.sched_yield()
    return True


def _after_fork() -> None:
    """In the child nobody touches them: what is under way is the parent's."""
    _messages.after_fork()
    for held in list(_kept.values()):
        held.let_go_after_fork()


# First here, and so last at exit: by then channels are closed, and copies are done.
atexit.register(_messages.interpreter_end)
os.register_at_fork(after_in_child=_after_fork)
_messages.interpreter_begin(_let_go_copy)
