# SPDX-License-Identifier: BSD-3-Clause
"""What `recv` returns for large buffers, where there is no memory for them, and `skip`."""

from __future__ import annotations

import array
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import adma
from adma.testing import Peer
from adma.testing.calls import messages, objects
from adma.testing.limits import EAGER, HANG, INLINE, LARGE
from adma.testing.payload import pattern
from support import mechanisms
from support.calls import objects as calls

numpy = pytest.importorskip("numpy")

SMALL = 1000  # bytes: pickled with the rest


@pytest.fixture
def peer_with_numpy() -> Iterator[Peer]:
    """NumPy starts threads as it is imported."""
    with Peer(preload=("numpy",)) as peer:
        yield peer


MAKERS: dict[str, Callable[[bytes], Any]] = {
    "bytes": lambda data: pickle.PickleBuffer(data),
    "bytearray": lambda data: pickle.PickleBuffer(bytearray(data)),
    "memoryview": lambda data: pickle.PickleBuffer(memoryview(bytearray(data))),
    "read-only memoryview": lambda data: pickle.PickleBuffer(memoryview(data)),
    "numpy": lambda data: numpy.frombuffer(bytearray(data), "u1"),
    "read-only numpy": lambda data: numpy.frombuffer(data, "u1"),
    "numpy in Fortran order": lambda data: numpy.asfortranarray(
        numpy.frombuffer(bytearray(data), "u1").reshape(-1, 2)
    ),
    "buffer of numpy": lambda data: pickle.PickleBuffer(numpy.frombuffer(bytearray(data), "u1")),
    "buffer of read-only numpy": lambda data: pickle.PickleBuffer(numpy.frombuffer(data, "u1")),
    "array": lambda data: array.array("B", data),
    "plain bytes": lambda data: data,
    "plain bytearray": lambda data: bytearray(data),
    "several": lambda data: {
        "a": pickle.PickleBuffer(data),
        "b": [pickle.PickleBuffer(bytearray(data)), numpy.frombuffer(data, "u1")],
    },
}


def describe(thing: Any) -> Any:
    """Types and flags, all the way down."""
    if isinstance(thing, dict):
        return {key: describe(value) for key, value in thing.items()}
    if isinstance(thing, list):
        return [describe(value) for value in thing]
    if isinstance(thing, numpy.ndarray):
        return (type(thing), thing.dtype, thing.flags.writeable, thing.flags.f_contiguous)
    return type(thing)


@pytest.mark.parametrize("mechanism", mechanisms.NAMES)
@pytest.mark.parametrize("name", MAKERS)
def test_a_large_buffer_has_the_type_of_a_small_one(
    peer_with_numpy: Peer, mechanism: str, name: str
) -> None:
    """And can be sent on: the peer sends back what it received."""
    peer = peer_with_numpy
    channel = peer.connect(mechanism)
    found = []
    for nbytes in (SMALL, LARGE):
        task = peer.begin(objects.echo, 2)
        channel.send(MAKERS[name](pattern(nbytes)), timeout=HANG)
        first = channel.recv(timeout=HANG)
        channel.send(first, timeout=HANG)
        second = channel.recv(timeout=HANG)
        task.result()
        assert describe(first) == describe(second)
        found.append(describe(first))
        content = first["b"][1] if name == "several" else first
        assert memoryview(content).tobytes() == pattern(nbytes)
    assert found[0] == found[1]


# No memory


@pytest.mark.parametrize("mechanism", mechanisms.NAMES)
@pytest.mark.parametrize("part", [True, False])
def test_no_memory_for_an_object(peer_with_numpy: Peer, mechanism: str, part: bool) -> None:
    """One error, whichever piece there is no memory for; the object stays first in line."""
    peer = peer_with_numpy
    channel = peer.connect(mechanism)
    task = peer.begin(calls.recv_without_memory, 256 << 20)
    data = bytearray(256 << 20)
    channel.send(numpy.frombuffer(data, "u1") if part else bytes(data))
    errors, length = task.result()
    assert len(set(errors)) == 1
    assert "no memory for an object of 256 MiB: it stays first in line" in errors[0]
    assert length == len(data)


