# SPDX-License-Identifier: BSD-3-Clause
"""The record parser: what is packed is found again, and nothing else passes."""

from __future__ import annotations

import errno
import os
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adma._core._native import ffi, lib
from adma.connect.record import Entry, Record, Wire, pack
from support.endpoints import hello, pair


def entries(error: st.SearchStrategy[int]) -> st.SearchStrategy[list[Entry]]:
    subject, data = st.integers(0, 65535), st.binary(max_size=200)
    entry = st.builds(Entry, subject=subject, error=error, data=data)
    return st.lists(entry, max_size=lib.ADMA_ENTRIES_MAX)


ENTRIES = entries(st.integers(-(2**31), 2**31 - 1))
SOUND = entries(st.sampled_from([0, *errno.errorcode]))  # of the errors that pass
HEAD = struct.Struct("=IHHHHII")
ENTRY = struct.Struct("=HHiII")


def parse(data: bytes, nfds: int = 0) -> tuple[int, ffi.CData]:
    record = ffi.new("struct adma_record *")
    return lib.adma_record_parse(data, len(data), nfds, record), record


NEWER = lib.ADMA_WIRE_VERSION + 1


def make(*, entries: int = 0, body: bytes = b"", fds: int = 0, **head: int) -> bytes:
    """A record whose head says what the test wants."""
    fields = {
        "magic": lib.ADMA_RECORD_MAGIC,
        "oldest": lib.ADMA_WIRE_OLDEST,
        "newest": lib.ADMA_WIRE_VERSION,
        "round": lib.ADMA_ROUND_OFFER,
        "entries": entries,
        "length": HEAD.size + len(body),
        "fds": fds,
    } | head
    return HEAD.pack(*fields.values()) + body


@given(round_=st.integers(0, 65535), entries=ENTRIES)
def test_what_is_packed_is_parsed(round_: int, entries: list[Entry]) -> None:
    data = pack(round_, entries)
    fault, record = parse(data)
    assert fault == lib.ADMA_RECORD_OK
    assert record.head.round == round_
    found = [record.entries[i] for i in range(record.head.entries)]
    assert [
        Entry(e.head.subject, e.head.error, data[e.offset : e.offset + e.head.length])
        for e in found
    ] == entries
    assert lib.adma_record_length(data, len(data)) == len(data)


@given(data=st.binary(max_size=300), nfds=st.integers(0, 300))
def test_any_bytes_are_judged(data: bytes, nfds: int) -> None:
    fault, _ = parse(data, nfds)
    assert lib.ADMA_RECORD_FDS <= fault <= lib.ADMA_RECORD_OK
    assert ffi.string(lib.adma_record_fault_text(fault))


@given(entries=ENTRIES, cut=st.integers(0, 10_000))
def test_a_part_of_a_record_is_short(entries: list[Entry], cut: int) -> None:
    data = pack(1, entries)
    part = data[: cut % len(data)]
    assert parse(part)[0] == lib.ADMA_RECORD_SHORT
    assert lib.adma_record_length(part, len(part)) in (0, len(data))


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", lib.ADMA_RECORD_SHORT),
        (b"GET /", lib.ADMA_RECORD_MAGIC_BAD),
        (b"G", lib.ADMA_RECORD_MAGIC_BAD),
        (make(oldest=NEWER, newest=9), lib.ADMA_RECORD_VERSION),
        (make(oldest=0, newest=0), lib.ADMA_RECORD_VERSION),
        (make(oldest=5, newest=1), lib.ADMA_RECORD_VERSION),
        (make(oldest=NEWER, newest=9, length=1 << 30), lib.ADMA_RECORD_VERSION),
        (make(length=HEAD.size - 1), lib.ADMA_RECORD_LENGTH),
        (make(length=lib.ADMA_RECORD_MAX + 1), lib.ADMA_RECORD_LENGTH),
        (make() + b"x", lib.ADMA_RECORD_LENGTH),
        (make(body=bytes(8)), lib.ADMA_RECORD_LENGTH),
        (make(entries=lib.ADMA_ENTRIES_MAX + 1), lib.ADMA_RECORD_ENTRIES),
        (make(entries=1), lib.ADMA_RECORD_ENTRIES),
        (make(entries=1, body=ENTRY.pack(1, 0, 0, 1, 0)), lib.ADMA_RECORD_ENTRIES),
        (make(entries=1, body=ENTRY.pack(1, 0, 0, 2**32 - 1, 0)), lib.ADMA_RECORD_ENTRIES),
        (make(entries=1, body=ENTRY.pack(1, 0, 0, 0, 1)), lib.ADMA_RECORD_ENTRIES),
        (make(entries=1, body=ENTRY.pack(1, 1, 0, 0, 0)), lib.ADMA_RECORD_FDS),
        (make(entries=1, body=ENTRY.pack(1, 1, 0, 0, 0), fds=1), lib.ADMA_RECORD_FDS),
        (make(fds=1), lib.ADMA_RECORD_FDS),
    ],
)
def test_faults(data: bytes, fault: int) -> None:
    assert parse(data)[0] == fault


