# SPDX-License-Identifier: BSD-3-Clause
"""Messages that are larger than memory."""

from __future__ import annotations

from support.limits import HANG
from support.payload import Repeated, difference, pattern
from support.peer_main import End


def write(end: End, nbytes: int, window: int) -> None:
    with Repeated(nbytes, window=window, content=pattern(window, 1)) as source:
        end.channel.write(source.view, timeout=3 * HANG)


def read(end: End, nbytes: int, window: int) -> None:
    with Repeated(nbytes, window=window) as target:
        assert end.channel.read(target.view, timeout=3 * HANG) == nbytes
        wrong = difference(target.content(), pattern(window, 1))
        assert not wrong, wrong
