# SPDX-License-Identifier: BSD-3-Clause
"""Messages with tags by the kernel helper: the workers match, the kernel copies."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import adma
from adma._core.constants import DONE, MATCHED, MECH_DMA, MECH_HELPER
from adma.bench.helper import Helper
from adma.bench.helper import difference as counted
from adma.messages.worker import ANY_SOURCE, TagRequest, Worker
from adma.testing import Peer
from adma.testing.limits import HANG, KIB, LARGE, MIB, SHORT
from adma.testing.payload import difference, pattern
from support.calls import workers as calls
from support.endpoints import InThread
from support.mechanisms import HELPER
from support.unserved import Unserved
from support.workers import connect, settle

pytestmark = [
    pytest.mark.alone,  # the module counts for the whole machine
    pytest.mark.skipif(not HELPER, reason="the kernel module adma is not loaded here"),
]

SIZES = (0, 1, 8, 4 * KIB, MIB, 16 * MIB + 13)
IDS = {"dma": MECH_DMA, "mapped:helper": MECH_HELPER}
CHUNK = 64 * MIB  # of what is posted at a time

Two = tuple[Worker, int, Worker, int]
Far = tuple[Worker, int, Peer]


@pytest.fixture(params=["dma", "mapped:helper"])
def mechanism(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make() -> Iterator[Callable[[], Worker]]:
    """Makes workers, which are closed after the test."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Worker())


@pytest.fixture
def two(make: Callable[[], Worker], mechanism: str) -> Two:
    """Two workers, and the number that the endpoint between them has in each."""
    one, other = make(), make()
    number, theirs = connect(one, other, mechanism)
    return one, number, other, theirs


@pytest.fixture
def far(make: Callable[[], Worker], peer: Peer, mechanism: str, tmp_path: Path) -> Far:
    """A worker whose endpoint leads to a worker in another process."""
    worker = make()
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        joining = peer.begin(calls.join, path, mechanism)
        sock, _ = server.accept()
        with sock:
            number = worker.connect(sock, HANG, mechanism)
    joining.result()
    return worker, number, peer


def check(buffer: bytearray | mmap.mmap, nbytes: int, seed: int) -> None:
    wrong = difference(memoryview(buffer)[:nbytes], pattern(nbytes, seed))
    assert not wrong, f"message {seed} of {nbytes} bytes: {wrong}"


def moved(device: Helper, before: dict[str, int]) -> tuple[int, int]:
    """How many requests were posted to the kernel since then, and how many bytes it copied."""
    found = counted(before, device.counters())
    return found["posts"], found["bytes_dma"] + found["bytes_cpu"]


def finish(workers: list[Worker], requests: list[TagRequest]) -> None:
    """Make progress until these are complete. Progress threads do their part of it."""
    end = time.monotonic() + HANG
    while not all(request.done for request in requests):
        assert time.monotonic() < end, "they are not complete"
        for worker in workers:
            worker.progress()


def until_matched(workers: list[Worker], request: TagRequest) -> None:
    end = time.monotonic() + HANG
    while request.operation.req.state not in (MATCHED, DONE):
        assert time.monotonic() < end, "it is not matched"
        for worker in workers:
            worker.progress()


def both_post(workers: list[Worker], requests: list[TagRequest]) -> None:
    """Both endpoints have posted to the kernel, which waits for memory."""
    for request in requests:
        until_matched(workers, request)
    for _ in range(10):
        for worker in workers:
            worker.progress()
    assert not any(request.done for request in requests)


def protect(area: mmap.mmap, protection: int) -> None:
    address = ctypes.addressof(ctypes.c_char.from_buffer(area))
    libc = ctypes.CDLL(None)
    assert not libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(len(area)), protection)


# Messages


@pytest.mark.parametrize("first", ["send", "receive"])
def test_messages_of_all_sizes(two: Two, first: str) -> None:
    receiver, source, sender, number = two
    with Helper() as device:
        for seed, nbytes in enumerate(SIZES):
            before = device.counters()
            buffer, data = bytearray(nbytes + 1), pattern(nbytes, seed)
            if first == "send":
                send = sender.send(number, seed, data)
                settle([sender, receiver], [send])
                assert not send.done
                receive = receiver.receive(source, seed, buffer)
            else:
                receive = receiver.receive(source, seed, buffer)
                send = sender.send(number, seed, data)
            finish([sender, receiver], [send, receive])
            assert (send.result(), receive.result(), receive.tag) == (nbytes, nbytes, seed)
            check(buffer, nbytes, seed)
            # User space matches a message of no bytes, and has nothing to copy.
            assert moved(device, before) == (2 if nbytes else 0, nbytes)


