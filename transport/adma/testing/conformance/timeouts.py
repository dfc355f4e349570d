# SPDX-License-Identifier: BSD-3-Clause
"""Every blocking call takes a timeout, and its state afterwards is defined."""

from __future__ import annotations

import time

import pytest

import adma

from ..calls import messages
from ..limits import CELL, HANG, LARGE, SHORT
from ..payload import pattern
from ..peer import Peer
from .base import Conformance

TIMEOUTS = [0, SHORT]


class Timeouts(Conformance):
    """Timeouts of 0, of a moment, and none, for every call that blocks.

    A call that times out has taken nothing and holds nothing; a request whose `wait` timed out is
    pending still.
    """

    @pytest.mark.parametrize("timeout", TIMEOUTS)
    def test_a_read_that_times_out_takes_nothing(
        self, peer: Peer, channel: adma.Channel, timeout: float
    ) -> None:
        """Its buffer is the caller's again, and the next message is the next read's."""
        buffer = bytearray(100)
        started = time.monotonic()
        with pytest.raises(TimeoutError) as caught:
            channel.read(buffer, timeout=timeout)
        assert time.monotonic() - started >= timeout
        assert getattr(caught.value, "request", None) is None
        del caught  # its traceback holds the frames, and they the buffer
        buffer.clear()
        writing = peer.begin(messages.write, 50, 1)
        buffer = bytearray(50)
        assert channel.read(buffer, timeout=HANG) == 50
        assert buffer == pattern(50, 1)
        writing.result()

    @pytest.mark.parametrize("timeout", TIMEOUTS)
    def test_a_large_write_that_times_out_is_withdrawn(
        self, peer: Peer, channel: adma.Channel, timeout: float
    ) -> None:
        buffer = bytearray(pattern(LARGE, 1))
        with pytest.raises(TimeoutError):
            channel.write(buffer, timeout=timeout)
        buffer.clear()
        reading = peer.begin(messages.read, 2)
        channel.write(b"ok", timeout=HANG)
        assert reading.result() == b"ok"

    @pytest.mark.parametrize("timeout", TIMEOUTS)
    def test_a_request_that_times_out_is_pending(
        self, peer: Peer, channel: adma.Channel, timeout: float
    ) -> None:
        buffer = bytearray(CELL)
        request = channel.iread(buffer)
        for wait in (
            lambda: request.wait(timeout=timeout),
            lambda: adma.wait_all([request], timeout=timeout),
            lambda: adma.wait_any([request], timeout=timeout),
        ):
            with pytest.raises(TimeoutError):
                wait()
        assert not request.check()
        with pytest.raises(BufferError):
            buffer.clear()
        writing = peer.begin(messages.write, CELL, 1)
        assert request.wait(timeout=None) == CELL
        assert buffer == pattern(CELL, 1)
        writing.result()

    @pytest.mark.parametrize("timeout", TIMEOUTS)
    def test_looking_times_out(self, peer: Peer, channel: adma.Channel, timeout: float) -> None:
        with pytest.raises(TimeoutError):
            channel.probe(timeout=timeout)
        with pytest.raises(TimeoutError):
            channel.recv(timeout=timeout)
        assert channel.iprobe() is None
        sending = peer.begin(messages.send, "late")
        assert channel.recv(timeout=HANG) == "late"
        sending.result()

    def test_timeout_zero_takes_what_is_there(self, peer: Peer, channel: adma.Channel) -> None:
        """`probe` has shown it, so a read that does not wait can have it (its copy included)."""
        peer.call(messages.iwrite, "one", CELL, 1)
        writing = peer.begin(messages.wait, "one")
        assert channel.probe(timeout=HANG).nbytes == CELL
        buffer = bytearray(CELL)
        try:
            nbytes = channel.read(buffer, timeout=0)
        except TimeoutError as error:
            # The match was won and the copy was not done at once: the request goes on.
            nbytes = error.request.wait(timeout=HANG)  # type: ignore[attr-defined]
        assert nbytes == CELL
        assert buffer == pattern(CELL, 1)
        writing.result()

    def test_no_timeout_waits(self, peer: Peer, channel: adma.Channel) -> None:
        task = peer.begin(messages.echo, CELL, 1)
        channel.write(pattern(CELL, 1), timeout=None)
        assert channel.probe(timeout=None) == channel.iprobe()
        buffer = bytearray(CELL)
        assert channel.read(buffer, timeout=None) == CELL
        assert buffer == pattern(CELL, 1)
        task.result()
