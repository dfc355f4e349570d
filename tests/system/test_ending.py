# SPDX-License-Identifier: BSD-3-Clause
"""What was posted is delivered, or the reader is told: at a close, and at the end of a program.

The writers here are programs of their own, which end in the ways in which programs do.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import adma
from adma._core.waiting import drain
from adma.messages import exit as at_exit
from adma.messages.endpoint import free_drained
from adma.messages.worker import Worker
from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import HANG, LARGE, SHORT
from adma.testing.observe import until, until_asleep, until_stopped
from adma.testing.payload import pattern
from adma.testing.peer import search_path
from support.endpoints import InThread
from support.orphans import buried
from support.workers import connect

WAYS = ("auto", "shared", "mapped:cma", "loopback:tcp")

# Two headers and payloads, and then the end that a test chooses. The payloads are matched late.
PRELUDE = """
import os, signal, sys, threading, adma
kept = []
def post(path, mechanism):
    channel = adma.connect(path, mechanism=mechanism)
    kept.append(channel)
    for number in (1, 2):
        payload = bytes([number]) * (4 << 20)
        channel.iwrite(len(payload).to_bytes(8, "little"))
        channel.iwrite(payload)
    return channel
"""

ENDS = {
    "falls off the end": "post(*sys.argv[1:])",
    "sys.exit": "post(*sys.argv[1:]); sys.exit(0)",
    "an exception": "post(*sys.argv[1:]); sys.excepthook = lambda *_: None; raise ValueError",
    "del": "post(*sys.argv[1:]); kept.clear()",
    "with": "with post(*sys.argv[1:]): pass",
    "fork, sys.exit": """
if os.fork() == 0:
    post(*sys.argv[1:])
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0""",
}

MULTIPROCESSING = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

def run_process(context, arguments):
    child = context.Process(target=post_only, args=arguments)
    child.start()
    child.join()
    assert child.exitcode == 0

def run_pool(context, arguments):
    pool = context.Pool(1)
    pool.apply(post_only, arguments)
    pool.close()
    pool.join()

def run_executor(context, arguments):
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        executor.submit(post_only, *arguments).result()

def post_only(*arguments):
    post(*arguments)

if __name__ == "__main__":
    kind, method, *arguments = sys.argv[1:]
    globals()["run_" + kind](multiprocessing.get_context(method), arguments)
"""


