# SPDX-License-Identifier: BSD-3-Clause
"""Buffers of the caller: which are refused, and in which words; and holds on those of our own.

Messages and copies hold their buffers in C (binding/buffer.h), which asks here where it does not
know. A hold is a cffi buffer object. While it lives, it has the exporter's `Py_buffer`. So nobody
can resize a `bytearray` under a pending request: Python itself raises `BufferError`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NoReturn

from ._native import ffi

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from .types import Hold

__all__ = [
    "blank",
    "empty",
    "filled",
    "holds_objects",
    "lengths_differ",
    "memory_of",
    "no_buffer",
    "objects_refused",
    "pair",
    "read_only",
    "refuse",
    "refuse_copied_objects",
    "refuse_objects",
    "release",
]

_PLAIN = (bytes, bytearray)  # bytes and nothing else
# What says of a type that its objects are arrays, though no buffers.
_TENSORS = ("__cuda_array_interface__", "__dlpack__", "__array__", "__array_interface__")
_FIELD_NAME = re.compile(":[^:]*:")  # in a format (PEP 3118), behind its field
_CHARS = ffi.typeof("char[]")  # once: parsing it costs as much as the call

# Memory that is about to be overwritten need not be cleared first.
_new_uncleared = ffi.new_allocator(should_clear_after_alloc=False)


def empty(nbytes: int) -> Any:
    """A new writable buffer of `nbytes` bytes, its contents undefined. MemoryError."""
    try:
        return ffi.buffer(_new_uncleared("char[]", nbytes), nbytes)
    except OverflowError:
        raise MemoryError from None


def blank(nbytes: int, *, read_only: bool) -> bytes | bytearray:
    """The same as `bytes` or as a `bytearray`. Nobody else may see it before it is filled."""
    empty(nbytes)  # MemoryError; where a bytearray finds no memory, Python prints an error beside
    return _makers()[read_only](None, nbytes)


@cache
def _makers() -> tuple[Callable[[None, int], bytearray], Callable[[None, int], bytes]]:
    import ctypes  # takes a while, for those who need it

    # Prototypes of our own: what ctypes.pythonapi has is everybody's, who may declare it otherwise.
    maker = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_char_p, ctypes.c_ssize_t)
    return (
        maker(("PyByteArray_FromStringAndSize", ctypes.pythonapi)),
        maker(("PyBytes_FromStringAndSize", ctypes.pythonapi)),
    )


def filled(buffer: Any) -> Hold:
    """Hold one that `empty` or `blank` made, to write into, also where it is `bytes`."""
    return ffi.from_buffer(_CHARS, buffer)


def memory_of(buf: Any, *, writable: bool = False) -> tuple[int, int] | None:
    """Address and bytes of a C-contiguous buffer. None: it is none, or not a writable one."""
    try:
        hold = ffi.from_buffer(_CHARS, buf, writable)
    except (TypeError, BufferError, ValueError):
        return None
    address = int(ffi.cast("uintptr_t", hold))
    ffi.release(hold)
    return address, len(hold)


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


def refuse_objects(buf: ReadableBuffer, call: str, fill: bool, name: str = "buf") -> None:
    """TypeError for an array of Python objects: its addresses mean nothing to another process."""
    if holds_objects(buf):
        raise TypeError(
            f"{call}({_parameter(name)}): {name} is an array of Python objects "
            f"({type_name(buf)}), whose memory holds addresses of this process; use send() and "
            "recv() for objects"
        )


def refuse(buf: object, call: str, fill: bool, name: str = "buf") -> NoReturn:
    """Raise what is wrong with a buffer that does not lend its bytes. `fill`: to be filled."""
    raise _refused(buf, name, call, need_writable=fill)


def check_lends(buf: ReadableBuffer, call: str, fill: bool, name: str = "buf") -> None:
    """Raise what is wrong with a buffer that does not lend its bytes, or has Python objects."""
    refuse_objects(buf, call, fill, name)
    if memory_of(buf, writable=fill) is None:
        refuse(buf, call, fill, name)


def _parameter(name: str) -> str:
    """The parameter that an argument belongs to: "buf" of "buf[1]"."""
    return name.partition("[")[0]


def _refused(buf: object, name: str, call: str, *, need_writable: bool) -> Exception:
    """What is wrong with a buffer that does not lend its bytes."""
    wanted = "a writable, C-contiguous buffer" if need_writable else "a C-contiguous buffer"
    where = f"{call}({_parameter(name)})"
    shape: Any
    try:
        view = memoryview(buf)  # type: ignore[arg-type]
    except TypeError:
        return no_buffer(buf, name, call, wanted)
    except ValueError as error:
        # NumPy has no format for dates, bfloat16 and the like: such an array tells all this itself.
        flags: Any = getattr(buf, "flags", None)
        if not hasattr(flags, "c_contiguous"):
            return ValueError(f"{where}: {name} cannot be used ({type_name(buf)}): {error}")
        readonly, contiguous = not flags.writeable, flags.c_contiguous
        shape, strides = getattr(buf, "shape", ()), getattr(buf, "strides", ())
    else:
        with view:
            readonly, contiguous = view.readonly, view.c_contiguous
            shape, strides = view.shape, view.strides
    if need_writable and readonly:
        return read_only(buf, name, call)
    if contiguous:
        return BufferError(f"{where}: {type_name(buf)} does not lend its memory")
    return BufferError(
        f"{where}: {name} is not C-contiguous ({type_name(buf)} of shape {shape}, strides "
        f"{strides}), so its elements are not in the order of their indices; "
        + (
            f"read into numpy.empty_like({name}, order='C') and assign that, as in {name}[...] = it"
            if need_writable
            else f"pass numpy.ascontiguousarray({name}), or use send(), which keeps the order"
        )
    )


def type_name(thing: object) -> str:
    """The type of an argument as errors name it: "int", "numpy.ndarray"."""
    kind = type(thing)
    return kind.__qualname__ if kind.__module__ == "builtins" else _full_name(kind)


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def no_buffer(buf: object, name: str, call: str, wanted: str) -> TypeError:
    """The error for an argument that is no buffer."""
    return TypeError(
        f"{call}({_parameter(name)}): {name} must be {wanted} (bytearray, memoryview, array, "
        f"numpy.ndarray), not {type_name(buf)}"
        f"{_cure(buf, name, fill=wanted.startswith('a writable'))}"
    )


def _cure(thing: object, name: str, *, fill: bool) -> str:
    """How to get a buffer of what is none. `fill`: it is to be written into."""
    if isinstance(thing, str):
        return "; encode it first"
    # The type is asked, since a tensor may compute what it is asked for itself.
    has = partial(hasattr, type(thing))
    if not any(map(has, _TENSORS)):
        return ""
    if has("numpy"):  # torch, tensorflow
        on_device = has("is_cuda") and getattr(thing, "is_cuda", False)
        way = f"{name}{'.cpu()' if on_device else ''}.numpy()"
        shares = has("is_cuda") and not on_device
    elif has("get") and has("__cuda_array_interface__"):  # cupy
        way, shares = f"{name}.get()", False
    else:
        way, shares = f"numpy.asarray({name})", False
    if fill and not shares:
        return f"; fill a numpy.ndarray, and copy it into {name} then ({way} is a copy)"
    return f"; pass {way}"


def read_only(buf: object, name: str, call: str) -> BufferError:
    """The error for a buffer that cannot be filled."""
    return BufferError(
        f"{call}({_parameter(name)}): {name} is read-only ({type_name(buf)}), it cannot be filled; "
        "pass a writable buffer such as bytearray or numpy.empty(...)"
    )


# The two sides of a copy


def pair(dst: WriteableBuffer, src: ReadableBuffer, call: str) -> tuple[Hold, Hold] | None:
    """Hold both as ranges of bytes. None: they are none, and not held; they may be arrays."""
    refuse_copied_objects(dst, "dst", call)
    refuse_copied_objects(src, "src", call)
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


def refuse_copied_objects(buf: ReadableBuffer, name: str, call: str) -> None:
    """TypeError for an array of Python objects."""
    if type(buf) not in _PLAIN and holds_objects(buf):
        raise objects_refused(name, call)
