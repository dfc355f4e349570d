# SPDX-License-Identifier: BSD-3-Clause
"""A bell: a descriptor that wakes a thread of this process that waits in poll(2)."""

from __future__ import annotations

import threading

from .pipe import Pipe

__all__ = ["Bell"]

_AT_ONCE = 4096  # bytes that one read takes


class Bell:
    """Rung by any thread. OSError: there is no pipe to be had."""

    def __init__(self) -> None:
        self._pipe = Pipe()
        # Against a ring while another thread closes it. A signal handler may close what its own
        # thread is about to ring.
        self._lock = threading.RLock()

    def fileno(self) -> int:
        """Readable from a ring on, until `quiet`; -1 after close."""
        return self._pipe.out

    def ring(self) -> None:
        """Make it readable. It stays so, however often it rings."""
        with self._lock:
            self._pipe.put()

    def quiet(self) -> None:
        """Make it silent again."""
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
