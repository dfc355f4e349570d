# SPDX-License-Identifier: BSD-3-Clause
"""A program whose processes share pipes, by a start method of multiprocessing.

    python -m support.piped METHOD

It is a program because such children, and what multiprocessing starts beside them, live as long
as their parent.
"""

from __future__ import annotations

import multiprocessing
import sys
from multiprocessing.connection import Connection as PlainConnection
from typing import Any

import adma
from adma.connection import Connection, Pipe
from adma.testing.limits import HANG, LARGE
from adma.testing.payload import pattern


def echo(end: adma.PipeEnd) -> None:
    """Send back all objects."""
    with end:
        while True:
            try:
                obj = end.recv(timeout=HANG)
            except adma.ChannelClosed:
                return
            end.send(obj, timeout=HANG)


def claim_late(end: adma.PipeEnd, out: PlainConnection) -> None:
    """Use an end of which another process has a copy, and say what came of it."""
    try:
        end.send("mine", timeout=HANG)
        out.send("claimed")
    except adma.ChannelClosed as error:
        out.send(str(error))


def double(connection: Connection) -> int:
    """For a pool: answer one message."""
    number: int = connection.recv()
    connection.send(2 * number)
    connection.close()
    return number


def children(context: Any) -> None:
    """An end as the argument of a child: objects of all sizes, before and after the switch."""
    one, other = adma.pipe()
    child = context.Process(target=echo, args=(other,))
    child.start()
    other.close()
    with one:
        for nbytes in (0, 1, 1000, LARGE, 3):
            one.send(pattern(nbytes, nbytes), timeout=HANG)
            assert one.recv(timeout=HANG) == pattern(nbytes, nbytes)
        assert one.peer_pid == child.pid
        assert type(one).__name__ == "PipedChannel", one
    child.join()
    assert child.exitcode == 0


def twice(context: Any) -> None:
    """An end that was pickled twice belongs to the first that uses it."""
    one, other = adma.pipe()
    answers, tell = context.Pipe(duplex=False)
    pair = [context.Process(target=claim_late, args=(other, tell)) for _ in range(2)]
    for child in pair:
        child.start()
    other.close()
    with one:
        assert one.recv(timeout=HANG) == "mine"
        said = sorted(answers.recv() for _ in pair)
        for child in pair:
            child.join()
    assert said[1] == "claimed", said
    assert said[0].startswith("another process has claimed"), said


def pool(context: Any) -> None:
    """Ends that go through the queue of a pool."""
    pairs = [Pipe() for _ in range(4)]
    with context.Pool(2) as workers:
        result = workers.map_async(double, [there for _, there in pairs])
        for number, (here, _) in enumerate(pairs):
            here.send(number)
            assert here.recv() == 2 * number
            here.close()
        assert result.get() == list(range(4))
    for _, there in pairs:  # a thread of the pool pickles them when it comes to that
        there.close()


if __name__ == "__main__":
    chosen = multiprocessing.get_context(sys.argv[1])
    children(chosen)
    twice(chosen)
    pool(chosen)
