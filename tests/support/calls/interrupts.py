# SPDX-License-Identifier: BSD-3-Clause
"""Blocking calls that somebody interrupts."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import adma
from adma.testing import Endpoint
from adma.testing.limits import HANG, MIB
from adma.testing.observe import until_asleep
from adma.testing.payload import Repeated, difference, pattern


def block(endpoint: Endpoint, call: str, nbytes: int) -> str:
    """Block in a call that nothing ends but a signal."""
    channel = endpoint.channel
    buffer = bytearray(nbytes)
    calls: dict[str, Callable[[], object]] = {
        "read": lambda: channel.read(buffer),
        "write": lambda: channel.write(buffer),
        "probe": lambda: channel.probe(),
        "recv": lambda: channel.recv(),
        "send": lambda: channel.send(buffer),
        "wait": lambda: _wait(channel, buffer, lambda request: request.wait()),
        "wait_all": lambda: _wait(channel, buffer, lambda request: adma.wait_all([request])),
        "poll": lambda: adma.wait([channel]),
        "poll_mixed": lambda: adma.wait([channel, endpoint.kept["posted"].request]),
    }
    try:
        endpoint.say("blocking")
        calls[call]()
    except KeyboardInterrupt as interrupt:
        buffer.clear()  # BufferError were it still posted
        won = getattr(interrupt, "request", None)
        return "interrupted" if won is None else f"interrupted, but {won!r}"
    return "returned"


def block_with_another(endpoint: Endpoint, call: str, nbytes: int) -> str:
    """The same, where a thread that was started a moment ago takes the signal."""
    with contextlib.suppress(TimeoutError):  # until then there was no other thread
        endpoint.channel.read(bytearray(nbytes), timeout=0.01)

    def take() -> None:
        until_asleep(os.getpid())
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=take)
    thread.start()
    try:
        return block(endpoint, call, nbytes)
    finally:
        thread.join()


def _wait(channel: adma.Channel, buffer: bytearray, wait: Callable[[adma.Request], object]) -> None:
    """An interrupted wait leaves the request pending; take it back so that the next one starts."""
    request = channel.iread(buffer)
    try:
        wait(request)
    finally:
        assert not request.check()
        assert request.cancel()


def copy(endpoint: Endpoint, role: str, nbytes: int, timeout: float = HANG) -> int:
    """Block in a huge copy, be interrupted, and wait for the rest of it."""
    content = pattern(MIB, 1) if role == "writer" else b""
    with Repeated(nbytes, window=MIB, content=content) as buffer:
        call = endpoint.channel.write if role == "writer" else endpoint.channel.read
        request: Any = None
        try:
            endpoint.say("blocking")
            call(buffer.view, timeout=timeout)
        except KeyboardInterrupt as interrupt:
            request = getattr(interrupt, "request", None)
        endpoint.say("interrupted" if request is not None else "not interrupted")
        assert request is not None
        done = int(request.wait(timeout=HANG))
        del request
        if role == "reader":
            wrong = difference(buffer.content(), pattern(MIB, 1))
            assert not wrong, wrong
        return done


def until_interrupted() -> None:
    """Not signal.pause(): a signal just before it sleeps would be noted, and not end it."""
    while True:
        time.sleep(0.01)


def read_numbers(endpoint: Endpoint, count: int) -> list[int]:
    """`count` interrupted reads; the numbers in all messages, in the order they came.

    The signal may come when the read has returned and its result was not looked at yet:
    the message is in the buffer then.
    """
    nothing = b"\xff\xff"
    numbers: list[int] = []
    for _ in range(count):
        buffer = bytearray(nothing)
        try:
            endpoint.say("reading")
            endpoint.channel.read(buffer)
            until_interrupted()
        except KeyboardInterrupt as interrupt:
            request = getattr(interrupt, "request", None)
            if request is not None:
                request.wait(timeout=HANG)
        if buffer != nothing:
            numbers.append(int.from_bytes(buffer, "little"))
        endpoint.say("interrupted")
    while len(numbers) < count:
        buffer = bytearray(2)
        endpoint.channel.read(buffer, timeout=HANG)
        numbers.append(int.from_bytes(buffer, "little"))
    return numbers


def read_under_handler(endpoint: Endpoint) -> int:
    count = 0

    def handle(number: int, frame: object) -> None:
        nonlocal count
        del number, frame
        count += 1
        endpoint.say(count)

    before = signal.signal(signal.SIGUSR2, handle)
    try:
        endpoint.say("blocking")
        return endpoint.channel.read(bytearray(10))
    finally:
        signal.signal(signal.SIGUSR2, before)


def start_thread(endpoint: Endpoint) -> None:
    """A thread that does nothing but exist."""
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait)
    thread.start()
    endpoint.kept["thread"] = (gate, thread)


def end_thread(endpoint: Endpoint) -> None:
    gate, thread = endpoint.kept.pop("thread")
    gate.set()
    thread.join(HANG)