def test_more_than_one_chunk(two: Two) -> None:
    """Each chunk is posted when the one before it is copied."""
    receiver, source, sender, number = two
    nbytes = CHUNK + 5
    with Helper() as device:
        before = device.counters()
        buffer = bytearray(nbytes)
        receive = receiver.receive(source, 1, buffer)
        send = sender.send(number, 1, pattern(nbytes, 1))
        finish([sender, receiver], [send, receive])
        assert (send.result(), receive.result()) == (nbytes, nbytes)
        check(buffer, nbytes, 1)
        assert moved(device, before) == (4, nbytes)


def test_a_window_in_both_directions(two: Two) -> None:
    """Receives are posted in another order than sends."""
    one, number, other, theirs = two
    sizes = [SIZES[tag % 5] + tag for tag in range(64)]
    requests, buffers = [], []
    for worker, to, peer, source in ((one, number, other, theirs), (other, theirs, one, number)):
        requests += [worker.send(to, tag, pattern(n, tag)) for tag, n in enumerate(sizes)]
        for tag, nbytes in reversed(list(enumerate(sizes))):
            buffers.append((tag, nbytes, bytearray(nbytes)))
            requests.append(peer.receive(source, tag, buffers[-1][2]))
    finish([one, other], requests)
    for request in requests:
        assert request.result() == sizes[request.tag]
    for tag, nbytes, buffer in buffers:
        check(buffer, nbytes, tag)


def test_any_source_by_the_helper_and_by_another_mechanism(
    two: Two, make: Callable[[], Worker]
) -> None:
    receiver, source, sender, number = two
    local = make()
    by_cma, theirs = connect(receiver, local, "mapped:cma")
    expected = []
    for tag in range(8):
        for worker, to, came_from in ((sender, number, source), (local, theirs, by_cma)):
            worker.send(to, tag, pattern(LARGE + came_from, tag))
            expected.append((came_from, tag))
            settle([receiver, worker])
    for came_from, tag in expected:
        buffer = bytearray(2 * LARGE)
        request = receiver.receive(ANY_SOURCE, 0, buffer, mask=0)
        finish([receiver, sender, local], [request])
        assert (request.source, request.tag) == (came_from, tag)
        assert request.result() == LARGE + came_from
        check(buffer, LARGE + came_from, tag)


def test_a_receive_that_is_too_short(two: Two) -> None:
    """The message stays for the next one."""
    receiver, source, sender, number = two
    send = sender.send(number, 1, pattern(MIB, 1))
    short = receiver.receive(source, 1, bytearray(MIB - 1))
    finish([receiver, sender], [short])
    with pytest.raises(adma.MessageTooLong) as caught:
        short.result()
    assert (caught.value.needed, send.done) == (MIB, False)
    buffer = bytearray(MIB)
    receive = receiver.receive(source, 1, buffer)
    finish([receiver, sender], [send, receive])
    assert (send.result(), receive.result()) == (MIB, MIB)
    check(buffer, MIB, 1)


# Cancel


def test_a_cancel_before_the_match(two: Two) -> None:
    receiver, source, sender, number = two
    with Helper() as device:
        before = device.counters()
        withdrawn = [sender.send(number, 1, pattern(MIB, seed)) for seed in range(2)]
        kept = sender.send(number, 1, pattern(MIB, 2))
        settle([sender, receiver], withdrawn)
        assert all(send.cancel() for send in withdrawn)
        unwanted = receiver.receive(source, 2, bytearray(1))
        assert unwanted.cancel()
        assert moved(device, before) == (0, 0)
    buffer = bytearray(MIB)
    receive = receiver.receive(source, 1, buffer)
    finish([sender, receiver], [kept, receive])
    assert (kept.result(), receive.result()) == (MIB, MIB)
    check(buffer, MIB, 2)
    for request in [*withdrawn, unwanted]:
        with pytest.raises(adma.Cancelled):
            request.result()


def test_a_cancel_after_the_match_is_too_late(two: Two) -> None:
    receiver, source, sender, number = two
    buffer = bytearray(16 * MIB)
    receive = receiver.receive(source, 1, buffer)
    send = sender.send(number, 1, pattern(16 * MIB, 1))
    until_matched([receiver], receive)
    assert not receive.cancel()
    until_matched([sender], send)
    assert not send.cancel()
    finish([sender, receiver], [send, receive])
    assert (send.result(), receive.result()) == (16 * MIB, 16 * MIB)
    check(buffer, 16 * MIB, 1)


