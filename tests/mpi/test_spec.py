# SPDX-License-Identifier: BSD-3-Clause
"""Buffer specifications: the bytes and the errors are those of mpi4py itself."""

from __future__ import annotations

import array
import ctypes
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from adma.mpi import arrays, layouts, spec
from adma.mpi.spec import Packed, to_receive, to_send

SELF = MPI.COMM_SELF


@pytest.fixture
def types() -> Iterator[list[Any]]:
    """A list for datatypes that are to be freed."""
    made: list[Any] = []
    yield made
    for datatype in made:
        datatype.Free()


def sent_by_mpi(wanted: Any, room: int = 4096) -> bytes:
    """The bytes that travel where mpi4py sends a specification."""
    into, status = bytearray(room), MPI.Status()
    SELF.Sendrecv(wanted, 0, recvbuf=[into, MPI.BYTE], source=0, status=status)
    return bytes(into[: status.count])


def received_by_mpi(wanted: Any, data: bytes) -> None:
    SELF.Sendrecv([data, MPI.BYTE], 0, recvbuf=wanted, source=0)


def received_by_us(wanted: Any, data: bytes) -> None:
    memory = to_receive(wanted, SELF)
    memory.view[: len(data)] = data
    memory.finish(len(data))


class Exporter:
    """An object that offers an array by one of the interfaces."""

    def __init__(self, of: Any, **attributes: Any) -> None:
        self.of = of
        vars(self).update(attributes)


class Tensor(Exporter):
    """An array that is told by DLPack alone."""

    def __dlpack__(self, **options: Any) -> Any:
        return self.of.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.of.__dlpack_device__()


def cuda(of: Any, **more: Any) -> Exporter:
    """An array of the host that claims to be a GPU's."""
    told = {
        "version": 3,
        "data": (of.ctypes.data, False),
        "typestr": of.dtype.str,
        "shape": of.shape,
    }
    return Exporter(of, __cuda_array_interface__=told | more)


NUMBERS = np.arange(1, 13, dtype="i4")
GRID = np.arange(12.0).reshape(3, 4)


def forms(buf: Any, code: str, datatype: Any) -> list[Any]:
    """All forms that name a part of a buffer of 12 numbers."""
    found: list[Any] = [buf]
    for kind in (None, code, datatype):
        found += [(buf, kind), (buf, None, kind), (buf, 3, kind), (buf, 0, kind)]
        found += [(buf, (3, 2), kind), (buf, (None, 5), kind), (buf, [3, None], kind)]
        found += [(buf, 3, 2, kind), (buf, None, 12, kind), (buf, 7, None, kind)]
    found += [(buf, 3), (buf, (3, 2)), (buf, (None, 5)), (buf, np.int64(4))]
    return found + [list(one) for one in found[1:]]


EXPORTERS = {
    "numpy": NUMBERS,
    "array": array.array("i", range(12)),
    "memoryview": memoryview(NUMBERS),
    "dlpack": Tensor(NUMBERS),
    "cuda": cuda(NUMBERS),
}


@pytest.mark.parametrize("name", EXPORTERS)
def test_every_form_sends_what_mpi4py_sends(name: str) -> None:
    for one in forms(EXPORTERS[name], "i", MPI.INT):
        memory = to_send(one, SELF)
        assert bytes(memory.view) == sent_by_mpi(one), one
        assert memory.nbytes == len(memory.view)
        assert memory.datatype == MPI.INT
        assert memory.count * 4 == memory.nbytes


@pytest.mark.parametrize("wrap", [lambda of: of, memoryview, Tensor, cuda])
def test_every_form_receives_where_mpi4py_receives(wrap: Any) -> None:
    ours, theirs = np.zeros(12, "i4"), np.zeros(12, "i4")
    pairs = zip(forms(wrap(ours), "i", MPI.INT), forms(wrap(theirs), "i", MPI.INT), strict=True)
    for mine, other in pairs:
        ours[:] = theirs[:] = 0
        nbytes = to_receive(mine, SELF).nbytes
        received_by_us(mine, bytes(range(nbytes)))
        received_by_mpi(other, bytes(range(nbytes)))
        assert ours.tolist() == theirs.tolist(), mine


