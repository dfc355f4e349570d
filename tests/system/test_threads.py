# SPDX-License-Identifier: BSD-3-Clause
"""Threads that share a channel, and many channels in one process."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

import adma
from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import CELL, EAGER, HANG, LARGE
from adma.testing.payload import pattern
from support.calls import many

SIZES = [4, EAGER, CELL + 4]


def begin(function: Callable[..., Any], *arguments: Any) -> tuple[threading.Thread, Future[Any]]:
    """Run it in a thread of its own; `finish` takes the result."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(function(*arguments))
        except BaseException as error:
            future.set_exception(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, future


def finish(*started: tuple[threading.Thread, Future[Any]]) -> list[Any]:
    results = [future.result(HANG) for _, future in started]
    for thread, _ in started:
        thread.join(HANG)
    return results


@pytest.mark.parametrize("nbytes", SIZES)
def test_two_readers(peer: Peer, nbytes: int) -> None:
    """Each message is read by one thread, whole, and each thread sees them in their order."""
    channel, count = peer.connect(), 200
    task = peer.begin(many.write_numbered, count, nbytes)

    def read() -> list[int]:
        numbers, buffer = [], bytearray(nbytes)
        while (number := many.read_numbered(channel, buffer)) is not None:
            numbers.append(number)
        channel.write(b"", timeout=HANG)
        return numbers

    numbers = finish(begin(read), begin(read))
    task.result()
    assert all(part == sorted(part) for part in numbers)
    assert Counter(numbers[0] + numbers[1]) == Counter(range(count))


@pytest.mark.parametrize("nbytes", SIZES)
def test_two_writers(peer: Peer, nbytes: int) -> None:
    """The messages of both arrive whole, those of each in its order."""
    channel, count = peer.connect(), 200

    def write(first: int) -> None:
        for number in range(first, 2 * count, 2):
            channel.write(many.numbered(number, nbytes), timeout=HANG)

    task = peer.begin(many.read_count, 2 * count, nbytes)
    finish(begin(write, 0), begin(write, 1))
    numbers = task.result()
    assert sorted(numbers) == list(range(2 * count))
    for first in (0, 1):
        part = [number for number in numbers if number % 2 == first]
        assert part == sorted(part)


def test_a_reader_and_a_writer(peer: Peer) -> None:
    channel, sizes = peer.connect(), [CELL + index * 7 for index in range(100)]
    task = peer.begin(messages.echo, 2 * CELL, len(sizes))

    def write() -> None:
        for seed, nbytes in enumerate(sizes):
            channel.write(pattern(nbytes, seed), timeout=HANG)

    started = begin(write)
    buffer = bytearray(2 * CELL)
    for seed, nbytes in enumerate(sizes):
        assert channel.read(buffer, timeout=HANG) == nbytes
        assert buffer[:nbytes] == pattern(nbytes, seed)
    finish(started)
    task.result()


def test_waits_in_one_thread_and_cancels_in_another(peer: Peer) -> None:
    """The waiter is woken, with `Cancelled`."""
    channel = peer.connect()
    for wait in (
        lambda request: request.wait(timeout=HANG),
        lambda request: adma.wait_all([request], timeout=HANG),
    ):
        request = channel.iread(bytearray(10))
        started = begin(wait, request)
        assert request.cancel()
        with pytest.raises(adma.Cancelled):
            finish(started)
        started[0].join(HANG)
    peer.call(messages.nothing)


def test_two_threads_wait_for_one_request(peer: Peer) -> None:
    channel = peer.connect()
    request = channel.iread(bytearray(LARGE))
    started = [begin(request.wait, HANG) for _ in range(2)]
    writing = peer.begin(messages.write, LARGE)
    assert finish(*started) == [LARGE, LARGE]
    writing.result()


def test_close_wakes_every_waiter(peer: Peer) -> None:
    channel = peer.connect()
    started = [
        begin(channel.read, bytearray(10), HANG),
        begin(channel.write, bytearray(LARGE), HANG),
        begin(channel.probe, HANG),
        begin(channel.iread(bytearray(1)).wait, HANG),
    ]
    channel.close(timeout=0)  # nobody reads what is written
    for thread, future in started:
        with pytest.raises((adma.ChannelClosed, adma.Cancelled)):
            future.result(HANG)
        thread.join(HANG)
    peer.call(messages.nothing)


def test_requests_of_several_channels_wait_together(two_peers: tuple[Peer, Peer]) -> None:
    channels = [peer.connect() for peer in two_peers]
    buffers = [bytearray(CELL) for _ in channels]
    requests = [channel.iread(buffer) for channel, buffer in zip(channels, buffers, strict=True)]
    second = two_peers[1].begin(messages.write, CELL, 1)
    assert adma.wait_any(requests, timeout=HANG) == 1
    second.result()
    first = two_peers[0].begin(messages.write, CELL, 0)
    assert adma.wait_all(requests, timeout=HANG) == [CELL, CELL]
    first.result()
    assert buffers == [pattern(CELL, 0), pattern(CELL, 1)]


def test_waiting_for_nothing() -> None:
    assert adma.wait_all([]) == []
    with pytest.raises(ValueError, match="reqs"):
        adma.wait_any([])


def test_two_hundred_channels(peer: Peer) -> None:
    """In one process, each with its own order and its own messages."""
    count = 200
    channels = [peer.connect() for _ in range(count)]
    task = peer.begin(many.echo_on_each, count, CELL)
    requests, buffers = [], [bytearray(CELL) for _ in channels]
    for channel, buffer in zip(channels, buffers, strict=True):
        requests.append(channel.iread(buffer))
    writes = [channel.iwrite(pattern(CELL, seed)) for seed, channel in enumerate(channels)]
    assert adma.wait_all(requests + writes, timeout=HANG) == [CELL] * (2 * count)
    for seed, buffer in enumerate(buffers):
        assert buffer == pattern(CELL, seed)
    task.result()


def test_many_threads_each_with_a_channel(peer: Peer) -> None:
    channels = [peer.connect() for _ in range(8)]
    task = peer.begin(many.echo_in_threads, len(channels), 50, CELL)

    def talk(seed: int) -> None:
        buffer = bytearray(CELL)
        for step in range(50):
            nbytes = (seed * 997 + step * 4099) % CELL
            channels[seed].write(pattern(nbytes, step), timeout=HANG)
            assert channels[seed].read(buffer, timeout=HANG) == nbytes
            assert buffer[:nbytes] == pattern(nbytes, step)

    with ThreadPoolExecutor(len(channels)) as pool:
        for done in [pool.submit(talk, seed) for seed in range(len(channels))]:
            done.result(HANG)
    task.result()
