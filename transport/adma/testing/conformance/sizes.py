# SPDX-License-Identifier: BSD-3-Clause
"""Messages of any size at any address: the bytes are the same, and no other byte changes."""

from __future__ import annotations

import pytest

import adma

from ..calls import messages
from ..limits import CELL, EAGER, HANG, LARGE, around
from ..payload import difference, pattern
from ..peer import Peer
from .base import Conformance

SIZES = [0, 1, 2, 7, *around(), LARGE - 1, LARGE, LARGE + 1]
GUARD = 64


class Sizes(Conformance):
    """Messages of 0 bytes, around each size at which their way changes, and of 4 MiB.

    The bytes are the same, at any alignment, into buffers of the exact size and larger ones, and
    no byte outside the message changes.
    """

    def test_every_threshold(self, peer: Peer, channel: adma.Channel) -> None:
        """Into a buffer of exactly the size, with guards on both sides of it."""
        writing = peer.begin(messages.write_all, SIZES)
        for seed, nbytes in enumerate(SIZES):
            whole = bytearray(b"\xa5" * (nbytes + 2 * GUARD))
            with memoryview(whole)[GUARD : GUARD + nbytes] as middle:
                assert channel.read(middle, timeout=HANG) == nbytes
            assert not difference(whole[GUARD : GUARD + nbytes], pattern(nbytes, seed)), nbytes
            assert whole[:GUARD] == whole[GUARD + nbytes :] == b"\xa5" * GUARD, nbytes
        writing.result()

    def test_every_threshold_the_other_way(self, peer: Peer, channel: adma.Channel) -> None:
        reading = peer.begin(messages.read_all, SIZES)
        for seed, nbytes in enumerate(SIZES):
            channel.write(pattern(nbytes, seed), timeout=HANG)
        reading.result()

    def test_a_larger_buffer_takes_the_message(self, peer: Peer, channel: adma.Channel) -> None:
        """The count is the message's, and the rest of the buffer is left alone."""
        writing = peer.begin(messages.write_all, SIZES)
        for seed, nbytes in enumerate(SIZES):
            buffer = bytearray(b"\xa5" * (LARGE + 2 * GUARD))
            assert channel.read(buffer, timeout=HANG) == nbytes
            assert not difference(memoryview(buffer)[:nbytes], pattern(nbytes, seed)), nbytes
            assert buffer[nbytes : nbytes + GUARD] == b"\xa5" * GUARD, nbytes
        writing.result()

    @pytest.mark.parametrize("nbytes", [0, 1])
    def test_nothing_and_one_byte_are_messages(
        self, peer: Peer, channel: adma.Channel, nbytes: int
    ) -> None:
        request = channel.iwrite(b"x" * nbytes)
        assert peer.call(messages.probe) == ("bytes", nbytes)
        reading = peer.begin(messages.read, nbytes)
        assert request.wait(timeout=HANG) == nbytes
        assert reading.result() == b"x" * nbytes

    def test_no_bytes_into_no_room(self, peer: Peer, channel: adma.Channel) -> None:
        request = channel.iread(bytearray())
        peer.call(messages.iwrite, "empty", 0)
        writing = peer.begin(messages.wait, "empty")
        assert request.wait(timeout=HANG) == 0
        assert writing.result() == 0

    @pytest.mark.parametrize("nbytes", [31, 1000, EAGER - 3, CELL + 5, LARGE - 77])
    def test_unaligned_source_and_destination(
        self, peer: Peer, channel: adma.Channel, nbytes: int
    ) -> None:
        """Try every pair of a few odd offsets; the peer echoes, so both ends read and write."""
        offsets = [0, 1, 3, 8, 63]
        task = peer.begin(messages.echo, nbytes, len(offsets) ** 2)
        source = bytearray(nbytes + GUARD)
        target = bytearray(nbytes + GUARD)
        for out in offsets:
            for into in offsets:
                sent = pattern(nbytes, out * 64 + into)
                source[out : out + nbytes] = sent
                with memoryview(source)[out : out + nbytes] as view:
                    channel.write(view, timeout=HANG)
                with memoryview(target)[into : into + nbytes] as view:
                    assert channel.read(view, timeout=HANG) == nbytes
                    assert not difference(view, sent), (out, into)
        task.result()
