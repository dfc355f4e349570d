# SPDX-License-Identifier: BSD-3-Clause
"""Waiting that answers Ctrl-C, keeps its deadline and burns no core.

The C core copies and spins in slices of a few milliseconds; between them the
interpreter runs signal handlers as it always does. Before the core sleeps, all
signals are blocked, those that came before are handled, and `ppoll` lets the
others in while it sleeps: there is no moment between in which a Ctrl-C is
only noted (signal(7), ppoll(2)).
"""

from __future__ import annotations

import numbers
import signal
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import raise_for
from ._native import ffi, lib

if TYPE_CHECKING:
    from ._native import CData

__all__ = ["ManyWaiter", "OneWaiter", "deadline_of", "remaining"]

_LONG = 1e6  # seconds; more, infinity included, is as good as for ever
_READY, _BUSY = 0, 1  # enum adma_drive_result
_BUDGET_NS = 5_000_000  # copy at most this long before signals are looked at
_OWN_MEASURE = -1  # let the core decide how long to spin
# The kernel may hand a signal for the process to any thread, which does not
# end the main thread's sleep; so with other threads around it looks this often.
_SIGNAL_SLICE_NS = 100_000_000


def deadline_of(timeout: float | None, call: str) -> float | None:
    """The moment (time.monotonic) at which `timeout` seconds from now are over; None: never."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, numbers.Real):
        kind = type(timeout).__name__
        raise TypeError(f"{call}(timeout): seconds as a number, or None for ever, not {kind}")
    if not timeout >= 0:  # also NaN
        raise ValueError(f"{call}(timeout): {timeout} is no time to wait; use 0 to only try")
    return time.monotonic() + float(min(timeout, _LONG))


def remaining(deadline: float | None) -> float | None:
    """Seconds left until the deadline, at least 0; None: for ever."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())


class OneWaiter:
    """Waits for one request of one channel, or (request NULL) for a message on it."""

    __slots__ = ("_chan", "_req")

    def __init__(self, chan: CData, req: CData = ffi.NULL) -> None:
        self._chan = chan
        self._req = req

    def wait(self, deadline: float | None) -> bool:
        """True when what is waited for is there, False when the deadline passed before."""
        return _wait(self, deadline)

    def drive(self, spin: int) -> Any:
        return lib.adma_drive_one(self._chan, self._req, spin, _BUDGET_NS)

    def sleep(self, nanoseconds: int, mask: CData) -> None:
        lib.adma_sleep_one(self._chan, self._req, nanoseconds, mask)

    def give_up(self) -> None:
        lib.adma_give_up_one(self._chan)


class ManyWaiter:
    """Waits for `need` of several requests, of whatever channels."""

    __slots__ = ("_chans", "_reqs", "_struct")

    def __init__(
        self, chans: Sequence[CData], reqs: Sequence[CData], need: int, also: int = -1
    ) -> None:
        """`also`: a descriptor that ends a sleep when it is readable, or -1."""
        self._chans = ffi.new("struct adma_chan *[]", chans)
        self._reqs = ffi.new("struct adma_req *[]", reqs)
        self._struct = ffi.new(
            "struct adma_wait *", (self._chans, self._reqs, len(chans), len(reqs), need, also)
        )

    def wait(self, deadline: float | None) -> bool:
        """True when `need` requests are done, False when the deadline passed before."""
        return _wait(self, deadline)

    def step(self, deadline: float | None) -> bool:
        """One round, and one sleep at most. True when `need` requests are done."""
        state = self.drive(0)
        if state == _READY:
            return True
        if state < 0:
            raise_for(state)
        if state != _BUSY:
            _sleep(self, deadline)
        return False

    def drive(self, spin: int) -> Any:
        return lib.adma_drive(self._struct, spin, _BUDGET_NS)

    def sleep(self, nanoseconds: int, mask: CData) -> None:
        lib.adma_sleep(self._struct, nanoseconds, mask)

    def give_up(self) -> None:
        lib.adma_give_up(self._struct)


def _wait(waiter: OneWaiter | ManyWaiter, deadline: float | None) -> bool:
    try:
        return _wait_on(waiter, deadline)
    except BaseException:
        # Else what stays pending would be left to a caller who is not coming back.
        waiter.give_up()
        raise


def _wait_on(waiter: OneWaiter | ManyWaiter, deadline: float | None) -> bool:
    while True:
        late = deadline is not None and time.monotonic() >= deadline
        state = waiter.drive(0 if late else _OWN_MEASURE)
        if state == _READY:
            return True
        if state < 0:
            raise_for(state)
        if late:
            return False
        if state != _BUSY:
            _sleep(waiter, deadline)


def _sleep(waiter: OneWaiter | ManyWaiter, deadline: float | None) -> None:
    left = remaining(deadline)
    nanoseconds = -1 if left is None else int(left * 1e9)
    if threading.current_thread() is not threading.main_thread():
        waiter.sleep(nanoseconds, ffi.NULL)  # handlers run in the main thread only
        return
    if lib.adma_task_count() > 1 and not 0 <= nanoseconds < _SIGNAL_SLICE_NS:
        nanoseconds = _SIGNAL_SLICE_NS
    mask = ffi.new("sigset_t *")
    try:
        lib.adma_signals_block(mask)
        # Sends nothing, but runs the handlers of signals that came before.
        signal.pthread_kill(threading.get_ident(), 0)
        waiter.sleep(nanoseconds, mask)
    finally:
        lib.adma_signals_restore(mask)
