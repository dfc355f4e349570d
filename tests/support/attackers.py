# SPDX-License-Identifier: BSD-3-Clause
"""Attackers: forked processes of another user, and the traps that they set."""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401 - an attacker may not be able to read it later
import os
import signal
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from adma.connect import access
from adma.handshake.handshake import Terms, shake
from adma.handshake.link import Link
from adma.testing.limits import HANG
from adma.testing.observe import children, until
from support import fuse
from support.endpoints import become

ALICE, BOB, MALLORY = 4301, 4302, 4303  # uids that no file and no process has

SO_PASSRIGHTS = 83  # socket(7), Linux 6.16
SO_PASSPIDFD = 76


class Attacker:
    """A forked process of user `uid` that runs `attack(ready)` until it is stopped.

    The constructor returns when the attack has called `ready()`, or is over. `silent`: it has a
    file of a FUSE server that does not answer, for `Silent`.
    """

    def __init__(
        self, uid: int, attack: Callable[[Callable[[], None]], object], *, silent: bool = False
    ) -> None:
        out, into = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(out)
            _run(uid, attack, into, silent)
        os.close(into)
        with open(out, "rb") as pipe:
            self.word = pipe.read()  # what went wrong before it was ready

    def stop(self) -> None:
        """Kill it. Calling this twice is no error."""
        if not self.pid:
            return
        # A FUSE server goes first: the files that it serves block until it is gone.
        doomed = [*children(self.pid), self.pid]
        for pid in doomed:
            os.kill(pid, signal.SIGKILL)
        for pid in reversed(doomed):
            os.waitpid(pid, 0)
        self.pid = 0

    def __enter__(self) -> Attacker:
        assert not self.word, self.word.decode()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _run(uid: int, attack: Callable[[Callable[[], None]], object], into: int, silent: bool) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 4 * HANG)
    ready = [into]

    def is_ready() -> None:
        if ready:
            os.close(ready.pop())

    try:
        if silent:
            Silent.file = fuse.silent_file()
        become(uid)
        kept = attack(is_ready)  # sockets and traps stay open until it is stopped
    except BaseException as error:
        if ready:
            os.write(into, repr(error).encode())
        os._exit(1)
    is_ready()
    signal.pause()
    del kept
    os._exit(0)


# Traps


class Lingering:
    """A TCP socket whose last close waits for `seconds`: it has a linger time and unsent data."""

    def __init__(self, seconds: int) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._sock = socket.create_connection(listening.getsockname())
        self._other, _ = listening.accept()  # it reads nothing
        listening.close()
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds))
        self._sock.setblocking(False)
        # The last bytes are sent when the window has closed, so the queue is surely not empty.
        for _ in range(3):
            with contextlib.suppress(BlockingIOError):
                while True:
                    self._sock.send(bytes(65536))
            time.sleep(0.02)

    def fileno(self) -> int:
        return self._sock.fileno()

    def let_go(self) -> None:
        """Close this process's copy, which is not the last one."""
        os.close(self._sock.detach())


class Silent:
    """A file of a FUSE server that does not answer: each close of it blocks."""

    file = -1  # of an attacker that was told to have one

    def fileno(self) -> int:
        return self.file

    def let_go(self) -> None:
        """Nothing is let go of: to close it here would block this process."""


# Raw peers


def raw_caller(path: str) -> socket.socket:
    """A socket that is connected to a listener and says nothing."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(HANG)
    sock.connect(path)
    return sock


def raw_channel(path: str) -> tuple[socket.socket, Link]:
    """A channel without a core: its socket, and what the handshake left."""
    sock = raw_caller(path)
    link = shake(sock, Terms("attack", client=True, admit=access.anybody), HANG)
    return socket.socket(fileno=link.sock), link


def pass_fds(sock: socket.socket, data: bytes, fds: list[int]) -> bool:
    """Pass descriptors. False: the kernel refuses them in the name of the other end."""
    try:
        socket.send_fds(sock, [data], fds)
        return True
    except PermissionError:
        return False


# What the victim has


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def threads() -> list[str]:
    """The names of this process's threads."""
    names = []
    for entry in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            names.append((entry / "comm").read_text().strip())
    return names


def nothing_is_being_closed() -> None:
    """Wait until the threads that close what strangers passed are through."""
    until("what strangers passed is closed", lambda: "adma-closer" not in threads())
