# SPDX-License-Identifier: BSD-3-Clause
"""Peers with less than others have."""

from __future__ import annotations

import os
import stat
import sys
import warnings
from collections.abc import Sequence

from adma.testing import Endpoint
from adma.testing.calls import messages
from adma.testing.limits import HANG
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


def forbid(endpoint: Endpoint, names: Sequence[str], error: int) -> None:
    del endpoint
    load_all()
    confine.forbid(names, error)


def leave_descriptors(endpoint: Endpoint, left: int) -> None:
    del endpoint
    confine.leave_descriptors(left)


def free_descriptors(endpoint: Endpoint) -> None:
    del endpoint
    confine.free_descriptors()


def limit_files(endpoint: Endpoint, nbytes: int) -> None:
    del endpoint
    confine.limit_files(nbytes)


def hide_shm(endpoint: Endpoint, place: str, options: str) -> None:
    """A /dev/shm that is missing, or that an ordinary user may not write to; and be one."""
    del endpoint
    load_all()
    confine.mount_over(place, options)
    confine.become_user()


def count_warnings(endpoint: Endpoint, nbytes: int) -> list[str]:
    """Post reads and take what comes; the warnings that this gave."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            request = endpoint.channel.iread(bytearray(nbytes))
            endpoint.say("posted")
            request.wait(timeout=HANG)
        for _ in range(65):
            assert endpoint.channel.iread(bytearray(nbytes)).cancel()
    return [str(each.message) for each in caught]


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
