# SPDX-License-Identifier: BSD-3-Clause
"""Every blocking call takes a timeout, and its state afterwards is defined."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

import adma

from ..calls import messages, objects
from ..limits import CELL, EAGER, HANG, LARGE, SHORT
from ..payload import pattern
from ..peer import Peer
from .base import Conformance

TIMEOUTS = [0, SHORT]
MOMENT = 0.0005  # seconds: a match may come before or after it

Result = TypeVar("Result")


def again(call: Callable[[], Result]) -> Result:
    """Try again until it does not time out. What is matched does not, since the peer goes on."""
    deadline = time.monotonic() + HANG
    while True:
        try:
            return call()
        except adma.Stalled:
            raise
        except TimeoutError:
            assert time.monotonic() < deadline


class Timeouts(Conformance):
    """Timeouts of 0, of a moment, and none, for every call that blocks.

    A call that times out has taken nothing, sent nothing and holds nothing; one that was matched
    goes on. A request whose `wait` timed out is pending still.
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

    @pytest.mark.parametrize("nbytes", [0, EAGER, CELL, LARGE])
    def test_timeout_zero_takes_what_is_there(
        self, peer: Peer, channel: adma.Channel, nbytes: int
    ) -> None:
        """`probe` has shown it, so a read that does not wait has it, its copy included."""
        peer.call(messages.iwrite, "one", nbytes, 1)
        writing = peer.begin(messages.wait, "one")
        assert channel.probe(timeout=HANG).nbytes == nbytes
        buffer = bytearray(nbytes)
        assert channel.read(buffer, timeout=0) == nbytes
        assert buffer == pattern(nbytes, 1)
        writing.result()

    def test_timeout_zero_takes_an_object_that_is_there(
        self, peer: Peer, channel: adma.Channel
    ) -> None:
        """With its out-of-band buffers, which are read after it."""
        sending = peer.begin(objects.send_buffers, [CELL, LARGE])
        assert channel.probe(timeout=HANG).kind == "object"
        label, *parts = channel.recv(timeout=0)
        assert label == "buffers"
        assert [bytes(part) for part in parts] == [pattern(CELL, 0), pattern(LARGE, 1)]
        sending.result()

    def test_reading_without_waiting_loses_nothing(self, peer: Peer, channel: adma.Channel) -> None:
        """A read that finds nothing has taken nothing, however often it is tried."""
        sizes = [CELL, LARGE, EAGER, LARGE, 0, LARGE]
        writing = peer.begin(messages.write_all, sizes)
        for seed, nbytes in enumerate(sizes):
            buffer = bytearray(LARGE)
            assert again(lambda: channel.read(buffer, timeout=0)) == nbytes  # noqa: B023
            assert buffer[:nbytes] == pattern(nbytes, seed)
        writing.result()

    @pytest.mark.parametrize("timeout", [0, MOMENT])
    def test_writing_again_sends_once(
        self, peer: Peer, channel: adma.Channel, timeout: float
    ) -> None:
        """A write that times out has sent nothing, so that the next try sends no second one."""
        sizes = [LARGE, CELL, LARGE, LARGE, 0, LARGE]
        reading = peer.begin(messages.read_all, sizes)
        for seed, nbytes in enumerate(sizes):
            content = pattern(nbytes, seed)
            again(lambda: channel.write(content, timeout=timeout))  # noqa: B023
        reading.result()
        assert peer.call(messages.iprobe) is None

    @pytest.mark.parametrize("timeout", [0, MOMENT])
    def test_sending_again_sends_once(
        self, peer: Peer, channel: adma.Channel, timeout: float
    ) -> None:
        count = 6
        receiving = peer.begin(objects.recv_labels, count)
        for label in range(count):
            things = [label, pickle.PickleBuffer(bytearray(LARGE))]
            again(lambda: channel.send(things, timeout=timeout))  # noqa: B023
        assert receiving.result() == list(range(count))
        assert peer.call(messages.iprobe) is None

    def test_no_timeout_waits(self, peer: Peer, channel: adma.Channel) -> None:
        task = peer.begin(messages.echo, CELL, 1)
        channel.write(pattern(CELL, 1), timeout=None)
        assert channel.probe(timeout=None) == channel.iprobe()
        buffer = bytearray(CELL)
        assert channel.read(buffer, timeout=None) == CELL
        assert buffer == pattern(CELL, 1)
        task.result()
