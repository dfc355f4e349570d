# SPDX-License-Identifier: BSD-3-Clause
"""Descriptors that a stranger or a guest passes, and that are a trap to whoever closes them.

The victim is this process. Its attackers are forked processes of another user. A trap is a TCP
socket with a linger time, or a file of a FUSE server that does not answer.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import adma
from adma._core._native import lib
from adma.connect import access
from adma.connect.record import Entry, Wire, pack
from adma.handshake.handshake import Terms, shake
from adma.testing.limits import HANG, SLOWNESS
from adma.testing.observe import until
from support.attackers import (
    ALICE,
    MALLORY,
    SO_PASSPIDFD,
    Attacker,
    Lingering,
    Silent,
    open_fds,
    pass_fds,
    raw_caller,
    raw_channel,
)
from support.endpoints import InThread, hello_entry, pair, segment_fd

LINGER = 15  # seconds for which the trap closes
SOON = 5.0 * SLOWNESS  # seconds within which a call with a timeout of 1 s ends, and others go on
MANY = 253  # descriptors of one message, at most

pytestmark = pytest.mark.root


@contextlib.contextmanager
def soon() -> Iterator[None]:
    begin = time.monotonic()
    yield
    took = time.monotonic() - begin
    assert took < SOON, f"the victim was held up for {took:.1f} s"


def a_trap(kind: str) -> Lingering | Silent:
    return Lingering(LINGER) if kind == "lingering" else Silent()


def trap_among_many(trap: Lingering | Silent, n: int) -> list[int]:
    """The trap is the last one: that is what finds no room in a small buffer."""
    null = os.open("/dev/null", os.O_RDONLY)
    return [null] * (n - 1) + [trap.fileno()]


def spring(path: str, kind: str, n: int, data: bytes) -> Callable[[Callable[[], None]], object]:
    """Call a listener, pass a trap with the first bytes, and keep the socket open."""

    def attack(ready: Callable[[], None]) -> object:
        trap = a_trap(kind)
        sock = raw_caller(path)
        if pass_fds(sock, data, trap_among_many(trap, n)):
            trap.let_go()
        ready()
        return trap, sock

    return attack


def meets(server: adma.Listener, name: str) -> None:
    """This user's own processes meet, and exchange a message."""
    calling = InThread(lambda: adma.connect(name, timeout=HANG))
    with server.accept(timeout=HANG) as channel, calling.result() as other:
        channel.write(b"!", timeout=HANG)
        assert other.read(bytearray(1), timeout=HANG) == 1


# On the way in


@pytest.mark.parametrize("n", [1, MANY])
def test_a_stranger_passes_a_trap(place: Path, kernel: str, n: int) -> None:
    """It is refused unread. The trap lies in its socket, and closes with that."""
    with adma.listen("test", allow_uids=[ALICE]) as server:
        attack = spring(server.address, "lingering", n, b"x")
        with Attacker(MALLORY, attack), soon():
            with pytest.raises(TimeoutError):
                server.accept(timeout=1)
            meets(server, "test")


@pytest.mark.parametrize("n", [1, MANY])
def test_a_guest_passes_a_trap_before_its_hello(place: Path, kernel: str, n: int) -> None:
    with adma.listen("test", mode=0o666) as server:
        attack = spring(server.address, "lingering", n, b"x")
        with Attacker(MALLORY, attack), soon():
            with pytest.raises(TimeoutError):
                server.accept(timeout=1)
            meets(server, "test")


@pytest.mark.parametrize("kind", ["lingering", "silent"])
@pytest.mark.parametrize("n", [1, 2, 8, MANY])
def test_a_guest_passes_a_trap_in_place_of_its_segment(place: Path, kind: str, n: int) -> None:
    with adma.listen("test", mode=0o666) as server:

        def attack(ready: Callable[[], None]) -> object:
            trap = a_trap(kind)
            sock = raw_caller(server.address)
            wire = Wire(sock, time.monotonic() + HANG)
            wire.send(lib.ADMA_ROUND_HELLO, [hello_entry(mechanisms=0)])
            ready()
            wire.receive().close()
            fds = [trap.fileno()] if n == 1 else trap_among_many(trap, n)
            wire.send(lib.ADMA_ROUND_OFFER, [Entry(0, 0, b"", fds)])
            trap.let_go()
            return trap, sock

        with Attacker(MALLORY, attack, silent=kind == "silent"), soon():
            with pytest.raises(TimeoutError):
                server.accept(timeout=1)
            meets(server, "test")