def test_descriptors_that_nobody_announced() -> None:
    assert parse(pack(1, []), nfds=1)[0] == lib.ADMA_RECORD_FDS


@pytest.mark.parametrize("oldest", [0, lib.ADMA_WIRE_VERSION])
@pytest.mark.parametrize("newest", [lib.ADMA_WIRE_VERSION, NEWER, 65535])
def test_a_range_that_holds_our_version(oldest: int, newest: int) -> None:
    assert parse(make(oldest=oldest, newest=newest))[0] == lib.ADMA_RECORD_OK


@pytest.mark.parametrize(
    "fields",
    [
        {"pid": 0},
        {"pid": -1},
        {"half_size": 0},
        {"zero": 1},
    ],
)
def test_impossible_hellos(fields: dict[str, int]) -> None:
    content = ffi.new("struct adma_hello *")
    data = hello(**fields)
    assert lib.adma_hello_parse(data, len(data), content) == -1


def test_a_hello_has_one_size() -> None:
    content = ffi.new("struct adma_hello *")
    data = hello()
    assert lib.adma_hello_parse(data, len(data), content) == 0
    assert lib.adma_hello_parse(data[:-1], len(data) - 1, content) == -1
    assert lib.adma_hello_parse(data + b"\0", len(data) + 1, content) == -1


def test_a_record_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(OverflowError, match=str(lib.ADMA_RECORD_MAX)):
        pack(1, [Entry(1, 0, bytes(lib.ADMA_RECORD_MAX))])


@given(entries=SOUND)
def test_records_over_a_stream_do_not_run_into_each_other(entries: list[Entry]) -> None:
    ours, theirs = pair()
    with ours, theirs:
        deadline = time.monotonic() + 10
        sender, receiver = Wire(ours, deadline), Wire(theirs, deadline)
        sender.send(1, entries)
        sender.send(2, [])
        ours.send(b"!")  # a wake-up of a fast peer
        with receiver.receive() as first, receiver.receive() as second:
            assert (first.round, first.entries, second.round) == (1, entries, 2)
            assert first.sender.pid == os.getpid()
            assert first.sender.uid == os.geteuid()
        assert theirs.recv(100) == b"!"


def test_descriptors_belong_to_their_entries() -> None:
    ours, theirs = pair()
    with ours, theirs:
        fds = [os.memfd_create(name) for name in "abc"]
        deadline = time.monotonic() + 10
        receiver = Wire(theirs, deadline)
        Wire(ours, deadline).send(1, [Entry(1, fds=fds[:1]), Entry(2), Entry(3, fds=fds[1:])])
        with receiver.receive() as record:
            _same_files(record, fds)
        for fd in fds:
            os.close(fd)


def _same_files(record: Record, fds: list[int]) -> None:
    assert [len(entry.fds) for entry in record.entries] == [1, 0, 2]
    arrived = [fd for entry in record.entries for fd in entry.fds]
    assert [os.fstat(fd).st_ino for fd in arrived] == [os.fstat(fd).st_ino for fd in fds]
    assert not any(os.get_inheritable(fd) for fd in arrived)
