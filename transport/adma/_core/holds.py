# SPDX-License-Identifier: BSD-3-Clause
"""What is complete while nobody looks: its buffers go back to their owners all the same.

A call that finds a request done lets its buffers go. What no call saw is on a list of the core's
(adma_hold.h). The interpreter's main thread empties it between two of its instructions: that
is the pending call which a thread of the core asks for (Py_AddPendingCall). A call of `adma`
that posts or waits empties it as well, since the main thread may be busy elsewhere for long.

Both are let go in C (binding/interpreter.h).
"""

from __future__ import annotations

import atexit
import os

from . import _messages
from ._native import lib

__all__ = ["any_finished", "count_finished", "let_go_finished"]

#: Is anything on the list? One call into C.
any_finished = lib.adma_holds_any
#: Let go of the buffers of all that is on the list.
let_go_finished = _messages.let_go_finished


def count_finished() -> int:
    """How many messages and copies are done and still hold a buffer."""
    return _messages.count_finished() + _messages.count_finished_copies()


def _after_fork() -> None:
    """In the child nobody touches them: what is under way is the parent's."""
    _messages.after_fork()
    _messages.copies_after_fork()


# First here, and so last at exit: by then channels are closed, and copies are done.
atexit.register(_messages.interpreter_end)
os.register_at_fork(after_in_child=_after_fork)
_messages.interpreter_begin()
