# SPDX-License-Identifier: BSD-3-Clause
"""What a worker does beside matching: flow control, waiting, and endpoints that come and go."""

from __future__ import annotations

import contextlib
import gc
import os
import re
import select
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import adma
from adma._core import worker as core
from adma._core.waiting import ManyWaiter
from adma.messages.worker import ANY_SOURCE, TagRequest, WholeReceive, Worker
from adma.testing import Peer, observe
from adma.testing.limits import CELL, EAGER, HANG, LARGE, MIB, SHORT, SLOWNESS
from adma.testing.payload import pattern
from adma.testing.peer import search_path
from support.calls import workers as calls
from support.endpoints import InChild, InThread
from support.segment import mapped
from support.workers import connect, settle

LIMIT = MIB  # that eager messages of one peer may cost; adma_worker.h tells no number
MANY = 7  # endpoints: with more than 4 the summary is used


@pytest.fixture
def make() -> Iterator[Callable[[], Worker]]:
    """Makes workers, which are closed after the test."""
    with ExitStack() as stack:

        def worker() -> Worker:
            made = Worker()
            stack.callback(made.close, 1)  # some tests leave messages that nobody receives
            return made

        yield worker


@pytest.fixture
def two(make: Callable[[], Worker]) -> tuple[Worker, int, Worker, int]:
    """Two workers, and the number that the endpoint between them has in each."""
    one, other = make(), make()
    number, theirs = connect(one, other)
    return one, number, other, theirs


@pytest.fixture
def hub(make: Callable[[], Worker]) -> tuple[Worker, list[tuple[Worker, int, int]]]:
    """A worker with many endpoints; and each one's peer, the peer's number for it, and its own."""
    worker, peers = make(), []
    for _ in range(MANY):
        peer = make()
        number, theirs = connect(worker, peer)
        peers.append((peer, theirs, number))
    until_summarised(worker, *(peer for peer, _, _ in peers))
    return worker, peers


def until_summarised(worker: Worker, *peers: Worker) -> None:
    """All peers name their endpoints in the summary: none is looked at directly any more."""

    def summarised() -> bool:
        settle([worker, *peers])
        return core.counts(worker.handle) == (MANY, 0)

    observe.until("the summary is used", summarised)


def readable(worker: Worker, timeout: float = 0) -> bool:
    return bool(select.select([core.fileno(worker.handle)], [], [], timeout)[0])


def receive_all(worker: Worker, count: int, nbytes: int) -> list[tuple[TagRequest, bytearray]]:
    """Post as many receives, each with a buffer of its own."""
    buffers = [bytearray(nbytes) for _ in range(count)]
    return [(worker.receive(ANY_SOURCE, 0, buffer, mask=0), buffer) for buffer in buffers]


# Flow control


def test_what_nobody_receives_is_bounded_and_comes_in_order(
    two: tuple[Worker, int, Worker, int],
) -> None:
    """A peer is told to send by rendezvous in time, and eagerly again when all is received."""
    receiver, _, sender, number = two
    count, nbytes = 8_000, 100
    sends = [sender.send(number, tag, pattern(nbytes, tag)) for tag in range(count)]
    settle([receiver, sender])
    held = core.stats(sender.handle, number)
    copied = held["inlined"] + held["eager"]
    assert 0 < copied * nbytes < LIMIT
    assert copied + held["rendezvous"] == count
    assert not sends[-1].done
    for tag, (request, buffer) in enumerate(receive_all(receiver, count, nbytes)):
        settle([receiver, sender], [request])
        assert (request.result(), request.tag) == (nbytes, tag)
        assert buffer == pattern(nbytes, tag)
    settle([receiver, sender])
    assert all(request.result() == nbytes for request in sends)
    assert sender.send(number, 1, bytes(nbytes)).done, "the peer is not told to send eagerly again"
    settle([receiver, sender])
    assert core.stats(sender.handle, number)["rendezvous"] == held["rendezvous"]


def test_bounce_buffers_are_bounded_by_the_same_limit(
    two: tuple[Worker, int, Worker, int],
) -> None:
    """Messages that the receiver wants eagerly are kept up to the limit, and wait in slots then."""
    receiver, there, sender, number = two
    for segment in mapped():
        segment.buffered = 2**32 - 1  # as if the receivers had learnt that
    count, nbytes = 100, 2 * EAGER
    sends = []
    for tag in range(count):
        sends.append(sender.send(number, tag, pattern(nbytes, tag)))
        settle([receiver, sender])
    held = core.stats(sender.handle, number)
    assert LIMIT // 2 < held["eager"] * nbytes < LIMIT
    assert held["eager"] + held["rendezvous"] == count
    for tag in reversed(range(count)):
        buffer = bytearray(nbytes)
        assert receiver.receive(there, tag, buffer).wait(HANG) == nbytes
        assert buffer == pattern(nbytes, tag)
    settle([receiver, sender])
    assert all(request.result() == nbytes for request in sends)
    waiting = receiver.receive(there, 7, bytearray(nbytes))
    assert sender.send(number, 7, bytes(nbytes)).done
    assert waiting.wait(HANG) == nbytes


