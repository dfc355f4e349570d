# SPDX-License-Identifier: BSD-3-Clause
"""A request that is done holds nothing: not its buffer, whoever looks at it, or nobody."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

import adma
from adma._core import holds
from adma.messages.worker import Worker
from adma.testing import Peer, observe
from adma.testing.calls import messages
from adma.testing.limits import EAGER, HANG, INLINE, LARGE, MIB
from adma.testing.payload import Repeated, pattern
from adma.testing.peer import search_path
from support import engine, mechanisms
from support.calls import holds as calls
from support.calls.holds import is_free
from support.endpoints import InChild, InThread
from support.workers import connect, settle

SIZES = [0, INLINE, EAGER, LARGE]
COPY = MIB  # bytes of a copy that is handed over


def until_free(*buffers: bytearray) -> None:
    """Without any call of adma."""
    observe.until("the buffers are free", lambda: all(map(is_free, buffers)))


def exchange(peer: Peer, channel: adma.Channel, source: bytearray, target: bytearray) -> None:
    """Post both and drop the requests; return when the peer has done its part, and we nothing."""
    channel.iread(target)
    channel.iwrite(source)
    gc.collect()
    peer.call(messages.iwrite, "out", len(target))
    peer.call(messages.iread, "in", len(source))
    peer.call(messages.wait_named, ["out", "in"])


@contextmanager
def main_thread_waits(work: Callable[[], object]) -> Iterator[None]:
    """Run `work` in a thread, while this one, the main thread, is in a call that does not end."""
    release = threading.Lock()
    release.acquire()

    def run() -> None:
        try:
            work()
        finally:
            release.release()

    task = InThread(run)
    release.acquire()  # no pending call is made meanwhile: no instruction of Python's ends here
    yield
    task.result()


# Messages


@pytest.mark.parametrize("name", mechanisms.NAMES)
@pytest.mark.parametrize("nbytes", SIZES)
def test_dropped_requests(peer: Peer, name: str, nbytes: int) -> None:
    channel = peer.connect(name)
    source, target = bytearray(pattern(nbytes, 1)), bytearray(nbytes)
    exchange(peer, channel, source, target)
    if nbytes < LARGE:
        channel.iprobe()  # a small message lies in the ring until somebody looks
    until_free(source, target)
    assert target == pattern(nbytes)


@pytest.mark.parametrize("name", mechanisms.NAMES)
def test_requests_that_are_kept_and_not_looked_at(peer: Peer, name: str) -> None:
    channel = peer.connect(name)
    source, target = bytearray(pattern(LARGE, 1)), bytearray(LARGE)
    kept = [channel.iread(target), channel.iwrite(source)]
    peer.call(messages.iwrite, "out", LARGE)
    peer.call(messages.iread, "in", LARGE)
    peer.call(messages.wait_named, ["out", "in"])
    until_free(source, target)
    assert [request.wait(timeout=HANG) for request in kept] == [LARGE, LARGE]


@pytest.mark.parametrize("nbytes", [0, INLINE, EAGER])
def test_what_is_done_in_its_post(peer: Peer, nbytes: int) -> None:
    channel = peer.connect()
    source = bytearray(nbytes)
    request = channel.iwrite(source)
    assert is_free(source)
    peer.call(messages.iwrite, "out", nbytes, 1)
    channel.probe(timeout=HANG)
    target = bytearray(nbytes)
    assert channel.iread(target).wait(timeout=HANG) == nbytes
    assert is_free(target)
    assert request.wait() == nbytes
    assert peer.call(messages.read, nbytes) == source


@pytest.mark.parametrize("nbytes", [EAGER, LARGE])
@pytest.mark.parametrize(
    "report",
    [
        lambda requests: adma.wait_any(requests, timeout=HANG),
        lambda requests: adma.wait_some(requests, timeout=HANG),
        lambda requests: adma.wait(requests, timeout=HANG),
        lambda requests: observe.until("it is done", requests[0].check),
    ],
)
def test_a_request_that_was_reported(
    peer: Peer, nbytes: int, report: Callable[[Sequence[adma.Request]], object]
) -> None:
    channel = peer.connect()
    target, later = bytearray(nbytes), bytearray(nbytes)
    requests = [channel.iread(target), channel.iread(later)]
    peer.call(messages.iwrite, "out", nbytes)
    waiting = peer.begin(messages.wait, "out")
    report(requests)
    assert is_free(target)
    assert not is_free(later)
    waiting.result()
    assert requests[0].wait() == nbytes
    assert requests[1].cancel()
    assert is_free(later)


def test_one_that_is_done_beside_the_one_that_is_waited_for(peer: Peer) -> None:
    """The call that waits lets go of both, before the main thread comes to its next instruction."""
    channel = peer.connect()
    first, second = bytearray(LARGE), bytearray(LARGE)
    channel.iread(first)
    request = channel.iread(second)
    peer.call(messages.iwrite, "first", LARGE, 1)
    peer.call(messages.iwrite, "second", LARGE, 2)
    waiting = peer.begin(messages.wait_named, ["first", "second"])
    request.wait(timeout=HANG)
    waiting.result()
    until_free(first, second)
    assert (first, second) == (pattern(LARGE, 1), pattern(LARGE, 2))


def test_those_behind_one_that_failed(peer: Peer) -> None:
    channel = peer.connect()
    short, target = bytearray(1), bytearray(LARGE)
    requests = [channel.iread(short), channel.iread(target)]
    peer.call(messages.iwrite, "out", LARGE)
    waiting = peer.begin(messages.wait, "out")
    with pytest.raises(adma.MessageTooLong):
        adma.wait_all(requests, timeout=HANG)
    assert is_free(short)
    assert is_free(target)
    waiting.result()


@pytest.mark.parametrize("role", ["writer", "reader"])
def test_one_that_an_interrupted_call_left(peer: Peer, role: str) -> None:
    """The exception has it. Whoever drops that gets the buffer back once it is done."""
    channel = peer.connect()
    nbytes = 256 * MIB
    with Repeated(nbytes, window=MIB) as buffer:
        task = peer.begin(calls.drop_interrupted, role, nbytes)
        assert peer.heard() == "blocking"
        request = (channel.iread if role == "writer" else channel.iwrite)(buffer.view)
        while "%" not in repr(request) or " 0 %" in repr(request):
            assert not request.check()
        peer.signal(signal.SIGINT)
        assert peer.heard() == "dropped"
        assert request.wait(timeout=HANG) == nbytes
        del request
    assert task.result() == "request: True, held by it: True"


@pytest.mark.parametrize(
    "call",
    [
        lambda peer, channel: channel.iprobe(),
        lambda peer, channel: channel.iread(bytearray(1)).cancel(),
        lambda peer, channel: channel.write(b"x", timeout=HANG),
        lambda peer, channel: channel.send("x", timeout=HANG),
        lambda peer, channel: adma.copy(bytearray(COPY), bytes(COPY)),
        lambda peer, channel: adma.icopy(bytearray(COPY), bytes(COPY)).wait(),
        lambda peer, channel: adma.wait([channel], timeout=0),
    ],
)
def test_the_next_call_while_the_main_thread_is_busy(
    peer: Peer, call: Callable[[Peer, adma.Channel], object]
) -> None:
    """The main thread makes no pending call: a call of another thread empties the list, too."""
    channel = peer.connect()
    source, target = bytearray(LARGE), bytearray(LARGE)
    seen = []

    def work() -> None:
        exchange(peer, channel, source, target)
        observe.until("both are done", lambda: finished() == 2)
        seen.append(is_free(source) or is_free(target))
        call(peer, channel)
        call(peer, channel)
        seen.append(is_free(source) and is_free(target))

    with main_thread_waits(work):
        pass
    assert seen == [False, True]


def finished() -> int:
    """How many requests of ours are done and still hold a buffer."""
    return holds.count_finished()


def test_a_full_queue_of_pending_calls(peer: Peer) -> None:
    """The interpreter takes so many pending calls and no more: adma asks again later."""
    channel = peer.connect()
    source, target = bytearray(LARGE), bytearray(LARGE)
    done = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(lambda nothing: 0)
    add = ctypes.pythonapi.Py_AddPendingCall
    filled = []

    def work() -> None:
        while not add(done, None):
            filled.append(1)
        exchange(peer, channel, source, target)
        observe.until("both are done", lambda: finished() == 2)

    with main_thread_waits(work):
        pass
    assert filled
    until_free(source, target)


def test_no_exception_of_a_signal_handler_is_lost(peer: Peer) -> None:
    """Handlers may run while buffers are let go. What they raise gets to the main thread."""
    peer.connect()
    raised, caught = peer.call(calls.ticks, 1.0)
    assert raised == caught > 0


def test_close_lets_go_at_once(peer: Peer) -> None:
    channel = peer.connect()
    source, target = bytearray(LARGE), bytearray(LARGE)
    requests = [channel.iread(target), channel.iwrite(source)]
    channel.close(timeout=0)
    assert is_free(source)
    assert is_free(target)
    del requests
    peer.call(messages.nothing)


def test_a_channel_that_is_dropped_lets_go(peer: Peer) -> None:
    channel = peer.connect()
    peer._channels.clear()
    target = bytearray(LARGE)
    channel.iread(target)
    with pytest.warns(ResourceWarning):
        del channel
    until_free(target)
    peer.call(messages.nothing)


# Fork and exit


def test_a_forked_child_holds_nothing(peer: Peer) -> None:
    """Not even what is pending: in the child nobody will touch it."""
    channel = peer.connect()
    target, copied = bytearray(LARGE), bytearray(LARGE)
    request = channel.iread(target)
    child = InChild(lambda: (is_free(target), is_free(copied)))
    assert child.result() == (True, True)
    assert not is_free(target)
    peer.call(messages.iwrite, "out", LARGE)
    waiting = peer.begin(messages.wait, "out")
    assert request.wait(timeout=HANG) == LARGE
    waiting.result()


def test_a_child_that_is_forked_while_threads_finish_requests(peer: Peer) -> None:
    """Whatever a thread of the library is doing: parent and child go on, and both let go."""
    channel = peer.connect()
    for seed in range(20):
        source, target = bytearray(pattern(MIB, seed)), bytearray(MIB)
        peer.call(messages.iwrite, "out", MIB, seed)
        peer.call(messages.iread, "in", MIB)
        channel.iread(target)
        channel.iwrite(source)
        copied = bytearray(COPY)
        adma.icopy(copied, bytes(COPY))
        waiting = peer.begin(messages.wait_named, ["out", "in"])

        def child(source: bytearray = source, target: bytearray = target) -> bool:
            own = bytearray(COPY)
            adma.icopy(own, bytes(COPY))
            until_free(own)
            return is_free(source) and is_free(target)

        assert InChild(child).result()
        waiting.result()
        until_free(source, target, copied)
        assert target == pattern(MIB, seed)


EXIT = """
import adma, socket, sys, threading
a, b = socket.socketpair()
ends = [None, None]
def join(index, sock): ends[index] = adma.from_socket(sock)
threads = [threading.Thread(target=join, args=pair) for pair in enumerate((a, b))]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
one, other = ends
buffers = [bytearray(4 << 20) for _ in range(16)]
for place in range(0, 8, 2):
    one.iwrite(buffers[place]); other.iread(buffers[place + 1])
