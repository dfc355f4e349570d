# SPDX-License-Identifier: BSD-3-Clause
"""Records of the handshake as bytes. The parser is C, and takes the bytes of a stranger.

adma_handshake.h says what a record looks like.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ..errors import ProtocolError, VersionMismatch
from ._native import ffi, lib

RECORD_MAX: Final = lib.ADMA_RECORD_MAX  # bytes
FDS_MAX: Final = lib.ADMA_RECORD_FDS_MAX
# Of one message on a Unix socket, whoever sends it.
MESSAGE_FDS_MAX: Final = lib.ADMA_MESSAGE_FDS_MAX
MESSAGE_LABEL_MAX: Final = lib.ADMA_MESSAGE_LABEL_MAX  # bytes of a security label
SCM_PIDFD: Final = lib.ADMA_SCM_PIDFD
HEAD_SIZE: Final = ffi.sizeof("struct adma_record_head")


class Part(NamedTuple):
    """An entry in a record: what it is about, its bytes, and which descriptors are its own."""

    subject: int
    error: int
    data: bytes
    fds: slice


def length(data: bytes) -> int:
    """How many bytes the record has that begins here; 0: more are needed to tell. ProtocolError."""
    found = lib.adma_record_length(data, len(data))
    if found < 0:
        raise _fault(found, data)
    return found


def parse(data: bytes, nfds: int) -> tuple[int, list[Part]]:
    """The round of a record that came with `nfds` descriptors, and its entries.

    VersionMismatch when the peer speaks no version of ours, ProtocolError for any other rule
    that the record breaks.
    """
    record = ffi.new("struct adma_record *")
    if fault := lib.adma_record_parse(data, len(data), nfds, record):
        raise _fault(fault, data)
    parts = []
    for i in range(record.head.entries):
        found = record.entries[i]
        content = data[found.offset : found.offset + found.head.length]
        fds = slice(found.first_fd, found.first_fd + found.head.fds)
        parts.append(Part(found.head.subject, found.head.error, content, fds))
    return record.head.round, parts


def pack_entry(subject: int, error: int, data: bytes, nfds: int) -> bytes:
    """The bytes of an entry."""
    head = ffi.new("struct adma_entry_head *")
    head.subject = subject
    head.fds = nfds
    head.error = error
    head.length = len(data)
    return bytes(ffi.buffer(head)) + data + bytes(-len(data) % 8)


def pack(round_: int, entries: list[bytes], nfds: int) -> bytes:
    """The bytes of a record. OverflowError when it would be longer than a record may be."""
    body = b"".join(entries)
    head = ffi.new("struct adma_record_head *")
    head.magic = lib.ADMA_RECORD_MAGIC
    head.oldest = lib.ADMA_WIRE_OLDEST
    head.newest = lib.ADMA_WIRE_VERSION
    head.round = round_
    head.entries = len(entries)
    head.length = HEAD_SIZE + len(body)
    head.fds = nfds
    if head.length > RECORD_MAX:
        raise OverflowError(f"a record of {head.length} bytes, {RECORD_MAX} allowed")
    return bytes(ffi.buffer(head)) + body


def _fault(fault: int, data: bytes) -> ProtocolError:
    text = ffi.string(lib.adma_record_fault_text(fault)).decode()
    if fault != lib.ADMA_RECORD_VERSION:
        return ProtocolError(f"the other end does not speak adma's protocol: {text}")
    head = ffi.new("struct adma_record_head *")
    ffi.memmove(head, data, HEAD_SIZE)
    return VersionMismatch(
        f"{text}: this end speaks {lib.ADMA_WIRE_OLDEST} to {lib.ADMA_WIRE_VERSION}, the other "
        f"{head.oldest} to {head.newest}; cure: use the same version of adma on both ends"
    )
