# SPDX-License-Identifier: BSD-3-Clause
"""The program of a peer process: it calls what the test asks for through its control pipe.

    python -m adma.testing.peer_main DESCRIPTOR [MODULE...]

DESCRIPTOR is its end of the control pipe. The modules are imported first.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import sys
from multiprocessing.connection import Connection

from .control import Answer, Call, Join, Quit, Rest, sendable
from .endpoint import Endpoint
from .leaks import Scope, left_behind, snapshot

_NOTHING_ELSE = Scope()


def answer(endpoint: Endpoint, order: Call | Join) -> Answer:
    """Do what the order says; whatever is raised is the answer."""
    try:
        if isinstance(order, Join):
            endpoint.join(order)
            return Answer()
        return Answer(order.function(endpoint, *order.arguments))
    except BaseException as error:
        return Answer(error=sendable(error))


def serve(pipe: Connection, scope: Scope = _NOTHING_ELSE) -> None:
    """Obey orders until told to quit, or until the test is gone.

    `scope`: what of this process belongs to no test.
    """
    endpoint = Endpoint(pipe)
    endpoint.before = snapshot(scope)
    while True:
        try:
            order = pipe.recv()
        except EOFError:
            return
        if isinstance(order, Quit):
            return
        if isinstance(order, Rest):
            endpoint.close()
            pipe.send(Answer(left_behind(endpoint.before, scope)))
        else:
            pipe.send(answer(endpoint, order))
        # A failed post must not live on in the locals of its exception.
        del order


def main() -> None:
    """Import the modules that were named, then serve."""
    # The test sends this signal when it runs out of time: every thread says where it is.
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in sys.argv[2:]:
        importlib.import_module(name)
    with Connection(int(sys.argv[1])) as pipe:
        serve(pipe)
    # Threads that a failed test left behind must not keep the process.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
