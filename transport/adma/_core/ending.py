# SPDX-License-Identifier: BSD-3-Clause
"""Threads that are still there when the interpreter ends.

At exit all channels are closed, so that peers are told of an orderly end. A daemon thread that
waits on one of them then has nobody left to report to: an exception would end as half a traceback
on stderr. So it stops where it is, as it would in `socket.recv`, and goes with the process.
"""

from __future__ import annotations

import _thread  # its locks are those of the system, also where `threading` was patched
import os
import threading

__all__ = ["begin", "stop_here"]

_ender: list[int] = []  # the thread that ends the interpreter
_never = _thread.allocate_lock()


def begin() -> None:
    """The calling thread ends the interpreter, and is about to close channels for that."""
    if not _ender:
        _never.acquire(blocking=False)
        _ender.append(_thread.get_ident())


def stop_here() -> None:
    """A channel was closed here. If that was at the end, a daemon thread stops.

    Others are waited for: a child of multiprocessing joins them after its channels were closed.
    """
    if _ender and _ender[0] != _thread.get_ident() and threading.current_thread().daemon:
        _never.acquire()


os.register_at_fork(after_in_child=_ender.clear)
