# SPDX-License-Identifier: BSD-3-Clause
"""A pipe for bytes without a meaning, which a process may lose behind its back.

Daemonizers close all descriptors that they find, and their numbers are somebody else's soon. So
before each use it is checked that the pipe is still there.
"""

from __future__ import annotations

import contextlib
import os

__all__ = ["Pipe", "identity"]


def identity(fd: int) -> tuple[int, int] | None:
    """What tells a file from all others that are open; None: there is no such descriptor."""
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    return status.st_dev, status.st_ino


class Pipe:
    """Both ends, which never wait and are closed by exec. OSError: there is none to be had."""

    def __init__(self) -> None:
        self.out, self._into = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._identity = identity(self.out)

    def put(self) -> None:
        """Write a byte, if there is room."""
        if self._is_own(self._into):
            with contextlib.suppress(BlockingIOError):
                os.write(self._into, b"!")

    def take(self, at_most: int) -> None:
        """Read up to so many bytes, if there are any."""
        if self._is_own(self.out):
            with contextlib.suppress(BlockingIOError):
                os.read(self.out, at_most)

    @property
    def is_lost(self) -> bool:
        """Has other code closed it by its number?"""
        return not self._is_own(self.out)

    def close_into(self) -> None:
        """Close the end for writing."""
        fd, self._into = self._into, -1
        if self._is_own(fd):
            os.close(fd)

    def close(self) -> None:
        """Close both ends; `out` is -1 then. Closing twice is no error."""
        self.close_into()
        fd, self.out = self.out, -1
        if self._is_own(fd):
            os.close(fd)

    def _is_own(self, fd: int) -> bool:
        return fd >= 0 and identity(fd) == self._identity
