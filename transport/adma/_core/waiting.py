# SPDX-License-Identifier: BSD-3-Clause
"""Waiting that answers Ctrl-C, keeps its deadline and burns no core.

Most waits are compiled (transport/native/binding/wait_loop.c). Here is the same loop for what is
waited for in Python: poll sets, and copies together with messages.

The core copies and spins in slices of a few milliseconds; between them the
interpreter runs signal handlers as it always does. Before the core sleeps, all
signals are blocked, those that came before are handled, and `ppoll` lets the
others in while it sleeps: there is no moment between in which a Ctrl-C is
only noted (signal(7), ppoll(2)).
"""

from __future__ import annotations

import _thread
import errno
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from ..arguments import remaining
from ._messages import check_signals, wait_on, wait_on_one
from ._native import ffi, lib
from .holds import any_finished, let_go_finished
from .results import raise_for
from .types import NO_REQUEST

if TYPE_CHECKING:
    from ._native import adma_wait, sigset_t
    from .types import Chan, Req, Worker

__all__ = [
    "BUSY",
    "QUIET",
    "READY",
    "ManyWaiter",
    "OneWaiter",
    "drain",
    "runs_handlers",
    "wait_with",
]

# enum adma_drive_result
READY: Final = lib.ADMA_READY
BUSY: Final = lib.ADMA_BUSY
QUIET: Final = lib.ADMA_QUIET
_BUDGET_NS: Final = 5_000_000  # the core copies at most this long before signals are looked at
_OWN_MEASURE: Final = -1  # the core decides how long to spin
# The kernel may hand a signal for the process to any thread, which does not end the main
# thread's sleep. So where there are other threads, the main thread looks this often.
_SIGNAL_SLICE_NS: Final = 100_000_000
_SLICES: Final = 10  # so many of them make a sleep, if nothing happens
_NOTHING_HAPPENED: Final = -errno.ETIMEDOUT


class _Waiter(Protocol):
    """What waits: the core's calls for a poll set, or for that and requests."""

    def drive(self, spin: int) -> int: ...
    def sleep(self, nanoseconds: int, mask: sigset_t) -> int: ...
    def give_up(self) -> None: ...


class OneWaiter:
    """Waits for one request of one channel, or without a request for a message on it."""

    __slots__ = ("_chan", "_req")

    def __init__(self, chan: Chan, req: Req = NO_REQUEST) -> None:
        self._chan = int(ffi.cast("uintptr_t", chan))
        self._req = int(ffi.cast("uintptr_t", req))

    def wait(self, deadline: float | None) -> bool:
        """True when what is waited for is there, False when the deadline passed before."""
        return wait_on_one(self._chan, self._req, deadline)


class ManyWaiter:
    """Waits for `need` of several requests, of whatever channels and workers."""

    __slots__ = ("_chans", "_reqs", "_struct", "_workers")

    def __init__(
        self,
        chans: Sequence[Chan],
        reqs: Sequence[Req],
        need: int,
        also: int = -1,
        workers: Sequence[Worker] = (),
        *,
        drained: bool = False,
    ) -> None:
        """`also`: a descriptor that ends a sleep when it is readable, or -1.

        `drained`: wait instead until nothing is left to be carried on any of these that drain.
        """
        self._chans = ffi.new("struct adma_chan *[]", chans)
        self._reqs = ffi.new("struct adma_req *[]", reqs)
        self._workers = ffi.new("struct adma_worker *[]", workers)
        self._struct = ffi.new("struct adma_wait *")
        self._struct.chans, self._struct.nchans = self._chans, len(chans)
        self._struct.reqs, self._struct.nreqs = self._reqs, len(reqs)
        self._struct.workers, self._struct.nworkers = self._workers, len(workers)
        self._struct.need, self._struct.also, self._struct.drained = need, also, drained

    def wait(self, deadline: float | None) -> bool:
        """True when `need` requests are done, False when the deadline passed before."""
        return wait_on(int(ffi.cast("uintptr_t", self._struct)), deadline)

    def step(self, deadline: float | None, *, spins: bool = False) -> bool:
        """One round, and one sleep at most. True when `need` requests are done."""
        state = self.drive(_OWN_MEASURE if spins else 0)
        if state == READY:
            return True
        if any_finished():
            let_go_finished()
        if state < 0:
            raise_for(state)
        if state != BUSY:
            _sleep(self, deadline)
        return False

    @property
    def struct(self) -> adma_wait:
        """What is waited for, as the core takes it."""
        return self._struct

    def drive(self, spin: int) -> int:
        return lib.adma_drive(self._struct, spin, _BUDGET_NS)

    def sleep(self, nanoseconds: int, mask: sigset_t) -> int:
        return lib.adma_sleep(self._struct, nanoseconds, mask)

    def give_up(self) -> None:
        lib.adma_give_up(self._struct)


def drain(chans: Sequence[Chan], workers: Sequence[Worker], deadline: float | None) -> bool:
    """Wait until what was posted is carried. False: the deadline passed before."""
    return ManyWaiter(chans, (), 0, workers=workers, drained=True).wait(deadline)


def wait_with(waiter: _Waiter, deadline: float | None) -> bool:
    """True when what `waiter` waits for is there, False when the deadline passed before.

    After True the caller lets go of what it waited for, and then of what else is finished.
    """
    try:
        return _wait_on(waiter, deadline)
    except BaseException:
        # The core leaves what is pending to this thread until it comes back. It will not.
        waiter.give_up()
        raise


def _wait_on(waiter: _Waiter, deadline: float | None) -> bool:
    while True:
        late = deadline is not None and time.monotonic() >= deadline
        state = waiter.drive(0 if late else _OWN_MEASURE)
        if state == READY:
            return True
        if any_finished():
            let_go_finished()
        if state < 0:
            raise_for(state)
        if late:
            return False
        if state != BUSY:
            _sleep(waiter, deadline)


def _sleep(waiter: _Waiter, deadline: float | None) -> None:
    left = remaining(deadline)
    nanoseconds = -1 if left is None else int(left * 1e9)
    if not runs_handlers():
        waiter.sleep(nanoseconds, ffi.NULL)
        return
    nanoseconds, slices = _slices_of(nanoseconds)
    mask = ffi.new("sigset_t *")
    try:
        lib.adma_signals_block(mask)
        for _ in range(slices):
            check_signals()  # runs the handlers of those that came before
            if waiter.sleep(nanoseconds, mask) != _NOTHING_HAPPENED:
                break
    finally:
        lib.adma_signals_restore(mask)


def _slices_of(nanoseconds: int) -> tuple[int, int]:
    """For how long to sleep before a look for signals that other threads took, and how often."""
    if 0 <= nanoseconds <= _SIGNAL_SLICE_NS:
        return nanoseconds, 1
    # The core asks the system once a second. The interpreter knows of its own threads at once.
    limit = _SIGNAL_SLICE_NS if _thread._count() else lib.adma_signal_slice()
    if limit < 0 or 0 <= nanoseconds <= limit:
        return nanoseconds, 1
    if limit > _SIGNAL_SLICE_NS:
        return limit, 1
    return limit, _SLICES if nanoseconds < 0 else min(_SLICES, nanoseconds // limit)


def runs_handlers() -> bool:
    """Do the handlers of signals run in this thread? Only in the main thread of the interpreter.

    Where greenlets replace threads, those of the main thread have other thread objects; and where
    a program started the interpreter in a thread of its own, that one is not the first thread.
    """
    return threading.current_thread() is threading.main_thread() or lib.adma_is_first_thread()
