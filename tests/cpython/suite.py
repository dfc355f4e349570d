# SPDX-License-Identifier: BSD-3-Clause
"""CPython's own tests of connections, with `adma.connection` in the place of multiprocessing's.

They are those of the interpreter that runs this, unmodified. Children that are spawned import this
module by its name, and so they get the same. The environment says how:

    ADMA_START_METHOD   fork, spawn or forkserver
    ADMA_PLAIN_WAIT     1: multiprocessing's own `wait` stays, and is given adma's connections
    ADMA_CARRIED        the file to which processes append what their connections carried
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
from typing import Any

import test._test_multiprocessing as theirs  # type: ignore[import-untyped]

import adma.connection
from adma.pipes.end import PipedChannel

CLASSES = (
    "WithProcessesTestConnection",
    "WithProcessesTestListener",
    "WithProcessesTestListenerClient",
    "WithProcessesTestPoll",
    "WithProcessesTestPicklingConnections",
    "TestWait",
)
_COUNTERS = ("line_in", "line_out", "reads", "writes")


def _replace() -> None:
    here: Any = adma.connection
    theirs.ProcessesMixin.connection = here
    theirs.ProcessesMixin.Pipe = staticmethod(here.Pipe)
    multiprocessing.Pipe = here.Pipe
    if os.environ.get("ADMA_PLAIN_WAIT") != "1":
        multiprocessing.connection.wait = here.wait


def _count() -> None:
    """Write down what each connection carried when it is let go."""
    here: Any = adma.connection
    let_go = here._let_go
    path = os.environ["ADMA_CARRIED"]

    def counted(end: PipedChannel) -> None:
        stats = end.stats()
        line = " ".join(str(stats.get(name, 0)) for name in _COUNTERS)
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(fd, f"{line}\n".encode())
        os.close(fd)
        let_go(end)

    here._let_go = counted


def carried() -> dict[str, int]:
    """What all processes have written down so far."""
    try:
        with open(os.environ["ADMA_CARRIED"], encoding="ascii") as file:
            rows = [list(map(int, line.split())) for line in file]
    except FileNotFoundError:
        rows = []
    return {name: sum(row[at] for row in rows) for at, name in enumerate(_COUNTERS)}


_replace()
_count()
_found: dict[str, Any] = {"__name__": __name__}
theirs.install_tests_in_module_dict(_found, os.environ["ADMA_START_METHOD"])
for _name in (*CLASSES, "setUpModule", "tearDownModule"):
    globals()[_name] = _found[_name]
