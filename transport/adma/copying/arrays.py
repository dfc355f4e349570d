# SPDX-License-Identifier: BSD-3-Clause
"""Source and destination of a copy that are not both contiguous: how they are laid out.

Two contiguous buffers are ranges of bytes, and only need equal lengths (see
_core/buffers.py). All others are arrays of equal shape, with elements of one size and any
strides. A `memoryview` tells the strides, but not the address. So the C API itself holds such
buffers (PyObject_GetBuffer).
"""

from __future__ import annotations

import ctypes
import errno
from typing import TYPE_CHECKING

from .._core import copies as core
from .._core.buffers import holds_objects, lengths_differ, no_buffer, objects_refused, read_only
from .._core.constants import DIMS_MAX

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from .._core.types import Dims, Plan

__all__ = ["Strided", "plan_strided"]

# Include/cpython or the limited API's object.h: flags of a request for a buffer.
_WRITABLE, _STRIDES = 0x1, 0x18


class _PyBuffer(ctypes.Structure):
    """`Py_buffer`, part of the stable ABI since 3.11."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.POINTER(ctypes.c_ssize_t)),
        ("strides", ctypes.POINTER(ctypes.c_ssize_t)),
        ("suboffsets", ctypes.POINTER(ctypes.c_ssize_t)),
        ("internal", ctypes.c_void_p),
    )


_get_buffer = ctypes.pythonapi.PyObject_GetBuffer
_get_buffer.argtypes = (ctypes.py_object, ctypes.POINTER(_PyBuffer), ctypes.c_int)
_get_buffer.restype = ctypes.c_int
_release_buffer = ctypes.pythonapi.PyBuffer_Release
_release_buffer.argtypes = (ctypes.POINTER(_PyBuffer),)
_release_buffer.restype = None


class Strided:
    """A buffer of any strides, held until `release()`."""

    __slots__ = ("_buffer", "_held")

    def __init__(self, buf: ReadableBuffer, *, writable: bool) -> None:
        self._buffer = _PyBuffer()
        # Set before the call, since a signal may strike as that returns. Releasing a buffer
        # that is not held does nothing.
        self._held = True
        # Without a format: NumPy has none for datetime64.
        _get_buffer(buf, self._buffer, _STRIDES | (_WRITABLE if writable else 0))

    def release(self) -> None:
        """Give the buffer back to its owner. Releasing twice is no error."""
        held, self._held = self._held, False
        if held:
            _release_buffer(self._buffer)

    def __del__(self) -> None:
        if getattr(self, "_held", False):
            self.release()

    @property
    def address(self) -> int:
        """The address of the element whose indices are all 0."""
        return self._buffer.buf or 0

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._buffer.shape[: self._buffer.ndim]) if self._buffer.ndim else ()

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one element to the next, in each dimension."""
        if not self._buffer.ndim:
            return ()
        if self._buffer.strides:
            return tuple(self._buffer.strides[: self._buffer.ndim])
        # Arrays of ctypes tell no strides, even if asked for them. They are in C order.
        strides = [self.itemsize]
        for count in reversed(self.shape[1:]):
            strides.insert(0, strides[0] * count)
        return tuple(strides)

    @property
    def itemsize(self) -> int:
        return int(self._buffer.itemsize)

    @property
    def nbytes(self) -> int:
        return int(self._buffer.len)

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
    plan: Plan, dst: WriteableBuffer, src: ReadableBuffer, call: str
) -> tuple[tuple[Strided, Strided], Dims | None]:
    """Fill in a plan; what holds the buffers, and memory that has to live as long as the plan.

    TypeError, BufferError and ValueError name the argument, the limit and the cure.
    """
    to = _hold(dst, "dst", call, writable=True)
    try:
        from_ = _hold(src, "src", call, writable=False)
        try:
            return (to, from_), _plan(plan, to, from_, call)
        except BaseException:
            from_.release()
            raise
    except BaseException:
        to.release()
        raise


def _plan(plan: Plan, to: Strided, from_: Strided, call: str) -> Dims | None:
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


def _hold(buf: ReadableBuffer, name: str, call: str, *, writable: bool) -> Strided:
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
    return Strided(buf, writable=writable)
