# SPDX-License-Identifier: BSD-3-Clause
"""What a copy inside one process moves: sizes, layouts, and what it refuses."""

from __future__ import annotations

import array
import ctypes
import mmap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

import adma
from adma.testing.limits import GIB, HANG, KIB, MIB, around
from adma.testing.payload import Repeated, difference, pattern
from support import engine
from support.engine import AT_ONCE, PART, SPREAD
from support.quick import examples

SIZES = [0, 2, *around((1, 64, 4 * KIB, AT_ONCE, PART, 2 * PART, SPREAD, 2 * MIB, 4 * MIB))]
GUARD = 64
EXAMPLES = examples(200)

CALLS: dict[str, Callable[[Any, Any], int]] = {
    "copy": adma.copy,
    "icopy": lambda dst, src: adma.icopy(dst, src).wait(HANG),
}
ENGINES: dict[str, dict[str, Any]] = {
    "caller": {"engine": "caller"},
    "thread": {"engine": "thread", "queues": 2},
    "round-robin": {"engine": "thread", "queues": 3, "schedule": "round-robin"},
    "without help": {"engine": "thread", "queues": 2, "callers_help": False},
}

each_call = pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
each_engine = pytest.mark.parametrize("settings_", ENGINES.values(), ids=list(ENGINES))


# Bytes


@each_engine
@each_call
def test_sizes(call: Callable[[Any, Any], int], settings_: dict[str, Any]) -> None:
    """At every threshold; nothing before or behind the destination is touched."""
    engine.configure(**settings_)
    for nbytes in SIZES:
        target = bytearray(b"\xa5" * (nbytes + 2 * GUARD))
        source = pattern(nbytes, 3)
        assert call(memoryview(target)[GUARD : GUARD + nbytes], source) == nbytes
        wrong = difference(memoryview(target)[GUARD : GUARD + nbytes], source)
        assert not wrong, (nbytes, wrong)
        assert target[:GUARD] == target[GUARD + nbytes :] == b"\xa5" * GUARD


@each_engine
@pytest.mark.parametrize("distance", [1, 7, 4 * KIB, PART - 1, PART, PART + 1, MIB])
@pytest.mark.parametrize("nbytes", [100, AT_ONCE + 1, MIB + 3])
def test_overlap_within_one(nbytes: int, distance: int, settings_: dict[str, Any]) -> None:
    """The result is memmove's, in both directions."""
    engine.configure(**settings_)
    for to, from_ in ((distance, 0), (0, distance), (distance, distance)):
        buffer = bytearray(pattern(nbytes + distance, 5))
        want = bytearray(buffer)
        want[to : to + nbytes] = want[from_ : from_ + nbytes]
        view = memoryview(buffer)
        assert adma.copy(view[to : to + nbytes], view[from_ : from_ + nbytes]) == nbytes
        wrong = difference(buffer, bytes(want))
        assert not wrong, (to, from_, wrong)


def test_three_gibibytes_of_address_space() -> None:
    """More than a signed 32-bit length; source and destination map one small file over and over."""
    window = 16 * MIB
    content = pattern(window, 1)
    with (
        Repeated(3 * GIB, window=window, content=content) as source,
        Repeated(3 * GIB, window=window) as target,
    ):
        assert adma.copy(target.view, source.view) == 3 * GIB
        wrong = difference(target.content(), content)
    assert not wrong, wrong


@pytest.mark.thorough
def test_three_gibibytes_of_memory() -> None:
    window = 16 * MIB
    content = pattern(window, 2)
    if _available() < 4 * GIB:
        pytest.skip("less than 4 GiB of memory are free")
    with (
        Repeated(3 * GIB, window=window, content=content) as source,
        mmap.mmap(-1, 3 * GIB) as target,
    ):
        assert adma.icopy(target, source.view).wait(3 * HANG) == 3 * GIB
        for at in range(0, 3 * GIB, window):
            wrong = difference(target[at : at + window], content)
            assert not wrong, (at, wrong)


def _available() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * KIB


@each_call
def test_kinds_of_buffers(call: Callable[[Any, Any], int]) -> None:
    source = pattern(1000, 7)
    targets: list[Any] = [
        bytearray(1000),
        memoryview(bytearray(1000)),
        array.array("d", bytes(1000)),
        np.zeros(125),
        np.zeros((25, 10), "f4"),
        np.zeros((25, 10), "f4", order="F").T,
        memoryview(bytearray(1000)).cast("i", (10, 25)),
    ]
    for target in targets:
        assert call(target, source) == 1000
        assert bytes(memoryview(target).cast("B")) == source
    with mmap.mmap(-1, 1000) as mapped:
        assert call(mapped, source) == 1000
        assert mapped[:] == source