@pytest.mark.parametrize(
    "buf",
    [
        b"abc",
        bytearray(b"abc"),
        memoryview(b"abc"),
        GRID,
        GRID.T,
        memoryview(GRID.T),
        Tensor(GRID.T),
        np.float64(2.5),
        np.zeros((0, 3)),
        np.ones(3, dtype="?"),
        np.arange(3, dtype="g"),
        np.arange(3, dtype="D"),
        np.arange(3, dtype="F"),
        np.arange(3, dtype="<i8"),
        Tensor(np.arange(3, dtype="D")),
        Tensor(np.ones(3, dtype="?")),
        Tensor(np.arange(3, dtype="u1")),
        cuda(np.arange(3, dtype="D")),
        cuda(np.arange(3, dtype="u1")),
        cuda(np.ones(3, dtype="?")),
        [np.arange(3).astype("M8[s]"), MPI.INT64_T],
        [b"abc", "c"],
        [GRID.T, 3, 4, "d"],
        [None, 0, "B"],
        [None, "B"],
        [MPI.BOTTOM, 0, MPI.INT],
        [MPI.BOTTOM, "B"],
        [GRID, 1, MPI.DOUBLE_INT],
    ],
    ids=repr,
)
def test_kinds_of_buffers(buf: Any) -> None:
    assert bytes(to_send(buf, SELF).view) == sent_by_mpi(buf)


@pytest.mark.parametrize("code", ["?", *"bhilqBHILQfdgFDG"])
@pytest.mark.parametrize("wrap", [lambda of: of, Tensor, cuda])
def test_numbers_have_the_datatype_of_their_size(code: str, wrap: Any) -> None:
    if wrap is Tensor and code in "gG":
        pytest.skip("NumPy exports no long double")
    numbers = np.zeros(3, code)
    memory = to_send(wrap(numbers), SELF)
    assert (memory.count, memory.datatype.Get_size()) == (3, numbers.itemsize)


BAD_TO_SEND: list[Any] = [
    None,
    5,
    {1: 2},
    [GRID, 0, 0, "d", None],
    [GRID],
    [],
    [GRID, 0, "\0"],
    [GRID, 0, 5],
    [GRID, -1, "d"],
    [GRID, 0, -1, "d"],
    [GRID, 0, 13, "d"],
    [GRID, 1.5, "d"],
    [None, 1, 0, "i"],
    [None, 3, 1, "i"],
    [b"abcde", None, 0, "i"],
    [GRID, 0, 1, MPI.DATATYPE_NULL],
    [GRID, None, 0, MPI.DATATYPE_NULL],
    [[1, 2, 3], 3, 0, "i"],
    [{1: 2}, 3, 0, "i"],
    [MPI.BOTTOM, 0],
    MPI.BOTTOM,
    GRID[:, 0],
    [GRID[:, 0], MPI.DOUBLE],
    memoryview(b"abcd")[::2],
    Tensor(GRID[:, 0]),
    np.zeros(3, ">i4"),
    np.zeros(3, "M8[s]"),
    np.zeros(3, [("a", "i4"), ("b", "f8")]),
    np.zeros(3, "U2"),
    cuda(np.zeros(3, ">i4")),
    cuda(np.zeros(3), mask=np.zeros(3)),
    cuda(np.zeros(3), strides=(16,)),
]


def error_of(function: Any, *arguments: Any) -> tuple[type[BaseException], str]:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (which one it is is compared)
        function(*arguments)
    return type(caught.value), str(caught.value)


@pytest.mark.parametrize("wanted", BAD_TO_SEND, ids=lambda one: repr(one)[:60])
def test_errors_are_those_of_mpi4py(wanted: Any) -> None:
    ours, theirs = error_of(to_send, wanted, SELF), error_of(SELF.Send_init, wanted, 0)
    assert ours[0] is theirs[0]
    if theirs[1].startswith(("message", "format", "__cuda", "dlpack")) or ours[0] is KeyError:
        assert ours[1] == theirs[1]


