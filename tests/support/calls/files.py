# SPDX-License-Identifier: BSD-3-Clause
"""Messages in memory of a file, which somebody makes shorter while the message is under way."""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Any

from adma.testing import Endpoint
from adma.testing.limits import HANG


class Mapped:
    """A mapping of a file of its own, from an offset in its first page."""

    def __init__(self, nbytes: int, offset: int) -> None:
        with tempfile.TemporaryFile() as file:
            os.ftruncate(file.fileno(), nbytes + mmap.PAGESIZE)
            self._fd = os.dup(file.fileno())
        self._map = mmap.mmap(self._fd, nbytes + mmap.PAGESIZE)
        self.view = memoryview(self._map)[offset : offset + nbytes]

    def shorten(self) -> None:
        """From now on to touch it is a SIGBUS, but for its first pages."""
        os.ftruncate(self._fd, 2 * mmap.PAGESIZE)

    def close(self) -> None:
        self.view.release()
        self._map.close()
        os.close(self._fd)


def exchange(endpoint: Endpoint, verb: str, nbytes: int, offset: int, gone: bool) -> str:
    """A blocking "read" or "write" of such memory; what it returned, or its error."""
    area = Mapped(nbytes, offset)
    if gone:
        area.shorten()
    call: Any = getattr(endpoint.channel, verb)
    try:
        call(area.view, timeout=HANG)
        return "done"
    except OSError as error:
        return f"{error.errno}: {error.strerror}"
    finally:
        area.close()