def test_a_guest_passes_a_trap_in_place_of_its_bulk_segment(place: Path) -> None:
    with adma.listen("test", mode=0o666) as server:

        def attack(ready: Callable[[], None]) -> object:
            trap = a_trap("silent")
            sock = raw_caller(server.address)
            wire = Wire(sock, time.monotonic() + HANG)
            shared = 1 << lib.ADMA_MECH_SHARED
            wire.send(lib.ADMA_ROUND_HELLO, [hello_entry(mechanisms=shared)])
            ready()
            wire.receive().close()
            offers = [
                Entry(0, 0, b"", [segment_fd()]),
                Entry(lib.ADMA_MECH_SHARED, 0, bytes(16), [trap.fileno()]),
            ]
            wire.send(lib.ADMA_ROUND_OFFER, offers)
            trap.let_go()
            return trap, sock

        with Attacker(MALLORY, attack, silent=True), soon():
            with pytest.raises(TimeoutError):
                server.accept(timeout=1)
            meets(server, "test")


def test_a_listener_passes_a_trap_to_its_caller(place: Path) -> None:
    """A caller that a hostile listener of another user answers with a trap."""
    path = place / "open" / "bait"

    def attack(ready: Callable[[], None]) -> object:
        trap = Lingering(LINGER)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        listening.listen()
        ready()
        sock, _ = listening.accept()
        pass_fds(sock, b"x", [trap.fileno()])
        trap.let_go()
        return trap, sock, listening

    with Attacker(MALLORY, attack), soon():
        sock = raw_caller(str(path))
        with pytest.raises((adma.ProtocolError, TimeoutError)):
            adma.from_socket(sock, timeout=1)


# In mid-life


@pytest.fixture
def server(place: Path) -> Iterator[adma.Listener]:
    with adma.listen("test", mode=0o666) as server:
        yield server


@pytest.fixture
def good(server: adma.Listener) -> Iterator[tuple[adma.Channel, adma.Channel]]:
    """A channel of this user's own, which has to stay fine."""
    calling = InThread(lambda: adma.connect("test", timeout=HANG))
    with server.accept(timeout=HANG) as channel, calling.result() as other:
        yield channel, other


def pass_in_mid_life(path: str, kind: str, n: int, data: bytes) -> Callable[..., object]:
    """Shake hands like an honest peer; when the victim has said a word, pass a trap."""

    def attack(ready: Callable[[], None]) -> object:
        trap = a_trap(kind)
        ready()
        sock, link = raw_channel(path)
        sock.settimeout(HANG)
        assert sock.recv(1)  # the victim's first wake-up
        if pass_fds(sock, data, trap_among_many(trap, n)):
            trap.let_go()
        return trap, sock, link

    return attack


@pytest.mark.parametrize("kind", ["lingering", "silent"])
@pytest.mark.parametrize(("data", "n"), [(b"w", 1), (b"s", 1), (b"s", 2), (b"w", MANY)])
def test_a_trap_in_mid_life(
    server: adma.Listener, good: tuple[adma.Channel, adma.Channel], kind: str, data: bytes, n: int
) -> None:
    """The channel of the attacker ends. Another one goes on, also in the progress thread."""
    near, far = good
    attack = pass_in_mid_life(server.address, kind, n, data)
    with Attacker(MALLORY, attack, silent=kind == "silent"):
        bad = server.accept(timeout=HANG)
        size = 1 << 20
        with soon():
            buffer = bytearray(size)
            pending = near.iread(buffer)  # the progress thread has both channels from here on
            hopeless = bad.iread(bytearray(size))
            os.write(socket_of(bad), b"w")
            if data == b"w" or n > 1:
                with pytest.raises(adma.ProtocolError):
                    hopeless.wait(timeout=HANG)
            far.write(bytes(size), timeout=HANG)
            assert pending.wait(timeout=HANG) == size
            begin = time.monotonic()
            bad.close(timeout=0.5)
            assert time.monotonic() - begin < SOON