def test_no_memory_once_its_head_was_taken(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that was there a moment ago may be gone: the next recv goes on with the object."""
    channel = peer.connect()
    task = peer.begin(objects.send_buffers, [LARGE, LARGE])
    from adma.messages import incoming

    def none(nbytes: int, *, read_only: bool) -> bytes:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(incoming, "blank", none)
        for _ in range(2):
            with pytest.raises(MemoryError, match="stays first in line"):
                channel.recv(timeout=HANG)
    assert channel.probe(timeout=HANG).kind == "object"
    assert [bytes(part) for part in channel.recv(timeout=HANG)[1:]] == [
        pattern(LARGE, seed) for seed in range(2)
    ]
    task.result()


# Skip


@pytest.mark.parametrize("mechanism", mechanisms.NAMES)
@pytest.mark.parametrize("nbytes", [0, INLINE, EAGER, LARGE])
def test_skip_bytes(peer: Peer, mechanism: str, nbytes: int) -> None:
    """To the peer it is as if the message had been read."""
    channel = peer.connect(mechanism)
    writing = peer.begin(messages.write_all, [nbytes, 5])
    assert channel.skip(timeout=HANG) == adma.Message("bytes", nbytes)
    buffer = bytearray(5)
    assert channel.read(buffer, timeout=HANG) == 5
    assert buffer == pattern(5, 1)
    writing.result()


@pytest.mark.parametrize("mechanism", mechanisms.NAMES)
@pytest.mark.parametrize("sizes", [[], [10], [LARGE], [LARGE, LARGE, LARGE]])
def test_skip_an_object(peer: Peer, mechanism: str, sizes: list[int]) -> None:
    channel = peer.connect(mechanism)
    for _ in range(3):
        sending = peer.begin(objects.send_buffers, sizes)
        message = channel.skip(timeout=HANG)
        assert message.kind == "object"
        assert message.nbytes >= sum(sizes)
        sending.result()
        sending = peer.begin(objects.send_buffers, sizes)
        assert channel.recv(timeout=HANG)[0] == "buffers"
        sending.result()


def test_skip_keeps_the_order(peer: Peer) -> None:
    channel = peer.connect()
    sizes = [LARGE, 10, 0, EAGER, LARGE, INLINE, LARGE]
    writing = peer.begin(messages.write_all, sizes)
    for seed, nbytes in enumerate(sizes):
        if seed % 2:
            buffer = bytearray(nbytes)
            assert channel.read(buffer, timeout=HANG) == nbytes
            assert buffer == pattern(nbytes, seed)
        else:
            assert channel.skip(timeout=HANG).nbytes == nbytes
    writing.result()


def test_skip_the_rest_of_an_object(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = peer.connect()
    from adma.messages import incoming

    def none(nbytes: int, *, read_only: bool) -> bytes:
        raise MemoryError

    task = peer.begin(objects.send_buffers, [LARGE, LARGE])
    with monkeypatch.context() as patch:
        patch.setattr(incoming, "blank", none)
        with pytest.raises(MemoryError):
            channel.recv(timeout=HANG)
    message = channel.skip(timeout=HANG)
    assert message.kind == "object"
    assert message.nbytes > 2 * LARGE
    channel.iprobe()  # parts are passed over as they come
    task.result()
    writing = peer.begin(messages.write, 5)
    assert channel.read(bytearray(5), timeout=HANG) == 5
    writing.result()


def test_nothing_to_skip(peer: Peer) -> None:
    channel = peer.connect()
    with pytest.raises(TimeoutError, match="no message came within 0 s"):
        channel.skip(timeout=0)
    with pytest.raises(TimeoutError, match="no message came within"):
        channel.skip(timeout=0.01)
    request = channel.iread(bytearray(LARGE))
    writing = peer.begin(messages.write, LARGE)
    with pytest.raises(TimeoutError):
        channel.skip(timeout=0.01)  # the message is that read's
    assert request.wait(timeout=HANG) == LARGE
    writing.result()
    peer.call(messages.write, 5)
    peer.call(messages.close_channel)
    assert channel.skip(timeout=HANG).nbytes == 5
    with pytest.raises(adma.ChannelClosed):
        channel.skip(timeout=HANG)
    channel.close()
    with pytest.raises(adma.ChannelClosed):
        channel.skip(timeout=HANG)


def test_a_write_that_is_withdrawn_is_not_skipped(peer: Peer) -> None:
    channel = peer.connect()
    peer.call(messages.iwrite, "gone", LARGE)
    assert channel.probe(timeout=HANG).nbytes == LARGE
    assert peer.call(messages.cancel, "gone")
    writing = peer.begin(messages.write, 7)
    assert channel.skip(timeout=HANG).nbytes == 7
    writing.result()
