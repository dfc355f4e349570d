# SPDX-License-Identifier: BSD-3-Clause
"""A peer that is killed: what was complete is read, and everything else fails at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import adma

from ..calls import death, messages
from ..limits import CELL, GIB, HANG, LARGE, MIB
from ..payload import Repeated, pattern
from ..peer import Peer
from .base import Conformance


class Death(Conformance):
    """A peer that is killed while we wait, between messages, and in the middle of a copy.

    Complete messages are read first; everything else fails with `PeerDied`, at once, even when a
    child of the peer still holds its socket. Needs a peer that is a process.
    """

    @pytest.mark.parametrize("what", ["read", "probe", "recv"])
    def test_while_we_wait_for_a_message(
        self, peer: Peer, channel: adma.Channel, what: str
    ) -> None:
        peer.begin(death.die)  # while we are on our way into the wait, or in it
        waits: dict[str, Callable[[], object]] = {
            "read": lambda: channel.read(bytearray(CELL), timeout=HANG),
            "probe": lambda: channel.probe(timeout=HANG),
            "recv": lambda: channel.recv(timeout=HANG),
        }
        with pytest.raises(adma.PeerDied):
            waits[what]()
        peer.expect_end(-9)

    def test_while_we_wait_for_several(self, peer: Peer, mechanism: str) -> None:
        channels = [peer.connect(mechanism) for _ in range(2)]
        request = channels[1].iread(bytearray(CELL))
        things: list[Any] = [*channels, request]
        peer.begin(death.die)
        assert adma.wait(things, timeout=HANG)
        peer.expect_end(-9)
        for thing in things:  # each is told
            assert adma.wait([thing], timeout=HANG) == [thing]
        assert adma.wait(things, timeout=0) == things
        for call in (channels[0].iprobe, channels[1].iprobe, request.check):
            with pytest.raises(adma.PeerDied):
                call()

    def test_before_it_read_our_message(self, peer: Peer, channel: adma.Channel) -> None:
        request = channel.iwrite(bytearray(LARGE))
        assert peer.call(messages.probe) == ("bytes", LARGE)
        peer.kill()
        with pytest.raises(adma.PeerDied):
            request.wait(timeout=HANG)

    def test_before_we_read_its_message(self, peer: Peer, channel: adma.Channel) -> None:
        """A large message is lost with its writer."""
        peer.call(messages.iwrite, "large", LARGE)
        assert channel.probe(timeout=HANG).nbytes == LARGE
        peer.kill()
        with pytest.raises(adma.PeerDied):
            channel.read(bytearray(LARGE), timeout=HANG)

    def test_complete_messages_outlive_their_writer(
        self, peer: Peer, channel: adma.Channel
    ) -> None:
        sizes = [3, 0, 5000, CELL]
        for seed, nbytes in enumerate(sizes):
            peer.call(messages.iwrite, f"{seed}", nbytes, seed)
        complete = [peer.call(messages.check, f"{seed}") for seed in range(len(sizes))]
        peer.kill()
        buffer = bytearray(CELL)
        for seed, nbytes in enumerate(sizes):
            if complete[seed]:
                assert channel.read(buffer, timeout=HANG) == nbytes
                assert buffer[:nbytes] == pattern(nbytes, seed)
        with pytest.raises(adma.PeerDied):
            channel.read(buffer, timeout=HANG)

    def test_after_the_exchange(self, peer: Peer, channel: adma.Channel) -> None:
        request = channel.iread(bytearray(LARGE))
        peer.call(messages.iwrite, "large", LARGE, 1)
        waiting = peer.begin(messages.wait, "large")
        assert request.wait(timeout=HANG) == LARGE
        waiting.result()
        peer.kill()
        assert request.wait(timeout=0) == LARGE
        for _ in range(2):
            with pytest.raises(adma.PeerDied):
                channel.write(bytearray(LARGE), timeout=HANG)
            with pytest.raises(adma.PeerDied):
                channel.read(bytearray(1), timeout=HANG)
        channel.close(timeout=HANG)

    @pytest.mark.parametrize("role", ["writer", "reader"])
    def test_in_the_middle_of_a_copy(self, peer: Peer, channel: adma.Channel, role: str) -> None:
        """The copy of a gigabyte has begun (the repr shows it) when the peer is killed."""
        with Repeated(GIB, window=MIB) as ours:
            post = channel.iread if role == "writer" else channel.iwrite
            copying = peer.begin(death.copy_repeated, GIB, role)
            request = post(ours.view)
            while "%" not in repr(request) or " 0 %" in repr(request):
                assert not request.check()
            peer.kill()
            with pytest.raises(adma.PeerDied):
                request.wait(timeout=HANG)
            channel.close(timeout=HANG)
            del request
        del copying

    def test_many_requests_all_fail(self, peer: Peer, channel: adma.Channel) -> None:
        requests = [channel.iread(bytearray(10)) for _ in range(50)]
        requests += [channel.iwrite(bytearray(LARGE)) for _ in range(50)]
        peer.kill()
        for request in requests:
            with pytest.raises(adma.PeerDied):
                request.wait(timeout=HANG)

    def test_a_child_of_the_peer_holds_the_socket(self, peer: Peer, channel: adma.Channel) -> None:
        """A forked child keeps the socket open; the death is noticed all the same."""
        child = peer.call(death.fork_a_holder)
        try:
            peer.kill()
            with pytest.raises(adma.PeerDied):
                channel.read(bytearray(1), timeout=HANG)
        finally:
            death.end_holder(child)
