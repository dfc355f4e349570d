# SPDX-License-Identifier: BSD-3-Clause
"""`loopback:tcp` against a peer that lies, a stranger who connects, and a stream that is reset.

A peer that is hostile speaks the handshake by hand. A *service* is any server on 127.0.0.1 that
the peer would like to have something said to, under the name of its victim.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import shutil
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import adma
from adma._core._native import lib
from adma.connect.record import Entry, Record, Wire
from adma.handshake.handshake import Terms, shake
from adma.handshake.link import Link
from adma.mechanisms import NAMES, loopback, shared
from adma.messages.worker import Worker
from adma.testing.limits import HANG, LARGE, MIB, SLOWNESS
from support import places
from support.calls.computing import progress_stats
from support.endpoints import (
    NOBODY_SPECIAL,
    InChild,
    InThread,
    become,
    hello_entry,
    pair,
    segment_fd,
    terms,
    try_shake,
)
from support.workers import connect

TCP = lib.ADMA_MECH_TCP
NAME = "loopback:tcp"
ALL = sum(1 << number for number in NAMES)
OFFER, ANSWER, VERDICT = lib.ADMA_ROUND_OFFER, lib.ADMA_ROUND_ANSWER, lib.ADMA_ROUND_VERDICT
KEY = b"FLUSHALL\r\nSHUTDOWN NOSAVE\r\n".ljust(32, b"\n")
PROOF = 32
CLONE_NEWNET = 0x40000000
WATCHED = 0.5  # seconds for which an event loop is watched
FEW = 20  # turns of a loop that is not at full speed, in that time


# A service


class Service:
    """A server that hears what somebody says, and hangs up. What was said can be asked."""

    def __init__(self) -> None:
        self._sock = socket.create_server(("127.0.0.1", 0))
        self._said: list[bytes] = []
        self._serving = InThread(self._serve)
        self.port = self._sock.getsockname()[1]

    def _serve(self) -> None:
        with self._sock, contextlib.suppress(OSError):
            while True:
                sock, _ = self._sock.accept()
                with sock:
                    sock.settimeout(HANG)
                    self._said.append(sock.recv(4096))

    def heard(self) -> list[bytes]:
        """What each caller said; it ends the service."""
        self._sock.shutdown(socket.SHUT_RDWR)
        self._serving.result()
        return self._said


def read_to_the_end(sock: socket.socket) -> bytes:
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while part := sock.recv(4096):
            said += part
    return said


# A peer that speaks by hand


@dataclass
class Liar:
    """Says hello, and then what it was told to say about `loopback:tcp`, and nothing else."""

    sock: socket.socket
    offer: bytes = b""
    answer: bytes = b""
    nonce: bytes = b"\0" * 16  # smaller than any other
    act: Callable[[Liar], None] = lambda liar: None  # when the other end has offered
    offered: bytes = b""
    answered: Entry | None = None
    refused: list[str] = field(default_factory=list)

    def run(self) -> Liar:
        with self.sock:
            wire = Wire(self.sock, time.monotonic() + HANG)
            with contextlib.suppress(adma.PeerDied, BrokenPipeError):
                self._talk(wire)
        return self

    def _talk(self, wire: Wire) -> None:
        entry = hello_entry(mechanisms=ALL, forced=TCP, pid=os.getpid())
        entry.data = entry.data.replace(bytes(range(16)), self.nonce)
        wire.send(lib.ADMA_ROUND_HELLO, [entry])
        self._hear(wire).close()
        segment = segment_fd()
        wire.send(OFFER, [Entry(0, 0, b"", [segment]), *self._entries(self.offer)])
        os.close(segment)
        with self._hear(wire) as record:
            self.offered = said(record).data
        self.act(self)
        wire.send(ANSWER, self._entries(self.answer))
        with self._hear(wire) as record:
            self.answered = said(record)
        wire.send(VERDICT, self._entries(b""))
        self._hear(wire).close()

    def _hear(self, wire: Wire) -> Record:
        record = wire.receive()
        if record.round == lib.ADMA_ROUND_REFUSED:
            self.refused.append(record.entries[0].text())
        return record

    @staticmethod
    def _entries(data: bytes) -> list[Entry]:
        others = [Entry(number, errno.ENOSYS, b"no\0") for number in NAMES if number != TCP]
        return [Entry(TCP, 0, data), *others]


def said(record: Record) -> Entry:
    return record.entry(TCP) or Entry(TCP)


def offer(port: int, where: str = "127.0.0.1", *, called: bool = True) -> bytes:
    return loopback._OFFER.pack(port, called, KEY) + where.encode()


def lie_to(victim: Terms, **lies: Any) -> tuple[Liar, Exception]:
    """What a victim's handshake with a liar ends with."""
    ours, theirs = pair()
    lying = InThread(Liar(theirs, **lies).run)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the caller looks
        try_shake(ours, victim)
    liar: Liar = lying.result()
    return liar, caught.value


