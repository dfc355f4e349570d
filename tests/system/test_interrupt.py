# SPDX-License-Identifier: BSD-3-Clause
"""Ctrl-C: a real SIGINT from outside, at every stage of a blocking call.

The call answers with KeyboardInterrupt, what it posted is cancelled, and where the match
had won the exception carries the request. The channel works on.
"""

from __future__ import annotations

import signal

import pytest

from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import CELL, GIB, HANG, LARGE, MIB
from adma.testing.observe import until_asleep
from adma.testing.payload import Repeated, pattern
from support.calls import interrupts
from support.mechanisms import NAMES

CALLS = ["read", "write", "probe", "recv", "send", "wait", "wait_all"]


@pytest.mark.parametrize("threads", [0, 1])
@pytest.mark.parametrize("call", CALLS)
def test_asleep(peer: Peer, call: str, threads: int) -> None:
    """With another thread in the process too: the kernel may hand that one the signal."""
    channel = peer.connect()
    if threads:
        peer.call(interrupts.start_thread)
    try:
        task = peer.begin(interrupts.block, call, LARGE)
        assert peer.heard() == "blocking"
        until_asleep(peer.pid)
        peer.signal(signal.SIGINT)
        assert task.result() == "interrupted"
    finally:
        if threads:
            peer.call(interrupts.end_thread)
    reading = peer.begin(messages.read, 5)
    channel.write(b"after", timeout=HANG)
    assert reading.result() == b"after"


@pytest.mark.parametrize("call", ["read", "wait_all", "poll"])
def test_another_thread_takes_the_signal(peer: Peer, call: str) -> None:
    """That does not end the sleep of the main thread, which looks for it."""
    channel = peer.connect()
    assert peer.call(interrupts.block_with_another, call, LARGE) == "interrupted"
    reading = peer.begin(messages.read, 5)
    channel.write(b"after", timeout=HANG)
    assert reading.result() == b"after"


@pytest.mark.parametrize("call", ["read", "write", "probe", "recv", "send"])
def test_anywhere_on_the_way_to_sleep(peer: Peer, call: str) -> None:
    """The signal is sent at once: it comes before, during or after spinning, or in sleep."""
    channel = peer.connect()
    for _ in range(40):
        task = peer.begin(interrupts.block, call, LARGE)
        assert peer.heard() == "blocking"
        peer.signal(signal.SIGINT)
        assert task.result() == "interrupted"
    reading = peer.begin(messages.read, 5)
    channel.write(b"after", timeout=HANG)
    assert reading.result() == b"after"


@pytest.mark.parametrize("mechanism", NAMES)
@pytest.mark.parametrize("role", ["writer", "reader"])
def test_in_the_middle_of_a_large_copy(peer: Peer, mechanism: str, role: str) -> None:
    """The match has won: the exception carries the request, and waiting for it ends well."""
    channel = peer.connect(mechanism)
    content = pattern(MIB, 1) if role == "reader" else b""
    with Repeated(GIB, window=MIB, content=content) as buffer:
        task = peer.begin(interrupts.copy, role, GIB)
        assert peer.heard() == "blocking"
        request = (channel.iread if role == "writer" else channel.iwrite)(buffer.view)
        while "%" not in repr(request) or " 0 %" in repr(request):
            assert not request.check()
        peer.signal(signal.SIGINT)
        assert peer.heard() == "interrupted"
        assert request.wait(timeout=HANG) == GIB
        if role == "writer":
            assert buffer.content() == pattern(MIB, 1)
        del request
    assert task.result() == GIB
    echoing = peer.begin(messages.echo, CELL, 1)
    channel.write(b"after", timeout=HANG)
    after = bytearray(5)
    channel.read(after, timeout=HANG)
    echoing.result()


@pytest.mark.parametrize("mechanism", NAMES)
def test_after_its_time(peer: Peer, mechanism: str) -> None:
    """A read whose time was over when it was matched goes on, and answers a signal as before."""
    channel = peer.connect(mechanism)
    with Repeated(GIB, window=MIB, content=pattern(MIB, 1)) as buffer:
        request = channel.iwrite(buffer.view)
        task = peer.begin(interrupts.copy, "reader", GIB, 0)
        assert peer.heard() == "blocking"
        while "%" not in repr(request) or " 0 %" in repr(request):
            assert not request.check()
        peer.signal(signal.SIGINT)
        assert peer.heard() == "interrupted"
        assert request.wait(timeout=HANG) == GIB
        del request
    assert task.result() == GIB


def test_the_message_is_not_lost(peer: Peer) -> None:
    """A message that meets an interrupted read is in its request, or stays for the next read."""
    channel = peer.connect()
    task = peer.begin(interrupts.read_numbers, 60)
    for number in range(60):
        assert peer.heard() == "reading"
        if number % 2:
            channel.write(number.to_bytes(2, "little"), timeout=HANG)
            peer.signal(signal.SIGINT)
        else:
            peer.signal(signal.SIGINT)
            channel.write(number.to_bytes(2, "little"), timeout=HANG)
        assert peer.heard() == "interrupted"
    assert task.result() == list(range(60))


def test_a_handler_that_does_not_raise(peer: Peer) -> None:
    """The handler runs, and the call goes on until its message comes."""
    channel = peer.connect()
    task = peer.begin(interrupts.read_under_handler)
    assert peer.heard() == "blocking"
    for count in range(1, 4):
        until_asleep(peer.pid)
        peer.signal(signal.SIGUSR2)
        assert peer.heard() == count
    channel.write(b"x", timeout=HANG)
    assert task.result() == 1
