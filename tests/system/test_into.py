# SPDX-License-Identifier: BSD-3-Clause
"""`recv(into=...)`: objects that are received into arrays of the caller."""

from __future__ import annotations

import array
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import adma
from adma.messages import incoming
from adma.testing import Peer
from adma.testing.limits import HANG, LARGE
from support import mechanisms
from support.calls import into as calls
from support.endpoints import own_channels

numpy = pytest.importorskip("numpy")

Send = Callable[..., adma.Request]

#: Elements of an array that is pickled with the rest, and of one that travels by itself.
COUNTS = (0, 3, LARGE // 8)


@pytest.fixture
def ends() -> Iterator[tuple[adma.Channel, adma.Channel]]:
    """Both ends of a channel."""
    ours, theirs = own_channels()
    yield ours, theirs
    ours.close(timeout=0)
    theirs.close(timeout=0)


@pytest.fixture
def channel(ends: tuple[adma.Channel, adma.Channel]) -> adma.Channel:
    return ends[0]


@pytest.fixture
def send(ends: tuple[adma.Channel, adma.Channel]) -> Send:
    """Sends an object from the other end."""
    return ends[1].isend


def numbers(count: int, seed: int = 0) -> Any:
    return numpy.arange(float(count)) + seed


@pytest.mark.parametrize("mechanism", mechanisms.NAMES)
def test_an_array(mechanism: str) -> None:
    """NumPy starts threads as it is imported."""
    with Peer(preload=("numpy",)) as peer:
        channel = peer.connect(mechanism)
        task = peer.begin(calls.send_numbers, list(COUNTS))
        for count in COUNTS:
            target = numpy.full(count, -1.0)
            assert channel.recv(timeout=HANG, into=target) is target
            assert (target == numbers(count)).all()
        task.result()


@pytest.mark.parametrize("count", COUNTS)
def test_a_large_array_is_copied_once(
    channel: adma.Channel,
    send: Send,
    count: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Straight into the caller's: nothing is copied out of other memory afterwards."""
    copied = []
    monkeypatch.setattr("adma.messages.into.copy", lambda dst, src: copied.append(dst))
    task = send(numbers(count))
    channel.recv(timeout=HANG, into=numpy.zeros(count))
    task.wait(HANG)
    assert len(copied) == (count < COUNTS[-1])


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_list_of_arrays(channel: adma.Channel, send: Send, kind: Any) -> None:
    task = send(kind(numbers(count, seed) for seed, count in enumerate(COUNTS)))
    targets = [numpy.zeros(count) for count in COUNTS]
    assert channel.recv(timeout=HANG, into=targets) is targets
    for seed, (target, count) in enumerate(zip(targets, COUNTS, strict=True)):
        assert (target == numbers(count, seed)).all()
    task.wait(HANG)


@pytest.mark.parametrize("count", COUNTS)
def test_an_array_of_another_order(channel: adma.Channel, send: Send, count: int) -> None:
    task = send(numpy.asfortranarray(numbers(2 * count).reshape(count, 2)))
    target = numpy.zeros((count, 2))
    channel.recv(timeout=HANG, into=target)
    assert (target == numbers(2 * count).reshape(count, 2)).all()
    task.wait(HANG)


def test_dates(channel: adma.Channel, send: Send) -> None:
    task = send(numpy.arange(COUNTS[-1]).astype("datetime64[D]"))
    target = numpy.zeros(COUNTS[-1], "datetime64[D]")
    channel.recv(timeout=HANG, into=target)
    assert target[-1] == numpy.datetime64(COUNTS[-1] - 1, "D")
    task.wait(HANG)


@pytest.mark.parametrize("nbytes", [10, LARGE])
@pytest.mark.parametrize("make", [bytearray, lambda n: array.array("B", bytes(n)), numpy.zeros])
def test_bytes_in_an_object(channel: adma.Channel, send: Send, nbytes: int, make: Any) -> None:
    target = make(nbytes) if make is not numpy.zeros else numpy.zeros(nbytes, "u1")
    task = send(pickle.PickleBuffer(bytearray(b"x" * nbytes)))
    channel.recv(timeout=HANG, into=target)
    assert bytes(target) == b"x" * nbytes
    task.wait(HANG)


MISFITS: dict[str, Any] = {
    "longer": lambda n: numpy.zeros(n + 1),
    "shorter": lambda n: numpy.zeros(n - 1),
    "of another type": lambda n: numpy.zeros(n, "i8"),
    "of another shape": lambda n: numpy.zeros((n, 1)),
    "bytes": lambda n: bytearray(8 * n),
    "a list": lambda n: [numpy.zeros(n)],
}


@pytest.mark.parametrize("count", COUNTS[1:])
@pytest.mark.parametrize("misfit", MISFITS)
def test_an_object_that_does_not_fit_stays(
    channel: adma.Channel, send: Send, misfit: str, count: int
) -> None:
    target = MISFITS[misfit](count)
    tasks = [send(numbers(count)), send(numbers(1))]
    for _ in range(2):
        with pytest.raises(ValueError, match=r"recv\(into\).*it stays"):
            channel.recv(timeout=HANG, into=target)
        assert channel.poll()
        assert channel.iprobe() == adma.Message("object", channel.probe().nbytes)
        assert adma.wait([channel], timeout=0) == [channel]
    fits = numpy.zeros(count)
    channel.recv(timeout=HANG, into=fits)
    assert (fits == numbers(count)).all()
    assert len(channel.recv(timeout=HANG)) == 1
    adma.wait_all(tasks, timeout=HANG)


@pytest.mark.parametrize("thing", [{"a": 1}, None, 5, "text", [1, 2], []])
def test_an_object_that_is_no_array_stays(channel: adma.Channel, send: Send, thing: Any) -> None:
    task = send(thing)
    for target in (numpy.zeros(3), [numpy.zeros(3)]):
        with pytest.raises(ValueError, match="it stays"):
            channel.recv(timeout=HANG, into=target)
    assert channel.recv(timeout=HANG) == thing
    task.wait(HANG)


def test_targets_that_cannot_be_filled(channel: adma.Channel) -> None:
    read_only = numpy.zeros(3)
    read_only.flags.writeable = False
    shared = numpy.zeros(9)
    bad: list[tuple[Any, type[Exception], str]] = [
        (read_only, BufferError, "into is read-only"),
        ([shared, read_only], BufferError, r"into\[1\] is read-only"),
        (b"bytes", BufferError, "into is read-only"),
        (numpy.zeros((4, 4))[:, 1], BufferError, "into is not C-contiguous"),
        (3, TypeError, "into must be"),
        ([numpy.zeros(3), None], TypeError, r"into\[1\] must be"),
        (numpy.array([None]), TypeError, "Python objects"),
        ([shared[:5], shared[4:]], ValueError, r"into\[0\] and into\[1\] overlap"),
        ([shared, numpy.zeros(1), shared], ValueError, "overlap"),
    ]
    for target, error, words in bad:
        with pytest.raises(error, match=words):
            channel.recv(timeout=0, into=target)
    with pytest.raises(TimeoutError):
        channel.recv(timeout=0, into=[shared[:5], shared[5:], shared[5:5]])


def test_an_object_of_which_a_call_has_taken_the_head(
    channel: adma.Channel, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(nbytes: int, *, read_only: bool) -> bytes:
        raise MemoryError

    task = send(numbers(COUNTS[-1]))
    with monkeypatch.context() as patch:
        patch.setattr(incoming, "blank", none)
        with pytest.raises(MemoryError):
            channel.recv(timeout=HANG)
    target = numpy.zeros(COUNTS[-1])
    channel.recv(timeout=HANG, into=target)
    assert (target == numbers(COUNTS[-1])).all()
    task.wait(HANG)


def test_a_limit_holds(channel: adma.Channel, send: Send) -> None:
    task = send(numbers(COUNTS[-1]))
    target = numpy.zeros(COUNTS[-1])
    with pytest.raises(adma.MessageTooLong):
        channel.recv(timeout=HANG, max_bytes=1000, into=target)
    channel.recv(timeout=HANG, into=target)
    assert target[-1] == COUNTS[-1] - 1
    task.wait(HANG)
