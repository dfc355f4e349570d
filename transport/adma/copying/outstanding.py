# SPDX-License-Identifier: BSD-3-Clause
"""The copies that were posted and are not done: they are kept here, whoever else drops them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Protocol

from .._core import copies as core

if TYPE_CHECKING:
    from .._core.types import Copy

__all__ = ["SLICE_NS", "abandon", "finish", "keep_for_ever", "pending"]

SLICE_NS: Final = 5_000_000  # of copying and sleeping, before signals are looked at


class _Posted(Protocol):
    """What this module has to know of a request."""

    @property
    def _copy(self) -> Copy: ...
    def _let_go(self) -> None: ...


pending: set[_Posted] = set()


def finish() -> None:
    """Wait for all that is outstanding now; not for what other threads post meanwhile."""
    for request in list(pending):
        if request._copy.state == core.IDLE:
            continue  # another thread is about to post it
        while not core.wait_one(request._copy, SLICE_NS):
            pass


def abandon() -> None:
    """Keep what is outstanding for ever: the interpreter ends while it is being copied."""
    for request in list(pending):
        keep_for_ever(request)


def keep_for_ever(what: object) -> None:
    """Keep an object past the end of the interpreter, which must not free what may be touched."""
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(what))


def _forked() -> None:
    """In the child: what is outstanding is the parent's, the buffers here are the child's."""
    for request in list(pending):
        request._let_go()


os.register_at_fork(after_in_child=_forked)
