# SPDX-License-Identifier: BSD-3-Clause
"""Guests of a listener that keep it from others: its time, its descriptors, its user's limits.

The victim is this process or a forked one, its attackers are forked processes of another user,
and honest callers are of its own user and of a third one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import adma
from adma._core._native import lib
from adma.callers import Caller, Callers
from adma.connect.record import Entry, Record, Wire, pack
from adma.handshake.handshake import Terms
from adma.testing.limits import HANG, SLOWNESS
from support.attackers import ALICE, BOB, MALLORY, Attacker, open_fds
from support.endpoints import InChild, InThread, become, hello_entry, segment_fd

SOON = 5.0 * SLOWNESS  # seconds for an honest caller; a silent one is dropped only after 5
MANY = 300

pytestmark = pytest.mark.root


@pytest.fixture
def server(place: Path) -> Iterator[adma.Listener]:
    with adma.listen("test", mode=0o666) as server:
        yield server


HELLO = pack(lib.ADMA_ROUND_HELLO, [hello_entry(mechanisms=1 << lib.ADMA_MECH_SHARED)])


def send_hello(sock: socket.socket) -> None:
    """With credentials, without which it is nobody's."""
    entry = hello_entry(mechanisms=1 << lib.ADMA_MECH_SHARED)
    Wire(sock, time.monotonic() + HANG).send(lib.ADMA_ROUND_HELLO, [entry])


def call_again_and_again(path: str, n: int, say: Callable[[socket.socket], None]) -> Callable:
    """Keep `n` calls open; whatever is dropped calls again. `say` is called again and again."""

    def attack(ready: Callable[[], None]) -> None:
        threads = [threading.Thread(target=keep_calling, args=(path, say)) for _ in range(n)]
        for thread in threads:
            thread.start()
        ready()
        threads[0].join()

    return attack


def keep_calling(path: str, say: Callable[[socket.socket], None]) -> None:
    while True:
        with contextlib.suppress(OSError, adma.ChannelEnded), socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            say(sock)


def say_nothing(sock: socket.socket) -> None:
    sock.recv(1)


def say_one_byte(sock: socket.socket) -> None:
    sock.send(HELLO[:1])
    sock.recv(1)


def say_it_slowly(sock: socket.socket) -> None:
    for byte in HELLO:
        sock.send(bytes([byte]))
        time.sleep(0.01)
    sock.recv(1)


def say_hello_and_read_nothing(sock: socket.socket) -> None:
    send_hello(sock)
    time.sleep(HANG)


def force_a_mechanism_that_waits(sock: socket.socket) -> None:
    """Promise a connection that never comes, to an end that waits for it within a step."""
    tcp = lib.ADMA_MECH_TCP
    wire = Wire(sock, time.monotonic() + HANG)
    entry = hello_entry(mechanisms=1 << tcp, forced=tcp, nonce=b"\xff" * 16)
    wire.send(lib.ADMA_ROUND_HELLO, [entry])
    fd = segment_fd()
    for round_ in (lib.ADMA_ROUND_OFFER, lib.ADMA_ROUND_ANSWER, lib.ADMA_ROUND_VERDICT):
        wire.receive().close()
        fds = [fd] if round_ == lib.ADMA_ROUND_OFFER else []
        wire.send(round_, [Entry(0, 0, b"", fds), Entry(tcp)])
    os.close(fd)
    time.sleep(HANG)


def talk_without_end(sock: socket.socket) -> None:
    """Say hello, hear no answer, and say what belongs to later rounds, again and again."""
    send_hello(sock)
    sock.shutdown(socket.SHUT_RD)
    records = 2000 * pack(lib.ADMA_ROUND_ANSWER, [])
    while True:
        sock.sendall(records)


def say_rubbish(sock: socket.socket) -> None:
    sock.send(b"GET / HTTP/1.1\r\n\r\n")
    while sock.recv(4096):
        pass


def hang_up(sock: socket.socket) -> None:
    """Keep others out for a moment, and come again."""
    time.sleep(0.15)
    sock.send(b"a")


