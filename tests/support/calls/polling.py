# SPDX-License-Identifier: BSD-3-Clause
"""A peer with many channels, and one that waits for several."""

from __future__ import annotations

import os
import signal
from typing import Any

import adma
from adma.testing import Endpoint
from adma.testing.limits import HANG
from adma.testing.payload import pattern
from support.calls import forks, many


def write_on(endpoint: Endpoint, places: list[int], nbytes: int) -> None:
    """One message on each of these channels."""
    for place in places:
        endpoint.channels[place].write(pattern(nbytes, place), timeout=HANG)


def write_in_turn(endpoint: Endpoint, places: list[int], count: int, nbytes: int) -> None:
    """`count` numbered messages, each on the next of these channels, in turn."""
    for number in range(count):
        channel = endpoint.channels[places[number % len(places)]]
        channel.write(many.numbered(number, nbytes), timeout=HANG)


def write_for(endpoint: Endpoint, readers: int, count: int, nbytes: int) -> None:
    """`count` numbered messages, and one empty one for each of the readers."""
    many.write_stream(endpoint, count, nbytes)
    for _ in range(readers):
        endpoint.channel.write(b"", timeout=HANG)


def serve(endpoint: Endpoint, count: int, room: int) -> int:
    """Answer each message on any of the channels, until all are closed; how many there were."""
    channels, served, buffer = endpoint.channels[-count:], 0, bytearray(room)
    while channels:
        for channel in adma.wait(channels, timeout=HANG):
            try:
                got = channel.read(buffer, timeout=HANG)
            except adma.ChannelClosed:
                channels.remove(channel)
                continue
            channel.write(memoryview(buffer)[:got], timeout=HANG)
            served += 1
    return served


def wait_under_handler(endpoint: Endpoint) -> tuple[int, list[list[int]]]:
    """Wait, with a handler that waits for the same channels: places that both found."""
    channels, inner = list(endpoint.channels), []

    def handle(number: int, frame: object) -> None:
        del number, frame
        inner.append([channels.index(one) for one in adma.wait(channels, timeout=0)])
        endpoint.say(len(inner))

    before = signal.signal(signal.SIGUSR2, handle)
    try:
        endpoint.say("blocking")
        return channels.index(adma.wait(channels, timeout=HANG)[0]), inner
    finally:
        signal.signal(signal.SIGUSR2, before)


def wait_in_child(endpoint: Endpoint) -> dict[str, Any]:
    """Wait here, in a forked child for the same channels and for new ones, and here again."""
    channels = list(endpoint.channels)
    here = len(adma.wait(channels, timeout=0))

    def run() -> dict[str, Any]:
        found: dict[str, Any] = {}
        try:
            found["inherited"] = adma.wait(channels, timeout=HANG)
        except adma.ChannelClosed as error:
            found["inherited"] = str(error)
        found["status"] = forks.talk_in_child(endpoint, 100)
        found["polled"] = [
            text for text in map(_link, os.listdir("/proc/self/fd")) if "event" in text
        ]
        return found

    found = forks._in_child(run)
    return {**found, "before": here, "after": len(adma.wait(channels, timeout=0))}


def _link(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except OSError:
        return ""
