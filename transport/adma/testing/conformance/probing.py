# SPDX-License-Identifier: BSD-3-Clause
"""To look at the next message takes nothing."""

from __future__ import annotations

import pytest

import adma

from ..calls import messages
from ..limits import CELL, EAGER, HANG, LARGE
from ..payload import pattern
from ..peer import Peer
from .base import Conformance


class Probing(Conformance):
    """`probe` and `iprobe` of the next message.

    They tell its kind and size as often as they are asked, wake up for it, and take nothing.
    """

    @pytest.mark.parametrize("nbytes", [0, 1, EAGER, EAGER + 1, LARGE])
    def test_it_tells_kind_and_size(self, peer: Peer, channel: adma.Channel, nbytes: int) -> None:
        assert channel.iprobe() is None
        peer.call(messages.iwrite, "one", nbytes, 1)
        for _ in range(3):
            message = channel.probe(timeout=HANG)
            assert (message.kind, message.nbytes) == ("bytes", nbytes)
            assert channel.iprobe() == message
        writing = peer.begin(messages.wait, "one")
        buffer = bytearray(message.nbytes)
        assert channel.read(buffer, timeout=HANG) == nbytes
        assert buffer == pattern(nbytes, 1)
        assert channel.iprobe() is None
        writing.result()

    def test_an_object_tells_its_size_with_its_buffers(
        self, peer: Peer, channel: adma.Channel
    ) -> None:
        sending = peer.begin(messages.send, b"x" * CELL)
        message = channel.probe(timeout=HANG)
        assert message.kind == "object"
        assert message.nbytes >= CELL
        assert channel.recv(timeout=HANG, max_bytes=message.nbytes) == b"x" * CELL
        sending.result()

    def test_it_wakes_from_a_wait(self, peer: Peer, channel: adma.Channel) -> None:
        looking = peer.begin(messages.probe)
        request = channel.iwrite(pattern(LARGE))
        assert looking.result() == ("bytes", LARGE)
        reading = peer.begin(messages.read_expected, LARGE)
        request.wait(timeout=HANG)
        reading.result()