@contextmanager
def writing(
    tmp_path: Path, text: str, *arguments: str, mechanism: str = "auto"
) -> Iterator[tuple[adma.Channel, subprocess.Popen[str]]]:
    """Our end of a channel to a program that writes and ends, and the program."""
    script = tmp_path / "writer.py"
    script.write_text(PRELUDE + text)
    path = str(tmp_path / "s")
    with adma.listen(path) as server, ExitStack() as stack:
        writer = stack.enter_context(
            subprocess.Popen(
                [sys.executable, str(script), *arguments, path, mechanism],
                env={**os.environ, "PYTHONPATH": search_path()},
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(writer.kill)
        yield stack.enter_context(server.accept(timeout=HANG)), writer


def read_pairs(channel: adma.Channel) -> list[bytes]:
    """Payloads, each announced by the header before it."""
    payloads = []
    header = bytearray(8)
    while True:
        try:
            assert channel.read(header, timeout=HANG) == 8
        except adma.ChannelClosed:
            return payloads
        payload = bytearray(int.from_bytes(header, "little"))
        assert channel.read(payload, timeout=HANG) == len(payload)
        payloads.append(bytes(payload))


WHOLE = [bytes([number]) * (4 << 20) for number in (1, 2)]


# The end of a program


@pytest.mark.parametrize("mechanism", WAYS)
@pytest.mark.parametrize("end", ENDS)
def test_a_program_that_ends_has_delivered(tmp_path: Path, end: str, mechanism: str) -> None:
    with writing(tmp_path, ENDS[end], mechanism=mechanism) as (channel, writer):
        assert read_pairs(channel) == WHOLE
        _, told = writer.communicate(timeout=HANG)
        assert writer.returncode == (1 if end == "an exception" else 0), told
        assert not told


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("kind", ["process", "pool", "executor"])
def test_a_child_of_multiprocessing_has_delivered(tmp_path: Path, kind: str, method: str) -> None:
    with buried(), writing(tmp_path, MULTIPROCESSING, kind, method) as (channel, writer):
        assert read_pairs(channel) == WHOLE
        _, told = writer.communicate(timeout=HANG)
        assert writer.returncode == 0, told


def test_a_signal_is_a_death(tmp_path: Path) -> None:
    text = "post(*sys.argv[1:]); kept[0].read(bytearray(1))"
    with writing(tmp_path, text) as (channel, writer):
        assert channel.read(bytearray(8), timeout=HANG) == 8
        writer.send_signal(signal.SIGTERM)
        assert writer.wait(HANG) == -signal.SIGTERM
        for _ in range(2):
            with pytest.raises(adma.PeerDied):
                channel.read(bytearray(len(WHOLE[0])), timeout=HANG)


def test_nothing_follows_what_died_with_its_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if it was matched before. The writer is stopped, and alone may copy."""
    monkeypatch.setenv("ADMA_COPIERS", "writer")
    text = "post(*sys.argv[1:]); kept[0].read(bytearray(1))"
    with writing(tmp_path, text) as (channel, writer):
        until_asleep(writer.pid)
        writer.send_signal(signal.SIGSTOP)
        until_stopped(writer.pid)
        assert channel.read(bytearray(8), timeout=HANG) == 8
        request = channel.iread(bytearray(len(WHOLE[0])))
        writer.kill()
        with pytest.raises(adma.PeerDied):
            request.wait(timeout=HANG)
        for _ in range(2):  # the second header was published before
            with pytest.raises(adma.PeerDied):
                channel.read(bytearray(8), timeout=HANG)


def test_a_reader_that_does_not_read_is_told(tmp_path: Path) -> None:
    """Three channels have one time together; then the program ends, and warns."""
    text = """
channels = [post(*sys.argv[1:]) for _ in range(3)]
"""
    script = tmp_path / "writer.py"
    script.write_text(PRELUDE + text)
    path = str(tmp_path / "s")
    begun = time.monotonic()
    with adma.listen(path) as server, ExitStack() as stack:
        writer = subprocess.Popen(
            [sys.executable, "-X", "dev", str(script), path, "auto"],
            env={**os.environ, "PYTHONPATH": search_path()},
            stderr=subprocess.PIPE,
            text=True,
        )
        channels = [stack.enter_context(server.accept(timeout=HANG)) for _ in range(3)]
        _, told = writer.communicate(timeout=HANG)
        assert time.monotonic() - begun < 2 * at_exit.TIMEOUT + SHORT
        assert "ResourceWarning" in told
        assert "3 messages (8 MiB)" in told
        for channel in channels:
            header = bytearray(8)
            assert channel.read(header, timeout=HANG) == 8
            for _ in range(2):
                with pytest.raises(adma.MessagesLost) as caught:
                    channel.read(bytearray(len(WHOLE[0])), timeout=HANG)
                assert (caught.value.posted, caught.value.withdrawn) == (4, 3)
                with pytest.raises(adma.MessagesLost):
                    channel.iprobe()


# A close


@pytest.mark.parametrize("mechanism", WAYS)
def test_a_close_that_waits_no_longer_says_so(peer: Peer, mechanism: str) -> None:
    channel = peer.connect(mechanism)
    requests = [channel.iwrite(pattern(LARGE, seed)) for seed in range(3)]
    with pytest.warns(ResourceWarning, match="3 messages"):
        channel.close(timeout=0.05)
    for request in requests:
        with pytest.raises(adma.ChannelClosed):
            request.wait(timeout=0)
    assert peer.call(messages.read_until_lost, LARGE) == ([], 3, 3)


@pytest.mark.parametrize("mechanism", WAYS)
def test_an_object_is_delivered_by_the_close(peer: Peer, mechanism: str) -> None:
    channel = peer.connect(mechanism)
    thing = [b"small", pattern(LARGE, 1), pattern(LARGE, 2)]
    sending = InThread(lambda: channel.send(thing, timeout=HANG))
    assert peer.call(messages.probe)[0] == "object"
    receiving = peer.begin(messages.recv)
    channel.close(timeout=HANG)
    sending.result()
    assert receiving.result() == thing
    with pytest.raises(adma.ChannelClosed):
        peer.call(messages.recv)


def test_the_other_threads_write_is_delivered(peer: Peer) -> None:
    channel = peer.connect()
    writing = InThread(lambda: channel.write(pattern(LARGE, 1), timeout=HANG))
    assert peer.call(messages.probe)[1] == LARGE
    reading = peer.begin(messages.read_until_closed, LARGE)
    channel.close(timeout=HANG)
    writing.result()
    assert reading.result() == [pattern(LARGE, 1)]


def test_a_close_is_over_when_the_peer_dies(peer: Peer) -> None:
    channel = peer.connect()
    request = channel.iwrite(bytes(LARGE))
    closing = InThread(lambda: channel.close(timeout=None))
    peer.kill()
    closing.result()
    with pytest.raises(adma.ChannelEnded):
        request.wait(timeout=0)


def test_ctrl_c_in_a_close_closes(peer: Peer) -> None:
    channel = peer.connect()
    request = channel.iwrite(bytes(LARGE))
    timer = signal.setitimer(signal.ITIMER_REAL, 0)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            channel.close(timeout=None)
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, before)
    assert channel.closed
    with pytest.raises(adma.ChannelClosed):
        request.wait(timeout=0)
    with pytest.raises(adma.MessagesLost):
        peer.call(messages.read, LARGE)


def test_a_dropped_channel_does_not_wait(peer: Peer) -> None:
    """The progress thread carries what was posted, and the peer is told of the end."""
    channel = peer.connect()
    channel.iwrite(pattern(LARGE, 1))
    peer.release(channel)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del channel
        gc.collect()
    assert peer.call(messages.read_until_closed, LARGE) == [pattern(LARGE, 1)]
    until("its descriptors are closed", free_drained)


def test_a_message_that_was_delivered_late_is_no_hole(peer: Peer) -> None:
    """A transfer is under way when the writer closes: it goes on to its end."""
    channel = peer.connect("mapped:cma")
    peer.call(messages.iread, "read", LARGE)
    channel.iwrite(pattern(LARGE, 1))
    channel.iwrite(b"last")
    reading = peer.begin(messages.read_until_closed, LARGE)
    channel.close(timeout=HANG)
    assert reading.result() == [b"last"]
    assert peer.call(messages.content, "read") == pattern(LARGE, 1)


# Workers


@pytest.fixture
def two() -> Iterator[tuple[Worker, int, Worker, int]]:
    with Worker() as one, Worker() as other:
        yield (one, *connect_both(one, other))


def connect_both(one: Worker, other: Worker) -> tuple[int, Worker, int]:
    number, theirs = connect(one, other)
    return number, other, theirs


def test_a_worker_delivers_before_it_closes(two: tuple[Worker, int, Worker, int]) -> None:
    one, number, other, theirs = two
    sends = [one.send(number, tag, pattern(LARGE, tag)) for tag in range(3)]
    buffers = [bytearray(LARGE) for _ in range(3)]

    def receive() -> None:
        receives = [other.receive(theirs, tag, buffers[tag]) for tag in (2, 0, 1)]
        assert other.wait(receives, HANG)
        assert [each.result() for each in receives] == [LARGE] * 3

    receiving = InThread(receive)
    one.drop(number, HANG)
    receiving.result()
    assert [each.result() for each in sends] == [LARGE] * 3
    assert buffers == [pattern(LARGE, tag) for tag in range(3)]


def test_a_worker_loses_all_that_follows(two: tuple[Worker, int, Worker, int]) -> None:
    """Small messages after a large one that is lost are lost with it, whatever their tags."""
    one, number, other, theirs = two
    for tag, nbytes in enumerate((5, LARGE, 6, LARGE, 7)):
        one.send(number, tag, pattern(nbytes, tag))
    other.progress()
    one.drop(number, 0)
    assert other.receive(theirs, 0, bytearray(5)).wait(HANG) == 5
    for tag in range(1, 5):
        with pytest.raises(adma.MessagesLost):
            other.receive(theirs, tag, bytearray(LARGE)).wait(HANG)


def test_workers_that_both_close(two: tuple[Worker, int, Worker, int]) -> None:
    one, number, other, theirs = two
    one.send(number, 0, bytes(LARGE))
    other.send(theirs, 0, bytes(LARGE))
    other.begin_drain()
    one.begin_drain()
    assert drain([], [one.handle, other.handle], time.monotonic() + HANG)


def test_draining_waits_for_nothing_else(two: tuple[Worker, int, Worker, int]) -> None:
    """A message that arrived, and that nobody receives, does not hold it up."""
    one, number, other, theirs = two
    other.send(theirs, 0, b"unread").wait(HANG)
    one.send(number, 0, b"small").wait(HANG)
    one.progress()
    one.drop(number, HANG)
    until("the other one is told", lambda: not _is_open(other, theirs))
    assert other.receive(theirs, 0, bytearray(5)).wait(HANG) == 5


def _is_open(worker: Worker, number: int) -> bool:
    worker.progress()
    try:
        worker.health(number)
    except adma.ChannelClosed:
        return False
    return True


# Small messages


@pytest.mark.parametrize("timeout", [HANG, 0])
def test_more_small_messages_than_the_ring_holds(peer: Peer, timeout: float) -> None:
    """Those that were never published count as lost, too."""
    channel = peer.connect()
    for number in range(500):
        channel.iwrite(pattern(4, number))
    reading = peer.begin(messages.read_until_ended, 4) if timeout else None
    channel.close(timeout=timeout)
    reading = reading or peer.begin(messages.read_until_ended, 4)
    read, how, withdrawn = reading.result()
    assert read == [pattern(4, number) for number in range(len(read))]
    assert how == ("MessagesLost" if withdrawn else "ChannelClosed")
    assert withdrawn == 500 - len(read)
    assert (withdrawn == 0) == (timeout > 0)


def test_a_write_after_the_peers_end_says_so(peer: Peer) -> None:
    channel = peer.connect()
    peer.call(messages.close_channel)
    with pytest.raises(adma.ChannelClosed, match="reads no more"):
        channel.write(b"x")