# The end that was called connects nowhere


@pytest.fixture
def door() -> Iterator[Path]:
    """The path of a listener that every user can call."""
    place = places.public()
    yield place / "door"
    shutil.rmtree(place)


@pytest.mark.root
@pytest.mark.parametrize("nonce", [b"\0" * 16, b"\xff" * 16])
@pytest.mark.parametrize("called", [True, False])
def test_a_called_end_is_sent_nowhere(door: Path, nonce: bytes, called: bool) -> None:
    """A caller of another user, in a network of its own, offers an address of the listener's."""
    service = Service()

    def attack() -> tuple[int, bool]:
        ctypes.CDLL(None).unshare(CLONE_NEWNET)
        become(NOBODY_SPECIAL)
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(door))
        liar = Liar(sock, offer=offer(service.port, called=called), nonce=nonce).run()
        return len(liar.offered), liar.answered is not None

    with adma.listen(door, mode=0o666) as server:
        accepting = InThread(lambda: server.accept(timeout=HANG))
        offered, answered = InChild(attack).result()
        assert offered > loopback._OFFER.size, "the listener did not tell where it listens"
        assert answered, "the listener did not look at what the caller offered"
        with adma.connect(door, timeout=HANG, mechanism=NAME), accepting.result():
            pass  # an honest one gets through
    assert service.heard() == []


def test_the_key_is_the_listeners() -> None:
    """What the listening end passes is new each time, whatever the caller says."""
    victim = Terms("test", client=False, called=True)
    keys = {
        loopback._OFFER.unpack_from(lie_to(victim, offer=offer(1))[0].offered)[2] for _ in range(3)
    }
    assert len(keys) == 3
    assert KEY not in keys


# The end that connects


def test_a_service_hears_nothing_that_a_listener_chose() -> None:
    """A listener sends its caller to a service of this machine: 32 bytes that it cannot choose."""
    service = Service()
    liar, error = lie_to(terms(TCP, client=True), offer=offer(service.port))
    assert isinstance(error, adma.MechanismUnavailable)
    (heard,) = service.heard()
    assert len(heard) == PROOF
    assert not any(KEY[i : i + 4] in heard for i in range(len(KEY) - 3))
    assert liar.answered is not None


def test_a_caller_says_something_else_each_time() -> None:
    """Also where nonce and key are the same: the salt comes after the key."""
    found = set()
    for _ in range(3):
        service = Service()
        lie_to(terms(TCP, client=True), offer=offer(service.port))
        found.update(service.heard())
    assert len(found) == 3


@pytest.mark.parametrize(
    "where",
    ["0.0.0.0", "192.0.2.1", "10.0.0.1", "::", "::ffff:127.0.0.1", "2001:db8::1", "169.254.0.1"],
)
def test_an_address_that_is_no_loopback(where: str) -> None:
    service = Service()
    _, error = lie_to(terms(TCP, client=True), offer=offer(service.port, where))
    assert isinstance(error, adma.MechanismUnavailable)
    assert "no loopback address" in error.cause
    assert "ADMA_LOOPBACK_ADDRESS" in error.cure
    assert service.heard() == []


def test_an_address_that_this_end_is_set_to(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service()
    monkeypatch.setenv("ADMA_LOOPBACK_ADDRESS", "192.0.2.1")
    _, error = lie_to(terms(TCP, client=True), offer=offer(service.port, "192.0.2.1"))
    assert isinstance(error, adma.MechanismUnavailable)
    assert "no interface of this machine" in error.cause
    assert service.heard() == []


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\x01",
        offer(80)[:-9],
        offer(0),
        offer(80, "localhost"),
        offer(80, "127.1"),
        offer(80, "127.0.0.1\0"),
        offer(80, "\x1b[31m127.0.0.1"),
        offer(80, "1" * 3000),
    ],
    ids=range(9),
)
def test_an_offer_that_is_malformed(bad: bytes) -> None:
    _, error = lie_to(terms(TCP, client=True), offer=bad)
    assert isinstance(error, adma.MechanismUnavailable)
    assert error.errno == errno.EPROTO
    assert "\x1b" not in str(error)


