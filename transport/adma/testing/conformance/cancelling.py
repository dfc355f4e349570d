# SPDX-License-Identifier: BSD-3-Clause
"""`cancel` is True only if nothing of the request will happen any more."""

from __future__ import annotations

import pytest

import adma

from ..calls import messages, races
from ..limits import CELL, HANG, LARGE
from ..payload import difference, pattern
from ..peer import Peer
from .base import Conformance


class Cancelling(Conformance):
    """Requests that are cancelled before, after and in a race with their match.

    A cancelled read takes no message, and its buffer is free at once. A cancelled write is never
    read. After its completion a request cannot be cancelled. In a race both ends agree.
    """

    @pytest.mark.parametrize("nbytes", [1, CELL, LARGE])
    def test_a_read_before_its_match(self, peer: Peer, channel: adma.Channel, nbytes: int) -> None:
        """The message goes to the read after it; the buffer is the caller's again."""
        buffers = [bytearray(nbytes), bytearray(nbytes)]
        first, second = (channel.iread(buffer) for buffer in buffers)
        assert first.cancel()
        buffers[0].clear()  # no longer held
        with pytest.raises(adma.Cancelled):
            first.wait(timeout=HANG)
        writing = peer.begin(messages.write, nbytes, 9)
        assert second.wait(timeout=HANG) == nbytes
        assert buffers[1] == pattern(nbytes, 9)
        writing.result()

    def test_a_large_write_before_its_match(self, peer: Peer, channel: adma.Channel) -> None:
        """The peer never reads it, though a probe may have seen it."""
        buffer = bytearray(pattern(LARGE, 1))
        withdrawn = channel.iwrite(buffer)
        staying = channel.iwrite(pattern(LARGE, 2))
        assert peer.call(messages.probe) == ("bytes", LARGE)
        assert withdrawn.cancel()
        buffer.clear()
        with pytest.raises(adma.Cancelled):
            withdrawn.check()
        reading = peer.begin(messages.read_expected, LARGE, 2)
        assert staying.wait(timeout=HANG) == LARGE
        reading.result()

    def test_several_in_the_middle_of_the_line(self, peer: Peer, channel: adma.Channel) -> None:
        requests = [channel.iwrite(pattern(CELL + seed, seed)) for seed in range(10)]
        gone = {0, 3, 4, 9}
        assert all(requests[seed].cancel() for seed in gone)
        stay = [seed for seed in range(10) if seed not in gone]
        for seed in stay:
            peer.call(messages.iread, f"{seed}", CELL + seed)
        waiting = peer.begin(messages.wait_named, [f"{seed}" for seed in stay])
        assert adma.wait_all([requests[seed] for seed in stay], timeout=HANG) == [
            CELL + seed for seed in stay
        ]
        assert waiting.result() == [CELL + seed for seed in stay]
        for seed in stay:
            assert peer.call(messages.content, f"{seed}") == pattern(CELL + seed, seed)
        assert peer.call(messages.iprobe) is None

    @pytest.mark.parametrize("nbytes", [0, 1, CELL, LARGE])
    def test_after_its_completion_it_is_too_late(
        self, peer: Peer, channel: adma.Channel, nbytes: int
    ) -> None:
        buffer = bytearray(nbytes)
        request = channel.iread(buffer)
        writing = peer.begin(messages.write, nbytes, 4)
        assert request.wait(timeout=HANG) == nbytes
        assert not request.cancel()
        assert request.wait(timeout=0) == nbytes
        assert not difference(buffer, pattern(nbytes, 4))
        writing.result()

    def test_twice_is_still_cancelled(self, peer: Peer, channel: adma.Channel) -> None:
        request = channel.iread(bytearray(1))
        assert request.cancel()
        assert request.cancel()
        peer.call(messages.nothing)

    def test_cancelling_a_write_races_with_its_match(
        self, peer: Peer, channel: adma.Channel
    ) -> None:
        """Whoever wins, both ends agree: cancelled and never read, or read whole."""
        rounds, nbytes = 150, CELL + 11
        task = peer.begin(races.write_and_cancel, rounds, nbytes)
        delivered = []
        buffer = bytearray(nbytes)
        while True:
            got = channel.read(buffer, timeout=HANG)
            if got == 0:
                break
            seed = buffer[0] | buffer[1] << 8
            assert not difference(memoryview(buffer)[2:got], pattern(nbytes - 2, seed))
            delivered.append(seed)
        assert delivered == task.result()

    def test_cancelling_a_read_races_with_its_match(
        self, peer: Peer, channel: adma.Channel
    ) -> None:
        """A message that a cancelled read did not take is taken by the next."""
        rounds, nbytes = 150, CELL + 11
        task = peer.begin(messages.write_all, [nbytes] * rounds)
        for seed in range(rounds):
            while True:
                buffer = bytearray(nbytes)
                request = channel.iread(buffer)
                if not request.cancel():
                    break
            assert request.wait(timeout=HANG) == nbytes
            assert not difference(buffer, pattern(nbytes, seed)), seed
        task.result()
