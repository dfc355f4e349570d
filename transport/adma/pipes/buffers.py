# SPDX-License-Identifier: BSD-3-Clause
"""Buffers of the caller, as a line takes and fills them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .._core.buffers import check_lends, memory_of

if TYPE_CHECKING:
    from ..buffer_types import Gathered, Scattered

__all__ = ["Destination", "parts_of"]


def parts_of(buf: Gathered, call: str) -> list[memoryview] | None:
    """The bytes of a buffer, or of a list of them. None: Python cannot look at them.

    TypeError, BufferError: what is wrong with a buffer.
    """
    try:
        return [_view(each, call, name, fill=False) for each, name in _named(buf)]
    except ValueError:  # NumPy has no format for dates, for instance
        return None


class Destination:
    """What a message is read into."""

    def __init__(self, buf: Scattered, call: str) -> None:
        """TypeError, BufferError, ValueError: what is wrong with a buffer."""
        self._views = [_view(each, call, name, fill=True) for each, name in _named(buf)]
        self.nbytes = sum(view.nbytes for view in self._views)
        spans = sorted(span for view in self._views if (span := memory_of(view)) and span[1])
        for (start, nbytes), (after, _) in pairwise(spans):
            if start + nbytes > after:
                raise ValueError(
                    f"{call}(buf): two buffers of the list overlap, so one would be overwritten; "
                    "pass buffers that share no memory"
                )

    def fill(self, message: bytes) -> int:
        """Spread a message, which is not too long; returns its bytes."""
        at = 0
        for view in self._views:
            if piece := message[at : at + view.nbytes]:  # one without bytes cannot be written to
                view[: len(piece)] = piece
            at += len(piece)
        return len(message)


def _named(buf: Any) -> list[tuple[Any, str]]:
    if isinstance(buf, list | tuple):
        return [(each, f"buf[{index}]") for index, each in enumerate(buf)]
    return [(buf, "buf")]


def _view(buf: Any, call: str, name: str, *, fill: bool) -> memoryview:
    check_lends(buf, call, fill, name)
    view = memoryview(buf)
    return view.cast("B") if view.nbytes else memoryview(b"")
