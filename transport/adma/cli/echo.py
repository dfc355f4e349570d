# SPDX-License-Identifier: BSD-3-Clause
"""``python -m adma.cli.echo FD NBYTES``: the other process of `adma tune`, which sends all back.

Its buffer, of `NBYTES` bytes, begins with a page.
"""

from __future__ import annotations

import contextlib
import mmap
import socket
import sys

import adma
from adma import tuned


def serve(fd: int, nbytes: int) -> int:
    """Send messages back until the other end closes. Returns 0."""
    tuned.forgo()
    with (
        adma.from_socket(socket.socket(fileno=fd)) as channel,
        mmap.mmap(-1, nbytes) as memory,
        memoryview(memory) as whole,
        contextlib.suppress(adma.ChannelEnded),
    ):
        while True:
            with whole[: channel.read(whole)] as message:
                channel.write(message)
    return 0


if __name__ == "__main__":
    sys.exit(serve(int(sys.argv[1]), int(sys.argv[2])))