def test_a_descriptor_with_each_byte_in_mid_life(
    server: adma.Listener, good: tuple[adma.Channel, adma.Channel]
) -> None:
    """One may be a segment that the channel waits for. A channel has use for few of them."""
    many = 200

    def attack(ready: Callable[[], None]) -> object:
        trap = Lingering(60)
        ready()
        sock, link = raw_channel(server.address)
        sock.settimeout(HANG)
        assert sock.recv(1)  # the victim's first wake-up
        for _ in range(many):
            with contextlib.suppress(OSError):
                socket.send_fds(sock, [b"s"], [trap.fileno()])
        return trap, sock, link

    near, far = good
    with Attacker(MALLORY, attack):
        bad = server.accept(timeout=HANG)
        before = open_fds()
        hopeless = bad.iread(bytearray(1 << 20))
        os.write(socket_of(bad), b"w")
        with pytest.raises(adma.ProtocolError):
            hopeless.wait(timeout=HANG)
        assert open_fds() < before + many / 2
        far.write(b"on", timeout=HANG)
        assert near.read(bytearray(2), timeout=HANG) == 2
        bad.close(timeout=0.5)


def test_a_trap_that_is_left_unread(server: adma.Listener) -> None:
    """The victim closes its end without having read it."""
    with Attacker(MALLORY, pass_in_mid_life(server.address, "lingering", 1, b"w")):
        bad = server.accept(timeout=HANG)
        sock = socket_of(bad)
        os.write(sock, b"w")
        until("the trap is there", lambda: readable(sock))
        with soon():
            bad.close(timeout=0.5)


def test_traps_do_not_pile_up(server: adma.Listener) -> None:
    """A user whose descriptors are stuck gets no further; others do."""

    def attack(ready: Callable[[], None]) -> object:
        kept: list[object] = []
        ready()
        for _ in range(20):
            trap = Silent()
            with contextlib.suppress(OSError, adma.ProtocolError, adma.PeerDied):
                sock = raw_caller(server.address)
                wire = Wire(sock, time.monotonic() + HANG)
                wire.send(lib.ADMA_ROUND_HELLO, [hello_entry(mechanisms=0)])
                wire.receive().close()
                pass_fds(sock, b"x", [trap.fileno()] * MANY)
                kept.append(sock)
        return kept

    before = open_fds()
    with Attacker(MALLORY, attack, silent=True):
        with pytest.raises(TimeoutError):
            server.accept(timeout=2)
        assert open_fds() < before + 2 * MANY
        with soon():
            meets(server, "test")


def socket_of(channel: adma.Channel) -> int:
    return channel._endpoint.link.sock


def readable(sock: int) -> bool:
    with socket.socket(fileno=os.dup(sock)) as copy:
        try:
            return bool(copy.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return False


# What the kernel attaches by itself


def test_pidfds_that_the_kernel_attaches_in_a_handshake() -> None:
    ours, theirs = pair()
    ours.setsockopt(socket.SOL_SOCKET, SO_PASSPIDFD, 1)
    before = open_fds()

    def drip() -> None:
        for byte in pack(lib.ADMA_ROUND_HELLO, [hello_entry(mechanisms=0)]):
            theirs.send(bytes([byte]))
        theirs.shutdown(socket.SHUT_WR)

    dripping = InThread(drip)
    with pytest.raises(adma.PeerDied):
        adma.from_socket(ours, timeout=HANG)
    dripping.result()
    theirs.close()
    assert open_fds() <= before


def test_pidfds_that_the_kernel_attaches_in_mid_life() -> None:
    """Whoever made the sockets can set both ends to anything, at any time."""
    ours, theirs = pair()
    copy = ours.dup()

    def attack(ready: Callable[[], None]) -> object:
        ready()
        link = shake(theirs, Terms("attack", client=False, admit=access.anybody), HANG)
        sock = socket.socket(fileno=link.sock)
        sock.settimeout(HANG)
        assert sock.recv(1)
        copy.setsockopt(socket.SOL_SOCKET, SO_PASSPIDFD, 1)
        for _ in range(300):
            sock.send(b"w")
        return sock, link

    with Attacker(MALLORY, attack):
        theirs.close()
        with adma.from_socket(ours, timeout=HANG) as channel:
            with pytest.raises(TimeoutError):
                channel.read(bytearray(1), timeout=0.1)
            before = open_fds()
            os.write(socket_of(channel), b"w")
            until("the flood is there", lambda: readable(socket_of(channel)))
            with pytest.raises(TimeoutError):
                channel.read(bytearray(1), timeout=1)
            assert open_fds() <= before + 4
        copy.close()