def test_a_matched_probe(two: Two) -> None:
    receiver, source, sender, number = two
    sends = [sender.send(number, 1, pattern(MIB, seed)) for seed in range(2)]
    settle([sender, receiver], sends)
    message = receiver.take(source, 1)
    assert message is not None
    assert not sends[0].cancel()
    buffers = [bytearray(MIB), bytearray(MIB)]
    second = receiver.receive(source, 1, buffers[1])
    finish([sender, receiver], [sends[1], second])
    assert (second.result(), sends[0].done) == (MIB, False)
    first = receiver.receive_taken(message, buffers[0])
    finish([sender, receiver], [sends[0], first])
    assert (first.result(), sends[0].result(), sends[1].result()) == (MIB, MIB, MIB)
    for seed, buffer in enumerate(buffers):
        check(buffer, MIB, seed)


def test_a_message_that_is_taken_whole(two: Two) -> None:
    """It waits for its buffer, and a later one overtakes it."""
    receiver, source, sender, number = two
    whole = receiver.receive_whole(source, 1)
    buffers = [bytearray(MIB), bytearray(MIB)]
    second = receiver.receive(source, 1, buffers[1])
    sends = [sender.send(number, 1, pattern(MIB, seed)) for seed in range(2)]
    finish([sender, receiver], [sends[1], second, whole])
    assert (second.result(), whole.result(), sends[0].done) == (MIB, MIB, False)
    first = receiver.receive_taken(whole.message(), buffers[0])
    finish([sender, receiver], [sends[0], first])
    assert (first.result(), sends[0].result(), sends[1].result()) == (MIB, MIB, MIB)
    for seed, buffer in enumerate(buffers):
        check(buffer, MIB, seed)


# What goes wrong


@pytest.mark.parametrize("side", ["send", "receive"])
def test_memory_that_the_kernel_refuses(two: Two, side: str) -> None:
    """The transfer fails at both endpoints, and the next one goes through."""
    receiver, source, sender, number = two
    area = mmap.mmap(-1, MIB)
    buffer = bytearray(MIB)
    protect(area, 0)
    receive = receiver.receive(source, 1, area if side == "receive" else buffer)
    send = sender.send(number, 1, area if side == "send" else pattern(MIB, 1))
    finish([sender, receiver], [send, receive])
    for request in (send, receive):
        with pytest.raises(OSError, match="a page of"):
            request.result()
    protect(area, mmap.PROT_READ | mmap.PROT_WRITE)
    del area
    receive = receiver.receive(source, 2, buffer)
    send = sender.send(number, 2, pattern(MIB, 2))
    finish([sender, receiver], [send, receive])
    assert (send.result(), receive.result()) == (MIB, MIB)
    check(buffer, MIB, 2)


def test_close_with_what_is_not_matched(two: Two) -> None:
    one, number, other, theirs = two
    send = one.send(number, 1, pattern(MIB, 1))
    receive = one.receive(number, 1, bytearray(MIB))
    theirs_too = [other.send(theirs, 2, pattern(MIB, 1)), other.receive(theirs, 2, bytearray(MIB))]
    settle([one, other])
    one.drop(number, 0)  # nobody receives what it has sent
    finish([one, other], theirs_too)
    for request in (send, receive, *theirs_too):
        assert request.done
        with pytest.raises(adma.ChannelEnded):
            request.result()
    with pytest.raises(adma.ChannelClosed):
        other.health(theirs)
    other.drop(theirs, HANG)


def test_a_drop_waits_for_the_kernel(two: Two) -> None:
    """The buffer is not let go while the kernel may write it."""
    receiver, source, sender, number = two
    with Unserved(MIB) as memory:
        receive = receiver.receive(source, 1, memory.area)
        send = sender.send(number, 1, pattern(MIB, 1))
        both_post([receiver, sender], [receive, send])
        assert not receive.cancel()
        assert not send.cancel()
        dropping = InThread(lambda: receiver.drop(source, HANG))
        time.sleep(SHORT)
        assert not receive.done
        memory.serve()
        dropping.result()
        assert receive.result() == MIB
        finish([sender], [send])
        assert send.result() == MIB
        check(memory.area, MIB, 1)
    sender.drop(number, HANG)


