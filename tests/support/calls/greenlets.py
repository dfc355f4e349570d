# SPDX-License-Identifier: BSD-3-Clause
"""A process in which greenlets replace threads, as gevent and eventlet leave Python's modules."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import adma
from adma.testing import Endpoint
from adma.testing.limits import HANG


def patch(endpoint: Endpoint, greenlet: str) -> None:
    """The number of a thread is the address of an object: of the main greenlet, or of another."""
    del endpoint
    thread = threading.main_thread()
    if greenlet == "another":
        thread = threading.Thread(name="greenlet")
    ident = id(thread)
    threading._active[ident] = thread  # type: ignore[attr-defined]
    threading.get_ident = lambda: ident
    threading.current_thread = lambda: thread  # type: ignore[assignment]


class Cooperative(socket.socket):
    """A socket that does not heed SOCK_NONBLOCK, and tries again until it can connect."""

    def __init__(self, family: int = -1, kind: int = -1, *more: Any, **others: Any) -> None:
        super().__init__(family, kind & ~socket.SOCK_NONBLOCK, *more, **others)
        self._waits = True

    def setblocking(self, flag: bool) -> None:
        self._waits = flag

    def connect(self, address: Any) -> None:
        super().setblocking(False)
        hang = time.monotonic() + HANG
        while True:
            try:
                return super().connect(address)
            except BlockingIOError:
                if not self._waits:
                    raise
                assert time.monotonic() < hang, "it waits for ever"
                time.sleep(0.001)


def connect_to_a_full_queue(endpoint: Endpoint, path: str) -> str:
    """Call a listener that accepts nobody, under such a socket module."""
    del endpoint
    socket.socket = Cooperative  # type: ignore[misc]
    try:
        adma.connect(path, timeout=0.1)
    except TimeoutError as error:
        return str(error)
    return "connected"
