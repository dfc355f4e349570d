# SPDX-License-Identifier: BSD-3-Clause
"""From a buffer specification of mpi4py to the bytes that travel.

The forms, their order and their errors are those of mpi4py's own calls::

    buf | (buf, count) | (buf, type) | (buf, (count, displ))
        | (buf, count, type) | (buf, (count, displ), type) | (buf, count, displ, type)

A list does as well as a tuple. A type is a `Datatype` or the code of one (``"d"``). In place of the
buffer, `BOTTOM` and `None` stand for the start of the address space. As in MPI, a buffer is an
address: a count that is given is not compared with the length of the buffer.
"""

from __future__ import annotations

import sys
from operator import index
from typing import Any, Final

from mpi4py import MPI

from . import layouts
from .arrays import export

__all__ = ["SIZES", "Memory", "Packed", "partitioned", "to_receive", "to_send"]


class Memory:
    """What a specification names, where its bytes lie in one piece: the user's memory itself."""

    __slots__ = ("count", "datatype", "keep", "nbytes", "view")

    def __init__(self, view: memoryview, datatype: Any, count: int, keep: object) -> None:
        #: The bytes that travel. Those of a receive are writable.
        self.view = view
        self.nbytes = len(view)
        self.datatype = datatype
        #: How many entries of the datatype there are.
        self.count = count
        #: What must live until the message is done.
        self.keep = keep

    def pack(self) -> None:
        """Before a send that starts again: take the bytes from the user's memory anew."""

    def finish(self, nbytes: int) -> None:
        """After a receive of so many bytes: bring them to the user's memory."""

    def parts(self, number: int) -> list[Memory]:
        """Partitions of equal size, each a memory of its own."""
        size, count = self.nbytes // number, self.count // number
        return [
            Memory(self.view[at * size : (at + 1) * size], self.datatype, count, self.keep)
            for at in range(number)
        ]


class Packed(Memory):
    """The same for entries with gaps, or in another order: a copy of them in one piece."""

    __slots__ = ("address", "comm")

    def __init__(self, address: int, datatype: Any, count: int, comm: Any, keep: object) -> None:
        nbytes = count * int(datatype.Get_size())
        super().__init__(memoryview(bytearray(nbytes)), datatype, count, keep)
        self.address = address
        self.comm = comm

    def pack(self) -> None:
        layouts.pack(self.datatype, self.address, self.count, self.view, self.comm)

    def finish(self, nbytes: int) -> None:
        layouts.unpack(self.datatype, self.address, self.view[:nbytes], self.comm)

    def parts(self, number: int) -> list[Memory]:
        count = self.count // number
        step = count * int(self.datatype.Get_extent()[1])
        return [
            Packed(self.address + at * step, self.datatype, count, self.comm, self.keep)
            for at in range(number)
        ]


_EMPTY: Final = memoryview(bytearray())


def to_send(spec: Any, comm: Any, rank_is_null: bool = False) -> Memory:
    """What a send of `spec` reads. Entries with gaps are packed at once."""
    if rank_is_null:
        return Memory(_EMPTY, MPI.BYTE, 0, None)
    memory = _plain(spec, writable=False)
    if memory is None:
        memory = _memory(spec, comm, writable=False)
        memory.pack()
    return memory


def to_receive(spec: Any, comm: Any, rank_is_null: bool = False) -> Memory:
    """Where a receive into `spec` writes; call `finish` once the bytes are there."""
    if rank_is_null:
        return Memory(_EMPTY, MPI.BYTE, 0, None)
    return _plain(spec, writable=True) or _memory(spec, comm, writable=True)


def partitioned(spec: Any, partitions: int, comm: Any = MPI.COMM_SELF, *, read: bool) -> Memory:
    """The memory of all partitions, where `spec` tells the count of one. `read`: for a send.

    Nothing is packed yet: the parts of it (`Memory.parts`) are, one by one.
    """
    return _memory(spec, comm, writable=not read, blocks=partitions)


# What most programs write: it has to be quick


def _plain(spec: Any, *, writable: bool) -> Memory | None:
    """The memory of `buf`, `(buf, datatype)` or `(buf, count, datatype)`, if nothing is special.

    Else None: another form, memory or datatype, or an error, all of which the general case finds.
    """
    kind = type(spec)
    count = None
    if kind is list or kind is tuple:
        if len(spec) == 3:
            buf, count, datatype = spec
        elif len(spec) == 2:
            buf, datatype = spec
        else:
            return None
        size = SIZES.get(id(datatype))
        if size is None:
            return None
    else:
        if spec is MPI.BOTTOM:  # which looks like a buffer of no bytes
            return None
        buf, datatype, size = spec, None, 0
    try:
        view = memoryview(buf)
        if not view.c_contiguous or (writable and view.readonly):
            return None
        if datatype is None:
            datatype, size = _PLAIN[view.format]
        view = view.cast("B")
    except Exception:
        return None
    length = len(view)
    if count is None:
        count, rest = divmod(length, size)
        return None if rest else Memory(view, datatype, count, None)
    if type(count) is int and 0 <= count * size <= length:
        return Memory(view[: count * size], datatype, count, None)
    return None


# The general case


