# SPDX-License-Identifier: BSD-3-Clause
"""One process of a local contestant: adma or ``multiprocessing.Pipe``.

Started as ``python -m adma.bench.worker KIND RANK CONTROL_SOCKET LINK_FD [MECHANISM]``, where
LINK_FD is one end of a socket pair. Between rounds it blocks in ``recv`` on the control line.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from adma.bench import build
from adma.bench.control import Line
from adma.bench.samples import SYNC, SYNCS
from adma.bench.traffic import FORMS, End, Traffic

CONNECT_TIMEOUT = 20.0
Answer = Callable[[Any, dict[str, Any]], dict[str, Any]]
Forms = Mapping[str, Callable[[Any, int, dict[str, Any]], Traffic]]


class AdmaEnd:
    """A channel over the given socket."""

    def __init__(self, link: int, mechanism: str) -> None:
        import adma

        sock = socket.socket(fileno=link)
        self.channel = adma.from_socket(
            sock,
            timeout=CONNECT_TIMEOUT,
            mechanism=mechanism,  # type: ignore[arg-type]
        )
        self.send = self.channel.write
        self.receive = self.channel.read
        self.give = self.channel.send
        self.take = self.channel.recv
        self.post_send = self.channel.iwrite
        self.post_receive = self.channel.iread
        self.wait_all = adma.wait_all

    def about(self) -> dict[str, Any]:
        return {**build.describe(), "channel": repr(self.channel), "wait": build.waiting()}

    def path(self, size: int) -> str:
        found = self.channel.explain(size)
        return f"{found.carry} over {found.mechanism}" if found.mechanism else found.carry


class PipeEnd:
    """One end of ``multiprocessing.Pipe()``, whose two ends are a connected socket pair.

    A duplex pipe is what the class makes by default, and measured no slower than two one-way
    ones. ``send_bytes`` takes a view of the buffer, ``recv_bytes_into`` fills one: the fewest
    copies that the class offers.
    """

    def __init__(self, link: int, mechanism: str) -> None:
        from multiprocessing.connection import Connection

        self.connection = Connection(link)
        self.send = self.connection.send_bytes
        self.receive = self.connection.recv_bytes_into
        self.give = self.connection.send
        self.take = self.connection.recv

    def about(self) -> dict[str, Any]:
        return {"version": sys.version.split()[0]}

    def path(self, size: int) -> str:
        return "copied through a socket"


KINDS: dict[str, Callable[[int, str], End]] = {"adma": AdmaEnd, "pipe": PipeEnd}


class Pinger:
    """Answers the driver's commands: prepare traffic of a form, run it.

    A process may serve several contestants. What they do at one time belongs to one case, and is
    kept by their keys until the next case.
    """

    def __init__(self, end: Any, rank: int, forms: Forms = FORMS) -> None:
        self.end = end
        self.rank = rank
        self._forms = forms
        self._case = ""
        self._prepared: dict[str, Traffic] = {}
        self._step: Traffic | None = None

    def prepare(self, command: dict[str, Any]) -> dict[str, Any]:
        """Make new buffers, and check one turn of patterns, which is not timed."""
        if command["case"] != self._case:
            self._prepared.clear()
            self._case = command["case"]
        made = self._forms[command["form"]](self.end, self.rank, command)
        made.verify()
        self._prepared[command["key"]] = made
        return {"ok": True, "path": self.end.path(int(command.get("size", 0)))}

    def run(self, command: dict[str, Any]) -> dict[str, Any]:
        """Warm up, then time turns. The answer is the time of one message, and of one turn.

        With `cold` the buffers are touched by nothing but the turns that are timed. Messages of
        their own bring both ranks into step before.
        """
        count = int(command["iterations"])
        traffic = self._prepared[command["key"]]
        if command.get("cold"):
            self._in_step().loop(SYNCS)
        else:
            traffic.loop(int(command["warmup"]))
        begin = time.perf_counter()
        spent = traffic.timed(count)
        each = (time.perf_counter() - begin) / count
        return {"seconds": spent / (traffic.share * count), "each": each}

    def _in_step(self) -> Traffic:
        if self._step is None:
            self._step = self._forms["plain"](self.end, self.rank, {"size": SYNC})
        return self._step


def serve(line: Line, answers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]]) -> int:
    """Answer commands until told to exit (0) or the driver is gone (1)."""
    while True:
        try:
            command = line.receive()
        except EOFError:
            return 1
        if command["op"] == "exit":
            return 0
        try:
            reply = answers[command["op"]](command)
        except Exception as error:
            # The driver decides what to do about a contestant that failed.
            reply = {"error": f"{type(error).__name__}: {error}", "cure": cure_of(error)}
        line.send(reply)


def cure_of(error: Exception) -> str:
    """The cure that one of adma's errors tells, for the table."""
    return str(getattr(error, "cure", ""))


def main(argv: list[str], forms: Forms = FORMS, more: Mapping[str, Answer] | None = None) -> int:
    """Connect, and answer commands. `more`: commands that are given the end."""
    kind, rank, control, link = argv[0], int(argv[1]), argv[2], int(argv[3])
    mechanism = argv[4] if len(argv) > 4 else "auto"
    line = Line.dial(control)
    hello = {"rank": rank, "pid": os.getpid()}
    try:
        end = KINDS[kind](link, mechanism)
    except Exception as error:
        line.send({**hello, "error": f"{type(error).__name__}: {error}", "cure": cure_of(error)})
        return 1
    line.send({**hello, **end.about()})
    pinger = Pinger(end, rank, forms)
    others = {name: partial(answer, end) for name, answer in (more or {}).items()}
    return serve(line, {"prepare": pinger.prepare, "run": pinger.run, **others})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
