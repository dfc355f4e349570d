# SPDX-License-Identifier: BSD-3-Clause
"""Under gevent and its like: numbers of threads name no thread, sockets wait by themselves."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import HANG, LARGE
from adma.testing.observe import until_asleep
from support.calls import greenlets, interrupts


@pytest.mark.parametrize("greenlet", ["main", "another"])
@pytest.mark.parametrize("call", ["read", "write", "probe", "recv", "wait", "poll"])
def test_a_wait_answers_signals(fresh_peers: tuple[Peer, Peer], call: str, greenlet: str) -> None:
    """It neither hangs nor takes the number for a thread, and its channel works on."""
    peer = fresh_peers[0]
    channel = peer.connect()
    peer.call(greenlets.patch, greenlet)
    for _ in range(3):
        task = peer.begin(interrupts.block, call, LARGE)
        assert peer.heard() == "blocking"
        until_asleep(peer.pid)
        peer.signal(signal.SIGINT)
        assert task.result() == "interrupted"
    reading = peer.begin(messages.read, 5)
    channel.write(b"after", timeout=HANG)
    assert reading.result() == b"after"


def test_connecting_keeps_its_timeout(fresh_peers: tuple[Peer, Peer], tmp_path: Path) -> None:
    """The queue of a listener is full, and the socket of the module would wait for ever."""
    path = str(tmp_path / "full")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        told = fresh_peers[0].call(greenlets.connect_to_a_full_queue, path)
    assert "queue of callers is full" in told