# What is refused


@each_call
@pytest.mark.parametrize(
    ("dst", "src", "kind", "words"),
    [
        (bytearray(3), b"four", ValueError, ["3 bytes", "4"]),
        (bytearray(SPREAD + 1), bytes(SPREAD), ValueError, ["lengths"]),
        (bytes(4), b"four", BufferError, ["dst", "read-only", "bytearray"]),
        (memoryview(b"four"), b"four", BufferError, ["dst", "read-only"]),
        (memoryview(b"fourfour")[::2], b"four", BufferError, ["dst", "read-only"]),
        (bytearray(4), "four", TypeError, ["src", "str", "encode"]),
        ("four", b"four", TypeError, ["dst", "str"]),
        (None, b"", TypeError, ["dst", "NoneType"]),
        (bytearray(), None, TypeError, ["src", "NoneType"]),
        (bytearray(4), 4, TypeError, ["src", "int"]),
        (bytearray(4), [1, 2, 3, 4], TypeError, ["src", "list"]),
        (np.zeros(2, object), np.zeros(2, object), TypeError, ["dst", "objects"]),
        (bytearray(16), np.zeros(2, object), TypeError, ["src", "objects"]),
        (np.zeros(4, object)[::2], np.zeros(2, object), TypeError, ["dst", "objects"]),
        (np.zeros(2, "i4,O"), np.zeros(2, "i4,O"), TypeError, ["objects"]),
        (np.zeros(2, "M8[s],O"), np.zeros(2, "M8[s],O"), TypeError, ["objects"]),
        (np.zeros(4, "M8[s],O")[::2], np.zeros(2, "M8[s],O"), TypeError, ["objects"]),
        (np.zeros((2, 6))[:, ::2], np.zeros((3, 2)), ValueError, ["(2, 3)", "(3, 2)"]),
        (np.zeros(4, "f8")[::2], np.zeros(2, "f4"), ValueError, ["8 bytes", "4"]),
        (np.broadcast_to(np.zeros(1), 3), np.zeros(3), BufferError, ["dst", "read-only"]),
    ],
)
def test_refused(
    call: Callable[[Any, Any], int], dst: Any, src: Any, kind: type[Exception], words: list[str]
) -> None:
    """The error names what is wrong; nothing was copied, and nothing is held."""
    before = bytes(memoryview(dst)) if isinstance(dst, bytearray) else None
    with pytest.raises(kind) as caught:
        call(dst, src)
    for word in words:
        assert word in str(caught.value), (word, str(caught.value))
    if before is not None:
        assert dst == before
        dst.append(0)  # BufferError were it held
        del dst[-1]


@each_call
def test_a_broadcast_destination_is_refused(call: Callable[[Any, Any], int]) -> None:
    """Several elements in one place: which of them would be the last?"""
    place = np.zeros(4)
    target = as_strided(place, (3, 4), (0, 8))
    with pytest.raises(ValueError, match=r"strides \(0, 8\)"):
        call(target, np.ones((3, 4)))
    assert not place.any()


@each_call
def test_a_read_only_array_of_dates(call: Callable[[Any, Any], int]) -> None:
    """NumPy has no format for these, so a memoryview cannot tell."""
    dates = np.zeros(6, "M8[s]")
    dates.flags.writeable = False
    for target in (dates, dates[::2]):
        with pytest.raises(BufferError, match="read-only"):
            call(target, np.ones(len(target), "M8[s]"))


@each_call
def test_no_references_in_a_field_with_an_o(call: Callable[[Any, Any], int]) -> None:
    """Fields called Offset or O hold no objects."""
    kind = np.dtype([("Offset", "i4"), ("O", "f8"), ("x", [("TO", "u1", (2, 2))])])
    source = np.frombuffer(pattern(6 * kind.itemsize), kind)
    target = np.zeros(6, kind)
    call(target, source)
    assert target.tobytes() == source.tobytes()
    call(target[::2], source[::-2])
    assert target[::2].tobytes() == source[::-2].tobytes()


# Arrays of any strides


