# SPDX-License-Identifier: BSD-3-Clause
"""A program: two processes of an odd kind, named by the first argument, meet and exchange messages.

It prints "fine", or what went wrong. It runs in processes of its own, because most of these
kinds cannot be undone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import sys
from collections.abc import Callable

NBYTES = 1 << 20
HANG = 60

# Constants and calls of Python that one built on an old system lacks.
_NEW = {
    os: ("pidfd_open", "memfd_create", "eventfd", "posix_fallocate"),
    fcntl: ("F_ADD_SEALS", "F_GET_SEALS"),
    socket: ("SCM_CREDENTIALS", "SO_PASSCRED", "SO_PEERCRED", "MSG_CMSG_CLOEXEC"),
}


def age_python() -> None:
    """Take away what is new. Called before adma is imported."""
    for module, names in _NEW.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    for module, prefix in ((os, "MFD_"), (os, "EFD_"), (fcntl, "F_SEAL_")):
        for name in [name for name in dir(module) if name.startswith(prefix)]:
            delattr(module, name)


def nothing() -> None:
    """The system around is odd enough."""


def fake_root() -> None:
    """As under fakeroot: libc tells that we are root, and the kernel knows better."""
    from support import confine

    confine.become_user()
    os.getuid = os.geteuid = os.getgid = os.getegid = lambda: 0


def be_user() -> None:
    """hidepid hides nothing from root."""
    from support import confine

    confine.become_user()


def landlock() -> None:
    """Close /proc, with EACCES."""
    from support import confine

    if not confine.close_proc():
        print("fine: no Landlock here")
        sys.exit()


def interrupt() -> None:
    """A signal every millisecond, whose handler returns."""
    signal.signal(signal.SIGALRM, lambda number, frame: None)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)


KINDS: dict[str, Callable[[], None]] = {
    "aged": nothing,
    "nothing": nothing,
    "fake_root": fake_root,
    "be_user": be_user,
    "landlock": landlock,
    "interrupt": interrupt,
}


def meet(sock: socket.socket, mechanism: str, first: bool) -> None:
    """Shake hands over a socket, and send and receive small and large messages."""
    import adma

    with adma.from_socket(sock, timeout=HANG, mechanism=mechanism) as channel:
        buffer = bytearray(NBYTES)
        for nbytes in (8, 5000, NBYTES, NBYTES):
            if first:
                channel.write(bytes([7]) * nbytes, timeout=HANG)
            assert channel.read(buffer, timeout=HANG) == nbytes
            assert buffer[:nbytes] == bytes([7]) * nbytes
            if not first:
                channel.write(memoryview(buffer)[:nbytes], timeout=HANG)
        if first:
            channel.send(list(range(10)))
            return
        assert channel.recv(timeout=HANG) == list(range(10))
        with contextlib.suppress(EOFError):
            channel.read(buffer, timeout=HANG)


def meet_by_pipe() -> None:
    """The same by the ends of a pipe, of which a child takes one."""
    import adma

    ours, theirs = adma.pipe()
    pid = os.fork()
    if not pid:
        ours.close()
        theirs.send(theirs.recv(timeout=HANG))
        theirs.close()
        os._exit(0)
    theirs.close()
    ours.send(bytes(NBYTES))
    assert ours.recv(timeout=HANG) == bytes(NBYTES)
    ours.close()
    _, status = os.waitpid(pid, 0)
    assert status == 0, "the other end of the pipe failed"


def main(kind: str) -> None:
    """Be of this kind, and meet over each mechanism."""
    if kind == "aged":
        age_python()
    import adma  # noqa: F401 - before anything is taken away

    KINDS[kind]()
    for mechanism in ("auto", "shared", "mapped:cma", "loopback:tcp"):
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if not pid:
            ours.close()
            if kind == "interrupt":
                interrupt()  # a child has no timer of its parent's
            meet(theirs, mechanism, first=False)
            os._exit(0)
        theirs.close()
        meet(ours, mechanism, first=True)
        _, status = os.waitpid(pid, 0)
        assert status == 0, f"the other end failed over {mechanism}"
    meet_by_pipe()
    signal.setitimer(signal.ITIMER_REAL, 0)
    print("fine")


if __name__ == "__main__":
    main(sys.argv[1])
