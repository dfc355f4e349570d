# SPDX-License-Identifier: BSD-3-Clause
"""Large blocking writes that nobody reads."""

from __future__ import annotations

import threading
import warnings
from typing import Any

from adma.testing import Endpoint
from adma.testing.limits import HANG
from adma.testing.payload import difference, pattern


def write_while_told(endpoint: Endpoint, nbytes: int) -> int:
    """Write, tell the warnings, and read in a second thread once told to; how many came."""
    failures: list[BaseException] = []
    count = 0

    def read() -> None:
        try:
            endpoint.hear()
            buffer = bytearray(nbytes)
            assert endpoint.channel.read(buffer, timeout=HANG) == nbytes
            wrong = difference(buffer, pattern(nbytes))
            assert not wrong, wrong
        except BaseException as error:
            failures.append(error)

    def tell(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        nonlocal count
        del where, more
        count += 1
        endpoint.say(f"{category.__name__}: {message}")

    reader = threading.Thread(target=read)
    reader.start()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = tell
        endpoint.channel.write(pattern(nbytes), timeout=HANG)
    reader.join(HANG)
    if failures:
        raise failures[0]
    return count


def write_past_the_warning(endpoint: Endpoint, nbytes: int) -> int:
    """How many warnings a write gave whose peer reads, but late."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        endpoint.say("writing")
        endpoint.channel.write(pattern(nbytes), timeout=HANG)
    return len(caught)


def read_after(endpoint: Endpoint, seconds: float, nbytes: int) -> None:
    """Be busy with something else for a while, then read."""
    gate = threading.Event()
    gate.wait(seconds)  # the time itself is what the test is about
    assert endpoint.channel.read(bytearray(nbytes), timeout=HANG) == nbytes
