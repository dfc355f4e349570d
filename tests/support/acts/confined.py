# SPDX-License-Identifier: BSD-3-Clause
"""Peers with less than others have."""

from __future__ import annotations

import os
import stat
import sys

from support import confine
from support.acts import load_all, messages
from support.peer_main import End

# What an exec leaves of a peer: the descriptors, and a process that says so and stays.
_OTHER = """
import signal, sys
from multiprocessing.connection import Connection
from support.control import Note
Connection(int(sys.argv[1])).send(Note("replaced"))
signal.pause()
"""


def become_user(end: End) -> None:
    del end
    load_all()
    confine.become_user()


def set_dumpable(end: End, on: bool) -> None:
    del end
    confine.set_dumpable(on)


def forbid_cma(end: End) -> None:
    del end
    confine.forbid_cma()


def shrink_shm(end: End, nbytes: int) -> None:
    del end
    confine.shrink_shm(nbytes)


def write_and_be_replaced(end: End, nbytes: int) -> None:
    """Post a large write, then run another program in this process, sockets still open."""
    messages.iwrite(end, "large", nbytes, 1)
    for name in os.listdir("/proc/self/fd"):
        try:
            if stat.S_ISSOCK(os.stat(int(name)).st_mode):
                os.set_inheritable(int(name), True)
        except OSError:
            continue
    control = end._pipe.fileno()
    os.execv(sys.executable, [sys.executable, "-c", _OTHER, str(control)])
