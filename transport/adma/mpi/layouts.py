# SPDX-License-Identifier: BSD-3-Clause
"""How the entries of a datatype lie in memory: in one piece, or in parts that MPI packs."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any, Final

from mpi4py import MPI

__all__ = ["known_size", "pack", "size_in_one_piece", "unpack"]

# Somewhere to count addresses from, where MPI takes no null pointer.
_ANCHOR: Final = MPI.buffer.allocate(1)


# By identity, since datatypes have no hash. An object is one datatype for all its life.
_KNOWN: Final[dict[int, tuple[weakref.ref[Any], int | None]]] = {}


def known_size(datatype: Any) -> int | None:
    """`size_in_one_piece`, which is found out once for each object."""
    key = id(datatype)
    known = _KNOWN.get(key)
    if known is not None and known[0]() is datatype and datatype != MPI.DATATYPE_NULL:
        return known[1]
    size = size_in_one_piece(datatype)
    _KNOWN[key] = (weakref.ref(datatype, lambda _: _KNOWN.pop(key, None)), size)
    return size


def size_in_one_piece(datatype: Any) -> int | None:
    """Bytes of an entry, where entries follow each other as their bytes travel; else None.

    Extents alone do not tell: the parts of an entry may fill it in another order, or one may lie on
    another and leave a gap elsewhere. None is always right, and costs a copy.
    """
    size = int(datatype.Get_size())
    if datatype.Get_extent() != (0, size) or datatype.Get_true_extent() != (0, size):
        return None
    return size if _in_order(datatype) else None


def _in_order(datatype: Any) -> bool:
    """Does each part of the entry begin where the one before it ends?"""
    combiner = datatype.Get_envelope()[-1]
    if combiner in _ELEMENTARY:
        return True
    if combiner not in _BLOCKS:
        return False
    integers, addresses, counts, children = datatype.Get_contents()
    try:
        # An MPI tells large numbers apart from small ones or not. Their order is the same.
        blocks = _BLOCKS[combiner]([*integers, *addresses, *counts], children)
        return _are_joined(blocks)
    finally:
        for child in children:
            if not child.is_predefined:
                child.Free()


def _are_joined(blocks: Iterator[tuple[int, int, Any]]) -> bool:
    end = 0
    child = size = None
    for start, length, datatype in blocks:
        if datatype is not child:
            child, size = datatype, size_in_one_piece(datatype)
        if size is None or start != end:
            return False
        end += length * size
    return True


# What a datatype was made from, as blocks: where one starts, its length, and of which datatype.


def _extent(datatype: Any) -> int:
    return int(datatype.Get_extent()[1])


def _same(_: list[int], types: list[Any]) -> Iterator[tuple[int, int, Any]]:
    yield 0, 1, types[0]


def _contiguous(values: list[int], types: list[Any]) -> Iterator[tuple[int, int, Any]]:
    yield 0, values[0], types[0]


def _vector(values: list[int], types: list[Any]) -> Iterator[tuple[int, int, Any]]:
    count, length, stride = values
    step = stride * _extent(types[0])
    return ((at * step, length, types[0]) for at in range(count))


def _hvector(values: list[int], types: list[Any]) -> Iterator[tuple[int, int, Any]]:
    count, length, step = values
    return ((at * step, length, types[0]) for at in range(count))


def _indexed(values: list[int], types: list[Any]) -> Iterator[tuple[int, int, Any]]:
    count, unit = values[0], _extent(types[0])
    lengths, starts = values[1 : count + 1], values[count + 1 :]
    return ((start * unit, length, types[0]) for length, start in zip(lengths, starts, strict=True))


def _hindexed(values: list[int], types: list[Any]) -> Iterator[tuple[int, int, Any]]:
    count = values[0]
    lengths, starts = values[1 : count + 1], values[count + 1 :]
    return ((start, length, types[0]) for length, start in zip(lengths, starts, strict=True))


def _struct(values: list[int], types: list[Any]) -> Iterator[tuple[int, int, Any]]:
    count = values[0]
    lengths, starts = values[1 : count + 1], values[count + 1 :]
    return zip(starts, lengths, types, strict=True)


_BLOCKS: Final = {
    MPI.COMBINER_DUP: _same,
    MPI.COMBINER_RESIZED: _same,
    MPI.COMBINER_CONTIGUOUS: _contiguous,
    MPI.COMBINER_VECTOR: _vector,
    MPI.COMBINER_HVECTOR: _hvector,
    MPI.COMBINER_INDEXED: _indexed,
    MPI.COMBINER_HINDEXED: _hindexed,
    MPI.COMBINER_STRUCT: _struct,
}
_ELEMENTARY: Final = (
    MPI.COMBINER_NAMED,
    MPI.COMBINER_F90_REAL,
    MPI.COMBINER_F90_COMPLEX,
    MPI.COMBINER_F90_INTEGER,
)

# Packing


def pack(datatype: Any, address: int, count: int, into: memoryview, comm: Any) -> None:
    """Copy entries into one piece."""
    if not into:
        return
    placed, memory = _placed(datatype, address, count)
    try:
        placed.Pack(memory, into, 0, comm)
    finally:
        if placed is not datatype:
            placed.Free()


def unpack(datatype: Any, address: int, data: memoryview, comm: Any) -> None:
    """Copy bytes to entries. The last one may be cut off: the rest of it stays as it is."""
    size = int(datatype.Get_size())
    whole, rest = divmod(len(data), size) if size else (0, 0)
    if whole:
        _unpack(datatype, address, whole, data[: whole * size], comm)
    if rest:
        last = address + whole * _extent(datatype)
        entry = memoryview(bytearray(size))
        pack(datatype, last, 1, entry, comm)
        entry[:rest] = data[whole * size :]
        _unpack(datatype, last, 1, entry, comm)


def _unpack(datatype: Any, address: int, count: int, data: memoryview, comm: Any) -> None:
    placed, memory = _placed(datatype, address, count)
    try:
        placed.Unpack(data, 0, memory, comm)
    finally:
        if placed is not datatype:
            placed.Free()


def _placed(datatype: Any, address: int, count: int) -> tuple[Any, Any]:
    """A datatype and a buffer for Pack and Unpack, which infer the count from the buffer.

    Where they could not, one entry of a new datatype holds all entries of the given one: entries
    may lie upon or before each other, and absolute addresses begin at 0.
    """
    extent = _extent(datatype)
    if address and extent > 0:
        return datatype, MPI.buffer.fromaddress(address, count * extent)
    entries = datatype.Create_hindexed([count], [address - _ANCHOR.address])
    try:
        return entries.Create_resized(0, 1).Commit(), _ANCHOR
    finally:
        entries.Free()
