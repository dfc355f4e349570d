# SPDX-License-Identifier: BSD-3-Clause
"""What the victim of a hostile peer does."""

from __future__ import annotations

import contextlib
import pickle
import resource
import time
from collections.abc import Callable
from typing import Final

import adma
from adma.testing import Endpoint
from adma.testing.calls import messages
from adma.testing.cut_off import cut_off
from adma.testing.limits import LARGE
from support.segment import SLOT, mapped


def write_until_error(endpoint: Endpoint, nbytes: int) -> None:
    """Small messages, more than the rings hold."""
    for _ in range(1000):
        endpoint.channel.write(bytes(nbytes), timeout=1.0)


def send(endpoint: Endpoint, nbytes: int, timeout: float) -> None:
    """An object with a buffer out of band."""
    endpoint.channel.send(pickle.PickleBuffer(bytearray(nbytes)), timeout=timeout)


def use_until_error(endpoint: Endpoint, seconds: float) -> str:
    """Read and write all sizes for a while; the name of the error that ends it."""
    endpoint.say("using")
    deadline = time.monotonic() + seconds
    name = "TimeoutError"
    while time.monotonic() < deadline:
        try:
            for nbytes in (1, 5000, LARGE):
                endpoint.channel.write(bytes(nbytes), timeout=0.01)
            endpoint.channel.read(bytearray(LARGE), timeout=0.01)
        except TimeoutError:
            continue
        except (adma.AdmaError, OSError) as error:
            name = type(error).__name__
            break
    return name if name in ("ProtocolError", "TimeoutError", "ChannelClosed") else "OSError"


def close_spoilt(endpoint: Endpoint) -> None:
    """Close the channel in whatever state it is; the close may tell that bytes are held."""
    endpoint.kept.clear()
    with contextlib.suppress(adma.AdmaError, OSError):
        cut_off(endpoint.channels.pop())


SECRET: Final = 0x5A  # what is in a buffer before anything is read into it


def iread_into_secrets(endpoint: Endpoint, name: str, room: int) -> None:
    """Post a read into a buffer that holds data of somebody else."""
    buffer = bytearray([SECRET]) * room
    endpoint.kept[name] = messages.Posted(endpoint.channel.iread(buffer), buffer)


def iwrite_own(endpoint: Endpoint, name: str, nbytes: int) -> None:
    """Post a write out of a buffer that nobody else has."""
    buffer = bytearray(nbytes)
    endpoint.kept[name] = messages.Posted(endpoint.channel.iwrite(buffer), buffer)


def is_kept(endpoint: Endpoint, name: str) -> bool:
    """Does the library keep the buffer of a request that is over?"""
    posted = endpoint.kept.pop(name)
    del posted.request
    try:
        posted.buffer.clear()
    except BufferError:
        return True
    return False


def close_and_look(endpoint: Endpoint, name: str) -> bool:
    """Close the channel, without waiting for its peer. Is the buffer kept?"""
    with contextlib.suppress(adma.AdmaError, OSError):
        cut_off(endpoint.channels.pop())
    return is_kept(endpoint, name)


def recv_and_measure(
    endpoint: Endpoint, max_bytes: int | None, timeout: float
) -> tuple[str, int, bytes]:
    """The name of the error, how far the peak of this process's memory rose, and the buffers."""
    found, error = b"", ""
    before = _peak()
    try:
        for part in endpoint.channel.recv(timeout=timeout, max_bytes=max_bytes)[1:]:
            found += bytes(part)
    except (adma.AdmaError, OSError) as caught:
        error = type(caught).__name__
    return error, _peak() - before, found


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def look_for(endpoint: Endpoint, what: str, seconds: float) -> int:
    """Look for a message again and again; how many were passed over in one look, at most."""
    channel, most = endpoint.channel, 0
    ring = next(each for each in mapped() if each.cells[1].seq and each.cells[1].carry == SLOT)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = ring.head
        if what == "iprobe":
            assert channel.iprobe() is None
        elif what == "skip":
            with contextlib.suppress(TimeoutError):
                channel.skip(timeout=0)
        else:
            assert channel.iread(bytearray(100)).cancel()
        most = max(most, ring.head - before)
    return most


def time_of(endpoint: Endpoint, what: str, timeout: float) -> float:
    """How many seconds a call takes that finds nothing before its time is over."""
    channel = endpoint.channel
    calls: dict[str, Callable[[], object]] = {
        "read": lambda: channel.read(bytearray(100_000), timeout=timeout),
        "recv": lambda: channel.recv(timeout=timeout),
        "probe": lambda: channel.probe(timeout=timeout),
        "skip": lambda: channel.skip(timeout=timeout),
        "wait": lambda: adma.wait([channel], timeout=timeout),
    }
    begun = time.monotonic()
    with contextlib.suppress(TimeoutError):
        assert calls[what]() == [], "there is no message"
    return time.monotonic() - begun


def close_with_a_read(endpoint: Endpoint, timeout: float) -> float:
    """Close a channel whose read the progress thread looks after; how long does that take?"""
    channel = endpoint.channels.pop()
    request = channel.iread(bytearray(LARGE))
    for _ in range(100):
        assert not request.check()
    begun = time.monotonic()
    channel.close(timeout=timeout)
    return time.monotonic() - begun
