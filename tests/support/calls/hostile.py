# SPDX-License-Identifier: BSD-3-Clause
"""What the victim of a hostile peer does."""

from __future__ import annotations

import contextlib
import pickle
import time

import adma
from adma.testing import Endpoint
from adma.testing.cut_off import cut_off
from adma.testing.limits import LARGE


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
