# SPDX-License-Identifier: BSD-3-Clause
"""`adma.wait`: which of several channels and requests are ready."""

from __future__ import annotations

from typing import Any

import pytest

import adma

from ..calls import messages
from ..limits import CELL, EAGER, HANG, LARGE, SHORT
from ..payload import pattern
from .base import Conformance


class Waiting(Conformance):
    """`adma.wait` over channels and requests.

    It takes channels themselves, so these tests do not `wrap` them.
    """

    @pytest.fixture
    def pair(self, peer: Any, mechanism: str) -> list[adma.Channel]:
        """Our ends of two channels to `peer`. The peer uses the second one."""
        return [peer.connect(mechanism) for _ in range(2)]

    @pytest.mark.parametrize("nbytes", [0, 1, EAGER, EAGER + 1, LARGE])
    def test_a_message_makes_its_channel_ready(
        self, peer: Any, pair: list[adma.Channel], nbytes: int
    ) -> None:
        first, second = pair
        assert adma.wait(pair, timeout=0) == []
        peer.call(messages.iwrite, "one", nbytes, 1)
        assert adma.wait(pair, timeout=HANG) == [second]
        assert adma.wait([second, first], timeout=HANG) == [second]  # nothing was taken
        writing = peer.begin(messages.wait, "one")
        buffer = bytearray(nbytes)
        assert second.read(buffer, timeout=HANG) == nbytes
        assert buffer == pattern(nbytes, 1)
        assert adma.wait(pair, timeout=0) == []
        writing.result()

    def test_an_object_makes_its_channel_ready(self, peer: Any, pair: list[adma.Channel]) -> None:
        sending = peer.begin(messages.send, b"x" * CELL)
        assert adma.wait(pair, timeout=HANG) == [pair[1]]
        assert pair[1].recv(timeout=HANG) == b"x" * CELL
        sending.result()
        assert adma.wait(pair, timeout=0) == []

    def test_a_message_for_a_posted_read_does_not(
        self, peer: Any, pair: list[adma.Channel]
    ) -> None:
        """It makes the request ready; the next message makes the channel ready."""
        buffer = bytearray(LARGE)
        request = pair[1].iread(buffer)
        writing = peer.begin(messages.write_all, [LARGE, 3])
        assert adma.wait([request, pair[0]], timeout=HANG) == [request]
        assert request.wait(timeout=HANG) == LARGE
        assert buffer == pattern(LARGE, 0)
        assert adma.wait([*pair, request], timeout=HANG) in ([pair[1], request], [request])
        assert adma.wait(pair, timeout=HANG) == [pair[1]]
        assert pair[1].read(buffer, timeout=HANG) == 3
        writing.result()

    def test_the_order_is_that_of_the_call(self, peer: Any, pair: list[adma.Channel]) -> None:
        peer.call(messages.iwrite, "one", 5)
        assert adma.wait(pair, timeout=HANG) == [pair[1]]
        request = adma.icopy(bytearray(3), b"abc")
        assert adma.wait([request], timeout=HANG) == [request]
        orders: list[list[Any]] = [
            [pair[1], request],
            [request, pair[1]],
            [request, *pair, request],
        ]
        for things in orders:
            expected = [thing for thing in things if thing is not pair[0]]
            assert adma.wait(things, timeout=HANG) == expected
        writing = peer.begin(messages.wait, "one")
        pair[1].read(bytearray(5), timeout=HANG)
        writing.result()

    def test_a_write_is_ready_once_it_was_read(self, peer: Any, pair: list[adma.Channel]) -> None:
        request = pair[1].iwrite(pattern(LARGE))
        assert adma.wait([pair[0], request], timeout=0) == []
        reading = peer.begin(messages.read_expected, LARGE)
        assert adma.wait([pair[0], request], timeout=HANG) == [request]
        assert request.wait(timeout=HANG) == LARGE
        reading.result()

    def test_a_timeout_leaves_everything_as_it_was(
        self, peer: Any, pair: list[adma.Channel]
    ) -> None:
        request = pair[1].iread(bytearray(CELL))
        assert adma.wait(pair, timeout=SHORT) == []
        assert adma.wait([request, *pair], timeout=SHORT) == []
        assert not request.check()
        peer.call(messages.write, CELL)
        assert adma.wait([*pair, request], timeout=HANG) == [request]

    def test_the_peer_closes(self, peer: Any, pair: list[adma.Channel]) -> None:
        writing = peer.begin(messages.write_all, [1, 2])
        for nbytes in (1, 2):
            assert adma.wait(pair, timeout=HANG) == [pair[1]]
            assert pair[1].read(bytearray(2), timeout=HANG) == nbytes
        writing.result()
        assert adma.wait(pair, timeout=0) == []
        closing = peer.begin(messages.close_channel)
        assert adma.wait(pair, timeout=HANG) == [pair[1]]
        with pytest.raises(adma.ChannelClosed):
            pair[1].read(bytearray(2), timeout=HANG)
        closing.result()

    def test_many_messages_and_none_is_missed(self, peer: Any, pair: list[adma.Channel]) -> None:
        sizes = [7, EAGER, CELL, 0, 100] * 20
        writing = peer.begin(messages.write_all, sizes)
        buffer = bytearray(CELL)
        for seed, nbytes in enumerate(sizes):
            assert adma.wait(pair, timeout=HANG) == [pair[1]]
            assert pair[1].read(buffer, timeout=HANG) == nbytes
            assert buffer[:nbytes] == pattern(nbytes, seed)
        writing.result()
