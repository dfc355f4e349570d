# SPDX-License-Identifier: BSD-3-Clause
"""The copies that were posted and are not done: they keep themselves, whoever else drops them."""

from __future__ import annotations

from typing import Final

from .._core import copies as core

__all__ = ["SLICE_NS", "finish"]

SLICE_NS: Final = 5_000_000  # of copying and sleeping, before signals are looked at


def finish() -> None:
    """Wait for all that is outstanding now; not for what other threads post meanwhile."""
    for request in core.kept_copies():
        if request._copy.state == core.IDLE:
            continue  # another thread is about to post it
        while not core.wait_one(request._copy, SLICE_NS):
            pass