def test_who_answers_repeats_what_it_hears() -> None:
    """A proof that comes back is none: each direction has its own."""
    server = socket.create_server(("127.0.0.1", 0))

    def echo() -> bytes:
        with server:
            sock, _ = server.accept()
            with sock:
                sock.settimeout(HANG)
                heard = sock.recv(PROOF, socket.MSG_WAITALL)
                sock.sendall(heard)
                return read_to_the_end(sock)

    echoing = InThread(echo)
    _, error = lie_to(terms(TCP, client=True), offer=offer(server.getsockname()[1]))
    assert isinstance(error, adma.MechanismUnavailable)
    assert error.errno == errno.EPROTO
    assert echoing.result() == b""


# Who connects to a listening end


@pytest.mark.parametrize(
    "says", [b"", b"\0" * PROOF, b"x" * 100_000, KEY], ids=["nothing", "zeros", "much", "key"]
)
def test_a_caller_that_cannot_prove_who_it_is(says: bytes) -> None:
    """It comes from the port that it told, and says the key itself, or anything else."""
    held: list[socket.socket] = []

    def act(liar: Liar) -> None:
        port, _, key = loopback._OFFER.unpack_from(liar.offered)
        sock = socket.socket()
        held.append(sock)
        sock.bind(("127.0.0.1", 0))
        sock.connect(("127.0.0.1", port))
        with contextlib.suppress(OSError):
            sock.setblocking(False)
            sock.send(key if says == KEY else says)
        liar.answer = loopback._ANSWER.pack(sock.getsockname()[1], bytes(16))

    begun = time.monotonic()
    _, error = lie_to(Terms("test", client=False, called=True), act=act)
    assert isinstance(error, adma.MechanismUnavailable)
    assert error.errno == (errno.EPROTO if says else errno.ETIMEDOUT)
    assert time.monotonic() - begun < loopback._PATIENCE * SLOWNESS  # nobody waits for it
    with held[0] as sock:
        sock.settimeout(HANG)
        assert read_to_the_end(sock) == b""


@pytest.mark.parametrize("bad", [b"", b"\1", bytes(17), bytes(19), bytes(3000)], ids=len)
def test_an_answer_that_is_malformed(bad: bytes) -> None:
    _, error = lie_to(Terms("test", client=False, called=True), answer=bad)
    assert isinstance(error, adma.MechanismUnavailable)
    assert error.errno == errno.EPROTO


def test_a_caller_that_never_connects_holds_nobody_up() -> None:
    """It says that it does. The listener serves another one before long."""
    name = f"never-{os.getpid()}"

    def lie() -> Liar:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(server.address)
        return Liar(sock, answer=loopback._ANSWER.pack(9, bytes(16))).run()

    with adma.listen(name) as server:
        lying = InThread(lie)
        connecting = InThread(lambda: adma.connect(name, timeout=HANG, mechanism=NAME))
        channel = server.accept(timeout=HANG)
        with channel, connecting.result() as other:
            writing = other.iwrite(b"x")
            assert channel.read(bytearray(1), timeout=HANG) == 1
            writing.wait(HANG)
        lying.result()


# Strangers


def both(first: int, second: int) -> list[dict[str, Any]]:
    """Two sound ends in this process."""
    ours, theirs = pair()
    other = InThread(lambda: try_shake(theirs, terms(second)))
    return [try_shake(ours, terms(first)), other.result()]