def _memory(spec: Any, comm: Any, *, writable: bool, blocks: int = 1) -> Memory:
    buf, count, displ, wanted = _items(spec)
    address: int | None
    keep: object
    if buf is None or buf is MPI.BOTTOM:
        flat, datatype, address, keep = _EMPTY, _datatype(wanted), 0, None
    else:
        flat, code, keep = export(buf, writable=writable, coded=wanted is None)
        datatype = _of_code(code) if wanted is None else _datatype(wanted)
        address = None
    offset = _offset(displ, datatype, len(flat))
    number = _count(count, datatype, len(flat) - offset, blocks, is_none=buf is None)
    total = number * blocks
    size = SIZES.get(id(datatype)) or layouts.known_size(datatype)
    if size is not None and offset + total * size <= len(flat):
        return Memory(flat[offset : offset + total * size], datatype, total, keep)
    if not total:
        return Memory(_EMPTY, datatype, 0, keep)
    if address is None:
        address = int(MPI.Get_address(flat))
    keep = (flat, keep)  # since an address holds nothing
    if size is None:
        return Packed(address + offset, datatype, total, comm, keep)
    reached = MPI.buffer.fromaddress(address + offset, total * size, not writable)
    return Memory(memoryview(reached), datatype, total, keep)


def _items(spec: Any) -> tuple[Any, Any, Any, Any]:
    """The buffer, the count, the displacement and the datatype; `None` for what is not told."""
    if not isinstance(spec, tuple | list):
        if not _is_buffer(spec):
            raise TypeError("message: expecting buffer or list/tuple")
        return spec, None, None, None
    count = displ = datatype = None
    if len(spec) == 2:
        buf, count = spec
        if isinstance(count, MPI.Datatype | str):
            count, datatype = None, count
    elif len(spec) == 3:
        buf, count, datatype = spec
    elif len(spec) == 4:
        return tuple(spec)
    else:
        raise ValueError("message: expecting 2 to 4 items")
    if isinstance(count, tuple | list):
        count, displ = count
    return buf, count, displ, datatype


def _is_buffer(spec: Any) -> bool:
    if hasattr(spec, "__dlpack__") or hasattr(spec, "__cuda_array_interface__"):
        return True
    try:
        memoryview(spec).release()
    except TypeError:
        return False
    except Exception:  # a buffer, but not with these flags: its own error comes later
        return True
    return True


def _offset(displ: Any, datatype: Any, length: int) -> int:
    """Bytes before the first entry."""
    entries = 0 if displ is None else index(displ)
    if entries < 0:
        raise ValueError(f"message: negative displacement {entries}")
    if not entries:
        return 0
    extent = _extent(datatype, "cannot handle displacement")
    if entries * extent > length:
        raise ValueError(
            f"message: displacement {entries} out of bounds, "
            f"number of datatype entries {length // extent}"
        )
    return entries * extent


def _count(count: Any, datatype: Any, length: int, blocks: int, *, is_none: bool) -> int:
    """Entries in each block; what `length` bytes hold where the count is not told."""
    if count is not None:
        number = index(count)
        if number < 0:
            raise ValueError(f"message: negative count {number}")
        if number and is_none:
            raise ValueError(f"message: buffer is None but count is {number}")
        return number
    if not length:
        return 0
    extent = _extent(datatype, "cannot infer count")
    number, rest = divmod(length, extent)
    if rest:
        lb, ub = _bounds(datatype)
        raise ValueError(
            f"message: cannot infer count, buffer length {length} is not a multiple of "
            f"datatype extent {extent} (lb:{lb}, ub:{ub})"
        )
    if blocks > 1 and number % blocks:
        raise ValueError(
            f"message: cannot infer count, number of entries {number} is not a multiple of "
            f"required number of blocks {blocks}"
        )
    return number // max(blocks, 1)


def _extent(datatype: Any, what: str) -> int:
    if datatype == MPI.DATATYPE_NULL:
        raise ValueError(f"message: {what}, datatype is null")
    size = SIZES.get(id(datatype))
    if size is not None:
        return size
    lb, ub = _bounds(datatype)
    if ub <= lb:
        raise ValueError(f"message: {what}, datatype extent {ub - lb} (lb:{lb}, ub:{ub})")
    return ub - lb


def _bounds(datatype: Any) -> tuple[int, int]:
    lb, extent = datatype.Get_extent()
    return int(lb), int(lb + extent)


# Datatypes


def _datatype(wanted: Any) -> Any:
    if isinstance(wanted, MPI.Datatype):
        return wanted
    try:
        if isinstance(wanted, str):
            return MPI.Datatype.fromcode(wanted)
    except ValueError:
        pass
    raise KeyError(f"cannot map {wanted!r} to MPI datatype")


def _of_code(code: str) -> Any:
    """The datatype for a format of the buffer protocol."""
    if code == "B":
        return MPI.BYTE
    if code[:1] == _FOREIGN:
        raise BufferError(f"format string {code!r} with non-native byte order")
    return _datatype(code[1:] if code[:1] in ("@", _NATIVE) else code)


def _plain_sizes() -> dict[int, int]:
    """Size by identity, for the datatypes of MPI without gaps. They live as long as the module."""
    named = {id(one): one for one in vars(MPI).values() if isinstance(one, MPI.Datatype)}
    del named[id(MPI.DATATYPE_NULL)]
    found = {}
    for one in named.values():
        if one != MPI.DATATYPE_NULL:
            size = layouts.size_in_one_piece(one)
            if size:
                found[id(one)] = size
    return found


def _plain_formats() -> dict[str, tuple[Any, int]]:
    """Datatype and size by format of the buffer protocol, for numbers of this machine."""
    found = {}
    for code in ("?", *"bhilqBHILQfdg", "Zf", "Zd", "Zg"):
        datatype = _of_code(code)
        if id(datatype) in SIZES:
            found[code] = (datatype, SIZES[id(datatype)])
    return found


_NATIVE: Final = "<" if sys.byteorder == "little" else ">"
_FOREIGN: Final = ">" if _NATIVE == "<" else "<"
#: Size by identity, for the datatypes of MPI without gaps.
SIZES: Final = _plain_sizes()
_PLAIN: Final = _plain_formats()
