# SPDX-License-Identifier: BSD-3-Clause
"""How a peer dies."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import stat

from ..endpoint import Endpoint
from ..limits import HANG, MIB
from ..payload import Repeated


def die(endpoint: Endpoint) -> None:
    """Kill this process with SIGKILL."""
    del endpoint
    os.kill(os.getpid(), signal.SIGKILL)


def copy_repeated(endpoint: Endpoint, nbytes: int, role: str) -> int:
    """Write or read one huge message, blocking."""
    with Repeated(nbytes, window=MIB) as buffer:
        if role == "writer":
            endpoint.channel.write(buffer.view, timeout=HANG)
            return nbytes
        return endpoint.channel.read(buffer.view, timeout=HANG)


def fork_a_holder(endpoint: Endpoint) -> int:
    """Fork a child that keeps every descriptor it inherits open and sleeps; its pid.

    It is forked beneath Python: no hook of the interpreter runs in it, as in a child
    that C code of somebody else's forks.
    """
    del endpoint
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.stat(int(name)).st_mode):
                os.dup(int(name))  # one that no fork handler knows of
    pid = ctypes.PyDLL(None).fork()
    if pid == 0:
        while True:
            signal.pause()
    return int(pid)


def end_holder(pid: int) -> None:
    """Kill the child, which has no parent any more, and reap it if it became ours."""
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):  # init's, unless this process is a subreaper
        os.waitpid(pid, 0)