for place in range(8, 16, 2):
    adma.icopy(buffers[place], buffers[place + 1])
def work():
    while True:
        adma.icopy(bytearray(1 << 20), bytes(1 << 20))
if "daemon" in sys.argv: threading.Thread(target=work, daemon=True).start()
"""


@pytest.mark.parametrize("arguments", [[], ["daemon"]])
def test_the_end_of_the_interpreter(arguments: list[str]) -> None:
    for _ in range(5):
        found = subprocess.run(
            [sys.executable, "-X", "dev", "-c", EXIT, *arguments],
            capture_output=True,
            text=True,
            timeout=HANG,
            env={**os.environ, "PYTHONPATH": search_path()},
            check=False,
        )
        assert found.returncode == 0, found.stderr


# Copies


@pytest.mark.parametrize("kind", ["thread", "caller"])
def test_dropped_copies(kind: str) -> None:
    engine.configure(engine=kind, queues=1)
    dst, src = bytearray(COPY), bytearray(pattern(COPY, 1))
    strided = bytearray(COPY)
    adma.icopy(dst, src)
    adma.icopy(memoryview(strided)[::2], memoryview(src)[::2])
    until_free(dst, src, strided)
    assert dst == src


@pytest.mark.parametrize("nbytes", [100, COPY])
def test_a_copy_that_is_reported(nbytes: int) -> None:
    dst, src = bytearray(nbytes), bytearray(nbytes)
    request = adma.icopy(dst, src)
    assert adma.wait_any([request], timeout=HANG) == 0
    assert is_free(dst)
    assert is_free(src)
    assert request.wait() == nbytes


# Workers


@pytest.mark.parametrize("nbytes", [INLINE, EAGER, LARGE])
@pytest.mark.parametrize("order", ["send first", "receive first"])
def test_dropped_requests_with_tags(nbytes: int, order: str) -> None:
    with Worker() as one, Worker() as other:
        number, theirs = connect(one, other)
        source, target = bytearray(pattern(nbytes, 1)), bytearray(nbytes)
        posts = [
            lambda: one.send(number, 1, source),
            lambda: other.receive(theirs, 1, target),
        ]
        for post in posts if order == "send first" else posts[::-1]:
            post()
        settle([one, other])
        until_free(source, target)
        assert target == pattern(nbytes, 1)
        waited = bytearray(nbytes)
        request = other.receive(theirs, 2, waited)
        one.send(number, 2, source)
        assert other.wait([request], timeout=HANG)
        assert is_free(waited)
        assert request.result() == nbytes
