# SPDX-License-Identifier: BSD-3-Clause
"""Peers with less than others have."""

from __future__ import annotations

import os
import stat
import sys

from adma.testing import Endpoint
from adma.testing.calls import messages
from support import confine
from support.calls import load_all

# What an exec leaves of a peer: the descriptors, and a process that says so and stays.
_OTHER = """
import signal, sys
from multiprocessing.connection import Connection
from adma.testing.control import Note
Connection(int(sys.argv[1])).send(Note("replaced"))
signal.pause()
"""


def become_user(endpoint: Endpoint) -> None:
    del endpoint
    load_all()
    confine.become_user()


def set_dumpable(endpoint: Endpoint, on: bool) -> None:
    del endpoint
    confine.set_dumpable(on)


def forbid_cma(endpoint: Endpoint) -> None:
    del endpoint
    confine.forbid_cma()


def shrink_shm(endpoint: Endpoint, nbytes: int) -> None:
    del endpoint
    confine.shrink_shm(nbytes)


def write_and_be_replaced(endpoint: Endpoint, nbytes: int) -> None:
    """Post a large write, then run another program in this process, sockets still open."""
    messages.iwrite(endpoint, "large", nbytes, 1)
    for name in os.listdir("/proc/self/fd"):
        try:
            if stat.S_ISSOCK(os.stat(int(name)).st_mode):
                os.set_inheritable(int(name), True)
        except OSError:
            continue
    control = endpoint._pipe.fileno()
    os.execv(sys.executable, [sys.executable, "-c", _OTHER, str(control)])