def test_strangers_are_dropped_unheard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many call first: silent ones, some that say something, and some that have gone again."""
    strangers: list[socket.socket] = []
    listen = loopback.LoopbackTCP._listen

    def listen_behind_strangers(self: loopback.LoopbackTCP) -> None:
        listen(self)
        for i in range(100):
            sock = socket.create_connection(("127.0.0.1", self._port))
            if i % 3 == 0:
                sock.sendall(b"\0" * PROOF)
            if i % 3 == 1:
                sock.close()
            else:
                strangers.append(sock)

    monkeypatch.setattr(loopback.LoopbackTCP, "_listen", listen_behind_strangers)
    for found in both(TCP, 0):
        assert found["tcp"]
    for stranger in strangers:
        with stranger:
            stranger.settimeout(HANG)
            assert read_to_the_end(stranger) == b"", "a stranger was told something"


@pytest.mark.root
def test_a_flood_of_strangers_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user connects again and again, from before the caller does until it has.

    The queue of those who wait to be let in is full all the time, for which it is made short.
    """
    monkeypatch.setattr(loopback, "_BACKLOG", 16)
    ports, tell = os.pipe()
    flooded, flooding = os.pipe()
    listen = loopback.LoopbackTCP._listen

    def flood() -> None:
        os.close(tell)
        become(NOBODY_SPECIAL)
        port = int(os.read(ports, 20))
        held = []
        while not select.select([ports], [], [], 0)[0]:
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
            held.append(sock)
            if len(held) == 500:
                with contextlib.suppress(OSError):
                    os.write(flooding, b"!")
                for each in held:
                    each.close()
                held.clear()

    child = InChild(flood)

    def listen_in_the_flood(self: loopback.LoopbackTCP) -> None:
        listen(self)
        os.write(tell, str(self._port).encode())
        assert os.read(flooded, 1) == b"!"

    monkeypatch.setattr(loopback.LoopbackTCP, "_listen", listen_in_the_flood)
    ours, theirs = pair()
    try:
        called = Terms("test", client=False, called=True, forced=TCP)
        other = InThread(lambda: try_shake(theirs, called))
        assert try_shake(ours, terms(0, client=True))["tcp"]
        assert other.result()["tcp"]
    finally:
        os.close(tell)
        child.result()
        for fd in (ports, flooded, flooding):
            os.close(fd)


# Who listens, and who connects


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"client": False, "called": True}, {"client": True}),
        ({"client": False}, {"client": True}),
        ({"client": False, "called": True}, {"client": False}),
        ({"client": False}, {"client": False}),
    ],
    ids=["listener", "server by from_socket", "client by from_socket", "pair"],
)
def test_all_ways_to_meet(ours: dict[str, bool], theirs: dict[str, bool]) -> None:
    for _ in range(4):  # the nonces differ
        near, far = pair()
        other = InThread(lambda: try_shake(far, Terms("test", **theirs)))  # noqa: B023
        for found in (try_shake(near, Terms("test", forced=TCP, **ours)), other.result()):
            assert found["tcp"]