@pytest.mark.parametrize("nbytes", [8, 4000])
def test_a_receiver_that_computes_holds_up_no_sender(
    two: tuple[Worker, int, Worker, int], nbytes: int
) -> None:
    """Nobody calls the receiver, and a ring holds 128 messages: the progress thread drains it."""
    receiver, there, sender, number = two
    first = receiver.receive(there, 0, bytearray(8))
    sender.send(number, 0, bytes(8))
    assert first.wait(HANG) == 8
    count = LIMIT // (2 * (nbytes + 256))
    for tag in range(1, count):
        assert sender.send(number, tag, pattern(nbytes, tag)).wait(HANG) == nbytes
    for tag in reversed(range(1, count)):
        buffer = bytearray(nbytes)
        assert receiver.receive(there, tag, buffer).wait(HANG) == nbytes
        assert buffer == pattern(nbytes, tag)


def test_one_peers_limit_is_not_another_ones(
    hub: tuple[Worker, list[tuple[Worker, int, int]]],
) -> None:
    worker, peers = hub
    loud, quiet = peers[0], peers[1]
    for tag in range(LIMIT // EAGER + 10):
        loud[0].send(loud[1], tag, bytes(EAGER))
        settle([worker, loud[0]])
    assert not loud[0].send(loud[1], 0, b"x").done
    assert quiet[0].send(quiet[1], 0, b"x").done
    settle([worker, *(peer for peer, _, _ in peers)])
    assert worker.probe(quiet[2], 0)


@pytest.mark.parametrize("first", ["sends", "receives"])
def test_any_number_is_outstanding(two: tuple[Worker, int, Worker, int], first: str) -> None:
    receiver, source, sender, number = two
    count, nbytes = 10_000, EAGER + 1
    data, buffer = pattern(nbytes, 1), bytearray(nbytes)

    def send() -> list[TagRequest]:
        return [sender.send(number, tag, data) for tag in range(count)]

    def receive() -> list[TagRequest]:
        return [receiver.receive(source, tag, buffer) for tag in range(count)]

    if first == "sends":
        sends = send()
        settle([receiver, sender])
        assert not any(request.done for request in sends)
        receives = receive()
    else:
        receives = receive()
        sends = send()
    theirs = InThread(lambda: sender.wait(sends, HANG))
    assert receiver.wait(receives, HANG)
    assert theirs.result()
    assert all(request.result() == nbytes for request in sends + receives)
    assert buffer == data


# Receives that take their messages whole


@pytest.mark.parametrize("nbytes", [0, 8, EAGER, LARGE])
@pytest.mark.parametrize("first", ["the message", "the receive"])
def test_a_message_is_taken_whole(
    two: tuple[Worker, int, Worker, int], first: str, nbytes: int
) -> None:
    receiver, source, sender, number = two
    if first == "the receive":
        receive = receiver.receive_whole(source, 1)
        assert not receive.done
        with pytest.raises(RuntimeError, match="wait for it"):
            receive.message()
    send = sender.send(number, 1, pattern(nbytes, 1))
    settle([receiver, sender])
    if first == "the message":
        receive = receiver.receive_whole(source, 1)
    assert receive.wait(HANG) == nbytes
    message = receive.message()
    assert message.found == (source, 1, nbytes)
    assert receive.message() is message
    assert receiver.probe(ANY_SOURCE, 0, 0) is None
    assert send.done == (nbytes <= EAGER)
    if nbytes:
        with pytest.raises(adma.MessageTooLong):
            receiver.receive_taken(message, bytearray(nbytes - 1))
    buffer = bytearray(nbytes)
    delivery = receiver.receive_taken(message, buffer)
    settle([receiver, sender], [delivery, send])
    assert delivery.result() == send.result() == nbytes
    assert buffer == pattern(nbytes, 1)
    with pytest.raises(ValueError, match="already"):
        receiver.receive_taken(receive.message(), buffer)


def test_post_order_is_match_order_whatever_a_receive_asks_for(
    two: tuple[Worker, int, Worker, int],
) -> None:
    """Receives with and without a buffer take turns, and so do short and long messages."""
    receiver, source, sender, number = two
    lengths = [8, LARGE, EAGER, LARGE + 1, 9, LARGE + 2, EAGER + 1, 10]
    buffers = [bytearray(LARGE + 2) for _ in lengths]
    receives: list[TagRequest] = []
    for turn, buffer in enumerate(buffers):
        asked = (ANY_SOURCE, 1) if turn % 3 else (source, 1)
        receives.append(
            receiver.receive(*asked, buffer) if turn % 2 else receiver.receive_whole(*asked)
        )
    sends = [sender.send(number, 1, pattern(n, turn)) for turn, n in enumerate(lengths)]
    settle([receiver, sender], receives)
    for turn in range(0, len(lengths), 2):
        request = receives[turn]
        assert isinstance(request, WholeReceive)
        assert request.result() == lengths[turn]
        receives[turn] = receiver.receive_taken(request.message(), buffers[turn])
    settle([receiver, sender], [*receives, *sends])
    assert [request.result() for request in receives] == lengths
    for turn, n in enumerate(lengths):
        assert buffers[turn][:n] == pattern(n, turn)
    assert [request.result() for request in sends] == lengths


@pytest.mark.parametrize("arrived", [True, False])
def test_a_withdrawn_message_is_not_taken_whole(
    two: tuple[Worker, int, Worker, int], arrived: bool
) -> None:
    """The receive gets the next one, which its sender cannot withdraw any more."""
    receiver, source, sender, number = two
    withdrawn = [sender.send(number, 1, b"not this", synchronous=True) for _ in range(3)]
    send = sender.send(number, 1, b"this", synchronous=True)
    if arrived:
        settle([receiver])
    assert all(request.cancel() for request in withdrawn)
    receive = receiver.receive_whole(source, 1)
    assert receive.wait(HANG) == 4
    assert not send.cancel()
    assert not send.done
    buffer = bytearray(4)
    receiver.receive_taken(receive.message(), buffer).wait(HANG)
    assert bytes(buffer) == b"this"
    assert sender.wait([send], HANG)


def test_a_receive_that_takes_whole_is_cancelled(two: tuple[Worker, int, Worker, int]) -> None:
    receiver, source, sender, number = two
    first, second = (receiver.receive_whole(source, 1) for _ in range(2))
    assert first.cancel()
    for look in (first.result, first.message):
        with pytest.raises(adma.Cancelled):
            look()
    sender.send(number, 1, b"x")
    assert second.wait(HANG) == 1
    assert not second.cancel()
    assert receiver.receive_taken(second.message(), bytearray(1)).wait(HANG) == 1


def test_what_is_taken_whole_does_not_count_against_the_limit(
    two: tuple[Worker, int, Worker, int],
) -> None:
    """As many as were posted for are held, and the peer still sends eagerly."""
    receiver, source, sender, number = two
    count = LIMIT // EAGER + 50
    receives = [receiver.receive_whole(source, 1) for _ in range(count)]
    for turn in range(count):
        sender.send(number, 1, pattern(EAGER, turn))
        settle([receiver, sender])
    counters = core.stats(sender.handle, number)
    assert (counters["eager"], counters["rendezvous"]) == (count, 0)
    receiver.health(source)
    for turn, receive in enumerate(receives):
        buffer = bytearray(EAGER)
        assert receiver.receive_taken(receive.message(), buffer).wait(HANG) == EAGER
        assert buffer == pattern(EAGER, turn)


@pytest.mark.parametrize("nbytes", [8, LARGE])
def test_a_thread_waits_until_a_message_is_taken_whole(
    hub: tuple[Worker, list[tuple[Worker, int, int]]], nbytes: int
) -> None:
    worker, peers = hub
    for peer, number, source in peers:
        receive = worker.receive_whole(source, 1)
        assert not worker.wait([receive], SHORT)
        waiting = InThread(lambda receive=receive: receive.wait(HANG))
        send = peer.send(number, 1, pattern(nbytes, source))
        assert waiting.result() == nbytes
        assert not readable(worker), "the completion was looked at"
        buffer = bytearray(nbytes)
        delivery = worker.receive_taken(receive.message(), buffer)
        settle([worker, peer], [delivery, send])
        assert delivery.result() == nbytes
        assert buffer == pattern(nbytes, source)


def test_a_drop_ends_receives_that_take_whole(
    hub: tuple[Worker, list[tuple[Worker, int, int]]],
) -> None:
    """What they took before is lost, and who sent it learns that."""
    worker, peers = hub
    peer, number, source = peers[3]
    took_small, took_large = (worker.receive_whole(source, tag) for tag in (1, 2))
    named, of_any = worker.receive_whole(source, 3), worker.receive_whole(ANY_SOURCE, 4)
    small, large = peer.send(number, 1, bytes(10)), peer.send(number, 2, bytes(CELL))
    settle([worker, peer])
    messages = [took_small.message()]
    worker.drop(source)
    messages.append(took_large.message())  # it was complete before
    with pytest.raises(adma.ChannelClosed):
        named.message()
    for message in messages:
        with pytest.raises(adma.ChannelClosed):
            worker.receive_taken(message, bytearray(CELL)).result()
    settle([worker, peer])
    assert small.result() == 10
    with pytest.raises(adma.ChannelClosed):
        large.wait(HANG)
    assert not of_any.done
    other, theirs, _ = peers[4]
    other.send(theirs, 4, b"y")
    assert of_any.wait(HANG) == 1


@pytest.mark.parametrize("nbytes", [1000, LARGE])
@pytest.mark.parametrize("looked", [True, False])
def test_a_message_that_was_taken_whole_outlives_the_worker(
    make: Callable[[], Worker], looked: bool, nbytes: int
) -> None:
    worker, peer = make(), make()
    source, number = connect(worker, peer)
    receive, pending = worker.receive_whole(source, 1), worker.receive_whole(ANY_SOURCE, 2)
    send = peer.send(number, 1, bytes(nbytes))
    settle([worker, peer])
    if looked:
        receive.message()
    worker.close()
    with pytest.raises(adma.ChannelClosed):
        worker.receive_taken(receive.message(), bytearray(nbytes))
    with pytest.raises(adma.ChannelClosed):
        pending.message()
    if nbytes > EAGER:
        with pytest.raises(adma.ChannelClosed):
            send.wait(HANG)


# Waiting


def test_a_wait_ends_in_time_or_with_what_it_waits_for(
    two: tuple[Worker, int, Worker, int],
) -> None:
    receiver, source, sender, number = two
    first, second = (receiver.receive(source, tag, bytearray(10)) for tag in (1, 2))
    assert not receiver.wait([first, second], SHORT)
    with pytest.raises(TimeoutError):
        first.wait(SHORT)
    assert not first.done
    sender.send(number, 2, b"second")
    assert receiver.wait([first, second], HANG, need=1)
    assert not receiver.wait([first, second], SHORT)
    assert (first.done, second.result()) == (False, 6)
    sender.send(number, 1, b"first")
    assert first.wait(HANG) == 5


def test_a_synchronous_send_waits_for_its_match(two: tuple[Worker, int, Worker, int]) -> None:
    receiver, source, sender, number = two
    send = sender.send(number, 1, b"x", synchronous=True)
    assert not sender.wait([send], SHORT)
    receive = receiver.receive(source, 1, bytearray(1))
    assert sender.wait([send], HANG)
    assert receive.wait(HANG) == 1


def test_a_thread_waits_for_a_message(
    hub: tuple[Worker, list[tuple[Worker, int, int]]],
) -> None:
    worker, peers = hub
    assert not worker.wait_message(SHORT)
    for peer, number, source in peers:
        waiting = InThread(lambda: worker.wait_message(HANG))
        peer.send(number, source, b"x")
        assert waiting.result()
        assert worker.receive(source, source, bytearray(1)).wait(HANG) == 1
    assert not worker.wait_message(SHORT)


@pytest.mark.parametrize("nbytes", [8, EAGER, LARGE])
def test_threads_wait_for_different_requests(
    hub: tuple[Worker, list[tuple[Worker, int, int]]], nbytes: int
) -> None:
    worker, peers = hub
    waiting = []
    for _, _, source in peers:
        buffer = bytearray(nbytes)
        request = worker.receive(source, 5, buffer)
        waiting.append((InThread(lambda request=request: request.wait(HANG)), buffer, source))
    sends = [
        (peer, peer.send(number, 5, pattern(nbytes, source)))
        for peer, number, source in reversed(peers)
    ]
    for thread, buffer, source in waiting:
        assert thread.result() == nbytes
        assert buffer == pattern(nbytes, source)
    for _, request in sends:
        assert request.wait(HANG) == nbytes


def test_threads_wait_for_what_one_of_them_drives(
    two: tuple[Worker, int, Worker, int],
) -> None:
    """Messages come in the order in which the threads do not wait."""
    receiver, source, sender, number = two
    count = 8
    threads = []
    for tag in range(count):
        request = receiver.receive(source, tag, bytearray(LARGE))
        threads.append(InThread(lambda request=request: request.wait(HANG)))
    for tag in reversed(range(count)):
        assert sender.send(number, tag, pattern(LARGE, tag)).wait(HANG) == LARGE
    assert [thread.result() for thread in threads] == [LARGE] * count


def test_nobody_oversleeps(hub: tuple[Worker, list[tuple[Worker, int, int]]]) -> None:
    """Threads that no signal wakes wait without an end: a wake-up that is lost is a hang."""
    worker, peers = hub
    each, servers = 300, 2
    lengths = (8, 100, EAGER, EAGER + 1, CELL)

    def serve() -> None:
        buffer = bytearray(CELL)
        for _ in range(each * MANY // servers):
            request = worker.receive(ANY_SOURCE, 0, buffer, mask=0)
            n = request.wait()
            worker.send(request.source, request.tag, bytes(buffer[:n])).wait()

    def ask(peer: Worker, number: int) -> None:
        buffer = bytearray(CELL)
        for tag in range(each):
            n = lengths[tag % len(lengths)]
            answer = peer.receive(number, tag, buffer)
            peer.send(number, tag, pattern(n, tag), synchronous=tag % 7 == 0)
            assert answer.wait() == n
            assert buffer[:n] == pattern(n, tag)

    threads = [InThread(serve) for _ in range(servers)]
    threads += [InThread(lambda asks=asks: ask(*asks[:2])) for asks in peers]
    for thread in threads:
        thread.result()


def test_a_drop_wakes_who_waits(two: tuple[Worker, int, Worker, int]) -> None:
    receiver, source, _, _ = two
    request = receiver.receive(source, 1, bytearray(1))
    waiting = InThread(lambda: request.wait(HANG))
    receiver.drop(source)
    with pytest.raises(adma.ChannelClosed):
        waiting.result()


def test_a_wait_on_many_endpoints_sleeps_in_one_call(tmp_path: Path) -> None:
    """However many they are, they are not looked at one by one."""
    log = tmp_path / "calls"
    strace = ["strace", "-o", str(log), "-s", "200"]
    try:
        subprocess.run([*strace, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("strace does not work here")
    script = [sys.executable, "-m", "support.sleeper", str(MANY)]
    environment = {**os.environ, "PYTHONPATH": search_path()}
    subprocess.run([*strace, *script], check=True, timeout=HANG * 3, env=environment)
    lines = log.read_text().splitlines()
    begin, end = (
        next(i for i, line in enumerate(lines) if line.startswith(f'access("{word}"'))
        for word in ("begin", "end")
    )
    found = [line.split("(")[0] for line in lines[begin + 1 : end]]
    assert found.count("ppoll") == 1, found
    assert not {"poll", "select", "recvmsg"} & set(found), found
    assert found.count("epoll_wait") <= 3, found


# The descriptor


def test_the_descriptor_tells_of_messages_and_completions(
    hub: tuple[Worker, list[tuple[Worker, int, int]]],
) -> None:
    worker, peers = hub
    assert not readable(worker)
    for peer, number, source in (peers[0], peers[-1]):
        peer.send(number, 1, b"x")
        assert readable(worker, HANG)
        assert worker.probe(source, 1)
        assert readable(worker), "a message waits"
        request = worker.receive(source, 1, bytearray(1))
        assert readable(worker), "a completion was not looked at"
        assert request.result() == 1
        assert not readable(worker)


def test_a_message_that_is_withdrawn_does_not_wait(two: tuple[Worker, int, Worker, int]) -> None:
    receiver, _, sender, number = two
    assert not readable(receiver)
    send = sender.send(number, 1, b"x", synchronous=True)
    assert readable(receiver, HANG)
    settle([receiver, sender])
    assert send.cancel()
    settle([receiver, sender])
    assert not readable(receiver)
    assert not receiver.wait_message(0)


def test_withdrawn_messages_do_not_use_up_the_slots(two: tuple[Worker, int, Worker, int]) -> None:
    """Their receiver lets go of them without a probe or a receive that comes across them."""
    receiver, _, sender, number = two
    sender.send(number, 0, b"in front", synchronous=True)
    for _ in range(1000):
        send = sender.send(number, 1, b"x", synchronous=True)
        settle([receiver, sender])
        assert send.cancel()
        settle([receiver, sender])
    first = sender.send(number, 1, b"x", synchronous=True)
    assert first.operation.req.slot_index < 64, "the slots of withdrawn messages are still in use"


# Endpoints go


def test_a_drop_ends_what_names_the_endpoint(
    hub: tuple[Worker, list[tuple[Worker, int, int]]],
) -> None:
    worker, peers = hub
    peer, number, source = peers[3]
    named = worker.receive(source, 1, bytearray(10))
    of_any = worker.receive(ANY_SOURCE, 2, bytearray(10))
    eager, large, reserved = (
        peer.send(number, tag, bytes(nbytes)) for tag, nbytes in ((3, 10), (4, CELL), (5, CELL))
    )
    settle([worker, peer])
    copied, taken = worker.take(source, 3), worker.take(source, 5)
    assert copied
    assert taken
    eager_too = peer.send(number, 6, b"x")
    settle([worker, peer])
    worker.drop(source)
    with pytest.raises(adma.ChannelClosed):
        named.result()
    assert not of_any.done
    assert worker.probe(ANY_SOURCE, 0, 0) is None
    for message in (copied, taken):
        with pytest.raises(adma.ChannelClosed):
            worker.receive_taken(message, bytearray(CELL)).result()
    settle([worker, peer])
    assert (eager.result(), eager_too.result()) == (10, 1)
    for request in (large, reserved):
        with pytest.raises(adma.ChannelClosed):
            request.wait(HANG)
    with pytest.raises(FileNotFoundError):
        worker.receive(source, 1, bytearray(1))
    other, theirs, _ = peers[4]
    other.send(theirs, 2, b"y")
    assert of_any.wait(HANG) == 1


def test_nothing_arrives_from_an_endpoint_that_was_dropped(make: Callable[[], Worker]) -> None:
    """Its peer sends all the while."""
    worker, peer = make(), make()

    def send_on(number: int, begun: threading.Event) -> None:
        with contextlib.suppress(adma.ChannelClosed):
            while True:
                peer.send(number, 1, b"x")
                begun.set()

    for _ in range(400 // SLOWNESS):
        source, number = connect(worker, peer)
        begun = threading.Event()
        sending = InThread(lambda number=number, begun=begun: send_on(number, begun))
        assert begun.wait(HANG)
        worker.drop(source)
        sending.result()
        assert worker.probe(ANY_SOURCE, 0, 0) is None
        peer.drop(number)


def test_a_message_that_was_taken_outlives_the_worker(make: Callable[[], Worker]) -> None:
    worker, peer = make(), make()
    source, number = connect(worker, peer)
    peer.send(number, 1, bytes(1000))
    settle([worker, peer])
    taken = worker.take(source, 1)
    assert taken
    worker.close()
    with pytest.raises(adma.ChannelClosed):
        worker.receive_taken(taken, bytearray(1000))


def test_an_orderly_close_delivers_first(two: tuple[Worker, int, Worker, int]) -> None:
    """What was sent before arrives, also if it is looked for only after the close."""
    receiver, source, sender, number = two
    for tag in range(5):
        sender.send(number, tag, bytes(tag))
    sender.close()
    posted = receiver.receive(source, 2, bytearray(10))
    lost = receiver.receive(source, 77, bytearray(10))
    with pytest.raises(adma.ChannelClosed):
        lost.wait(HANG)
    assert posted.wait(HANG) == 2
    assert [receiver.receive(source, tag, bytearray(10)).wait(HANG) for tag in (4, 0, 1, 3)] == [
        4,
        0,
        1,
        3,
    ]
    with pytest.raises(adma.ChannelClosed):
        receiver.receive(source, 5, bytearray(1)).wait(HANG)
    with pytest.raises(adma.ChannelClosed):
        receiver.health(source)


def test_endpoints_come_and_go_while_threads_spin(two: tuple[Worker, int, Worker, int]) -> None:
    """They do not look at the memory of one that is gone."""
    worker, source, _, _ = two
    request = worker.receive(source, 1, bytearray(1))
    gone = threading.Event()

    def wait() -> None:
        waiter = ManyWaiter((), [request.operation.req], 1, workers=[worker.handle])
        while not gone.is_set():
            waiter.drive(10_000)

    waiting = [InThread(wait) for _ in range(3)]
    for _ in range(20_000 // SLOWNESS):
        worker.drop(worker.connect_self())
    gone.set()
    for thread in waiting:
        thread.result()


def test_an_endpoint_that_was_dropped_is_connected_anew(
    hub: tuple[Worker, list[tuple[Worker, int, int]]],
) -> None:
    worker, peers = hub
    before = {source for _, _, source in peers}
    for peer, number, source in peers[:3]:
        worker.drop(source)
        peer.drop(number)
        fresh, theirs = connect(worker, peer)
        assert fresh not in before, "a number was used twice"
        until_summarised(worker, peer)
        peer.send(theirs, 1, b"again")
        assert worker.receive(fresh, 1, bytearray(5)).wait(HANG) == 5
        before.add(fresh)


# A worker by itself


def test_an_endpoint_to_itself(make: Callable[[], Worker]) -> None:
    worker = make()
    number = worker.connect_self()
    for nbytes in (0, 8, EAGER, LARGE):
        buffer = bytearray(nbytes)
        send = worker.send(number, 1, pattern(nbytes, 1))
        assert worker.receive(number, 1, buffer).wait(HANG) == nbytes
        assert send.wait(HANG) == nbytes
        assert buffer == pattern(nbytes, 1)
    worker.drop(number)
    with pytest.raises(FileNotFoundError):
        worker.send(number, 1, b"x")


def test_what_it_refuses(two: tuple[Worker, int, Worker, int]) -> None:
    """The error names the argument, the limit and the cure, and no buffer is kept."""
    worker, number, other, theirs = two
    buffer = bytearray(8)
    beyond: list[tuple[str, Callable[[], object]]] = [
        ("send(number): -1 is not within 0", lambda: worker.send(-1, 1, buffer)),
        ("send(tag): -1 is not within 0", lambda: worker.send(number, -1, buffer)),
        (f"send(tag): {2**64} is not within 0", lambda: worker.send(number, 2**64, buffer)),
        ("receive(source): -1 is not within 0", lambda: worker.receive(-1, 1, buffer)),
        ("receive(tag): -1 is not within 0", lambda: worker.receive(number, -1, buffer)),
        ("receive(mask): -1 is", lambda: worker.receive(number, 1, buffer, mask=-1)),
        ("receive(tag): -1 is not within 0", lambda: worker.receive_whole(number, -1)),
        ("probe(tag): -1 is not within 0", lambda: worker.probe(number, -1)),
        ("take(mask): -1 is not within 0", lambda: worker.take(number, 1, -1)),
        ("health(number): -1 is not within 0", lambda: worker.health(-1)),
        ("wait(need): 2 of 0 requests", lambda: worker.wait([], 0, need=2)),
    ]
    for text, call in beyond:
        with pytest.raises(ValueError, match=re.escape(text)) as caught:
            call()
        assert "; " in str(caught.value)
    wrong: list[tuple[str, Callable[[], object]]] = [
        ("send(tag): a whole", lambda: worker.send(number, 1.5, buffer)),  # type: ignore[arg-type]
        ("receive(source): a whole", lambda: worker.receive("x", 1, buffer)),  # type: ignore[arg-type]
        ("probe(source): a whole", lambda: worker.probe("x", 1)),  # type: ignore[arg-type]
        ("connect(sock): pass", lambda: worker.connect(3)),  # type: ignore[arg-type]
    ]
    for text, call in wrong:
        with pytest.raises(TypeError, match=re.escape(text)):
            call()
    unknown: list[Callable[[], object]] = [
        lambda: worker.send(99, 1, buffer),
        lambda: worker.receive(99, 1, buffer),
    ]
    for call in unknown:
        with pytest.raises(FileNotFoundError, match=r"no endpoint 99.*connect\(\) returned"):
            call()
    buffer.extend(b"nobody has it")
    other.send(theirs, 1, b"goes on")
    assert worker.receive(number, 1, buffer).wait(HANG) == 7


def test_a_forked_childs_copy_refuses(hub: tuple[Worker, list[tuple[Worker, int, int]]]) -> None:
    worker, peers = hub
    peer, number, source = peers[0]
    pending = worker.receive(source, 1, bytearray(10))

    def use() -> list[str]:
        said = []
        for call in (
            lambda: worker.probe(ANY_SOURCE, 0, 0),
            lambda: worker.send(source, 1, b"x"),
            lambda: worker.receive(source, 1, bytearray(1)),
            lambda: worker.health(source),
            lambda: worker.connect_self(),
        ):
            try:
                call()
            except adma.ChannelClosed as error:
                said.append(str(error))
        worker.close()
        return said

    # What arrived refers to memory that is shared with the peers: the child must not touch it.
    for tag in range(LIMIT // EAGER):
        peer.send(number, 100 + tag, bytes(EAGER))
        settle([worker, peer])
    large = peer.send(number, 2, bytes(LARGE))
    settle([worker, peer])
    assert not peer.send(number, 3, b"x").done, "the peer was told to send by rendezvous"
    taken = worker.take(source, 2)
    assert taken
    said = InChild(use).result()
    assert len(said) == 5
    assert all("fork" in text for text in said)
    peer.send(number, 1, b"goes on")
    assert pending.wait(HANG) == 7
    receive = worker.receive_taken(taken, bytearray(LARGE))
    settle([worker, peer], [receive, large])
    assert receive.result() == large.result() == LARGE


def test_a_worker_that_is_forgotten_is_freed(make: Callable[[], Worker]) -> None:
    """Its peers learn that, and nothing touches the buffers of what was pending any more."""
    peer, worker = make(), Worker()
    number, theirs = connect(worker, peer)
    for _ in range(10):
        worker.receive(number, 1, bytearray(LARGE))
        worker.send(number, 1, bytes(LARGE))
    gone = weakref.ref(worker)
    del worker
    gc.collect()
    assert gone() is None
    with pytest.raises(adma.MessagesLost):
        peer.receive(theirs, 2, bytearray(1)).wait(HANG)


# Other processes


@pytest.fixture
def across(
    make: Callable[[], Worker], tmp_path: Path
) -> Iterator[Callable[[Peer], tuple[Worker, int]]]:
    """Connects a worker of this process, always the same one, to one in a peer."""
    worker = make()
    # A short name: paths of Unix sockets end at 107 bytes.
    path = os.path.join(os.environ["TMPDIR"], "w")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def join(peer: Peer) -> tuple[Worker, int]:
            task = peer.begin(calls.join, path)
            sock, _ = listener.accept()
            with sock:
                number = worker.connect(sock, HANG)
            task.result()
            return worker, number

        yield join
    os.unlink(path)


@pytest.mark.parametrize("nbytes", [8, EAGER, LARGE])
def test_a_peer_is_killed_and_the_others_go_on(
    across: Callable[[Peer], tuple[Worker, int]], two_peers: tuple[Peer, Peer], nbytes: int
) -> None:
    victim, survivor = two_peers
    worker, lost = across(victim)
    _, kept = across(survivor)
    victim.begin(calls.send_without_end, 1, nbytes)
    echoing = survivor.begin(calls.echo, 20, nbytes)
    buffers = [bytearray(nbytes) for _ in range(20)]
    named = [worker.receive(lost, 1, buffer) for buffer in buffers]
    assert worker.wait(named, HANG)
    never = worker.receive(lost, 2, bytearray(1))
    for number in range(20):
        answer = worker.receive(kept, 3, bytearray(nbytes))
        question = worker.send(kept, 3, pattern(nbytes, number))
        if number == 10:
            victim.kill()
        assert worker.wait([answer, question], HANG)
        answer.result(), question.result()
    echoing.result()
    assert all(buffer == pattern(nbytes, 1) for buffer in buffers)
    with pytest.raises(adma.PeerDied):
        never.wait(HANG)
    with pytest.raises(adma.PeerDied):
        worker.send(lost, 1, b"x")
    worker.health(kept)
    survivor.call(calls.close)


def test_a_dead_peer_keeps_nobody_awake(
    across: Callable[[Peer], tuple[Worker, int]], two_peers: tuple[Peer, Peer]
) -> None:
    """Its socket and its pidfd are readable for ever. Nobody sleeps on them."""
    victim, survivor = two_peers
    worker, lost = across(victim)
    _, kept = across(survivor)
    assert not readable(worker)
    victim.kill()
    with pytest.raises(adma.PeerDied):
        worker.receive(lost, 1, bytearray(1)).wait(HANG)
    waiting = worker.receive(kept, 1, bytearray(10))
    before = core.stats(worker.handle, kept)["sleeps"]
    assert not worker.wait([waiting], 4 * SHORT)
    assert core.stats(worker.handle, kept)["sleeps"] - before < 10
    assert not readable(worker), "nothing happens, and the descriptor is readable"
    survivor.call(calls.send, 1, 10)
    assert waiting.wait(HANG) == 10
    survivor.call(calls.close)


def test_what_a_killed_peer_had_sent_is_received(
    across: Callable[[Peer], tuple[Worker, int]], peer: Peer
) -> None:
    """Eager messages are here; the bytes of others are lost with their sender."""
    worker, source = across(peer)
    for tag, nbytes in ((1, 10), (2, EAGER), (3, LARGE)):
        peer.call(calls.send, tag, nbytes)
    assert worker.wait_message(HANG)
    taken = worker.take(source, 3)
    assert taken
    peer.kill()
    with pytest.raises(adma.PeerDied):
        worker.receive(source, 4, bytearray(1)).wait(HANG)
    for tag, nbytes in ((1, 10), (2, EAGER)):
        buffer = bytearray(nbytes)
        assert worker.receive(source, tag, buffer).wait(HANG) == nbytes
        assert buffer == pattern(nbytes, tag)
    with pytest.raises(adma.PeerDied):
        worker.receive_taken(taken, bytearray(LARGE)).wait(HANG)


@pytest.mark.parametrize("nbytes", [10, LARGE])
def test_a_peer_is_killed_after_its_message_was_taken_whole(
    across: Callable[[Peer], tuple[Worker, int]], peer: Peer, nbytes: int
) -> None:
    """The receive has met the message. Its bytes are here if it was eager, or lost."""
    worker, source = across(peer)
    receive, pending = worker.receive_whole(source, 1), worker.receive_whole(source, 2)
    peer.call(calls.send, 1, nbytes)
    assert receive.wait(HANG) == nbytes
    peer.kill()
    with pytest.raises(adma.PeerDied):
        pending.wait(HANG)
    buffer = bytearray(nbytes)
    with contextlib.nullcontext() if nbytes <= EAGER else pytest.raises(adma.PeerDied):
        assert worker.receive_taken(receive.message(), buffer).wait(HANG) == nbytes
        assert buffer == pattern(nbytes, 1)


def test_a_large_message_between_processes(
    across: Callable[[Peer], tuple[Worker, int]], peer: Peer
) -> None:
    worker, source = across(peer)
    peer.call(calls.send, 1, LARGE)
    buffer = bytearray(LARGE)
    assert worker.receive(source, 1, buffer).wait(HANG) == LARGE
    assert buffer == pattern(LARGE, 1)
    peer.call(calls.await_sends)
    peer.call(calls.close)