def test_a_transfer_fails_while_the_kernel_copies(two: Two) -> None:
    """The other endpoint drops it. What comes after it, by another endpoint, is not held up."""
    receiver, source, sender, number = two
    second, theirs = connect(receiver, sender, "mapped:cma")
    with Unserved(MIB) as memory:
        receive = receiver.receive(source, 1, memory.area)
        send = sender.send(number, 1, pattern(MIB, 1))
        both_post([receiver, sender], [receive, send])
        dropping = InThread(lambda: sender.drop(number, HANG))
        buffer = bytearray(LARGE)
        receiver_too = receiver.receive(second, 2, buffer)
        sent = sender.send(theirs, 2, pattern(LARGE, 2))
        finish([receiver, sender], [receiver_too, sent])
        check(buffer, LARGE, 2)
        memory.serve()
        dropping.result()
        finish([receiver], [receive])
        with contextlib.suppress(adma.ChannelClosed):
            assert receive.result() == MIB
        assert send.done
        check(memory.area, MIB, 1)
    receiver.drop(source, HANG)


def test_a_peer_keeps_the_socket_and_closes_its_descriptor(two: Two, mechanism: str) -> None:
    """Nothing can be copied any more, and who waits is told."""
    one, number, other, theirs = two
    link = other.links[theirs]
    assert link is not None
    receive = one.receive(number, 1, bytearray(MIB))
    waiting = InThread(lambda: receive.wait(HANG))
    time.sleep(SHORT)
    with open(os.devnull) as null:
        os.dup2(null.fileno(), link.fds[IDS[mechanism]], inheritable=False)
    with pytest.raises(adma.PeerDied):
        waiting.result()
    one.drop(number, HANG)
    other.drop(theirs, HANG)
    os.close(link.fds[IDS[mechanism]])  # it was not the library's any more


# Two processes


def test_two_processes_sleep_until_the_kernel_is_done(far: Far, peer: Peer) -> None:
    worker, number, _ = far
    for nbytes, count in ((8, 10), (MIB, 10), (CHUNK + 5, 2)):
        echoing = peer.begin(calls.echo, count, nbytes)
        for tag in range(count):
            buffer = bytearray(nbytes)
            send = worker.send(number, tag, pattern(nbytes, tag))
            receive = worker.receive(number, tag, buffer)
            assert receive.wait(HANG) == nbytes
            assert send.wait(HANG) == nbytes
            check(buffer, nbytes, tag)
        echoing.result()
    peer.call(calls.close)


def test_who_computes_is_not_waited_for(far: Far, peer: Peer) -> None:
    """The progress threads of both processes post to the kernel, and see what is done."""
    worker, number, _ = far
    peer.call(calls.send, 1, LARGE)
    buffer = bytearray(LARGE)
    receive = worker.receive(number, 1, buffer)
    end = time.monotonic() + HANG
    while not receive.done:
        assert time.monotonic() < end, "nobody made progress"
        time.sleep(0.01)
    assert receive.result() == LARGE
    check(buffer, LARGE, 1)
    peer.call(calls.close)


def test_a_peer_is_killed_before_the_match(far: Far, peer: Peer) -> None:
    worker, number, _ = far
    peer.call(calls.send, 1, MIB)
    receive = worker.receive(number, 2, bytearray(MIB))
    peer.kill()
    with pytest.raises(adma.PeerDied):
        receive.wait(HANG)
    with pytest.raises(adma.PeerDied):
        worker.health(number)
    assert worker.probe(ANY_SOURCE, 0, 0) is None
    before = time.process_time()
    assert not worker.wait_message(10 * SHORT)
    spent = time.process_time() - before
    assert spent < 5 * SHORT, "a descriptor that hung up wakes it again and again"
    worker.drop(number, HANG)


def test_a_peer_is_killed_while_the_kernel_copies(far: Far, peer: Peer) -> None:
    """Then the buffer is not written any more, and not quarantined."""
    worker, number, _ = far
    peer.call(calls.send, 1, MIB)
    with Unserved(MIB) as memory:
        receive = worker.receive(number, 1, memory.area)
        until_matched([worker], receive)
        time.sleep(SHORT)  # until the peer has posted, too
        waiting = InThread(lambda: receive.wait(HANG))
        peer.kill()
        with pytest.raises(adma.PeerDied):
            waiting.result()
        assert not receive.operation.req.held
        memory.serve()
        time.sleep(SHORT)
        assert memory.area[:] == bytes(MIB)
    worker.drop(number, HANG)