@pytest.mark.parametrize("where", ["127.0.0.9", "0.0.0.0"])
def test_an_address_that_both_are_set_to(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMA_LOOPBACK_ADDRESS", where)
    for found in both(TCP, 0):
        assert found["tcp"]


# Between users


def between_users(forced: int) -> list[dict[str, Any]]:
    ours, theirs = pair()

    def act() -> dict[str, Any]:
        become(NOBODY_SPECIAL)
        found = try_shake(theirs, terms(client=True))
        for way in ("out", "in"):
            found[way] = {name: refusal and str(refusal) for name, refusal in found[way].items()}
        return found

    child = InChild(act, theirs)
    return [try_shake(ours, terms(forced)), child.result()]


@pytest.mark.root
def test_it_is_not_tried_between_users(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: loopback.LoopbackTCP) -> None:
        raise AssertionError("it was tried")

    monkeypatch.setattr(loopback.LoopbackTCP, "__init__", never)
    for found in between_users(0):
        assert not found["tcp"]
        assert found["out"]["shared"] is None
        for way in ("out", "in"):
            assert "not tried between users" in str(found[way][NAME])
            assert f"mechanism='{NAME}'" in str(found[way][NAME])


@pytest.mark.root
def test_it_is_tried_between_users_where_it_is_forced() -> None:
    for found in between_users(TCP):
        assert found["tcp"]
        assert found["out"][NAME] is found["in"][NAME] is None


@pytest.mark.root
def test_it_is_tried_between_users_where_nothing_else_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(self: shared.Shared) -> Entry:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(shared.Shared, "offer", fail)
    for found in between_users(0):
        assert found["tcp"]
        assert found["out"][NAME] is found["in"][NAME] is None
        assert found["out_mask"] == found["in_mask"] == 1 << TCP


# A stream that is reset


def reset(fd: int) -> None:
    """Break a TCP connection off. The peer is told; the descriptor stays."""
    libc = ctypes.CDLL(None, use_errno=True)
    nowhere = struct.pack("H14x", socket.AF_UNSPEC)
    assert libc.connect(fd, nowhere, len(nowhere)) == 0


def turns(fd: int, look: Callable[[], object]) -> tuple[int, Exception | None]:
    """An event loop: how often it turns, and the error with which it ends."""
    end, count = time.monotonic() + WATCHED, 0
    while (left := end - time.monotonic()) > 0:
        if not select.select([fd], [], [], left)[0]:
            break
        count += 1
        try:
            look()
        except (adma.ChannelEnded, OSError) as error:
            return count, error
    return count, None


@contextlib.contextmanager
def channels() -> Iterator[tuple[adma.Channel, adma.Channel, list[int]]]:
    """Two ends of a channel over `loopback:tcp`, and the descriptors of the streams."""
    ours, theirs = pair()
    other = InThread(lambda: shake(theirs, terms(TCP), HANG))
    with ours, theirs:
        links: list[Link] = [shake(ours, terms(TCP), HANG), other.result()]
        for sock in (ours, theirs):
            with contextlib.suppress(OSError):
                sock.detach()
    near, far = (adma.Channel(link) for link in links)
    try:
        yield near, far, [link.fds[TCP] for link in links]
    finally:
        for each in (near, far):
            with contextlib.suppress(TimeoutError):
                each.close(timeout=0)


def read_one(channel: adma.Channel, nbytes: int) -> Callable[[], object]:
    def look() -> object:
        with contextlib.suppress(TimeoutError):
            return channel.read(bytearray(nbytes), timeout=0)
        return None

    return look


@pytest.mark.parametrize("which", [0, 1], ids=["ours", "theirs"])
@pytest.mark.parametrize("case", ["idle", "reading", "writing", "a message", "used"])
def test_an_event_loop_over_a_channel(case: str, which: int) -> None:
    with channels() as (near, far, fds):
        messages, completions = near.fileno(), near.fileno("completions")
        requests = []
        if case == "reading":
            requests.append(near.iread(bytearray(MIB)))
        if case == "writing":
            requests.append(near.iwrite(bytes(MIB)))
        if case == "a message":
            far.iwrite(bytes(MIB))
        if case == "used":
            writing = far.iwrite(bytes(LARGE))
            near.read(bytearray(LARGE), timeout=HANG)
            writing.wait(HANG)
        before = progress_stats()["wakeups"]
        reset(fds[which])
        count, error = turns(messages, read_one(near, MIB) if not requests else near.iprobe)
        assert count < FEW
        assert isinstance(error, adma.ChannelEnded) == (case == "a message")
        count, error = turns(completions, lambda: [request.check() for request in requests])
        assert count < FEW
        assert progress_stats()["wakeups"] - before < FEW


@pytest.mark.parametrize("which", [0, 1], ids=["ours", "theirs"])
def test_a_transfer_that_is_reset_is_told_once(which: int) -> None:
    with channels() as (near, far, fds):
        completions = near.fileno("completions")
        writing = far.iwrite(bytes(64 * MIB))
        reading = near.iread(bytearray(64 * MIB))
        reset(fds[which])
        count = 0
        with pytest.raises(adma.ChannelEnded):
            while not reading.check():
                assert select.select([completions], [], [], HANG)[0]
                count += 1
                assert count < 100_000
        before = progress_stats()["wakeups"]
        assert turns(completions, lambda: None) == (0, None)
        assert turns(near.fileno(), near.iprobe)[0] <= 1  # the end, or nothing
        assert progress_stats()["wakeups"] - before < FEW
        with contextlib.suppress(adma.ChannelEnded, OSError):
            writing.wait(HANG)


def test_a_sleeper_on_a_channel_sleeps_on() -> None:
    """Whoever waits for a message is not woken again and again."""
    with channels() as (near, _, fds):
        reset(fds[1])
        before = near.stats()["sleeps"]
        with pytest.raises(TimeoutError):
            near.read(bytearray(MIB), timeout=WATCHED)
        assert near.stats()["sleeps"] - before < FEW


@contextlib.contextmanager
def workers() -> Iterator[tuple[Worker, Worker, int, int]]:
    near, far = Worker(), Worker()
    try:
        yield near, far, *connect(near, far, NAME)
    finally:
        for each in (near, far):
            with contextlib.suppress(TimeoutError):
                each.close(0)


def stream(worker: Worker, number: int) -> int:
    link = worker.links[number]
    assert link is not None
    return link.fds[TCP]


@pytest.mark.parametrize("which", [0, 1], ids=["ours", "theirs"])
@pytest.mark.parametrize("case", ["idle", "receiving", "sending", "used"])
def test_an_event_loop_over_a_worker(case: str, which: int) -> None:
    """Its own descriptor, a thread that sleeps on it, and the progress thread."""
    with workers() as (near, far, here, there):
        fd = lib.adma_worker_fileno(near.handle)
        if case == "receiving":
            near.receive(here, 1, bytearray(MIB))
        if case == "sending":
            near.send(here, 1, bytes(MIB))
        if case == "used":
            receiving = near.receive(here, 1, bytearray(MIB))
            far.send(there, 1, bytes(MIB)).wait(HANG)
            receiving.wait(HANG)
        before = progress_stats()["wakeups"]
        reset((stream(near, here), stream(far, there))[which])
        assert turns(fd, near.progress)[0] < FEW
        assert not near.wait_message(WATCHED)
        assert not select.select([fd], [], [], 0)[0]
        assert progress_stats()["wakeups"] - before < FEW


@pytest.mark.parametrize("which", [0, 1], ids=["ours", "theirs"])
@pytest.mark.parametrize("seen", [False, True], ids=["unseen", "seen"])
def test_a_worker_is_told_once(which: int, seen: bool) -> None:
    """The next message over a stream that was reset fails, also if it is polled no more."""
    with workers() as (near, far, here, there):
        fd = lib.adma_worker_fileno(near.handle)
        reset((stream(near, here), stream(far, there))[which])
        if seen:
            assert turns(fd, near.progress)[0] < FEW
            far.progress()
        sending = far.send(there, 1, bytes(MIB))
        receiving = near.receive(here, 1, bytearray(MIB))
        for request in (receiving, sending):
            with pytest.raises((adma.ChannelEnded, OSError)):
                request.wait(HANG)
        before = progress_stats()["wakeups"]
        assert turns(fd, near.progress)[0] < FEW
        assert progress_stats()["wakeups"] - before < FEW


# A stream that says more than it should


@pytest.mark.parametrize("polled", [False, True], ids=["not polled", "polled"])
@pytest.mark.parametrize("others", [0, 6])
def test_bytes_of_no_message_wake_no_worker(polled: bool, others: int) -> None:
    """They come when the last transfer is over, and nobody reads them."""
    with contextlib.ExitStack() as stack, workers() as (near, far, here, there):
        fd = lib.adma_worker_fileno(near.handle) if polled else -1
        for _ in range(others):
            idle = Worker()
            connect(near, idle, NAME)
            stack.callback(idle.close, 0)
        receiving = near.receive(here, 1, bytearray(MIB))
        assert not near.wait([receiving], 0.05)  # and so its stream is polled
        sending = far.send(there, 1, bytes(MIB))
        assert receiving.wait(HANG) == MIB
        sending.wait(HANG)
        before = progress_stats()["wakeups"]
        with socket.socket(fileno=os.dup(stream(far, there))) as sock:
            sock.send(b"x" * 1000)
        if polled:
            assert turns(fd, near.progress)[0] < FEW
        select.select([], [], [], WATCHED)
        assert progress_stats()["wakeups"] - before < FEW
        assert not near.wait_message(WATCHED)


@pytest.mark.parametrize("case", ["idle", "reading", "writing"])
def test_bytes_of_no_message_wake_no_channel(case: str) -> None:
    with channels() as (near, _, fds):
        completions = near.fileno("completions")
        requests = [near.iread(bytearray(MIB))] if case == "reading" else []
        if case == "writing":
            requests.append(near.iwrite(bytes(MIB)))
        before = progress_stats()["wakeups"]
        with socket.socket(fileno=os.dup(fds[1])) as sock:
            sock.send(b"x" * 1000)
        assert turns(completions, lambda: [request.check() for request in requests])[0] < FEW
        assert turns(near.fileno(), near.iprobe)[0] < FEW
        assert progress_stats()["wakeups"] - before < FEW
