# SPDX-License-Identifier: BSD-3-Clause
"""What a communicator is for adma: its numbers, and where each rank is.

A context is an attribute of the MPI communicator, so that every Python object of the same handle
finds it, and freeing the communicator lets go of it.
"""

from __future__ import annotations

from typing import Any, Final

from mpi4py import MPI

from .._core.calls import Ranks
from . import agreement
from .processes import Here, Process, here

__all__ = [
    "ANY_TAG_MASK",
    "OBJECT",
    "PARTITIONED",
    "PLAIN",
    "PLAIN_MASK",
    "TAG_BITS",
    "TAG_MASK",
    "Context",
    "attach",
    "context_of",
    "derive",
]

# The 64 bits of a tag on the wire: two of these kinds, 31 bits of the receiver's number for the
# communicator, and 31 bits of MPI's tag, or of a serial number.
TAG_BITS: Final = 31
TAG_MASK: Final = (1 << TAG_BITS) - 1
PLAIN: Final = 0  # a message
OBJECT: Final = 1 << 62  # the head of an object with parts
PART: Final = 1 << 63  # a part of an object, or a partition
PARTITIONED: Final = PART | OBJECT  # how the partitions of a message will come
_ALL: Final = (1 << 64) - 1
PLAIN_MASK: Final = _ALL & ~OBJECT  # messages and heads of objects meet the same receives
ANY_TAG_MASK: Final = PLAIN_MASK & ~TAG_MASK


class Context:
    """A communicator, for adma."""

    __slots__ = (
        "attached",
        "comm",
        "compiled",
        "freed",
        "held",
        "looked",
        "me",
        "mourned",
        "number",
        "numbers",
        "peers",
        "pending",
        "rank",
        "ranks",
        "shadow",
        "tag_ub",
    )

    def __init__(
        self,
        comm: MPI.Comm,
        peers: list[Process | None],
        numbers: list[int],
        number: int,
        shadow: MPI.Comm | None,
    ) -> None:
        self.comm = comm  # MPI's own object
        self.me: Here = here()
        self.peers = peers  # by rank, of the remote group for an intercommunicator; None: by MPI
        self.numbers = numbers  # what each of them calls this communicator
        self.number = number  # what we call it
        self.rank = comm.Get_rank()
        self.ranks = {peer: rank for rank, peer in enumerate(peers) if peer is not None}
        self.shadow = shadow  # for the ranks that are reached by MPI, so that it meets nobody else
        self.tag_ub: int = min(TAG_MASK, int(MPI.COMM_WORLD.Get_attr(MPI.TAG_UB)))
        #: What the compiled calls know. Ranks are added to it once they are connected.
        self.compiled = Ranks(self.me.worker, len(peers), number, self.tag_ub, shadow is None)
        self.freed = False
        self.attached: Any = None  # a buffer of its own for buffered sends; see buffered.py
        self.mourned: set[Process] = set()  # of whose death a receive from anybody has told
        self.looked = 0.0  # when a call that never waits has looked for deaths last
        self.pending: list[Any] = []  # receives that MPI may meet, in their order; see elsewhere.py
        self.held: list[Any] = []  # messages of MPI's that met none of these

    def free(self) -> None:
        """The communicator is freed: nothing new is sent or received on it. Collective."""
        if not self.freed:
            self.freed = True
            self.compiled.close()
            if self.shadow is not None:
                self.shadow.Free()


_keyval = MPI.KEYVAL_INVALID


def _key() -> int:
    global _keyval
    if _keyval == MPI.KEYVAL_INVALID:
        _keyval = MPI.Comm.Create_keyval()
    return int(_keyval)


def context_of(comm: MPI.Comm) -> Context | None:
    """The context of a communicator, if it has one."""
    found: Context | None = comm.Get_attr(_key())
    return found


def attach(raw: MPI.Comm) -> Context:
    """Agree about a communicator that adma does not know yet. Collective over it."""
    if isinstance(raw, MPI.Intercomm):
        both = raw.Merge()
        try:
            found = agreement.neighbours(both, here())
            return _attached(raw, both, found)
        finally:
            both.Free()
    found = agreement.neighbours(raw, here())
    return _attached(raw, raw, found)


def derive(raw: MPI.Comm, parent: Context) -> Context:
    """The context of a communicator whose ranks are all of `parent`. Collective over it."""
    if isinstance(raw, MPI.Intercomm) or isinstance(parent.comm, MPI.Intercomm):
        return attach(raw)
    group, whole = raw.Get_group(), parent.comm.Get_group()
    try:
        ranks = MPI.Group.Translate_ranks(group, list(range(raw.size)), whole)
    finally:
        group.Free()
        whole.Free()
    found = {
        rank: peer
        for rank, theirs in enumerate(ranks)
        if (peer := parent.peers[theirs]) is not None
    }
    return _attached(raw, raw, found)


def _attached(raw: MPI.Comm, whole: MPI.Intracomm, found: dict[int, Process]) -> Context:
    """`whole` has the ranks of `raw`, and of its remote group."""
    number = here().next_context()
    numbers, elsewhere = agreement.numbers_of(whole, number, len(found) < whole.size)
    ranks = list(range(whole.size))
    if raw is not whole:
        group, all_of = raw.Get_remote_group(), whole.Get_group()
        try:
            ranks = list(MPI.Group.Translate_ranks(group, list(range(group.size)), all_of))
        finally:
            group.Free()
            all_of.Free()
    shadow = raw.Dup() if elsewhere else None
    context = Context(
        raw, [found.get(rank) for rank in ranks], [numbers[rank] for rank in ranks], number, shadow
    )
    raw.Set_attr(_key(), context)
    return context
