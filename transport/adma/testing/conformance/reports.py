# SPDX-License-Identifier: BSD-3-Clause
"""What a channel and a request say about themselves."""

from __future__ import annotations

import time

import pytest

import adma
from adma.mechanisms import MECHANISMS

from ..calls import messages
from ..endpoint import Endpoint
from ..limits import CELL, HANG, LARGE
from ..peer import Peer
from .base import Conformance

SIZES = [0, 1, CELL, LARGE]


KERNEL = ("dma", "mapped:helper")  # the kernel matches, and tells of its stages when it is asked
STAGES = ("post", "match", "start", "copy", "complete")
KERNEL_STAGES = ("post", "match", "pin", "start", "copy", "complete")


class Reports(Conformance):
    """`explain`, `stats`, `times` and `repr`.

    A forced mechanism is named as the choice for every size. `explain` names every mechanism.
    The stages of a request add up to its time, and blocking calls are not timed.
    """

    def test_a_forced_mechanism_carries_every_size(
        self, peer: Peer, channel: adma.Channel, mechanism: str
    ) -> None:
        """`explain` names it, and only it, as the choice; `auto` names one for each size."""
        for nbytes in SIZES:
            text = str(channel.explain(nbytes))
            assert text.strip()
            if mechanism != "auto":
                assert mechanism in text.splitlines()[0]
        writing = peer.begin(messages.write_all, SIZES)
        messages.read_all(Endpoint.of(channel), SIZES)
        writing.result()

    def test_explain_names_every_mechanism(self, peer: Peer, channel: adma.Channel) -> None:
        """Why this one, and why not each of the others."""
        text = str(channel.explain(LARGE))
        assert all(probe.name in text for probe in MECHANISMS), text
        peer.call(messages.nothing)

    @pytest.mark.parametrize("nbytes", [-1, "many", None])
    def test_explain_wants_a_size(self, channel: adma.Channel, nbytes: object) -> None:
        with pytest.raises((ValueError, TypeError), match="nbytes"):
            channel.explain(nbytes)  # type: ignore[arg-type]

    def test_a_request_tells_where_it_stands(self, peer: Peer, channel: adma.Channel) -> None:
        request = channel.iread(bytearray(LARGE))
        assert "read" in repr(request)
        assert "4 MiB" in repr(request)
        assert str(peer.pid) in repr(request)
        writing = peer.begin(messages.write, LARGE)
        request.wait(timeout=HANG)
        writing.result()
        assert "done" in repr(request)

    def test_where_the_time_of_a_read_went(
        self, peer: Peer, channel: adma.Channel, mechanism: str
    ) -> None:
        """The stages add up to the whole; until it met its message, the read was in `match`."""
        before = channel.stats()
        begin = time.monotonic_ns()
        request = channel.iread(bytearray(LARGE))
        posted = time.monotonic_ns()
        with pytest.raises(ValueError, match="once it is done"):
            request.times()
        unmet = time.monotonic_ns() - posted
        writing = peer.begin(messages.write, LARGE)
        request.wait(timeout=HANG)
        took = time.monotonic_ns() - begin
        writing.result()
        times = request.times()
        assert tuple(times) == (KERNEL_STAGES if mechanism in KERNEL else STAGES)
        assert all(value >= 0 for value in times.values()), times
        assert times["copy"] > 0
        assert sum(times.values()) <= took
        assert times["match"] >= unmet
        after = channel.stats()
        assert after["timed"] - before["timed"] == 1
        counted = {stage: after[f"{stage}_ns"] - before[f"{stage}_ns"] for stage in STAGES}
        assert sum(counted.values()) == sum(times.values())
        if mechanism not in KERNEL:  # the kernel is not asked for the sums
            assert counted == times

    def test_a_write_without_a_reader_waits_for_its_match(
        self, peer: Peer, channel: adma.Channel
    ) -> None:
        request = channel.iwrite(bytes(LARGE))
        posted = time.monotonic_ns()
        assert not request.check()
        unmet = time.monotonic_ns() - posted
        reading = peer.begin(messages.read, LARGE)
        assert request.wait(timeout=HANG) == LARGE
        reading.result()
        times = request.times()
        assert times["match"] >= unmet
        assert times["copy"] > 0

    def test_blocking_calls_are_spared_the_clock(self, peer: Peer, channel: adma.Channel) -> None:
        before = channel.stats()
        writing = peer.begin(messages.write, LARGE)
        channel.read(bytearray(LARGE), timeout=HANG)
        writing.result()
        assert channel.stats()["timed"] == before["timed"]

    def test_a_channel_tells_its_peer(self, peer: Peer, channel: adma.Channel) -> None:
        assert str(peer.pid) in repr(channel)
