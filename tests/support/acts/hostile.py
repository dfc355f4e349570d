# SPDX-License-Identifier: BSD-3-Clause
"""What the victim of a hostile peer does."""

from __future__ import annotations

import contextlib
import time

import adma
from support.limits import LARGE
from support.peer_main import End


def write_until_error(end: End, nbytes: int) -> None:
    """Small messages, more than the rings hold."""
    for _ in range(1000):
        end.channel.write(bytes(nbytes), timeout=1.0)


def use_until_error(end: End, seconds: float) -> str:
    """Read and write all sizes for a while; the name of the error that ends it."""
    end.say("using")
    deadline = time.monotonic() + seconds
    name = "TimeoutError"
    while time.monotonic() < deadline:
        try:
            for nbytes in (1, 5000, LARGE):
                end.channel.write(bytes(nbytes), timeout=0.01)
            end.channel.read(bytearray(LARGE), timeout=0.01)
        except TimeoutError:
            continue
        except (adma.AdmaError, OSError) as error:
            name = type(error).__name__
            break
    return name if name in ("ProtocolError", "TimeoutError", "ChannelClosed") else "OSError"


def close_spoilt(end: End) -> None:
    """Close the channel in whatever state it is; the close may tell that bytes are held."""
    end.kept.clear()
    with contextlib.suppress(adma.AdmaError, OSError):
        end.channels.pop().close(timeout=0.1)