@pytest.mark.parametrize(
    "wanted",
    [
        b"abc",
        memoryview(b"abc"),
        [memoryview(b"abc"), "c"],
        np.broadcast_to(np.zeros(1), 3),
        cuda(np.zeros(3), data=(np.zeros(3).ctypes.data, True)),
        5,
    ],
    ids=lambda one: repr(one)[:60],
)
def test_memory_that_cannot_be_written_is_refused_as_by_mpi4py(wanted: Any) -> None:
    assert error_of(to_receive, wanted, SELF) == error_of(SELF.Recv_init, wanted, 0)


def test_a_negative_extent_has_no_count(types: list[Any]) -> None:
    types.append(MPI.INT.Create_resized(0, -4).Commit())
    for wanted in ([GRID, None, types[0]], [GRID, 0, 1, types[0]]):
        assert error_of(to_send, wanted, SELF) == error_of(SELF.Send_init, wanted, 0)


def test_nobody_there_needs_no_buffer() -> None:
    for memory in (to_send(None, SELF, True), to_receive(5, SELF, True)):
        assert (memory.nbytes, memory.count, memory.datatype) == (0, 0, MPI.BYTE)


def test_the_memory_is_the_users_own() -> None:
    for buf in (bytearray(8), NUMBERS.copy(), GRID.copy().T, Tensor(GRID.copy())):
        view = to_send(buf, SELF).view
        assert MPI.Get_address(view) == MPI.Get_address(buf)
        assert not isinstance(to_receive(buf, SELF), Packed)


def test_a_count_reaches_beyond_the_buffer_as_in_mpi() -> None:
    whole = np.arange(10, dtype="i4")
    memory = to_send([whole[:1], 5, MPI.INT], SELF)
    assert bytes(memory.view) == whole[:5].tobytes()


def test_memory_that_is_in_use_stays(types: list[Any]) -> None:
    types.append(MPI.INT.Create_vector(2, 1, 2).Commit())
    for form in ([], [3, "i"], [1, types[0]], [30, "i"]):  # of it all, a part, in parts, beyond
        buf = bytearray(48)
        memory = to_receive([buf, *form] if form else buf, SELF)
        for held in (memory, memory.parts(1)[0]):
            with pytest.raises(BufferError, match="exports"):
                buf.append(0)
            del memory
            memory = held
        del memory, held
        buf.append(0)


# Derived datatypes


def struct(parts: list[tuple[int, int, Any]]) -> Any:
    starts, lengths, kinds = zip(*parts, strict=True)
    return MPI.Datatype.Create_struct(lengths, starts, kinds)


IN_ONE_PIECE = {
    "dup": lambda: MPI.INT.Dup(),
    "contiguous": lambda: MPI.INT.Create_contiguous(3),
    "vector": lambda: MPI.INT.Create_vector(2, 3, 3),
    "hvector": lambda: MPI.INT.Create_hvector(2, 3, 12),
    "indexed": lambda: MPI.INT.Create_indexed([1, 2], [0, 1]),
    "hindexed": lambda: MPI.INT.Create_hindexed([1, 2], [0, 4]),
    "struct": lambda: struct([(0, 1, MPI.DOUBLE), (8, 2, MPI.INT)]),
    "resized": lambda: MPI.INT.Create_resized(0, 4),
    "nested": lambda: MPI.INT.Create_contiguous(2).Create_vector(2, 1, 1),
}
IN_PARTS = {
    "vector": lambda: MPI.INT.Create_vector(2, 1, 2),
    "hole": lambda: struct([(0, 1, MPI.DOUBLE), (12, 1, MPI.INT)]),
    "swapped": lambda: MPI.INT.Create_indexed([1, 1], [1, 0]),
    "swapped struct": lambda: struct([(4, 1, MPI.FLOAT), (0, 1, MPI.INT)]),
    "overlap": lambda: MPI.INT.Create_indexed([1, 1, 1], [0, 0, 2]),
    "resized": lambda: MPI.INT.Create_resized(0, 8),
    "lower bound": lambda: MPI.INT.Create_resized(-4, 8),
    "narrow": lambda: MPI.INT.Create_contiguous(2).Create_resized(0, 4),
    "subarray": lambda: MPI.INT.Create_subarray([3, 3], [2, 2], [0, 1]),
    "nested": lambda: MPI.INT.Create_indexed([1, 1], [1, 0]).Create_contiguous(2),
    "pair": lambda: MPI.DOUBLE_INT.Dup(),
}


