# SPDX-License-Identifier: BSD-3-Clause
"""Sends, receives and probes: where each of them goes.

A rank that is reached through adma has an endpoint of the worker, and this process has one to
itself. A rank of another node is reached by MPI (elsewhere.py).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, TypeVar

from mpi4py import MPI

from .._core.constants import EAGER_MAX
from ..messages.worker import ANY_SOURCE
from . import elsewhere, statuses
from .activity import Activity, Nothing, Receive, Send
from .context import ANY_TAG_MASK, OBJECT, PART, PLAIN, PLAIN_MASK, TAG_BITS, Context
from .found import Found, Taken
from .processes import here

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..messages.worker import TagRequest
    from .activity import Sendable
    from .spec import Memory

__all__ = ["check", "post_receive", "probe", "receive", "send", "send_object", "take"]

T = TypeVar("T")

_SERIALS: Final = 1 << TAG_BITS


def check(context: Context | None, comm: MPI.Comm, rank: int, tag: int, *, receives: bool) -> None:
    """Fail as MPI does if there is no such rank or tag, or the communicator is no more."""
    if context is None or context.freed:
        statuses.fail(None, MPI.ERR_COMM, None, "the communicator was freed")
    anybody = receives and rank == MPI.ANY_SOURCE
    if not (0 <= rank < len(context.peers) or anybody or rank == MPI.PROC_NULL):
        text = f"rank {rank}: the communicator has ranks 0 to {len(context.peers) - 1}"
        statuses.fail(comm, MPI.ERR_RANK, None, text)
    if not (0 <= tag <= context.tag_ub or (receives and tag == MPI.ANY_TAG)):
        statuses.fail(comm, MPI.ERR_TAG, None, f"tag {tag}: tags are 0 to {context.tag_ub}")


# Sends


def send(
    context: Context, memory: Sendable, dest: int, tag: int, *, synchronous: bool = False
) -> Activity:
    """Send bytes."""
    if dest == MPI.PROC_NULL:
        return Nothing(receives=False)
    if context.peers[dest] is None:
        return elsewhere.send(context, memory, dest, tag, synchronous=synchronous)
    wire = PLAIN | context.numbers[dest] << TAG_BITS | tag
    try:
        number = endpoint(context, dest)
        request = here().worker.send(number, wire, memory.view, synchronous=synchronous)
    except EOFError:
        if synchronous or not _may_be_dropped(memory.view.nbytes):
            raise
        return Nothing(receives=False)
    here().carried += 1
    return Send(context, [request], memory)


def send_object(
    context: Context,
    head: bytes,
    parts: list[memoryview],
    dest: int,
    tag: int,
    *,
    synchronous: bool = False,
) -> Activity:
    """Send the head of an object and its parts, the first of which has the serial in the head."""
    me = here()
    context_bits = context.numbers[dest] << TAG_BITS
    serial = me.serials(len(parts))
    message = serial.to_bytes(4, "little") + head
    try:
        number = endpoint(context, dest)
        requests = [
            me.worker.send(number, OBJECT | context_bits | tag, message, synchronous=synchronous)
        ]
    except EOFError:
        nbytes = len(message) + sum(part.nbytes for part in parts)
        if synchronous or not _may_be_dropped(nbytes):
            raise
        return Nothing(receives=False)
    me.carried += 1
    for place, part in enumerate(parts):
        wire = PART | context_bits | (serial + place) % _SERIALS
        requests.append(me.worker.send(number, wire, part))
    return Send(context, requests, parts)


def _may_be_dropped(nbytes: int) -> bool:
    """Is a message to a rank that has ended in order so short that nobody need be told?

    MPI keeps a short message that nobody receives, and says nothing, and programs rely on that: a
    pool may tell its workers twice to end. In a forked child of a rank nobody has ended.
    """
    return nbytes <= EAGER_MAX and os.getpid() == here().made_by


def post_part(
    context: Context, number: int, serial: int, buf: memoryview | bytearray
) -> TagRequest:
    """Receive a part of an object, or a partition."""
    wire = PART | context.number << TAG_BITS | serial % _SERIALS
    return here().worker.receive(number, wire, buf, consume=True)


def endpoint(context: Context, rank: int) -> int:
    """The endpoint to a rank of this machine."""
    peer = context.peers[rank]
    assert peer is not None
    number = here().endpoint_to(peer)
    context.compiled.reach(rank, number, context.numbers[rank])
    return number


# Receives


def criteria(context: Context, source: int, tag: int) -> tuple[int, int, int]:
    """Endpoint, tag and mask for the worker."""
    number = ANY_SOURCE if source == MPI.ANY_SOURCE else endpoint(context, source)
    bits = context.number << TAG_BITS
    if tag == MPI.ANY_TAG:
        return number, bits, ANY_TAG_MASK
    return number, bits | tag, PLAIN_MASK


def receive(context: Context, memory: Memory, source: int, tag: int) -> Activity:
    """Receive bytes from a rank, or from any of them."""
    if context.shadow is not None and elsewhere.may_meet(context, source):
        return elsewhere.receive(
            context, memory, source, tag, lambda: post_receive(context, memory, source, tag)
        )
    return post_receive(context, memory, source, tag)


def post_receive(context: Context, memory: Memory, source: int, tag: int) -> Receive:
    """Receive bytes from a rank of this machine, or from any of them."""
    number, wire, mask = criteria(context, source, tag)
    request = here().worker.receive(number, wire, memory.view, mask=mask, consume=True)
    return Receive(context, request, memory, anybody=source == MPI.ANY_SOURCE)


# Probes


def probe(context: Context, source: int, tag: int) -> Found | None:
    """The message that a receive would get now."""
    return _look(context, source, tag, elsewhere.probe, _probe)


def take(context: Context, source: int, tag: int) -> Taken | None:
    """The same, and nobody else gets it."""
    return _look(context, source, tag, elsewhere.take, _take)


def _look(
    context: Context,
    source: int,
    tag: int,
    there: Callable[[Context, int, int], T | None],
    at_home: Callable[[Context, int, int], T | None],
) -> T | None:
    """What is found among the messages of other nodes, or else among those of this one."""
    if context.shadow is not None and elsewhere.may_meet(context, source):
        found = there(context, source, tag)
        if found is not None or source != MPI.ANY_SOURCE:
            return found
    return at_home(context, source, tag)


def _probe(context: Context, source: int, tag: int) -> Found | None:
    seen = here().worker.probe(*criteria(context, source, tag))
    return None if seen is None else Found.of_worker(context, seen)


def _take(context: Context, source: int, tag: int) -> Taken | None:
    message = here().worker.take(*criteria(context, source, tag))
    return None if message is None else Taken.of_worker(context, message)
