# SPDX-License-Identifier: BSD-3-Clause
"""``python -m adma.cli.echo FD NBYTES``: the other process of `adma tune`, which sends all back.

Its buffer, of `NBYTES` bytes, begins with a page. A message that is a `REQUEST` is
answered by a window: so many messages of this size, which are posted and waited for together.
"""

from __future__ import annotations

import contextlib
import mmap
import socket
import sys

import adma
from adma import tuned
from adma.cli.tune import REQUEST


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
                if len(message) == REQUEST.size:
                    send_window(channel, whole, *REQUEST.unpack(message))
                else:
                    channel.write(message)
    return 0


def send_window(channel: adma.Channel, whole: memoryview, number: int, nbytes: int) -> None:
    """Post that many messages at once, each with bytes of its own, and wait for them."""
    posted = [channel.iwrite(whole[i * nbytes :][:nbytes]) for i in range(number)]
    adma.wait_all(posted)


if __name__ == "__main__":
    sys.exit(serve(int(sys.argv[1]), int(sys.argv[2])))