@pytest.mark.parametrize("name", IN_ONE_PIECE)
def test_a_datatype_in_one_piece_needs_no_copy(name: str, types: list[Any]) -> None:
    types.append(IN_ONE_PIECE[name]().Commit())
    numbers = np.arange(48, dtype="i4")
    memory = to_send([numbers, 2, types[0]], SELF)
    assert not isinstance(memory, Packed)
    assert MPI.Get_address(memory.view) == numbers.ctypes.data
    assert bytes(memory.view) == sent_by_mpi([numbers, 2, types[0]])


@pytest.mark.parametrize("name", IN_PARTS)
def test_a_datatype_in_parts_is_packed_and_unpacked(name: str, types: list[Any]) -> None:
    types.append(IN_PARTS[name]().Commit())
    numbers = np.arange(48, dtype="i4")
    memory = to_send([numbers, 3, types[0]], SELF)
    assert isinstance(memory, Packed)
    assert bytes(memory.view) == sent_by_mpi([numbers, 3, types[0]])
    numbers += 1
    memory.pack()
    assert bytes(memory.view) == sent_by_mpi([numbers, 3, types[0]])
    if name == "overlap":
        return  # which MPI forbids for a receive
    size = types[0].Get_size()
    first = 8 if size == 12 else 4  # of an entry with a double, or of integers
    for nbytes in (0, first, size, size + first, 3 * size - 4, 3 * size):
        data = bytes(range(100, 100 + nbytes))
        ours, theirs = np.full(48, -1, "i4"), np.full(48, -1, "i4")
        received_by_us([ours[4:], 3, types[0]], data)
        received_by_mpi([theirs[4:], 3, types[0]], data)
        assert ours.tolist() == theirs.tolist(), nbytes


def test_a_datatype_that_was_freed_is_none() -> None:
    for kind in (MPI.INT.Create_contiguous(3).Commit(), MPI.INT.Create_vector(2, 1, 2).Commit()):
        assert to_send([NUMBERS, 1, kind], SELF).count == 1
        kind.Free()
        with pytest.raises(MPI.Exception):
            to_send([NUMBERS, 1, kind], SELF)


def test_what_is_known_of_a_datatype_goes_with_it() -> None:
    before = len(layouts._KNOWN)
    for _ in range(3):
        kind = MPI.INT.Create_contiguous(3).Commit()
        for _ in range(2):
            assert to_send([NUMBERS, 2, kind], SELF).nbytes == 24
        assert len(layouts._KNOWN) == before + 1
        kind.Free()
        del kind
    assert len(layouts._KNOWN) == before


def test_entries_that_are_counted_by_their_extent(types: list[Any]) -> None:
    types.append(MPI.INT.Create_resized(0, 8).Commit())
    for wanted in ([NUMBERS, types[0]], [NUMBERS, None, 2, types[0]]):
        assert bytes(to_send(wanted, SELF).view) == sent_by_mpi(wanted)
    wrong = [NUMBERS[:3], types[0]]
    assert error_of(to_send, wrong, SELF) == error_of(SELF.Send_init, wrong, 0)


def test_absolute_addresses(types: list[Any]) -> None:
    first, second = np.arange(3, dtype="i4"), np.arange(2.0)
    places = [MPI.Get_address(first), MPI.Get_address(second)]
    types.append(MPI.Datatype.Create_struct([3, 2], places, [MPI.INT, MPI.DOUBLE]).Commit())
    wanted = [MPI.BOTTOM, 1, types[0]]
    data = bytes(to_send(wanted, SELF).view)
    assert data == first.tobytes() + second.tobytes()
    first[:], second[:] = 0, 0
    received_by_us(wanted, data)
    assert (first.tolist(), second.tolist()) == ([0, 1, 2], [0.0, 1.0])


