# SPDX-License-Identifier: BSD-3-Clause
"""Which arrays are messages, and what an error says about one that is not."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

import adma
from adma._core.constants import BYTES
from adma._core.operation import Operation

numpy = pytest.importorskip("numpy")

PLAIN = numpy.dtype("f8")
DATES = numpy.dtype("M8[s]")  # NumPy has no buffer format for these, nor for structures of them
NESTED = numpy.dtype([("day", "M8[D]"), ("value", "i4", 2)])
DTYPES = [PLAIN, DATES, numpy.dtype("m8[ms]"), NESTED, numpy.dtype([("a", "u1"), ("b", "f8")])]
try:
    import ml_dtypes
except ImportError:
    pass
else:
    DTYPES += [numpy.dtype(ml_dtypes.bfloat16), numpy.dtype(ml_dtypes.float8_e5m2)]

IN_ORDER: dict[str, Callable[[Any], Any]] = {
    "C": lambda dtype: numpy.zeros((3, 4), dtype),
    "one dimension": lambda dtype: numpy.zeros(5, dtype),
    "no dimension": lambda dtype: numpy.zeros((), dtype),
    "no element": lambda dtype: numpy.zeros((0, 4), dtype),
    "no element, F": lambda dtype: numpy.zeros((3, 0), dtype, order="F"),
    "one row, F": lambda dtype: numpy.zeros((1, 4), dtype, order="F"),
    "one element of many": lambda dtype: numpy.zeros((4, 4), dtype)[:1, :1],
    "rows of many": lambda dtype: numpy.zeros((4, 4), dtype)[1:3],
}
OUT_OF_ORDER: dict[str, Callable[[Any], Any]] = {
    "F": lambda dtype: numpy.zeros((3, 4), dtype, order="F"),
    "transposed": lambda dtype: numpy.zeros((2, 3, 4), dtype).T,
    "axes swapped": lambda dtype: numpy.zeros((2, 3, 4), dtype).swapaxes(0, 1),
    "gaps": lambda dtype: numpy.zeros(8, dtype)[::2],
    "columns": lambda dtype: numpy.zeros((4, 4), dtype)[:, 1:3],
    "reversed": lambda dtype: numpy.zeros(8, dtype)[::-1],
    "broadcast": lambda dtype: numpy.broadcast_to(numpy.zeros((), dtype), (3, 4)),
}


def readable(array: Any, call: str) -> Operation:
    return Operation(array, read=False, kind=BYTES, call=call)


def writable(array: Any, call: str) -> Operation:
    return Operation(array, read=True, kind=BYTES, call=call)


BOTH = [readable, writable]


def frozen(array: Any) -> Any:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", IN_ORDER)
def test_in_order(dtype: Any, name: str) -> None:
    array = IN_ORDER[name](dtype)
    for hold_it in BOTH:
        hold = hold_it(array, "call")
        assert hold.req.length == array.nbytes
        hold.release()
    hold = readable(frozen(array), "call")
    assert hold.req.length == array.nbytes
    hold.release()
    with pytest.raises(BufferError, match=r"call\(buf\): buf is read-only \(numpy\.ndarray\)"):
        writable(array, "call")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", OUT_OF_ORDER)
def test_out_of_order(dtype: Any, name: str) -> None:
    """The error names the argument, its type, shape and strides, and a cure that works."""
    array = OUT_OF_ORDER[name](dtype)
    with pytest.raises(BufferError, match=r"buf is not C-contiguous \(numpy\.ndarray") as caught:
        readable(array, "call")
    assert str(array.strides) in str(caught.value)
    assert "numpy.ascontiguousarray(buf)" in str(caught.value)
    readable(numpy.ascontiguousarray(array), "call").release()
    if array.flags.writeable:
        with pytest.raises(BufferError, match=r"not C-contiguous.*assign") as caught:
            writable(array, "call")
        other = numpy.empty_like(array, order="C")
        writable(other, "call").release()
        array[...] = other
    with pytest.raises(BufferError, match="read-only"):
        writable(frozen(array), "call")


@pytest.mark.parametrize("hold_it", BOTH)
def test_views_say_the_same_as_their_arrays(hold_it: Callable[..., Any]) -> None:
    for view in (
        memoryview(numpy.zeros((3, 4), order="F")),
        memoryview(bytearray(8))[::2],
        memoryview(bytearray(8))[::-1],
    ):
        with pytest.raises(BufferError, match=r"not C-contiguous \(memoryview"):
            hold_it(view, "call")
    with pytest.raises(ValueError, match=r"call\(buf\).*memoryview.*released"):
        hold_it(released(), "call")


def released() -> memoryview:
    view = memoryview(bytearray(1))
    view.release()
    return view


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("call", [adma.copy, lambda dst, src: adma.icopy(dst, src).wait()])
def test_copies_take_any_order(dtype: Any, call: Callable[[Any, Any], int]) -> None:
    for to, from_ in itertools.product(("F", "C", "gaps"), repeat=2):
        dst, src = (
            numpy.zeros((3, 8), dtype)[:, ::2]
            if order == "gaps"
            else numpy.zeros((3, 4), dtype, order=order)
            for order in (to, from_)
        )
        src[...] = numpy.frombuffer(bytes(range(1, 1 + dtype.itemsize)) * 12, dtype).reshape(3, 4)
        assert call(dst, src) == 12 * dtype.itemsize
        assert dst.tobytes() == src.tobytes()


# What belongs to other libraries: each as its library has it, as far as a type tells


class Tensor:
    """As torch has it: it lends no buffer."""

    __module__ = "torch"

    def __init__(self, device: str) -> None:
        self.device = device

    @property
    def is_cuda(self) -> bool:
        return self.device != "cpu"

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        raise AttributeError("not on a device")

    def __array__(self) -> Any: ...
    def __dlpack__(self) -> Any: ...
    def cpu(self) -> Any: ...
    def numpy(self) -> Any: ...


class OnDevice:
    """As cupy has it."""

    __module__ = "cupy"
    __cuda_array_interface__: ClassVar[dict[str, Any]] = {}

    def get(self) -> Any: ...
    def __array__(self) -> Any:
        raise TypeError("implicit conversion is not allowed")


class Column:
    """As data frames have it."""

    __module__ = "frames.columns"

    def __array__(self) -> Any: ...


CASES = [
    (Tensor("cpu"), r"not torch\.Tensor; pass buf\.numpy\(\)", r"torch\.Tensor; pass buf\.numpy"),
    (Tensor("cuda:0"), r"torch\.Tensor; pass buf\.cpu\(\)\.numpy\(\)", r"fill a numpy\.ndarray"),
    (OnDevice(), r"not cupy\.OnDevice; pass buf\.get\(\)", r"fill a numpy\.ndarray.*buf\.get\(\)"),
    (Column(), r"frames\.columns\.Column; pass numpy\.asarray\(buf\)", r"fill a numpy\.ndarray"),
    ([1.0], r"not list$", r"not list$"),
    ({"get": 1}, r"not dict$", r"not dict$"),
    (None, r"not NoneType$", r"not NoneType$"),
    ("text", r"not str; encode it first$", r"not str; encode it first$"),
]


@pytest.mark.parametrize(("thing", "to_read", "to_fill"), CASES)
def test_what_is_no_buffer(thing: Any, to_read: str, to_fill: str) -> None:
    with pytest.raises(TypeError, match=r"write\(buf\): buf must be a C-contiguous.*" + to_read):
        readable(thing, "write")
    with pytest.raises(TypeError, match=r"read\(buf\): buf must be a writable.*" + to_fill):
        writable(thing, "read")
    to_read = to_read.replace("buf", "src")
    with pytest.raises(TypeError, match=r"copy\(src\): src must be a buffer.*" + to_read):
        adma.copy(bytearray(1), thing)
    to_fill = to_fill.replace("buf", "dst")
    with pytest.raises(TypeError, match=r"icopy\(dst\): dst must be a writable.*" + to_fill):
        adma.icopy(thing, b"x")
