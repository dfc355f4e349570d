# SPDX-License-Identifier: BSD-3-Clause
"""Processes that others have left behind: the test process inherits them (conftest.py).

Those of multiprocessing that keep track of resources, or fork, end a moment after their program.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from adma.testing.observe import children, until


@contextlib.contextmanager
def buried() -> Iterator[None]:
    """At the end all that came meanwhile have ended, too, and are reaped."""
    before = set(children(os.getpid()))
    yield
    until("its helpers have ended, too", lambda: not _reap(set(children(os.getpid())) - before))


def _reap(pids: set[int]) -> set[int]:
    return {pid for pid in pids if os.waitpid(pid, os.WNOHANG)[0] == 0}