def test_a_negative_extent_is_packed(types: list[Any]) -> None:
    types.append(MPI.INT.Create_resized(0, -4).Commit())
    wanted = [NUMBERS[4:], 3, types[0]]
    assert bytes(to_send(wanted, SELF).view) == sent_by_mpi(wanted)


# Partitions


def test_the_count_is_that_of_one_partition() -> None:
    numbers = np.arange(12, dtype="i4")
    for wanted in (numbers, [numbers, 3, "i"], [numbers, (None, 0)]):
        memory = spec.partitioned(wanted, 4, read=False)
        assert (memory.count, memory.nbytes) == (12, 48)
        parts = memory.parts(4)
        assert [bytes(part.view) for part in parts] == [
            numbers[at : at + 3].tobytes() for at in range(0, 12, 3)
        ]
        assert {part.count for part in parts} == {3}
    with pytest.raises(ValueError, match="not a multiple of required number of blocks 5"):
        spec.partitioned(numbers, 5, read=True)


def test_partitions_with_gaps_are_packed_one_by_one(types: list[Any]) -> None:
    types.append(MPI.INT.Create_vector(2, 1, 2).Create_resized(0, 16).Commit())
    numbers = np.arange(24, dtype="i4")
    parts = spec.partitioned([numbers, 2, types[0]], 3, read=True).parts(3)
    for at, part in enumerate(parts):
        assert bytes(part.view) == bytes(16)
        part.pack()
        assert bytes(part.view) == sent_by_mpi([numbers[8 * at :], 2, types[0]])


def test_empty_partitions() -> None:
    parts = spec.partitioned([b"", 0, "i"], 3, read=True).parts(3)
    assert [part.nbytes for part in parts] == [0, 0, 0]


# Memory of a GPU


class Driver:
    """What the CUDA driver would say of every pointer."""

    def __init__(self, rc: int, kind: int, managed: int) -> None:
        self.rc, self.answers = rc, (kind, managed)

    def cuPointerGetAttributes(  # noqa: N802
        self, number: int, attributes: Any, places: Any, address: Any
    ) -> int:
        assert (number, list(attributes)) == (2, [2, 8])
        assert address.value
        for place, answer in zip(places, self.answers, strict=True):
            ctypes.c_uint.from_address(place).value = answer
        return self.rc


@pytest.mark.parametrize(
    ("driver", "is_refused"),
    [
        (None, False),
        (Driver(0, 0, 0), False),  # not known to it
        (Driver(0, 1, 0), False),  # the host's, registered
        (Driver(0, 2, 0), True),
        (Driver(0, 2, 1), False),  # managed
        (Driver(3, 0, 0), False),  # not initialized
        (Driver(700, 0, 0), True),  # it cannot tell
    ],
)
def test_the_driver_tells_which_memory_is_a_gpus(
    driver: Any, is_refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "_driver", lambda: driver)
    claimed = cuda(NUMBERS.copy())
    if is_refused:
        for call in (to_send, to_receive):
            with pytest.raises(BufferError, match=r"memory of a GPU.*copy it to the host first"):
                call(claimed, SELF)
    else:
        assert bytes(to_send(claimed, SELF).view) == NUMBERS.tobytes()
        assert to_receive(claimed, SELF).nbytes == 48


def test_no_driver_is_loaded_to_ask_it() -> None:
    with open("/proc/self/maps") as maps:
        assert "libcuda" not in maps.read()
    assert arrays._driver() is None


@pytest.mark.parametrize("device", [2, 4, 10, 14])
def test_a_tensor_of_another_device_is_refused(
    device: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "_driver", lambda: Driver(0, 2, 0))
    real = arrays._tensor

    def elsewhere(capsule: Any) -> Any:
        tensor = real(capsule)
        tensor.device_type = device
        return tensor

    monkeypatch.setattr(arrays, "_tensor", elsewhere)
    with pytest.raises(BufferError, match="memory of a GPU"):
        to_send(Tensor(NUMBERS.copy()), SELF)
