# SPDX-License-Identifier: BSD-3-Clause
"""The end of the interpreter: what was posted is delivered, within one time for all channels.

`atexit` calls this at the ordinary end of a program. A child of multiprocessing does not run what
`atexit` knows: it has finalizers of its own, among them those of pools and executors.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
import weakref
from typing import TYPE_CHECKING, Any, Final, Protocol

from .._core import ending
from .._core.waiting import drain

if TYPE_CHECKING:
    from .._core.types import Chan, Worker

__all__ = ["End", "delist", "enlist"]

TIMEOUT: Final = 5.0  # seconds for all of them together


class End(Protocol):
    """A channel's or a worker's end, as this module closes it."""

    made_by: int  # the process

    def begin_drain(self) -> None:
        """Stop reading, and tell the peers."""

    def handles(self) -> tuple[list[Chan], list[Worker]]:
        """What has to be driven until it is drained."""

    def cut_off(self) -> None:
        """Close it without waiting any longer. Warns of what could not be delivered."""


_open: weakref.WeakSet[Any] = weakref.WeakSet()  # of End
_finalizer: Any = None
_finalizer_of = 0  # the process that it is for


def enlist(end: End) -> None:
    """End this one in order if the program does not."""
    _open.add(end)
    _follow_multiprocessing()


def delist(end: End) -> None:
    """It is closed."""
    _open.discard(end)


def _follow_multiprocessing() -> None:
    """Have multiprocessing call us, too, if this process may be a child of its making."""
    global _finalizer, _finalizer_of
    util = sys.modules.get("multiprocessing.util")
    process = sys.modules.get("multiprocessing.process")
    if util is None or process is None or process.parent_process() is None:
        return  # in the first process `atexit` calls us, in its order
    # A child forgets the finalizers of its parent. Another copy of one does nothing.
    if _finalizer_of != os.getpid() or not _finalizer.still_active():
        _finalizer = util.Finalize(None, end_all, exitpriority=0)
        _finalizer_of = os.getpid()


def end_all() -> None:
    """Drain and close everything that this process has open."""
    ending.begin()
    ends = [end for end in list(_open) if end.made_by == os.getpid()]
    errors: list[Exception] = []
    try:
        _drain(ends)
    finally:
        for end in ends:
            try:
                end.cut_off()
            except Exception as error:  # a warning that is an error must not keep others open
                errors.append(error)
    if errors:
        raise errors[0]


def _drain(ends: list[End]) -> None:
    chans: list[Chan] = []
    workers: list[Worker] = []
    for end in ends:
        end.begin_drain()
        some_chans, some_workers = end.handles()
        chans += some_chans
        workers += some_workers
    if chans or workers:
        drain(chans, workers, time.monotonic() + TIMEOUT)


atexit.register(end_all)
