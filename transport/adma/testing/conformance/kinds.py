# SPDX-License-Identifier: BSD-3-Clause
"""Objects and bytes share one FIFO, and each is taken by its own call."""

from __future__ import annotations

import pickle

import pytest

import adma

from ..calls import messages, objects
from ..limits import CELL, HANG, LARGE
from ..payload import pattern
from ..peer import Peer
from .base import Conformance

THINGS = [None, 17, "text", {"shape": (3, 4)}, list(range(5000)), b"b" * CELL]


class Kinds(Conformance):
    """Objects beside bytes: `send` and `recv`, with buffers out of band.

    Objects arrive equal and in order. A call of the wrong kind raises `WrongKind` and takes
    nothing; `recv` takes no more than `max_bytes`; what cannot be pickled is not sent.
    """

    def test_objects_arrive_equal_and_in_order(self, peer: Peer, channel: adma.Channel) -> None:
        task = peer.begin(objects.echo, len(THINGS))
        for thing in THINGS:
            channel.send(thing, timeout=HANG)
            assert channel.recv(timeout=HANG) == thing
        task.result()

    def test_large_buffers_travel_out_of_band(self, peer: Peer, channel: adma.Channel) -> None:
        task = peer.begin(objects.send_buffers, [LARGE, 0, 10, CELL + 1])
        label, *parts = channel.recv(timeout=HANG)
        task.result()
        assert label == "buffers"
        for seed, (part, nbytes) in enumerate(zip(parts, [LARGE, 0, 10, CELL + 1], strict=True)):
            assert bytes(part) == pattern(nbytes, seed)

    def test_we_send_buffers_too(self, peer: Peer, channel: adma.Channel) -> None:
        payload = bytearray(pattern(LARGE, 3))
        task = peer.begin(objects.recv_length_and_seed, 3)
        channel.send(pickle.PickleBuffer(payload), timeout=HANG)
        assert task.result() == LARGE

    def test_a_read_that_meets_an_object(self, peer: Peer, channel: adma.Channel) -> None:
        """The read raises WrongKind, the object stays, and `recv` takes it."""
        sending = peer.begin(messages.send, {"an": "object"})
        for _ in range(2):
            with pytest.raises(adma.WrongKind, match="recv"):
                channel.read(bytearray(100), timeout=HANG)
        assert channel.probe(timeout=HANG).kind == "object"
        assert channel.recv(timeout=HANG) == {"an": "object"}
        sending.result()

    def test_a_posted_read_that_meets_an_object(self, peer: Peer, channel: adma.Channel) -> None:
        request = channel.iread(bytearray(100))
        sending = peer.begin(messages.send, "an object")
        with pytest.raises(adma.WrongKind):
            request.wait(timeout=HANG)
        assert channel.recv(timeout=HANG) == "an object"
        sending.result()

    @pytest.mark.parametrize("nbytes", [5, CELL])
    def test_a_recv_that_meets_bytes(self, peer: Peer, channel: adma.Channel, nbytes: int) -> None:
        """`recv` raises WrongKind, the bytes stay, and `read` takes them."""
        peer.call(messages.iwrite, "bytes", nbytes)
        writing = peer.begin(messages.wait, "bytes")
        with pytest.raises(adma.WrongKind):
            channel.recv(timeout=HANG)
        buffer = bytearray(nbytes)
        assert channel.read(buffer, timeout=HANG) == nbytes
        assert buffer == pattern(nbytes)
        writing.result()

    def test_bytes_and_objects_keep_their_order(self, peer: Peer, channel: adma.Channel) -> None:
        task = peer.begin(objects.alternate, 20)
        for index in range(20):
            buffer = bytearray(CELL + 20)
            assert channel.read(buffer, timeout=HANG) == CELL * (index % 2) + index
            assert channel.recv(timeout=HANG) == index
        task.result()

    @pytest.mark.parametrize("nbytes", [1000, LARGE])
    def test_recv_takes_no_more_than_allowed(
        self, peer: Peer, channel: adma.Channel, nbytes: int
    ) -> None:
        """Buffers count, too. The error tells what is needed, and the object stays."""
        task = peer.begin(objects.send_buffers, [nbytes])
        with pytest.raises(adma.MessageTooLong) as caught:
            channel.recv(timeout=HANG, max_bytes=nbytes // 2)
        assert caught.value.needed >= nbytes
        label, part = channel.recv(timeout=HANG, max_bytes=caught.value.needed)
        assert (label, bytes(part)) == ("buffers", pattern(nbytes))
        task.result()

    def test_an_object_that_cannot_be_pickled_is_not_sent(
        self, peer: Peer, channel: adma.Channel
    ) -> None:
        with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
            channel.send(lambda: None, timeout=HANG)
        receiving = peer.begin(messages.recv)
        channel.send("the next", timeout=HANG)
        assert receiving.result() == "the next"
