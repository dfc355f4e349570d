# SPDX-License-Identifier: BSD-3-Clause
"""The victim of an attack: its honest channel, and what a victim must not do."""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
import time

import adma
from adma.testing import Endpoint
from adma.testing.cut_off import cut_off
from adma.testing.limits import MIB


def serve(endpoint: Endpoint) -> None:
    """Return what comes over the channel that was joined last, from now on, in a thread."""
    channel = endpoint.channels.pop()
    threading.Thread(target=_echo, args=(channel,), daemon=True).start()


def _echo(channel: adma.Channel) -> None:
    buffer = memoryview(bytearray(MIB))
    with contextlib.suppress(adma.ChannelEnded):
        while True:
            got = channel.read(buffer, timeout=None)
            channel.write(buffer[:got], timeout=None)
    with contextlib.suppress(adma.ChannelEnded):
        cut_off(channel)


# What the harness must notice


def linger(endpoint: Endpoint, seconds: float) -> None:
    """Be late."""
    del endpoint
    time.sleep(seconds)


def keep_memory(endpoint: Endpoint, nbytes: int) -> None:
    """Pages of its own: an allocator might have some left that are resident already."""
    endpoint.kept["memory"] = memory = mmap.mmap(-1, nbytes)
    for at in range(0, nbytes, mmap.PAGESIZE):
        memory[at] = 1


def keep_descriptors(endpoint: Endpoint, count: int) -> None:
    endpoint.kept["fds"] = [os.open(os.devnull, os.O_RDONLY) for _ in range(count)]


def use_memory(endpoint: Endpoint, nbytes: int) -> None:
    """And let go of it."""
    keep_memory(endpoint, nbytes)
    let_go(endpoint)


def let_go(endpoint: Endpoint) -> None:
    for fd in endpoint.kept.pop("fds", []):
        os.close(fd)
    endpoint.kept.clear()


def spin(endpoint: Endpoint, seconds: float) -> None:
    """Use a core for so much of its time, in a thread."""
    del endpoint

    def run() -> None:
        while time.thread_time() < seconds:
            pass

    threading.Thread(target=run, daemon=True).start()
