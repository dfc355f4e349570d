# SPDX-License-Identifier: BSD-3-Clause
"""Channels between two ranks of a communicator: adma's own API beside MPI's."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mpi4py import MPI

from ..arguments import FOREVER, deadline_of, whole_between
from ..meeting import from_socket
from ..messages.explanation import Explanation
from ..messages.message import bytes_of
from .context import Context, context_of
from .processes import here

if TYPE_CHECKING:
    from ..channel import Channel

__all__ = ["channel", "explain"]

BY_MPI = (
    "the two ranks are on different nodes, of different users, or do not see each other's sockets"
)

_PATIENCE = 30.0  # seconds for both ranks to ask


def channel(comm: MPI.Comm, peer: int, timeout: float | None = _PATIENCE) -> Channel:
    """A channel to rank `peer` of `comm`, which calls this for a channel to this rank.

    Each such pair of calls makes one channel, whose messages never meet those of MPI. The first
    call of one rank meets the first of the other, and so on. Close it before MPI ends.

    ValueError: `peer` is this rank, or none of the ranks. TimeoutError: it has not asked for a
    channel within `timeout` seconds; None means no limit. PeerDied: it has ended. RuntimeError:
    adma does not know the communicator, or MPI is what carries messages between the two.
    """
    context = context_of(comm)
    if context is None or context.freed:
        raise RuntimeError(
            f"{comm.Get_name() or 'this communicator'} is none of adma's, so that its other ranks "
            "may not know of adma; cure: adma.mpi.wrap(comm), in all of its ranks"
        )
    rank = rank_of(context, peer)
    deadline = deadline_of(timeout, "channel") or time.monotonic() + FOREVER
    process = context.peers[rank]
    if process is None:
        raise RuntimeError(
            f"channel(peer={rank}): {BY_MPI}; channels are between processes of one machine"
        )
    if process is here().itself:
        raise ValueError(f"peer={rank} is this rank: adma.pipe() connects a process with itself")
    sock = here().socket_to(process, context.number, context.numbers[rank], deadline)
    return from_socket(sock, max(0.0, deadline - time.monotonic()))


def explain(context: Context, peer: int, nbytes: int) -> Explanation:
    """See `communicators.Comm.explain`."""
    rank = rank_of(context, peer)
    wanted = bytes_of(nbytes, "explain(nbytes)")
    process = context.peers[rank]
    if process is None:
        return Explanation(wanted, "MPI", None, BY_MPI)
    me = here()
    found = me.worker.explain(me.endpoint_to(process), wanted)
    return found or Explanation(wanted, "self", None, "it is copied within this process")


def rank_of(context: Context, peer: int) -> int:
    """A rank, checked."""
    last = len(context.peers) - 1
    return whole_between(
        peer, 0, last, "peer is a rank, a whole number", f"peer={{}}: ranks are from 0 to {last}"
    )
