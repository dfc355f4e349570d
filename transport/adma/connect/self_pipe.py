# SPDX-License-Identifier: BSD-3-Clause
"""A pipe of this process to itself: it wakes a thread that waits in poll(2)."""

from __future__ import annotations

import threading

from .pipe import Pipe

__all__ = ["SelfPipe"]

_AT_ONCE = 4096  # bytes that one read takes


class SelfPipe:
    """Any thread wakes the one that polls. OSError: there is no pipe to be had."""

    def __init__(self) -> None:
        self._pipe = Pipe()
        # Against a write while another thread closes it. A signal handler may close what its own
        # thread is about to write to.
        self._lock = threading.RLock()

    def fileno(self) -> int:
        """Readable from `wake` on, until `drain`; -1 after close."""
        return self._pipe.out

    def wake(self) -> None:
        """Make it readable. It stays so, however often this is called."""
        with self._lock:
            self._pipe.put()

    def drain(self) -> None:
        """Make it readable no more."""
        with self._lock:
            self._pipe.take(_AT_ONCE)

    def close(self) -> None:
        """Closing twice is no error."""
        with self._lock:
            self._pipe.close()

    def renew(self) -> None:
        """In a forked child, where the pipe is the parent's: a pipe of the child's own."""
        self._lock = threading.RLock()
        self._pipe.close()
        self._pipe = Pipe()