@dataclass(frozen=True)
class Layout:
    """How one array lies in its memory, for a given shape."""

    order: tuple[int, ...]  # of its dimensions in memory
    starts: tuple[int, ...]
    steps: tuple[int, ...]  # 0: all elements are one (sources only)
    behind: tuple[int, ...]
    fortran: bool

    def view(self, shape: tuple[int, ...], kind: np.dtype[Any], seed: int) -> tuple[Any, Any]:
        """Memory of random bytes, and the array in it."""
        sizes = [
            start + (count - 1) * abs(step) + 1 + more if count else start + more
            for count, start, step, more in zip(
                shape, self.starts, self.steps, self.behind, strict=True
            )
        ]
        ordered = [sizes[dimension] for dimension in self.order]
        count = int(np.prod(ordered, dtype=np.int64))
        memory = np.frombuffer(bytearray(pattern(count * kind.itemsize, seed)), kind)
        memory = memory.reshape(ordered, order="F" if self.fortran else "C")
        return memory, self.within(memory, shape)

    def within(self, memory: Any, shape: tuple[int, ...]) -> Any:
        found = memory.transpose(np.argsort(self.order))
        if not shape:
            return found
        slices = []
        for count, start, step in zip(shape, self.starts, self.steps, strict=True):
            if not count:
                slices.append(slice(0, 0))
            elif step < 0:
                first = start + (count - 1) * -step
                slices.append(slice(first, start - 1 if start else None, step))
            else:
                slices.append(slice(start, start + (count - 1) * step + 1, step or 1))
        return (
            np.broadcast_to(found[tuple(slices)], shape)
            if 0 in self.steps
            else found[tuple(slices)]
        )


