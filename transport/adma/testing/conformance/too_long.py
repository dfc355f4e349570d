# SPDX-License-Identifier: BSD-3-Clause
"""A message longer than the buffer it meets is neither lost nor cut, and its size is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import adma

from ..calls import messages
from ..limits import CELL, EAGER, HANG, INLINE
from ..payload import pattern
from ..peer import Peer
from .base import Conformance

SIZES = [1, INLINE, INLINE + 1, EAGER, EAGER + 1, 5 * CELL + 3]


class TooLong(Conformance):
    """A message that is longer than the buffer it meets.

    `MessageTooLong` tells the size that is needed, the buffer is untouched, and the message is
    the next read's.
    """

    @pytest.mark.parametrize("nbytes", SIZES)
    def test_the_needed_size_is_told_and_the_message_stays(
        self, peer: Peer, channel: adma.Channel, nbytes: int
    ) -> None:
        peer.call(messages.iwrite, "first", nbytes, 1)
        peer.call(messages.iwrite, "second", 3, 2)
        writing = peer.begin(messages.wait_named, ["first", "second"])
        for room in {0, nbytes - 1}:
            small = bytearray(b"\xa5" * room)
            with pytest.raises(adma.MessageTooLong) as caught:
                channel.read(small, timeout=HANG)
            assert caught.value.needed == nbytes
            assert small == b"\xa5" * room
        message = channel.probe(timeout=HANG)
        assert (message.kind, message.nbytes) == ("bytes", nbytes)
        whole = bytearray(caught.value.needed)
        assert channel.read(whole, timeout=HANG) == nbytes
        assert whole == pattern(nbytes, 1)
        second = bytearray(3)
        assert channel.read(second, timeout=HANG) == 3
        assert second == pattern(3, 2)
        assert writing.result() == [nbytes, 3]

    @pytest.mark.parametrize("nbytes", SIZES)
    def test_it_meets_the_next_pending_read(
        self, peer: Peer, channel: adma.Channel, nbytes: int
    ) -> None:
        """Of four posted reads the first two are too small: the third takes it, whole."""
        buffers = [bytearray(room) for room in (nbytes - 1, 0, nbytes, nbytes + 9)]
        requests = [channel.iread(buffer) for buffer in buffers]
        peer.call(messages.iwrite, "first", nbytes, 1)
        peer.call(messages.iwrite, "second", nbytes, 2)
        writing = peer.begin(messages.wait_named, ["first", "second"])
        for request in requests[:2]:
            with pytest.raises(adma.MessageTooLong) as caught:
                request.wait(timeout=HANG)
            assert caught.value.needed == nbytes
        assert adma.wait_all(requests[2:], timeout=HANG) == [nbytes, nbytes]
        assert buffers[2] == pattern(nbytes, 1)
        assert buffers[3][:nbytes] == pattern(nbytes, 2)
        assert writing.result() == [nbytes, nbytes]

    def test_a_failed_read_says_so_every_time(self, peer: Peer, channel: adma.Channel) -> None:
        request = channel.iread(bytearray(1))
        peer.call(messages.iwrite, "long", CELL, 1)
        asks: list[Callable[[], object]] = [lambda: request.wait(timeout=HANG), request.check]
        for ask in (*asks, *asks):
            with pytest.raises(adma.MessageTooLong) as caught:
                ask()
            assert caught.value.needed == CELL
        assert not request.cancel()
        writing = peer.begin(messages.wait, "long")
        assert channel.read(bytearray(CELL), timeout=HANG) == CELL
        assert writing.result() == CELL
