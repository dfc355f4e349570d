# SPDX-License-Identifier: BSD-3-Clause
"""Messages that a probe found, and those that a matched probe took."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .context import OBJECT, TAG_MASK, Context
from .processes import here

if TYPE_CHECKING:
    from mpi4py import MPI

    from .._core.worker import Found as Seen
    from ..messages.worker import Message

__all__ = ["Found", "Taken"]


class Found(NamedTuple):
    """A message that waits for a receive."""

    source: int
    tag: int
    nbytes: int

    @classmethod
    def of_worker(cls, context: Context, seen: Seen) -> Found:
        """One that the worker found, which knows endpoints and tags on the wire."""
        rank = context.ranks[here().process_at(seen.source)]
        return cls(rank, seen.tag & TAG_MASK, seen.nbytes)


class Taken:
    """A message that is to be received by whoever holds this."""

    __slots__ = ("by_mpi", "context", "found", "has_parts", "message")

    def __init__(
        self,
        context: Context,
        found: Found,
        message: Message | None,
        by_mpi: MPI.Message | None = None,
        *,
        has_parts: bool = False,
    ) -> None:
        self.context = context
        self.found = found
        self.message = message  # the worker's
        self.by_mpi = by_mpi
        self.has_parts = has_parts

    @classmethod
    def of_worker(cls, context: Context, message: Message) -> Taken:
        """One that the worker took."""
        found = Found.of_worker(context, message.found)
        return cls(context, found, message, has_parts=bool(message.found.tag & OBJECT))