@st.composite
def layouts(draw: st.DrawFn, ndim: int, *, source: bool) -> Layout:
    steps = [-3, -2, -1, 1, 1, 1, 2, 3, *([0] if source else [])]

    def each(strategy: st.SearchStrategy[int]) -> tuple[int, ...]:
        return tuple(draw(st.lists(strategy, min_size=ndim, max_size=ndim)))

    return Layout(
        tuple(draw(st.permutations(range(ndim)))),
        each(st.integers(0, 2)),
        each(st.sampled_from(steps)),
        each(st.integers(0, 2)),
        draw(st.booleans()),
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[tuple[int, ...], int, Layout, Layout, bool]:
    """A shape, an item size, two layouts, and whether the engine gets small ones, too."""
    ndim = draw(st.integers(0, 5))
    shape = draw(
        st.lists(st.integers(0 if draw(st.booleans()) else 1, 5), min_size=ndim, max_size=ndim)
    )
    if ndim and draw(st.booleans()):
        shape[draw(st.integers(0, ndim - 1))] = draw(st.integers(500, 3000))
    itemsize = draw(st.one_of(st.integers(1, 32), st.sampled_from([1, 2, 3, 4, 8, 12, 16])))
    return (
        tuple(shape),
        itemsize,
        draw(layouts(ndim, source=False)),
        draw(layouts(ndim, source=True)),
        draw(st.booleans()),
    )


@each_engine
def test_strided(settings_: dict[str, Any]) -> None:
    """Against NumPy's own assignment; all of the memory is compared, between the elements, too."""

    @settings(max_examples=EXAMPLES)
    @given(cases())
    def run(case: tuple[tuple[int, ...], int, Layout, Layout, bool]) -> None:
        shape, itemsize, to, from_, hand_over = case
        engine.configure(0 if hand_over else AT_ONCE, **settings_)
        kind = np.dtype(f"V{itemsize}")
        target_memory, target = to.view(shape, kind, 1)
        _, source = from_.view(shape, kind, 2)
        want_memory = target_memory.copy(order="K")
        to.within(want_memory, shape)[...] = source
        assert adma.copy(target, source) == source.nbytes
        assert target_memory.tobytes("A") == want_memory.tobytes("A")

    run()


@st.composite
def overlapping(draw: st.DrawFn) -> tuple[tuple[int, ...], list[list[slice]], list[bool], int]:
    """A memory, two arrays of equal shape in it, which of them are transposed, an item size."""
    ndim = draw(st.integers(1, 3))
    shape = draw(st.lists(st.integers(1, 6), min_size=ndim, max_size=ndim))
    if draw(st.booleans()):
        shape[0] = draw(st.integers(100, 2000))
    transposed = [draw(st.booleans()) for _ in range(2)]
    sides, sizes = [], [0] * ndim
    for side in range(2):
        own = shape[::-1] if transposed[side] else shape
        slices = []
        for dimension, count in enumerate(own):
            start, step = draw(st.integers(0, 3)), draw(st.sampled_from([-2, -1, 1, 1, 1, 2]))
            end = start + (count - 1) * abs(step)
            sizes[dimension] = max(sizes[dimension], end + 1)
            if step > 0:
                slices.append(slice(start, end + 1, step))
            else:
                slices.append(slice(end, start - 1 if start else None, step))
        sides.append(slices)
    return tuple(sizes), sides, transposed, draw(st.sampled_from([1, 2, 3, 4, 8, 12, 16, 31]))


@each_engine
def test_overlapping_views_of_one_array(settings_: dict[str, Any]) -> None:
    """The result is as if the source had been copied away first, whatever the strides."""

    @settings(max_examples=EXAMPLES)
    @given(overlapping(), st.booleans())
    @example(((400, 400), [[slice(0, 400)] * 2] * 2, [False, True], 4), True)
    @example(((3000,), [[slice(1, 3000)], [slice(0, 2999)]], [False, False], 31), True)
    @example(
        (
            (3000, 3),
            [[slice(0, 2999), slice(0, 2)], [slice(1, 3000), slice(1, 3)]],
            [False] * 2,
            31,
        ),
        True,
    )
    def run(case: Any, hand_over: bool) -> None:
        sizes, sides, transposed, itemsize = case
        engine.configure(0 if hand_over else AT_ONCE, **settings_)
        kind = np.dtype(f"V{itemsize}")
        nbytes = int(np.prod(sizes)) * itemsize
        memory = np.frombuffer(bytearray(pattern(nbytes, 4)), kind).reshape(sizes)
        want = memory.copy()

        def view(of: Any, side: int) -> Any:
            found = of[tuple(sides[side])]
            return found.T if transposed[side] else found

        view(want, 0)[...] = view(want, 1).copy()
        adma.copy(view(memory, 0), view(memory, 1))
        assert memory.tobytes() == want.tobytes()

    run()


@each_engine
@pytest.mark.parametrize("kind", ["M8[s]", "i4,f8,S3", "c16", "f2", "U5", "m8[us],V7", "?", "g"])
def test_kinds_of_elements(kind: str, settings_: dict[str, Any]) -> None:
    engine.configure(0, **settings_)
    shape = (40, 30)
    source = np.zeros(shape, kind)
    # Bytes that are a value of any kind: text may not be, so it is small.
    source.view(f"V{source.itemsize}")[...] = np.frombuffer(
        bytes(number % 2 for number in range(source.nbytes)), f"V{source.itemsize}"
    ).reshape(shape)
    for near in (np.zeros(shape, kind), np.zeros(shape, kind, order="F")):
        for target, part in ((near, source), (near[::2, ::-3], source[1::2, ::3])):
            adma.copy(target, part)
            assert target.tobytes() == part.tobytes()


def test_rows_longer_than_a_part_are_cut() -> None:
    """A part is what lies between two looks at signals: no row may make it long."""
    engine.configure(engine="thread", queues=2)
    width = 3 * PART + 5
    memory = np.frombuffer(bytearray(pattern(3 * (width + 7), 8)), "u1").reshape(3, width + 7)
    for target, source in (
        (np.zeros((3, width + 1), "u1")[:, :width], memory[:, :width]),
        (np.zeros((3, width + 1), "u1")[:, :width], memory[::-1, 7:]),
        (np.zeros((3, 2 * width), "u1")[:, ::2], memory[:, :width]),
        (memory[:, 3 : width + 3], memory[:, :width]),
        (memory[:, :width], memory[:, 3 : width + 3]),
        (memory[::-1, :width], memory[:, 3 : width + 3]),
    ):
        want = source.copy()
        request = adma.icopy(target, source)
        assert request.wait(HANG) == 3 * width
        assert (target == want).all()
        assert request._copy.plan.parts >= 3 * width // PART  # type: ignore[attr-defined]


def test_what_is_empty() -> None:
    """Of any strides, and behind whatever else is outstanding."""
    for dst, src in (
        (np.zeros((0, 6))[:, ::2], b""),
        (bytearray(), np.zeros((3, 0))),
        (np.zeros((4, 0, 2), order="F"), np.zeros((4, 0, 2))),
    ):
        assert adma.copy(dst, src) == 0
        assert adma.icopy(dst, src).wait(HANG) == 0


@pytest.mark.parametrize("side", ["dst", "src"])
def test_a_buffer_that_tells_no_strides(side: str) -> None:
    """As ctypes' arrays, also when asked for them: they are in C order."""
    array = ((ctypes.c_int * 2) * 3)((1, 2), (3, 4), (5, 6))
    strided = np.arange(12, dtype=np.intc).reshape(3, 4)[:, ::2]
    dst, src = (array, strided) if side == "dst" else (strided, array)
    assert adma.copy(dst, src) == 24
    assert [list(row) for row in array] == strided.tolist()
