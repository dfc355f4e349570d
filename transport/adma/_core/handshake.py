# SPDX-License-Identifier: BSD-3-Clause
"""What two processes show each other before there is a channel: hello, nonce, segments.

adma_handshake.h says more.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..errors import ProtocolError, failure
from ._native import ffi, lib

if TYPE_CHECKING:
    from .types import Nonce, Segment

# Rounds of the handshake.
HELLO: Final = lib.ADMA_ROUND_HELLO
OFFER: Final = lib.ADMA_ROUND_OFFER
ANSWER: Final = lib.ADMA_ROUND_ANSWER
VERDICT: Final = lib.ADMA_ROUND_VERDICT
REFUSED: Final = lib.ADMA_ROUND_REFUSED

ANY_TRACER: Final = lib.ADMA_TRACER_ANY

nonce_scratch = lib.adma_nonce_scratch  # the number that the peer may have written to it
write_memory = lib.adma_vm_write
set_tracer = lib.adma_set_tracer
is_dumpable = lib.adma_dumpable
has_more_rights = lib.adma_has_more_rights
unmap_segment = lib.adma_segment_unmap
pidfd_open = lib.adma_pidfd_open  # a descriptor, or a negated errno
eventfd = lib.adma_eventfd  # as that one; it does not block
is_pidfd = lib.adma_is_pidfd  # 1, 0; or a negated errno: it cannot be told
close_apart = lib.adma_close_apart  # without waiting for it
closing_apart = lib.adma_closing_apart  # how many descriptors of a user are not closed yet
take_rights = lib.adma_take_rights  # 0, or a negated errno
unread = lib.adma_unread  # bytes sent and not read by the other end, or a negated errno


@dataclass(frozen=True)
class Hello:
    """What a process says of itself: `struct adma_hello`."""

    pid: int  # as it sees itself
    uid: int
    start_time: int  # clock ticks after boot
    half_size: int
    nonce: bytes
    mechanisms: int  # mask of those it can try
    forced: int  # enum adma_mechanism_id, 0: none

    def pack(self) -> bytes:
        """The bytes that are sent."""
        raw = ffi.new("struct adma_hello *", {**vars(self), "nonce": list(self.nonce)})
        return bytes(ffi.buffer(raw))

    @classmethod
    def parse(cls, data: bytes) -> Hello:
        """What arrived. ProtocolError when it cannot be."""
        raw = ffi.new("struct adma_hello *")
        if lib.adma_hello_parse(data, len(data), raw):
            raise ProtocolError("the peer's hello is malformed")
        fields: dict[str, Any] = {name: getattr(raw, name) for name in cls.__annotations__}
        return cls(**{**fields, "nonce": bytes(ffi.buffer(raw.nonce))})


# The nonce


def make_nonce() -> Nonce:
    """A fresh nonce at an address of its own, freed with the last reference. MemoryError."""
    nonce = lib.adma_nonce_new()
    if not nonce:
        raise MemoryError("no memory for a nonce")
    return ffi.gc(nonce, lib.adma_nonce_free)


def nonce_bytes(nonce: Nonce) -> bytes:
    """The random bytes of it."""
    return bytes(ffi.buffer(nonce.bytes))


def nonce_addresses(nonce: Nonce) -> tuple[int, int]:
    """Where the peer finds its bytes, and the scratch word that the peer may write."""
    return lib.adma_nonce_address(nonce), lib.adma_nonce_scratch_address(nonce)


def read_memory(pid: int, address: int, nbytes: int) -> tuple[int, bytes]:
    """0 or a negated errno, and bytes of another process's memory (process_vm_readv(2))."""
    found = ffi.new("uint8_t[]", nbytes)
    rc = lib.adma_vm_read(pid, address, found, nbytes)
    return rc, bytes(ffi.buffer(found))


def own_ids() -> tuple[int, int]:
    """The effective uid and gid of this process, as the kernel knows them."""
    ids = lib.adma_own_ids()
    return ids.uid, ids.gid


# Segments


def make_segment() -> tuple[int, Segment]:
    """A fresh segment of this end: a descriptor, close-on-exec, and where it is mapped."""
    fd = ffi.new("int *", -1)
    segment = ffi.new("struct adma_segment **")
    _check(lib.adma_segment_make(fd, segment), "rings")
    return fd[0], segment[0]


def map_segment(fd: int, same_user: bool) -> Segment:
    """Map the peer's segment; the descriptor stays the caller's. ProtocolError, OSError.

    `same_user`: the peer is of this process's user, so that its segment need not be sealed.
    """
    segment = ffi.new("struct adma_segment **")
    result = lib.adma_segment_map(fd, same_user, segment)
    _judge(result, same_user, "segment cannot be used: it is no segment of adma", UNSEALED)
    _check(result, "peer's rings")
    mapped: Segment = segment[0]
    return mapped


UNSEALED: Final = (
    "the segment of one end cannot be used: it is not sealed, because its system refuses memfds, "
    "and the two ends belong to different users; cure: allow memfd_create there, in the seccomp "
    "profile, or run both as one user"
)

# Memory that is shared by descriptor

is_sealed = lib.adma_memory_is_sealed


def make_memory(name: str) -> int:
    """Memory of no size yet, a descriptor, close-on-exec. OSError: there can be none."""
    fd: int = lib.adma_memory_open(name.encode())
    _check(min(fd, 0), "bulk segment")
    return fd


def allocate_memory(fd: int, nbytes: int) -> None:
    """Make it so long, with every page allocated. OSError: there is no room."""
    _check(lib.adma_memory_allocate(fd, nbytes), "bulk segment")


def seal_memory(fd: int) -> bool:
    """Fix its size for ever. False: it knows no seals."""
    return not lib.adma_memory_seal(fd)


def check_memory(fd: int, nbytes: int, same_user: bool, what: str) -> None:
    """Check that memory which the peer passed can be mapped. ProtocolError says why it cannot.

    It has just this size and pages of the ordinary size. Between users it is sealed. A process of
    one's own user may pass a file that cannot be sealed, and that belongs to this user.
    """
    unsealed = f"the peer's {what} is not sealed, but it belongs to another user"
    result = lib.adma_memory_check(fd, nbytes, same_user, lib.adma_own_ids().uid)
    _judge(result, same_user, f"{what} is no memory of {nbytes} bytes", unsealed)


def is_own_memory(fd: int, nbytes: int) -> bool:
    """Would another process of this user take this memory, if it were passed?"""
    return not lib.adma_memory_check(fd, nbytes, True, lib.adma_own_ids().uid)


def _judge(result: int, same_user: bool, none: str, unsealed: str) -> None:
    if result == -errno.EPROTO:
        raise ProtocolError(f"the peer's {none}")
    if result == -errno.EPERM:
        raise ProtocolError(_FOREIGN if same_user else unsealed)


_FOREIGN: Final = "the peer, a process of this user, passed memory that belongs to another user"


def _check(result: int, tried: str) -> None:
    if result < 0:
        raise failure(tried, -result)
