# SPDX-License-Identifier: BSD-3-Clause
"""Peers in namespaces of their own, as in containers. All of it needs root to begin with."""

from __future__ import annotations

import ctypes
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from adma.testing import Endpoint
from adma.testing.leaks import Scope, snapshot
from support import confine
from support.calls import load_all

_libc = ctypes.CDLL(None, use_errno=True)

_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = (
    0x20000,
    0x10000000,
    0x20000000,
    1 << 30,
)
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Walls:
    """What a peer is cut off from."""

    pid: bool = False  # a PID namespace of its own, with a /proc to it
    network: bool = False
    user: bool = False  # a user namespace of its own, made by `uid`, who is root in it
    uid: int = confine.USER  # seen from outside


def enter(endpoint: Endpoint, walls: Walls) -> None:
    """Enter the namespaces that `walls` names. With `pid`, the peer goes on in a forked child."""
    load_all()
    if walls.network:
        _unshare(_CLONE_NEWNET)
    if walls.pid:
        _go_on_in_child()
        endpoint.before = snapshot(Scope())  # as seen from in here
    os.setgroups([])
    os.setresgid(walls.uid, walls.uid, walls.uid)
    os.setresuid(walls.uid, walls.uid, walls.uid)
    confine.set_dumpable(True)
    if walls.user:
        _unshare(_CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {walls.uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {walls.uid} 1")
    if walls.pid:
        # Last, since a change of credentials takes it back.
        _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "PR_SET_PDEATHSIG")


def own_pid(endpoint: Endpoint) -> int:
    del endpoint
    return os.getpid()


def _go_on_in_child() -> None:
    _unshare(_CLONE_NEWPID | _CLONE_NEWNS)
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    _check(_libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "mount private")
    _check(_libc.mount(b"proc", b"/proc", b"proc", 0, None), "mount proc")


def _unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), what)
