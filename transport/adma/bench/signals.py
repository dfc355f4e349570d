# SPDX-License-Identifier: BSD-3-Clause
"""Ctrl-C and similar signals: no process is left behind that the driver does not know.

Between `ended_by_signals()` SIGINT, SIGTERM and SIGHUP unwind the stack as exceptions. Inside
`held()` they wait until its end: while a process is being started (an exception there would leave
one that nobody knows) and while processes are being ended (a second Ctrl-C would leave the rest).
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Gate:
    """How many `held()` blocks are open, and the first signal that came meanwhile."""

    depth = 0
    waiting: int | None = None


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Unwind on SIGINT (KeyboardInterrupt), SIGTERM and SIGHUP (SystemExit 128 + number).

    A signal that was ignored before stays ignored. Does nothing outside the main thread, which
    alone may set handlers.
    """
    before = {}
    try:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, _arrived)
    except ValueError:
        pass
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Let signals wait until the end of the block. May be nested."""
    _Gate.depth += 1
    try:
        yield
    finally:
        _Gate.depth -= 1
        if _Gate.depth == 0 and _Gate.waiting is not None:
            number, _Gate.waiting = _Gate.waiting, None
            _unwind(number)


def _arrived(number: int, frame: FrameType | None) -> None:
    del frame
    if _Gate.depth:
        _Gate.waiting = _Gate.waiting or number
    else:
        _unwind(number)


def _unwind(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
