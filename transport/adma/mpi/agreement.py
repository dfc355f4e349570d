# SPDX-License-Identifier: BSD-3-Clause
"""Who is on this machine, and which pairs of ranks exchange their messages through adma.

All ranks of a communicator agree on this together, once. A pair uses adma if MPI calls it one
node, and each of the two is of the same user as the other one and sees its socket. There is no
fallback after that, so that no message is ever looked for in two places.
"""

from __future__ import annotations

import os
import stat
import struct
import time
from typing import Any, Final

from mpi4py import MPI

from ..connect.identity import own_uid
from ..connect.place import PATH_MAX
from .processes import KEY_SIZE, Here, Process

__all__ = ["neighbours", "numbers_of"]

# rank in the communicator, key, pid, uid, device and inode of the socket, its path
_RECORD: Final = struct.Struct(f"<I{KEY_SIZE}sIIQQ{PATH_MAX + 1}s")
_NUMBER: Final = struct.Struct("<II")
_PATIENCE: Final = 30.0  # seconds for all ranks to come
_PAUSE: Final = 0.001  # seconds between two looks whether they have
_ASK: Final = 1.0  # seconds for ranks to answer that they are there


def neighbours(comm: MPI.Intracomm, me: Here) -> dict[int, Process]:
    """The ranks that this process reaches through adma, itself included. Collective.

    `comm` is MPI's own. RuntimeError names the ranks that did not come within 30 s.
    """
    _meet(comm)
    node = comm.Split_type(MPI.COMM_TYPE_SHARED, comm.rank)
    try:
        return _agree(node, comm.rank, me)
    finally:
        node.Free()


def numbers_of(comm: MPI.Intracomm, number: int, elsewhere: bool) -> tuple[list[int], bool]:
    """Each rank's number for this communicator, and whether any pair uses MPI. Collective."""
    own = _NUMBER.pack(number, elsewhere)
    every = bytearray(_NUMBER.size * comm.size)
    comm.Allgather([own, MPI.BYTE], [every, MPI.BYTE])
    pairs = list(_NUMBER.iter_unpack(every))
    return [number for number, _ in pairs], any(flag for _, flag in pairs)


def _agree(node: MPI.Intracomm, rank: int, me: Here) -> dict[int, Process]:
    device, inode = me.place
    own = _RECORD.pack(rank, me.key, os.getpid(), own_uid(), device, inode, os.fsencode(me.path))
    every = bytearray(_RECORD.size * node.size)
    node.Allgather([own, MPI.BYTE], [every, MPI.BYTE])
    records = list(_RECORD.iter_unpack(every))
    seen = bytes(_reaches(record) for record in records)
    sights = bytearray(node.size * node.size)
    node.Allgather([seen, MPI.BYTE], [sights, MPI.BYTE])
    found: dict[int, Process] = {}
    for index, (their_rank, key, pid, _, _, _, path) in enumerate(records):
        if seen[index] and sights[index * node.size + node.rank]:
            found[their_rank] = me.know(key, pid, os.fsdecode(path.rstrip(b"\0")))
    return found


def _reaches(record: tuple[Any, ...]) -> bool:
    """Is this rank of our user, and is its socket what we find at its path?"""
    _, _, _, uid, device, inode, path = record
    try:
        status = os.stat(os.fsdecode(path.rstrip(b"\0")))
    except OSError:
        return False
    same = (status.st_dev, status.st_ino) == (device, inode)
    return uid == own_uid() and same and stat.S_ISSOCK(status.st_mode)


# Ranks that do not come


def _meet(comm: MPI.Intracomm) -> None:
    """Wait until all ranks are here. RuntimeError names those that are missing."""
    meeting = comm.Ibarrier()
    deadline = time.monotonic() + _PATIENCE
    while not meeting.Test():
        if time.monotonic() >= deadline:
            raise RuntimeError(
                f"ranks {_missing(comm)} of {comm.Get_name() or 'the communicator'} did not come "
                f"within {_PATIENCE:g} s: importing adma.MPI is for all ranks of COMM_WORLD, and "
                "adma.mpi.wrap(comm) for all of its communicator; cure: call it in every rank"
            )
        time.sleep(_PAUSE)


def _missing(comm: MPI.Intracomm) -> str:
    """The ranks that do not answer. All that wait ask each other, with the highest tag."""
    tag = comm.Get_attr(MPI.TAG_UB)
    others = [rank for rank in range(comm.size) if rank != comm.rank]
    asked = [comm.Isend([b"", MPI.BYTE], rank, tag) for rank in others]
    heard = {rank: comm.Irecv([bytearray(), MPI.BYTE], rank, tag) for rank in others}
    deadline = time.monotonic() + _ASK
    absent = set(others)
    while absent and time.monotonic() < deadline:
        absent = {rank for rank in absent if not heard[rank].Test()}
        time.sleep(_PAUSE)
    MPI.Request.Testall(asked)
    return ", ".join(map(str, sorted(absent))) or "that are slow"
