# SPDX-License-Identifier: BSD-3-Clause
"""Buffers of the caller: held for as long as the core may touch them.

A hold is a cffi buffer object. While it lives, it has the exporter's `Py_buffer`. So nobody
can resize a `bytearray` under a pending request: Python itself raises `BufferError`.
"""

from __future__ import annotations

import re
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any, TypeGuard

from ._native import ffi

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from .types import Hold

__all__ = [
    "empty",
    "filled",
    "holds_objects",
    "is_hold",
    "lengths_differ",
    "no_buffer",
    "objects_refused",
    "pair",
    "read_only",
    "readable",
    "release",
    "writable",
]

_PLAIN = (bytes, bytearray)  # bytes and nothing else
_FIELD_NAME = re.compile(":[^:]*:")  # in a format (PEP 3118), behind its field
_CHARS = ffi.typeof("char[]")  # once: parsing it costs as much as the call

# Memory that is about to be overwritten need not be cleared first.
_new_uncleared = ffi.new_allocator(should_clear_after_alloc=False)


def readable(buf: ReadableBuffer, call: str) -> Hold:
    """Hold a contiguous buffer, to read from it. `call` names the call in errors: "write"."""
    if type(buf) not in _PLAIN:
        _refuse_objects(buf, call)
    try:
        return ffi.from_buffer(buf)
    except (TypeError, BufferError, ValueError):
        return _by_force(buf, call, need_writable=False)


def writable(buf: WriteableBuffer, call: str) -> Hold:
    """Hold a contiguous buffer that is not read-only, to write into it."""
    if type(buf) not in _PLAIN:
        _refuse_objects(buf, call)
    try:
        return ffi.from_buffer(_CHARS, buf, True)
    except (TypeError, BufferError, ValueError):
        return _by_force(buf, call, need_writable=True)


def empty(nbytes: int) -> Any:
    """A new writable buffer of `nbytes` bytes, its contents undefined. MemoryError."""
    return ffi.buffer(_new_uncleared("char[]", nbytes), nbytes)


def filled(buffer: Any) -> Hold:
    """Hold one that `empty` made, to write into."""
    return ffi.from_buffer(_CHARS, buffer, True)


def is_hold(hold: object) -> TypeGuard[Hold]:
    """Is it a hold of this module's?"""
    return isinstance(hold, ffi.CData)


#: The buffer is its owner's again, also while something refers to the hold. Twice is no error.
release = ffi.release


def _is_plain_array(buf: object) -> bool:
    """Does it say, as NumPy's arrays do, that it holds no objects? This is the cheapest way."""
    dtype = getattr(buf, "dtype", None)
    return getattr(dtype, "hasobject", True) is False


def holds_objects(buf: ReadableBuffer) -> bool:
    """Does an array hold Python objects, in structures or as they are? False: it is no buffer."""
    if _is_plain_array(buf):
        return False
    try:
        view = memoryview(buf)
    except (TypeError, BufferError, ValueError):
        # NumPy has no format for dates, nor for structures with dates and objects.
        return bool(getattr(getattr(buf, "dtype", None), "hasobject", False))
    with view:
        return "O" in view.format and "O" in _FIELD_NAME.sub("", view.format)


def _refuse_objects(buf: ReadableBuffer, call: str) -> None:
    """TypeError for an array of Python objects: its addresses mean nothing to another process."""
    if holds_objects(buf):
        raise TypeError(
            f"{call}(buf): buf is an array of Python objects, whose memory holds addresses of this "
            "process; use send() and recv() for objects"
        )


def _by_force(buf: ReadableBuffer, call: str, *, need_writable: bool) -> Hold:
    """Hold a buffer in Fortran order, which cffi refuses; or raise what is wrong with it."""
    wanted = "a writable, contiguous buffer" if need_writable else "a contiguous buffer"
    try:
        view = memoryview(buf)
    except TypeError:
        raise no_buffer(buf, "buf", call, wanted) from None
    with view:
        if need_writable and view.readonly:
            raise read_only(buf, "buf", call)
        if not view.contiguous:
            raise BufferError(
                f"{call}(buf): buf is not contiguous (shape {view.shape}, strides {view.strides}); "
                "pass a contiguous one, such as numpy.ascontiguousarray(buf)"
            )
    # It is contiguous, but not in C order. Its raw memory is one run of bytes.
    return ffi.from_buffer("char[]", PickleBuffer(buf).raw(), need_writable)


def no_buffer(buf: object, name: str, call: str, wanted: str) -> TypeError:
    """The error for an argument that is no buffer."""
    kind = type(buf).__name__
    cure = "; encode it first" if isinstance(buf, str) else ""
    return TypeError(
        f"{call}({name}): {name} must be {wanted} (bytearray, memoryview, array, numpy.ndarray), "
        f"not {kind}{cure}"
    )


def read_only(buf: object, name: str, call: str) -> BufferError:
    """The error for a buffer that cannot be filled."""
    return BufferError(
        f"{call}({name}): {name} is read-only ({type(buf).__name__}), it cannot be filled; "
        "pass a writable buffer such as bytearray or numpy.empty(...)"
    )


# The two sides of a copy


def pair(dst: WriteableBuffer, src: ReadableBuffer, call: str) -> tuple[Hold, Hold] | None:
    """Hold both as ranges of bytes. None: they are none, and not held; they may be arrays."""
    if type(dst) not in _PLAIN:
        _refuse_copied_objects(dst, "dst", call)
    if type(src) not in _PLAIN:
        _refuse_copied_objects(src, "src", call)
    try:
        return ffi.from_buffer(_CHARS, dst, True), ffi.from_buffer(src)
    except (TypeError, BufferError, ValueError):
        return None


def lengths_differ(call: str, dst: int, src: int) -> ValueError:
    """The error for two ranges of bytes of which one is longer."""
    return ValueError(
        f"{call}(dst, src): dst has {dst} bytes, src {src}; a copy needs equal lengths: "
        "slice the longer one, such as memoryview(buf)[:n]"
    )


def objects_refused(name: str, call: str) -> TypeError:
    """The error for an array of Python objects."""
    return TypeError(
        f"{call}({name}): {name} is an array of Python objects: copying its bytes would copy "
        "references without counting them; assign instead, such as dst[...] = src"
    )


def _refuse_copied_objects(buf: ReadableBuffer, name: str, call: str) -> None:
    if holds_objects(buf):
        raise objects_refused(name, call)
