# SPDX-License-Identifier: BSD-3-Clause
"""An orderly close: what is complete is read, and then both sides are told."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

import adma

from ..calls import messages
from ..limits import CELL, EAGER, HANG, LARGE
from ..payload import pattern
from ..peer import Peer
from .base import Conformance

SIZES = [5, 0, EAGER, CELL, 1]


class Closing(Conformance):
    """Both ends of a close: what is complete is still read, and nobody waits any longer.

    Waiting calls and pending requests of either end fail with `ChannelClosed`, in other threads,
    too, and their buffers are free. A closed channel says so to every call.
    """

    def test_what_was_posted_is_delivered(self, peer: Peer, channel: adma.Channel) -> None:
        """The close waits for the peer, which reads everything and is then told of the end."""
        sizes = [*SIZES, LARGE, 3]
        requests = [channel.iwrite(pattern(nbytes, seed)) for seed, nbytes in enumerate(sizes)]
        reading = peer.begin(messages.read_until_closed, LARGE)
        channel.close(timeout=HANG)
        assert reading.result() == [pattern(nbytes, seed) for seed, nbytes in enumerate(sizes)]
        assert [request.wait(timeout=0) for request in requests] == sizes
        with pytest.raises(adma.ChannelClosed):
            peer.call(messages.probe)

    def test_nothing_is_delivered_past_a_lost_message(
        self, peer: Peer, channel: adma.Channel
    ) -> None:
        """Here the close does not wait. The peer reads what came before the first lost message."""
        sizes = [*SIZES, LARGE, 3]
        requests = [channel.iwrite(pattern(nbytes, seed)) for seed, nbytes in enumerate(sizes)]
        complete = [request.check() for request in requests]
        first_lost = complete.index(False)
        channel.close(timeout=0)
        for request, done in zip(requests, complete, strict=True):
            if not done:
                with pytest.raises(adma.ChannelClosed):
                    request.check()
        read, posted, withdrawn = peer.call(messages.read_until_lost, LARGE)
        assert read == [pattern(nbytes, seed) for seed, nbytes in enumerate(sizes[:first_lost])]
        assert (posted, withdrawn) == (len(sizes), len(sizes) - first_lost)
        for call in (messages.probe, messages.iprobe, messages.recv, messages.read_any):
            with pytest.raises(adma.MessagesLost):
                peer.call(call)

    def test_what_was_cancelled_leaves_no_hole(self, peer: Peer, channel: adma.Channel) -> None:
        requests = [channel.iwrite(pattern(LARGE, seed)) for seed in range(3)]
        assert requests[1].cancel()
        reading = peer.begin(messages.read_until_closed, LARGE)
        channel.close(timeout=HANG)
        assert reading.result() == [pattern(LARGE, 0), pattern(LARGE, 2)]

    def test_a_peer_that_writes_to_us_can_read(self, peer: Peer, channel: adma.Channel) -> None:
        """It is in a large write, which we do not read. The close ends that, and then it reads."""
        channel.iwrite(pattern(LARGE, 1))
        writing = peer.begin(messages.write_then_read_until_closed, LARGE)
        assert channel.probe(timeout=HANG).nbytes == LARGE
        channel.close(timeout=HANG)
        assert writing.result() == [pattern(LARGE, 1)]

    def test_both_close_with_messages_under_way(self, peer: Peer, channel: adma.Channel) -> None:
        """Neither waits for the other one, which reads no more."""
        peer.call(messages.iwrite, "large", LARGE)
        request = channel.iwrite(bytes(LARGE))
        closing = peer.begin(messages.close_channel)
        channel.close(timeout=None)
        closing.result()
        with pytest.raises(adma.ChannelClosed):
            request.wait(timeout=0)

    def test_blocking_writes_then_close(self, peer: Peer, channel: adma.Channel) -> None:
        """A write that returned is not lost by the close after it."""
        reading = peer.begin(messages.read_until_closed, LARGE)
        for seed, nbytes in enumerate([*SIZES, LARGE]):
            channel.write(pattern(nbytes, seed), timeout=HANG)
        channel.close(timeout=HANG)
        assert reading.result() == [
            pattern(nbytes, seed) for seed, nbytes in enumerate([*SIZES, LARGE])
        ]

    def test_a_waiting_reader_is_told(self, peer: Peer, channel: adma.Channel) -> None:
        reading = peer.begin(messages.read, 10)
        channel.close(timeout=HANG)
        with pytest.raises(adma.ChannelClosed):
            reading.result()

    def test_a_waiting_writer_is_told(self, peer: Peer, channel: adma.Channel) -> None:
        writing = peer.begin(messages.write, LARGE)
        assert channel.probe(timeout=HANG).nbytes == LARGE
        channel.close(timeout=HANG)
        with pytest.raises((adma.ChannelClosed, adma.PeerDied)):
            writing.result()

    def test_our_requests_end(self, peer: Peer, channel: adma.Channel) -> None:
        """The buffers are the caller's again."""
        buffers = [bytearray(CELL), bytearray(LARGE)]
        requests = [channel.iread(buffers[0]), channel.iwrite(buffers[1])]
        channel.close(timeout=0)
        for buffer, request in zip(buffers, requests, strict=True):
            with pytest.raises(adma.ChannelClosed):
                request.wait(timeout=HANG)
            buffer.clear()
        peer.call(messages.nothing)

    def test_the_peers_requests_end(self, peer: Peer, channel: adma.Channel) -> None:
        peer.call(messages.iread, "read", CELL)
        peer.call(messages.iwrite, "write", LARGE)
        channel.close(timeout=HANG)
        for name in ("read", "write"):
            with pytest.raises(adma.ChannelClosed):
                peer.call(messages.wait, name)

    def test_a_closed_channel_says_so(self, peer: Peer, channel: adma.Channel) -> None:
        assert not channel.closed
        channel.close(timeout=HANG)
        channel.close(timeout=HANG)
        assert channel.closed
        for use in (
            lambda: channel.write(b"x"),
            lambda: channel.read(bytearray(1)),
            lambda: channel.iwrite(b"x"),
            lambda: channel.iread(bytearray(1)),
            lambda: channel.probe(),
            lambda: channel.iprobe(),
            lambda: channel.send(1),
            lambda: channel.recv(),
        ):
            with pytest.raises(adma.ChannelClosed):
                use()
        assert "closed" in repr(channel)
        with pytest.raises(adma.ChannelClosed):
            peer.call(messages.write, LARGE)

    def test_a_context_manager_closes(self, peer: Peer, channel: adma.Channel) -> None:
        with channel as same:
            assert same is channel
        assert channel.closed
        with pytest.raises(adma.ChannelClosed):
            peer.call(messages.read, 1)

    @pytest.mark.parametrize("what", ["read", "probe", "recv", "write"])
    def test_close_from_another_thread_wakes_the_waiter(
        self, peer: Peer, channel: adma.Channel, what: str
    ) -> None:
        waits: dict[str, Callable[[], object]] = {
            "read": lambda: channel.read(bytearray(1)),
            "probe": lambda: channel.probe(),
            "recv": lambda: channel.recv(),
            "write": lambda: channel.write(bytearray(LARGE)),
        }
        closer = threading.Thread(target=channel.close, kwargs={"timeout": 0})
        closer.start()
        with pytest.raises(adma.ChannelClosed):
            waits[what]()
        closer.join(HANG)
        assert not closer.is_alive()
        peer.call(messages.nothing)

    def test_both_close_at_once(self, peer: Peer, channel: adma.Channel) -> None:
        closing = peer.begin(messages.close_channel)
        channel.close(timeout=HANG)
        closing.result()