def comes_in(server: adma.Listener, uid: int | None) -> None:
    """One honest caller comes in, of another user or of our own."""

    def call() -> bytes:
        if uid is not None:
            become(uid)
        with adma.connect("test@0", timeout=HANG) as channel:
            buffer = bytearray(1)
            channel.read(buffer, timeout=HANG)
            return bytes(buffer)

    begin = time.monotonic()
    calling = InChild(call)
    with server.accept(timeout=HANG) as channel:
        channel.write(b"!", timeout=HANG)
        assert calling.result() == b"!"
    took = time.monotonic() - begin
    assert took < SOON, f"an honest caller waited for {took:.1f} s"


ATTACKS = [
    say_nothing,
    say_one_byte,
    say_it_slowly,
    say_hello_and_read_nothing,
    force_a_mechanism_that_waits,
    talk_without_end,
    say_rubbish,
    hang_up,
]


@pytest.mark.parametrize("say", ATTACKS)
def test_others_come_in_meanwhile(
    server: adma.Listener, say: Callable[[socket.socket], None]
) -> None:
    before = open_fds()
    with Attacker(MALLORY, call_again_and_again(server.address, 60, say)):
        with pytest.raises(TimeoutError):
            server.accept(timeout=1)  # they have taken what places they can by then
        for uid in (ALICE, None, BOB):
            comes_in(server, uid)
            assert open_fds() - before < 150


@pytest.mark.parametrize("say", [say_it_slowly, talk_without_end])
def test_accept_ends_in_time_whatever_guests_say(
    server: adma.Listener, say: Callable[[socket.socket], None]
) -> None:
    with Attacker(MALLORY, call_again_and_again(server.address, 20, say)):
        begin = time.monotonic()
        with pytest.raises(TimeoutError):
            server.accept(timeout=1)
        assert time.monotonic() - begin < 3 * SLOWNESS


def test_silent_guests_do_not_fill_the_table(server: adma.Listener) -> None:
    before = open_fds()
    with Attacker(MALLORY, call_again_and_again(server.address, MANY, say_nothing)):
        with pytest.raises(TimeoutError):
            server.accept(timeout=3)
        assert open_fds() - before < 50
        comes_in(server, ALICE)


def test_users_take_turns() -> None:
    """Whoever calls again at once stands behind those of other users that came later."""
    callers = Callers()
    pairs = [socket.socketpair() for _ in range(4)]
    terms = Terms("test", client=False, called=True)
    of_bob = [Caller(here, terms, HANG) for here, _ in pairs[:3]]
    of_alice = Caller(pairs[3][0], terms, HANG)
    for caller in (*of_bob, of_alice):
        caller.uid = ALICE if caller is of_alice else BOB
        callers.put(caller)
    assert callers.take(of_bob[0])
    assert callers.in_turn([*of_bob[1:], of_alice]) == [of_alice, *of_bob[1:]]
    assert callers.take(of_alice)
    callers.put(of_alice)
    assert callers.in_turn([of_alice, *of_bob[1:]]) == [*of_bob[1:], of_alice]
    of_bob[0].close()
    callers.close()
    for _, there in pairs:
        there.close()


def test_two_users_attack_and_a_third_comes_in(server: adma.Listener) -> None:
    attack = call_again_and_again(server.address, 40, say_one_byte)
    with Attacker(MALLORY, attack), Attacker(BOB, attack):
        comes_in(server, ALICE)


def test_one_user_does_not_take_all_places(server: adma.Listener) -> None:
    """Those that are left unread keep their places, until they are read or hung up on."""

    def attack(ready: Callable[[], None]) -> object:
        kept = []
        ready()
        for _ in range(100):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(server.address)
            send_hello(sock)
            sock.shutdown(socket.SHUT_WR)  # this handshake fails, and its descriptors stay here
            kept.append(sock)
        return kept

    with Attacker(MALLORY, attack):
        with pytest.raises(TimeoutError):
            server.accept(timeout=2)
        held = len(server._callers._owing)
        assert 0 < held <= 16
        refusal = InChild(lambda: (become(MALLORY), adma.connect("test@0", timeout=3)))
        with pytest.raises(TimeoutError):
            server.accept(timeout=2)
        with pytest.raises(OSError, match="as many callers") as info:
            refusal.result()
        assert info.value.errno == errno.EBUSY
        comes_in(server, ALICE)
    comes_in(server, MALLORY)  # the attacker is gone, and with it what it had not read
    assert not server._callers._owing


