# SPDX-License-Identifier: BSD-3-Clause
"""Objects as messages: what is in the pickle, and what travels beside it."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from adma import ProtocolError
from adma.mpi import pickles
from adma.mpi.pickles import OUT_OF_BAND, allocate, dump, head, load, parse

LARGE = OUT_OF_BAND // 8


@pytest.fixture(autouse=True)
def standard() -> Iterator[None]:
    """Afterwards MPI.pickle is as it was."""
    yield
    MPI.pickle.__init__()


def travel(obj: Any) -> Any:
    """There and back, as messages."""
    data, parts = dump(obj)
    if not parts:
        return load(memoryview(data), [])
    sizes, body = parse(head(data, parts))
    memory = allocate(sizes)
    for to, from_ in zip(memory, parts, strict=True):
        to[:] = from_
    return load(body, memory)


@pytest.mark.parametrize(
    "obj", [None, 0, "text", b"bytes", {"a": [1, 2.5]}, bytearray(3), (), b"x" * (2 * OUT_OF_BAND)]
)
def test_an_object_without_large_buffers_is_one_pickle(obj: Any) -> None:
    data, parts = dump(obj)
    assert (data, parts) == (MPI.pickle.dumps(obj), [])
    assert travel(obj) == obj


def test_large_buffers_stay_out_of_the_pickle() -> None:
    numbers = np.arange(float(LARGE))
    data, parts = dump({"small": numbers[:10], "large": [numbers, numbers[1:], numbers + 1]})
    assert [part.nbytes for part in parts] == [OUT_OF_BAND, OUT_OF_BAND]
    assert len(data) < OUT_OF_BAND + 2000  # the one that is just too small, and the small one
    assert all(part.format == "B" and part.ndim == 1 for part in parts)
    assert MPI.Get_address(parts[0]) == numbers.ctypes.data


def test_an_object_comes_back_equal_and_writable() -> None:
    numbers = np.arange(3.0 * LARGE).reshape(3, -1)
    frozen = numbers.copy()
    frozen.flags.writeable = False
    plain, fortran, fixed, cut = travel([numbers, numbers.T, frozen, numbers[:, ::2]])
    assert (plain == numbers).all()
    assert (fortran == numbers.T).all()
    assert (fixed == numbers).all()
    assert (cut == numbers[:, ::2]).all()
    plain += 1
    assert not fixed.flags.writeable


def test_no_message_at_all_is_none() -> None:
    assert load(memoryview(b""), []) is None


@pytest.mark.parametrize("protocol", [2, 4])
def test_the_users_protocol_is_used(protocol: int) -> None:
    MPI.pickle.PROTOCOL = protocol
    obj = np.zeros(LARGE)
    assert dump(obj) == (pickle.dumps(obj, protocol), [])


def test_a_negative_protocol_is_the_highest() -> None:
    MPI.pickle.PROTOCOL = -1
    assert len(dump(np.zeros(LARGE))[1]) == 1


@pytest.mark.parametrize("protocol", [None, 5])
def test_the_users_functions_are_used(protocol: int | None) -> None:
    def dumps(obj: Any, *protocol: int) -> bytes:
        return b"mine" + pickle.dumps(obj, *protocol)

    def loads(data: Any) -> Any:
        assert bytes(data[:4]) == b"mine"
        return pickle.loads(data[4:])

    MPI.pickle.__init__(dumps, loads, protocol)
    obj = np.zeros(LARGE)
    data, parts = dump(obj)
    assert (data[:4], parts) == (b"mine", [])
    assert (travel(obj) == obj).all()


def test_the_users_loads_is_asked_for_parts_too() -> None:
    obj = np.zeros(LARGE)
    data, parts = dump(obj)

    def refuse(data: Any, **options: Any) -> Any:
        raise PermissionError("not here")

    MPI.pickle.__init__(None, refuse)
    with pytest.raises(PermissionError):
        load(data, [memoryview(bytearray(part)) for part in parts])
    assert dump(obj)[1] == []


def test_an_error_of_an_object_is_raised() -> None:
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        dump(lambda: None)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"1234567",
        struct.pack("<Q", 0) + b"data",
        struct.pack("<Q", 1),
        struct.pack("<QQ", 1, OUT_OF_BAND),
        struct.pack("<QQ", 2, OUT_OF_BAND) + b"data",
        struct.pack("<QQ", 1, OUT_OF_BAND - 1) + b"data",
        struct.pack("<QQ", 1, 1 << 63) + b"data",
        struct.pack("<QQQ", 2, 1 << 62, 1 << 62) + b"data",
        struct.pack("<QQ", (1 << 64) - 1, OUT_OF_BAND) + b"data",
        struct.pack("<QQ", 1 << 61, OUT_OF_BAND) + b"data",
    ],
    ids=repr,
)
def test_numbers_that_cannot_be_are_refused(message: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(message)


def test_the_garbage_collector_shows_the_standard_functions() -> None:
    """If it ever does not, nothing goes out of band: slow, and noticed here."""
    assert pickles._is_standard()
