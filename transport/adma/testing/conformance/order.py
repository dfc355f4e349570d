# SPDX-License-Identifier: BSD-3-Clause
"""Messages arrive whole, once, in the order of their posts, both ways and many at a time."""

from __future__ import annotations

import random

import pytest

import adma

from ..calls import messages, traffic
from ..endpoint import Endpoint
from ..limits import CELL, EAGER, HANG, INLINE, KIB
from ..payload import pattern
from ..peer import Peer
from .base import Conformance

# Neighbours in the ring travel in different ways.
MIXED = [0, 1, INLINE, CELL * 3 + 7, 5, EAGER, EAGER + 1, 0, 200 * KIB, INLINE + 1, CELL, 100]


class Order(Conformance):
    """Order and limits: messages of all sizes, both ways at once, many outstanding.

    Messages match in the order of their posts and are neither merged nor cut. `iwrite` and
    `iread` queue up to a limit and then raise `BlockingIOError`; what was queued arrives.
    """

    def test_what_the_peer_writes_arrives_in_order(self, peer: Peer, channel: adma.Channel) -> None:
        writing = peer.begin(messages.write_all, MIXED)
        messages.read_all(Endpoint.of(channel), MIXED)
        writing.result()

    def test_what_we_write_arrives_in_order(self, peer: Peer, channel: adma.Channel) -> None:
        reading = peer.begin(messages.read_all, MIXED)
        messages.write_all(Endpoint.of(channel), MIXED)
        reading.result()

    def test_messages_are_not_merged_by_a_large_read(
        self, peer: Peer, channel: adma.Channel
    ) -> None:
        writing = peer.begin(messages.write_all, [3, 0, 4])
        buffer = bytearray(1 * KIB)
        assert [channel.read(buffer, timeout=HANG) for _ in range(3)] == [3, 0, 4]
        writing.result()

    def test_both_directions_at_once(self, peer: Peer, channel: adma.Channel) -> None:
        task = peer.begin(traffic.exchange, MIXED, 3)
        traffic.exchange(Endpoint.of(channel), MIXED, 3)
        task.result()

    @pytest.mark.parametrize("first", ["reads", "writes"])
    def test_many_outstanding(self, peer: Peer, channel: adma.Channel, first: str) -> None:
        """More messages than there are cells, slots and bounce bytes; either side posts first."""
        sizes = [random.Random(index).choice(MIXED[:7]) for index in range(300)]
        endpoint = Endpoint.of(channel)
        if first == "reads":
            peer.call(traffic.post_reads, sizes)
            traffic.post_writes(endpoint, sizes)
        else:
            traffic.post_writes(endpoint, sizes)
            peer.call(traffic.post_reads, sizes)
        task = peer.begin(traffic.finish_reads, sizes)
        traffic.finish_writes(endpoint, sizes)
        task.result()

    def test_requests_end_in_a_stated_limit(self, peer: Peer, channel: adma.Channel) -> None:
        """`iwrite` queues up to a limit, then raises BlockingIOError; what was queued arrives."""
        endpoint = Endpoint.of(channel)
        posted = 0
        with pytest.raises(BlockingIOError, match="wait"):
            for posted in range(10_000):
                messages.iwrite(endpoint, f"write {posted}", CELL + 1, posted)
        assert posted >= 64
        sizes = [CELL + 1] * posted
        task = peer.begin(messages.read_all, sizes)
        traffic.finish_writes(endpoint, sizes)
        task.result()
        reading = peer.begin(messages.read, 10)
        channel.write(b"goes on", timeout=HANG)
        assert reading.result() == b"goes on"

    def test_reads_end_in_a_stated_limit_too(self, peer: Peer, channel: adma.Channel) -> None:
        endpoint = Endpoint.of(channel)
        posted = 0
        with pytest.raises(BlockingIOError, match="wait"):
            for posted in range(10_000):
                messages.iread(endpoint, f"read {posted}", 1)
        sizes = [1] * posted
        task = peer.begin(messages.write_all, sizes)
        traffic.finish_reads(endpoint, sizes)
        task.result()

    def test_completion_in_any_order(self, peer: Peer, channel: adma.Channel) -> None:
        """`wait_any` tells which; the others go on."""
        buffers = [bytearray(CELL * 2) for _ in range(4)]
        requests = [channel.iread(buffer) for buffer in buffers]
        writing = peer.begin(messages.write_all, [CELL * 2] * 4)
        left = list(range(4))
        while left:
            index = left[adma.wait_any([requests[i] for i in left], timeout=HANG)]
            assert requests[index].check()
            assert buffers[index] == pattern(CELL * 2, index)
            left.remove(index)
        writing.result()
