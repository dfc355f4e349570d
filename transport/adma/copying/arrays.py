# SPDX-License-Identifier: BSD-3-Clause
"""Source and destination of a copy that are not both contiguous: how they are laid out.

Two contiguous buffers are ranges of bytes, and only need equal lengths (binding/copies.c). All
others are arrays of equal shape, with elements of one size and any strides. A `memoryview` tells
the strides, but not the address. So the request holds such buffers in C, and tells both.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._core import copies as core
from .._core.buffers import holds_objects, lengths_differ, no_buffer, objects_refused, read_only
from .._core.constants import DIMS_MAX

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from .._core.types import Dims, Plan
    from .copies import CopyRequest

__all__ = ["Layout", "plan_strided"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the elements of an array are."""

    address: int  # of the element whose indices are all 0
    nbytes: int
    itemsize: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # bytes from one element to the next, in each dimension

    @classmethod
    def told(
        cls,
        address: int,
        nbytes: int,
        itemsize: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...] | None,
    ) -> Layout:
        """As an exporter tells it. Arrays of ctypes tell no strides: they are in C order."""
        if strides is None:
            steps = [itemsize] if shape else []
            for count in reversed(shape[1:]):
                steps.insert(0, steps[0] * count)
            strides = tuple(steps)
        return cls(address, nbytes, itemsize, shape, strides)

    @property
    def contiguous(self) -> bool:
        """Are its elements in C order, without gaps?"""
        if not self.nbytes:
            return True
        expected = self.itemsize
        for count, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if count != 1 and stride != expected:
                return False
            expected *= count
        return True


def plan_strided(
    request: CopyRequest, dst: WriteableBuffer, src: ReadableBuffer, call: str
) -> Dims | None:
    """Let a request hold two arrays, and plan its copy; memory that has to live as long as that.

    TypeError, BufferError and ValueError name the argument, the limit and the cure.
    """
    _judge(dst, "dst", call, writable=True)
    _judge(src, "src", call, writable=False)
    to, from_ = (Layout.told(*told) for told in request._hold(dst, src))
    return _plan(core.plan_of(request._copy), to, from_, call)


def _plan(plan: Plan, to: Layout, from_: Layout, call: str) -> Dims | None:
    if to.contiguous and from_.contiguous:
        if to.nbytes != from_.nbytes:
            raise lengths_differ(call, to.nbytes, from_.nbytes)
        core.plan_bytes(plan, to.address, from_.address, to.nbytes)
        return None
    if to.shape != from_.shape or to.itemsize != from_.itemsize:
        raise ValueError(
            f"{call}(dst, src): dst has shape {to.shape} with elements of {to.itemsize} bytes, src "
            f"{from_.shape} with {from_.itemsize}; arrays that are not contiguous need the same: "
            "reshape or slice one of them"
        )
    steps = list(zip(to.shape, to.strides, from_.strides, strict=True))
    rc, dims = core.plan_strided(plan, to.address, from_.address, to.itemsize, steps)
    if rc:
        raise ValueError(
            f"{call}(dst, src): dst has strides {to.strides} for shape {to.shape}, so several of "
            "its elements are one piece of memory; pass an array whose elements are its own"
            if rc == -errno.EINVAL
            else f"{call}(dst, src): {len(steps)} dimensions; at most {DIMS_MAX} are copied"
            if rc == -errno.E2BIG
            else f"{call}(dst, src): shape {to.shape} is more than there can be memory"
        )
    return dims


def _judge(buf: ReadableBuffer, name: str, call: str, *, writable: bool) -> None:
    """Raise what is wrong with an array, if anything is."""
    try:
        view = memoryview(buf)
    except TypeError:
        wanted = "a writable buffer" if writable else "a buffer"
        raise no_buffer(buf, name, call, wanted) from None
    except ValueError:  # NumPy's datetime64 has no format for a memoryview
        flags = getattr(buf, "flags", None)
        readonly = not getattr(flags, "writeable", True)
    else:
        with view:
            readonly = view.readonly
    if writable and readonly:
        raise read_only(buf, name, call)
    if holds_objects(buf):
        raise objects_refused(name, call)
