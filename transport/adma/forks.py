# SPDX-License-Identifier: BSD-3-Clause
"""Forks: what has to be complete before one, and what a forked child lets go of.

A child has copies of all descriptors, and only the thread that forked. What other threads were
about to do is never finished there. So a block of code that makes descriptors, and then writes
down who owns them, runs inside `held_off()`: forks of other threads wait until it is over. And
whoever owns something that a child must not keep, or a lock that another thread may hold at the
fork, names a function that the child runs on it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

__all__ = ["before", "held_off", "in_child"]

T = TypeVar("T")

# Seconds for which a fork keeps others from beginning a block, until all blocks are over. If one
# is not over then, it may wait for another one to begin, in another thread; so then they may
# begin, and the fork waits on. At last it happens all the same.
_FIRST: Final = 0.05
_PATIENCE: Final = 1.0


class _Gate:
    """Threads inside blocks that hold forks off, and forks, which hold off new blocks."""

    def __init__(self) -> None:
        # Taken by itself, and not by way of the condition: the exception of a signal's handler may
        # come between the two steps of that, and leave the lock taken.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._inside: dict[int, int] = {}  # by thread: how many blocks, one in the other
        self._forks = 0

    def enter(self) -> None:
        me = threading.get_ident()
        with self._lock:
            while self._forks and me not in self._inside:
                self._changed.wait()
            self._inside[me] = self._inside.get(me, 0) + 1

    def leave(self) -> None:
        me = threading.get_ident()
        with self._lock:
            self._inside[me] -= 1
            if not self._inside[me]:
                del self._inside[me]
                self._changed.notify_all()

    def close(self) -> None:
        """Before a fork. A signal handler may fork inside a block of its own thread."""
        with self._lock:
            self._forks += 1
            if not self._changed.wait_for(self._is_empty, _FIRST):
                self._forks -= 1
                self._changed.notify_all()
                try:
                    self._changed.wait_for(self._is_empty, _PATIENCE)
                finally:  # a signal's exception is printed, and the fork is made
                    self._forks += 1

    def _is_empty(self) -> bool:
        return not self._inside.keys() - {threading.get_ident()}

    def open(self) -> None:
        """After the fork, in the parent."""
        with self._lock:
            self._forks -= 1
            self._changed.notify_all()

    def child(self) -> _Gate:
        """The gate of the child, which has the thread that forked and no other."""
        gate = _Gate()
        me = threading.get_ident()
        if me in self._inside:
            gate._inside[me] = self._inside[me]
        return gate


_gate = _Gate()
_before: weakref.WeakKeyDictionary[Any, Callable[[Any], None]] = weakref.WeakKeyDictionary()
_in_child: weakref.WeakKeyDictionary[Any, Callable[[Any], None]] = weakref.WeakKeyDictionary()


@contextlib.contextmanager
def held_off() -> Iterator[None]:
    """No other thread forks while the block runs, unless it takes long.

    So it should not wait for another process. Blocks of a thread may be one in the other.
    """
    _gate.enter()
    try:
        yield
    finally:
        _gate.leave()


def before(owner: T, prepare: Callable[[T], None]) -> None:
    """From now on, as long as `owner` lives: run `prepare(owner)` before each fork."""
    _before[owner] = prepare


def in_child(owner: T, let_go: Callable[[T], None]) -> None:
    """From now on, as long as `owner` lives: run `let_go(owner)` in each forked child."""
    _in_child[owner] = let_go


def _run(registered: weakref.WeakKeyDictionary[Any, Callable[[Any], None]]) -> None:
    # Copied at once, since other threads add to it; and all are kept until the end, since one
    # owner may let go of another.
    owners = [reference() for reference in registered.keyrefs()]
    for owner in owners:
        if owner is not None and (function := registered.get(owner)) is not None:
            with contextlib.suppress(OSError):  # one that fails keeps no other from its turn
                function(owner)


def _ahead() -> None:
    _gate.close()
    _run(_before)


def _parent() -> None:
    _gate.open()


def _child() -> None:
    global _gate
    _gate = _gate.child()
    _run(_in_child)


os.register_at_fork(before=_ahead, after_in_parent=_parent, after_in_child=_child)
