# SPDX-License-Identifier: BSD-3-Clause
"""A program that answers messages which come after a while, for a test that traces its calls.

What it asks by access(2) marks the places in the trace.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Final

import adma
from adma.testing.limits import HANG

#: Rounds in which it learns that a spin is in vain.
WARM_UP: Final = 20
#: Channels that "wait_of_many" waits for, too, and on which nothing comes.
IDLE: Final = 30

idle: list[adma.Channel] = []


def read(channel: adma.Channel) -> None:
    channel.read(bytearray(1))
    os.access("awake", os.F_OK)


def wait_any(channel: adma.Channel) -> None:
    adma.wait_any([channel.iread(bytearray(1))])
    os.access("awake", os.F_OK)


def wait(channel: adma.Channel) -> None:
    adma.wait([channel])
    os.access("awake", os.F_OK)
    channel.read(bytearray(1))


def wait_of_many(channel: adma.Channel) -> None:
    adma.wait([channel, *idle])
    os.access("awake", os.F_OK)
    channel.read(bytearray(1))


def main(name: str, form: str, rounds: int, threads: int) -> None:
    take: Callable[[adma.Channel], None] = globals()[form]
    rest = threading.Event()
    for _ in range(threads):
        threading.Thread(target=rest.wait, daemon=True).start()
    with adma.connect(name, timeout=HANG) as channel:
        channel.write(str(os.getpid()).encode())
        if form == "wait_of_many":
            idle.extend(adma.connect(name, timeout=HANG) for _ in range(IDLE))
        for number in range(WARM_UP + rounds):
            if number == WARM_UP:
                os.access("begin", os.F_OK)
            take(channel)
            os.access("answering", os.F_OK)
            channel.write(b"x")
            os.access("told", os.F_OK)
    for one in idle:
        one.close()
    rest.set()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