def test_a_guest_that_reads_nothing_is_not_let_in(server: adma.Listener) -> None:
    """It says all that is said in a handshake, and leaves unread what was passed to it.

    As a channel it would keep that for as long as it likes, and call again.
    """

    def attack(ready: Callable[[], None]) -> object:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(server.address)
        wire = Wire(sock, time.monotonic() + HANG)
        wire.send(lib.ADMA_ROUND_HELLO, [hello_entry(mechanisms=0)])
        ready()
        select.select([sock], [], [])  # before that, the kernel may refuse to pass a descriptor
        fd = segment_fd()
        wire.send(lib.ADMA_ROUND_OFFER, [Entry(0, 0, b"", [fd])])
        wire.send(lib.ADMA_ROUND_ANSWER, [])
        wire.send(lib.ADMA_ROUND_VERDICT, [])
        return sock

    with Attacker(MALLORY, attack):
        with pytest.raises(TimeoutError):
            server.accept(timeout=SOON)
        assert len(server._callers._owing) == 1  # and counts against its user
        comes_in(server, ALICE)


def test_the_victims_user_can_still_pass_descriptors(place: Path) -> None:
    """What a guest leaves unread counts against the user of the listener."""
    limit = 128
    own = place / "own"
    own.mkdir(0o700)
    os.chown(own, BOB, BOB)

    def victim() -> int:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        become(BOB)
        os.environ["XDG_RUNTIME_DIR"] = str(own)
        with adma.listen("test", mode=0o666) as server:
            with contextlib.suppress(TimeoutError):
                server.accept(timeout=3)
            ours, theirs = socket.socketpair()
            with ours, theirs:
                for _ in range(20):
                    socket.send_fds(ours, [b"x"], [0])  # ETOOMANYREFS: too many are under way
            return 20

    path = place / "open" / f"adma-{BOB}-open" / "test.sock"

    def attack(ready: Callable[[], None]) -> object:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
        ready()
        kept = []
        for n in range(700):
            with contextlib.suppress(OSError):
                sock = socket.socket(socket.AF_UNIX)
                while sock.connect_ex(str(path)):
                    time.sleep(0.01)
                if n % 2:
                    send_hello(sock)
                else:
                    sock.send(HELLO[:1])
                sock.shutdown(socket.SHUT_WR)
                kept.append(sock)
        return kept

    with Attacker(MALLORY, attack):
        assert InChild(victim).result() == 20


def test_a_caller_without_a_place_tries_again(place: Path) -> None:
    path = str(place / "busy")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        calling = InThread(lambda: adma.connect(path, timeout=HANG))
        for _ in range(3):
            sock, _ = server.accept()
            with sock:
                wire = Wire(sock, time.monotonic() + HANG)
                wire.receive().close()
                wire.send(lib.ADMA_ROUND_REFUSED, [Entry(0, errno.EBUSY, b"no place")])
        sock, _ = server.accept()
        with adma.from_socket(sock, timeout=HANG) as channel, calling.result() as other:
            other.write(b"in", timeout=HANG)
            assert channel.read(bytearray(2), timeout=HANG) == 2


def test_a_called_end_says_nothing_to_who_says_nothing(server: adma.Listener) -> None:
    """Not a byte and no descriptor goes to a caller before its hello is there."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(server.address)
        sock.send(HELLO[:-1])
        with pytest.raises(TimeoutError):
            server.accept(timeout=0)
        with pytest.raises(BlockingIOError):
            sock.recv(1, socket.MSG_DONTWAIT)
        sock.send(HELLO[-1:])
        with pytest.raises(TimeoutError):
            server.accept(timeout=0)
        wire = Wire(sock, time.monotonic() + HANG)
        records: list[Record] = [wire.receive(), wire.receive()]
        for record in records:
            record.close()
        assert [record.round for record in records] == [lib.ADMA_ROUND_HELLO, lib.ADMA_ROUND_OFFER]


def test_ones_own_callers_are_not_counted(server: adma.Listener) -> None:
    silent = [socket.socket(socket.AF_UNIX) for _ in range(100)]
    for sock in silent:
        sock.connect(server.address)
    calling = InThread(lambda: adma.connect("test", timeout=HANG))
    with server.accept(timeout=HANG), calling.result():
        assert len(server._callers.all()) > 16
    for sock in silent:
        sock.close()
