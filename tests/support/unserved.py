# SPDX-License-Identifier: BSD-3-Clause
"""Memory whose page faults nobody serves: whoever copies waits for them."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import platform
import struct
from types import TracebackType

_SYSCALL = {"x86_64": 323, "aarch64": 282}  # userfaultfd
_API = 0xC018AA3F
_REGISTER = 0xC020AA00
_VERSION = 0xAA
_MISSING = 1


def available() -> bool:
    """May this process do that?"""
    try:
        Unserved(mmap.PAGESIZE).serve()
    except OSError:
        return False
    return True


class Unserved:
    """`area` has no pages until `serve()`, and nobody may touch it before that.

    `present`: so many bytes at its beginning are there.
    """

    def __init__(self, nbytes: int, present: int = 0) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        number = _SYSCALL[platform.machine()]
        self._fd = libc.syscall(number, os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "userfaultfd")
        self.area = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.area))
        fcntl.ioctl(self._fd, _API, struct.pack("QQQ", _VERSION, 0, 0))
        self.area[:present] = bytes(present)
        area = struct.pack("QQQQ", address + present, nbytes - present, _MISSING, 0)
        fcntl.ioctl(self._fd, _REGISTER, area)

    def serve(self) -> None:
        """Page faults find zeroes from now on."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Unserved:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.serve()
