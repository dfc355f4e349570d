# SPDX-License-Identifier: BSD-3-Clause
"""Strangers, and processes that went mad, where ends of pipes are passed and kept.

The victim is this process. Attackers are forked processes, most of them of another user.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import adma
from adma import connection
from adma.connection import Client, Listener
from adma.testing.limits import HANG
from support.attackers import (
    MALLORY,
    SO_PASSPIDFD,
    Attacker,
    Lingering,
    nothing_is_being_closed,
    open_fds,
    pass_fds,
    raw_caller,
)
from support.endpoints import InThread, become

LINGER = 15  # seconds for which the trap closes
HELD_UP = 5  # seconds after which the victim is held up by it

pytestmark = pytest.mark.root


class HeldUp(BaseException):
    """The victim is held up. No code that it interrupts takes it for something else."""


@contextlib.contextmanager
def alarm() -> Iterator[None]:
    """Interrupt a victim that is held up by the close of a trap."""

    def interrupt(number: int, frame: object) -> None:
        raise HeldUp

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, HELD_UP)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def open_listener(place: Path, key: bytes | None = None) -> Listener:
    """One that strangers reach."""
    listener = Listener(str(place / "open" / "door"), backlog=8, authkey=key)
    os.chmod(listener.address, 0o666)
    return listener


def is_served(listener: Listener, key: bytes | None = None) -> None:
    """A client of this user comes in, as the next one."""

    def call() -> object:
        with Client(listener.address, authkey=key) as client:
            client.send("hello")
            return client.recv()

    calling = InThread(call)
    with listener.accept() as served:
        assert served.recv() == "hello"
        served.send("welcome")
        assert calling.result() == "welcome"


def silent(sock: socket.socket) -> None:
    """It says nothing, and does not hang up."""


def rubbish(sock: socket.socket) -> None:
    sock.send(b"GET / HTTP/1.1\r\n\r\n")


def gone(sock: socket.socket) -> None:
    sock.close()


def trap(sock: socket.socket) -> Lingering:
    """What is passed is closed by whoever reads it into too little room."""
    made = Lingering(LINGER)
    pass_fds(sock, b"adma pipe 1", 8 * [os.open("/dev/null", os.O_RDONLY)] + [made.fileno()])
    made.let_go()
    return made


@pytest.mark.parametrize("key", [None, b"key"], ids=["no key", "key"])
@pytest.mark.parametrize("says", [silent, rubbish, gone, trap])
def test_a_stranger_calls(place: Path, says: Callable[..., object], key: bytes | None) -> None:
    """It is sent away unheard, and `accept` goes on with the next one."""

    def attack(ready: Callable[[], None]) -> object:
        socks = [raw_caller(listener.address) for _ in range(3)]
        return socks, [says(sock) for sock in socks]

    with open_listener(place, key) as listener, Attacker(MALLORY, attack), alarm():
        is_served(listener, key)


@pytest.mark.parametrize("key", [None, b"key"], ids=["no key", "key"])
@pytest.mark.parametrize("says", [rubbish, gone, silent])
def test_a_mad_client_calls(
    place: Path, says: Callable[..., object], key: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of this user, which another program may be, or one that was killed, or is stopped."""
    monkeypatch.setattr(connection, "_PATIENCE", 0.5)
    with open_listener(place, key) as listener, raw_caller(listener.address) as sock:
        says(sock)
        if says is not silent:
            with contextlib.suppress(OSError):  # in the middle of a challenge
                sock.shutdown(socket.SHUT_WR)
        with alarm():
            is_served(listener, key)


def test_another_user_listens_there(place: Path) -> None:
    path = str(place / "open" / "bait")

    def attack(ready: Callable[[], None]) -> object:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(path)
        listening.listen()
        os.chmod(path, 0o777)
        return listening

    def call() -> None:
        """As another user than root, since root may have made a socket for others."""
        become(MALLORY + 1)
        try:
            Client(path)
        except PermissionError:
            os._exit(0)
        os._exit(1)

    with Attacker(MALLORY, attack):
        pid = os.fork()
        if pid == 0:
            call()
        assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("says", [trap, rubbish])
def test_a_stranger_passes_no_end(says: Callable[..., object]) -> None:
    """What finds no room is closed by the kernel, within the call. Nothing stays open."""
    here, there = socket.socketpair()
    here.setsockopt(socket.SOL_SOCKET, SO_PASSPIDFD, 1)  # as whoever has a copy of it may do

    def attack(ready: Callable[[], None]) -> object:
        here.close()
        return says(there)

    with here, there, Attacker(MALLORY, attack), alarm():
        before = open_fds()
        with pytest.raises(PermissionError, match="this user only"):
            adma.take_end(here, timeout=HANG)
        nothing_is_being_closed()
        assert open_fds() == before


def test_other_descriptors_than_those_of_an_end() -> None:
    """They are of the right number. None of them stays open, and none is read."""
    here, there = socket.socketpair()
    here.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)  # so that it is told who sends
    null = os.open("/dev/null", os.O_RDONLY)
    one, other = adma.pipe()
    of_an_end = one._early.copy().fds()
    with here, there, one, other:
        before = open_fds()
        for wrong in range(5):
            fds = [null if at == wrong else fd for at, fd in enumerate(of_an_end)]
            socket.send_fds(there, [b"adma pipe 1"], fds)
            with pytest.raises(adma.ProtocolError, match="no end of a pipe"):
                adma.take_end(here, timeout=HANG)
        assert open_fds() == before
        with pytest.raises(TimeoutError):
            adma.take_end(here, timeout=0)
    os.close(null)


def test_a_record_of_no_kind() -> None:
    """A process that went mad writes to the line itself."""
    one, other = adma.pipe()
    with one, other:
        line = socket.socket(fileno=os.dup(other._early.copy().line.fileno()))
        with line:
            line.send(bytes([1]) + bytes(7) + (77).to_bytes(8, "little") + bytes(8))
        for look in (one.iprobe, one.skip, one.recv, one.read_bytes, one.poll):
            with pytest.raises(adma.ProtocolError):
                look()


@pytest.mark.parametrize("where", ["line", "sock"])
def test_a_trap_in_an_end(kernel: str, where: str) -> None:
    """A process gives up its rights, keeps its copy, and leaves a trap for whoever closes it."""
    one, other = adma.pipe()

    def attack(ready: Callable[[], None]) -> object:
        one.close()
        made = Lingering(LINGER)
        handles = other._early.copy()
        if where == "sock":
            sock = handles.sock
            sock.send(bytes(256))  # no record, behind which nothing is read
        else:
            sock = socket.socket(fileno=handles.line.fileno())
        if pass_fds(sock, b"x", [made.fileno()]):
            made.let_go()
        other.write(b"x")
        return made, other, sock

    with Attacker(MALLORY, attack), alarm():
        with pytest.raises(PermissionError, match="another user"):
            one.read_bytes(timeout=HANG)
        one.close()
    other.close()
    nothing_is_being_closed()
