# SPDX-License-Identifier: BSD-3-Clause
"""Bytes to send, which tell where they belong, and buffers that are larger than memory."""

from __future__ import annotations

import ctypes
import mmap
import os
import random
from functools import lru_cache

from adma.closing import Closing

from .limits import MIB

# Prime, so that no chunk of a power of two can land in another's place unnoticed.
_PERIOD = 65521

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
]
_MAP_FIXED = 0x10
_MAP_FAILED = ctypes.c_void_p(-1).value


@lru_cache(maxsize=64)
def _block(seed: int) -> bytes:
    return random.Random(seed).randbytes(_PERIOD)


def pattern(nbytes: int, seed: int = 0) -> bytes:
    """`nbytes` bytes that depend on `seed` and on their place."""
    block = _block(seed)
    return (block * (nbytes // _PERIOD + 1))[:nbytes]


def difference(got: bytes | bytearray | memoryview, want: bytes) -> str:
    """An empty string when both are equal; otherwise where they differ first."""
    if len(got) != len(want):
        return f"{len(got)} bytes instead of {len(want)}"
    if got == want:
        return ""
    low, high = 0, len(want)
    while high - low > 1:
        middle = (low + high) // 2
        if got[low:middle] == want[low:middle]:
            low = middle
        else:
            high = middle
    return f"first difference at byte {low} of {len(want)}: {got[low]:#x} not {want[low]:#x}"


class Repeated(Closing):
    """A huge buffer that maps one small file over and over.

    `view` has `nbytes` bytes in address space and `window` bytes in memory. Writing all
    of it with a pattern that repeats every `window` bytes leaves `content()` equal to
    one period. The buffer must not be in use when the context ends.
    """

    def __init__(self, nbytes: int, *, window: int = 16 * MIB, content: bytes = b"") -> None:
        if nbytes % window:
            raise ValueError(f"nbytes={nbytes} is no multiple of window={window}")
        self.nbytes = nbytes
        self._fd = os.memfd_create("test-window")
        os.truncate(self._fd, window)
        if content:
            os.pwrite(self._fd, content, 0)
        self._window = window
        # Owns the address range: closing it unmaps whatever was laid over it.
        self._range = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | 0x4000)  # MAP_NORESERVE
        head = ctypes.c_ubyte.from_buffer(self._range)
        address = ctypes.addressof(head)
        del head
        self._lay(address)
        self.view = (ctypes.c_ubyte * nbytes).from_address(address)

    def _lay(self, address: int) -> None:
        access = mmap.PROT_READ | mmap.PROT_WRITE
        for at in range(0, self.nbytes, self._window):
            placed = _libc.mmap(
                address + at, self._window, access, mmap.MAP_SHARED | _MAP_FIXED, self._fd, 0
            )
            if placed == _MAP_FAILED:
                raise OSError(ctypes.get_errno(), "mmap")

    def content(self) -> bytes:
        """The window, as it is now."""
        return os.pread(self._fd, self._window, 0)

    def close(self) -> None:
        self._range.close()
        os.close(self._fd)
