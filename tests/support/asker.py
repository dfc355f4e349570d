# SPDX-License-Identifier: BSD-3-Clause
"""A program that asks a channel and a worker things, for a test that traces its calls.

A message waits for a posted read, and another one for a posted receive: a question matches neither.
What it asks by access(2) marks the places in the trace.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import adma
from adma._core import worker as core
from adma.messages.worker import Worker
from adma.testing.limits import HANG
from support.endpoints import own_channels
from support.workers import connect, settle

TRIES = 20  # the progress thread may look at both of them at any time


def main() -> None:
    one, other = own_channels()
    with one, other, Worker() as receiver, Worker() as sender:
        number, theirs = connect(receiver, sender)
        settle([receiver, sender])
        for _ in range(TRIES):
            into, place = bytearray(8), bytearray(8)
            read, receive = one.iread(into), receiver.receive(number, 1, place)
            questions: list[Callable[[], object]] = [
                lambda: repr(one),
                lambda read=read: repr(read),  # type: ignore[misc]
                lambda: (one.closed, one.peer_pid),
                one.stats,
                lambda: receiver.health(number),
                lambda: core.counts(receiver.handle),
                lambda: core.stats(receiver.handle, number),
                lambda receive=receive: receive.done,  # type: ignore[misc]
            ]
            ask(questions)  # what is made with the first look is there
            other.write(b"a letter")
            sender.send(theirs, 1, b"a parcel")
            os.access("begin", os.F_OK)
            ask(questions)
            os.access("end", os.F_OK)
            matched = any(into), any(place), receive.done, not one.stats()["pending_reads"]
            assert adma.wait_all([read], HANG) == [8]
            assert receive.wait(HANG) == 8
            assert (into, place) == (b"a letter", b"a parcel")
            if not any(matched):
                return
        raise AssertionError(f"questions made progress: {matched}")


def ask(questions: list[Callable[[], object]]) -> None:
    for question in questions:
        question()


if __name__ == "__main__":
    main()
