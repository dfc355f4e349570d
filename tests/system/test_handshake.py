# SPDX-License-Identifier: BSD-3-Clause
"""The handshake: what two ends agree on, and what becomes of ends that misbehave."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import adma
from adma._core._native import lib
from adma.connect.identity import own_credentials, peers_pidfd
from adma.connect.record import Entry, Wire, pack
from adma.handshake.handshake import Handshake, shake
from adma.mechanisms import NAMES, Refusal, check_name, loopback
from adma.mechanisms.cma import Circumstances, explain
from adma.testing.limits import HANG, SHORT
from support.endpoints import (
    NOBODY_SPECIAL,
    InChild,
    InThread,
    become,
    forbid_vm_calls,
    hello,
    hello_entry,
    pair,
    segment_fd,
    set_dumpable,
    terms,
    try_shake,
)
from support.mechanisms import FORCED

IDS = [number for number, name in NAMES.items() if name in FORCED]
#: What is tried whatever is forced.
EVERYWHERE = {"shared", "mapped:cma", "loopback:tcp"}
NEWER = lib.ADMA_WIRE_VERSION + 1
KINDS = [socket.SOCK_STREAM, socket.SOCK_SEQPACKET]
ROUNDS = [
    lib.ADMA_ROUND_HELLO,
    lib.ADMA_ROUND_OFFER,
    lib.ADMA_ROUND_ANSWER,
    lib.ADMA_ROUND_VERDICT,
]


def both(first: int = 0, second: int = 0, kind: socket.SocketKind = socket.SOCK_STREAM) -> list:
    """Two ends in this process: their summaries, or the errors they raised."""
    ours, theirs = pair(kind)
    other = InThread(lambda: try_shake(theirs, terms(second)))
    results = []
    for run in (lambda: try_shake(ours, terms(first)), other.result):
        try:
            results.append(run())
        except Exception as error:
            results.append(error)
    return results


# Two sound ends


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("forced", [(0, 0), *((n, n) for n in IDS), *((0, n) for n in IDS)])
def test_both_know_the_same(kind: socket.SocketKind, forced: tuple[int, int]) -> None:
    one, two = both(*forced, kind=kind)
    assert one["out"] == two["in"] == one["in"] == two["out"]
    works = {name for name, refusal in one["out"].items() if refusal is None}
    assert works == EVERYWHERE | ({NAMES[forced[1]]} if forced[1] else set())
    assert one["forced"] == two["forced"] == NAMES.get(forced[1])
    keeps_tcp = forced[1] == lib.ADMA_MECH_TCP
    assert one["tcp"] is two["tcp"] is keeps_tcp
    assert bool(one["out_mask"] >> lib.ADMA_MECH_TCP & 1) is keeps_tcp
    assert one["pid"] == os.getpid()
    assert one["allow_pickle"]


def test_each_end_forces_another() -> None:
    for error, mine, other in zip(
        both(lib.ADMA_MECH_SHARED, lib.ADMA_MECH_CMA),
        ("shared", "mapped:cma"),
        ("mapped:cma", "shared"),
        strict=True,
    ):
        assert isinstance(error, adma.MechanismUnavailable)
        assert error.cause == f"this end forces {mine}, the other {other}"
        assert error.cure


def test_an_unknown_mechanism() -> None:
    assert check_name("auto") == 0
    with pytest.raises(ValueError, match="auto, shared, mapped:cma, loopback:tcp"):
        check_name("mapped")


def test_the_socket_is_read_to_the_verdict_and_not_further() -> None:
    ours, theirs = pair()

    def fast() -> None:
        link = shake(theirs, terms(), HANG)
        os.write(link.sock, b"wake")
        link.discard()

    other = InThread(fast)
    link = shake(ours, terms(), HANG)
    other.result()
    with socket.socket(fileno=os.dup(link.sock)) as sock:
        sock.setblocking(True)
        assert sock.recv(100) == b"wake"
    link.discard()


def test_the_other_end_is_another_process() -> None:
    ours, theirs = pair()
    child = InChild(lambda: (try_shake(theirs, terms()), os.getpid()), theirs)
    here = try_shake(ours, terms())
    there, pid = child.result()
    assert (here["pid"], there["pid"]) == (pid, os.getpid())
    assert here["out"]["mapped:cma"] is None


# Ends that misbehave


def hostile(act: Callable[[Wire, socket.socket], None], timeout: float = HANG) -> Exception:
    """The error of a sound end whose peer does what `act` says, and then hangs up."""
    ours, theirs = pair()

    def run() -> None:
        with theirs:
            act(Wire(theirs, time.monotonic() + HANG), theirs)
            # Hang up, but let the other end say what it has to say.
            theirs.shutdown(socket.SHUT_WR)
            theirs.settimeout(HANG)
            with contextlib.suppress(ConnectionResetError):
                while theirs.recv(4096):
                    pass

    other = InThread(run)
    with pytest.raises(Exception) as info:  # noqa: PT011 - the caller looks
        try_shake(ours, terms(), timeout)
    other.result()
    return info.value


def say_hello(wire: Wire, **fields: int) -> None:
    wire.send(lib.ADMA_ROUND_HELLO, [hello_entry(**fields)])


def say_offer(wire: Wire, fds: list[int]) -> None:
    """An offer that brings descriptors, and nothing for any mechanism."""
    wire.send(lib.ADMA_ROUND_OFFER, [Entry(0, 0, b"", fds)])
    for fd in fds:
        os.close(fd)


def good_fds() -> list[int]:
    return [segment_fd(), os.pidfd_open(os.getpid())]


def test_it_hangs_up_at_once() -> None:
    assert isinstance(hostile(lambda wire, sock: None), adma.PeerDied)


def test_it_hangs_up_after_its_hello() -> None:
    assert isinstance(hostile(lambda wire, sock: say_hello(wire)), adma.PeerDied)


@pytest.mark.parametrize("rubbish", [b"G", b"GET / HTTP/1.1\r\n\r\n", bytes(5000)])
def test_rubbish(rubbish: bytes) -> None:
    error = hostile(lambda wire, sock: sock.sendall(rubbish))
    assert isinstance(error, adma.ProtocolError)
    assert "does not speak adma's protocol" in str(error)


def test_a_newer_version() -> None:
    def act(wire: Wire, sock: socket.socket) -> None:
        data = bytearray(pack(lib.ADMA_ROUND_HELLO, []))
        data[4:8] = bytes([NEWER, 0, NEWER + 2, 0])
        sock.sendall(data)

    error = hostile(act)
    assert isinstance(error, adma.VersionMismatch)
    ours = f"{lib.ADMA_WIRE_OLDEST} to {lib.ADMA_WIRE_VERSION}"
    assert f"{ours}, the other {NEWER} to {NEWER + 2}" in str(error)


def test_the_refused_end_is_told_why() -> None:
    heard = []

    def act(wire: Wire, sock: socket.socket) -> None:
        data = bytearray(pack(lib.ADMA_ROUND_HELLO, []))
        data[4:8] = bytes([NEWER, 0, NEWER + 2, 0])
        sock.sendall(data)
        for _ in range(2):  # its hello, then the refusal
            with wire.receive() as record:
                heard.append((record.round, record.entries[0].error, record.entries[0].text()))

    hostile(act)
    assert heard[1][:2] == (lib.ADMA_ROUND_REFUSED, errno.EPROTONOSUPPORT)
    assert "no wire version in common" in heard[1][2]


def test_silence() -> None:
    start = time.monotonic()
    ours, theirs = pair()
    with theirs, pytest.raises(TimeoutError, match="in time"):
        try_shake(ours, terms(), SHORT)
    assert time.monotonic() - start >= SHORT


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errno.EPERM, PermissionError),
        (errno.EPROTO, adma.ProtocolError),
        (errno.EPROTONOSUPPORT, adma.VersionMismatch),
        (errno.ENOMEM, OSError),
    ],
)
def test_it_refuses(error: int, kind: type[Exception]) -> None:
    refusal = Entry(0, error, b"go \x1b[31m away")
    found = hostile(lambda wire, sock: wire.send(lib.ADMA_ROUND_REFUSED, [refusal]))
    assert isinstance(found, kind)
    assert "the peer refused the handshake: go ?[31m away" in str(found)


def test_it_repeats_what_it_hears() -> None:
    def act(wire: Wire, sock: socket.socket) -> None:
        with wire.receive() as record:
            wire.send(record.round, record.entries)

    assert "only repeats" in str(hostile(act))


@pytest.mark.parametrize(
    ("fds", "word"),
    [
        (list, "lacks a descriptor"),
        (lambda: [segment_fd(), segment_fd()], "in place of its pidfd"),
        (lambda: [os.memfd_create("x"), os.pidfd_open(os.getpid())], "segment cannot be used"),
        (lambda: [os.open("/dev/null", os.O_RDWR), os.pidfd_open(os.getpid())], "segment cannot"),
        (lambda: [os.dup(0) for _ in range(8)], "pidfd"),
    ],
)
def test_its_descriptors_are_not_what_they_should_be(
    fds: Callable[[], list[int]], word: str
) -> None:
    def act(wire: Wire, sock: socket.socket) -> None:
        say_hello(wire, mechanisms=0)
        say_offer(wire, fds())

    error = hostile(act)
    assert isinstance(error, adma.ProtocolError)
    assert word in str(error)


def test_a_pidfd_of_another_process_hides_no_death() -> None:
    """Whatever the peer passes as its own, the one that is used is of the process that sent it."""
    for passed in (-1, os.pidfd_open(os.getppid()), os.pidfd_open(os.getpid())):
        fd = peers_pidfd(passed, own_credentials())
        try:
            told = Path(f"/proc/self/fdinfo/{fd}").read_text()
        finally:
            os.close(fd)
        assert re.search(rf"^Pid:\s+{os.getpid()}$", told, re.MULTILINE)


def test_a_pidfd_is_not_needed() -> None:
    def act(wire: Wire, sock: socket.socket) -> None:
        say_hello(wire, mechanisms=0)
        say_offer(wire, [segment_fd()])

    assert isinstance(hostile(act), adma.PeerDied)  # it was accepted, and then hung up


def test_a_hello_brings_no_descriptors() -> None:
    def act(wire: Wire, sock: socket.socket) -> None:
        fds = good_fds()
        wire.send(lib.ADMA_ROUND_HELLO, [Entry(0, 0, hello(), fds)])
        for fd in fds:
            os.close(fd)

    error = hostile(act)
    assert isinstance(error, adma.ProtocolError)
    assert "hello is malformed" in str(error)


def test_an_end_that_is_called_says_nothing_before_it_has_heard_a_hello() -> None:
    ours, theirs = pair()
    with ours, theirs:
        handshake = Handshake(ours, replace(terms(), called=True), time.monotonic() + HANG)
        assert handshake.step() is None
        with pytest.raises(BlockingIOError):
            theirs.recv(1, socket.MSG_DONTWAIT)
        assert not handshake.has_passed
        wire = Wire(theirs, time.monotonic() + HANG)
        say_hello(wire)
        assert handshake.step() is None
        for round_ in ROUNDS[:2]:
            with wire.receive() as record:
                assert record.round == round_
                assert bool(record.entries[0].fds) is (round_ == lib.ADMA_ROUND_OFFER)
        handshake.abandon()


def test_a_flood_of_descriptors() -> None:
    def act(wire: Wire, sock: socket.socket) -> None:
        socket.send_fds(sock, [pack(lib.ADMA_ROUND_HELLO, [])], [sock.fileno()] * 200)

    assert "more descriptors" in str(hostile(act))


def test_descriptors_on_every_byte() -> None:
    def act(wire: Wire, sock: socket.socket) -> None:
        for byte in pack(lib.ADMA_ROUND_HELLO, [hello_entry()]):
            try:
                socket.send_fds(sock, [bytes([byte])], [sock.fileno()] * 3)
            except (BrokenPipeError, ConnectionResetError):
                return

    assert "more descriptors" in str(hostile(act))


@pytest.mark.parametrize("fields", [{"half_size": 4096}, {"pid": 0}, {"zero": 1}])
def test_an_impossible_hello(fields: dict[str, int]) -> None:
    error = hostile(lambda wire, sock: say_hello(wire, **fields))
    assert isinstance(error, adma.ProtocolError)


def test_it_forces_what_nobody_knows() -> None:
    def act(wire: Wire, sock: socket.socket) -> None:
        say_hello(wire, forced=31)
        with wire.receive():
            pass

    error = hostile(act)
    assert isinstance(error, adma.MechanismUnavailable)
    assert error.mechanism == "number 31"


@pytest.mark.parametrize("skipped", ROUNDS[1:])
def test_it_skips_a_round(skipped: int) -> None:
    def act(wire: Wire, sock: socket.socket) -> None:
        say_hello(wire, mechanisms=0)
        with contextlib.suppress(adma.PeerDied):  # it may find the gap before the end
            for round_ in ROUNDS[1:]:
                if round_ == skipped:
                    continue
                if round_ == lib.ADMA_ROUND_OFFER:
                    say_offer(wire, good_fds())
                else:
                    wire.send(round_, [])
        if skipped == lib.ADMA_ROUND_VERDICT:
            wire.send(lib.ADMA_ROUND_HELLO, [])
        while True:
            try:
                with wire.receive():
                    pass
            except adma.PeerDied:
                return

    error = hostile(act)
    assert isinstance(error, adma.ProtocolError)
    assert "in round" in str(error)


def test_it_says_nothing_about_its_mechanisms() -> None:
    ours, theirs = pair()

    def act() -> None:
        with theirs:
            wire = Wire(theirs, time.monotonic() + HANG)
            say_hello(wire, mechanisms=sum(1 << n for n in NAMES))
            say_offer(wire, good_fds())
            for round_ in ROUNDS[2:]:
                wire.send(round_, [])
            while True:
                try:
                    with wire.receive():
                        pass
                except adma.PeerDied:
                    return

    other = InThread(act)
    found = try_shake(ours, terms())
    other.result()
    for name in ("shared", "loopback:tcp"):
        assert isinstance(found["in"][name], Refusal)
        assert isinstance(found["out"][name], Refusal)
    assert found["in_mask"] == found["out_mask"] == 0


@pytest.mark.faults
@pytest.mark.parametrize("nth", range(1, 5))
def test_a_round_that_fails_here_is_told_there(nth: int) -> None:
    ours, theirs = pair()
    child = InChild(
        lambda: (
            lib.adma_fault_arm(lib.ADMA_FAULT_HANDSHAKE, lib.ADMA_FAULT_FAIL, errno.ENOMEM, nth),
            try_shake(theirs, terms()),
        ),
        theirs,
    )
    with pytest.raises(OSError, match="fault point") as here:
        try_shake(ours, terms())
    assert here.value.errno == errno.ENOMEM
    with pytest.raises(OSError, match="fault point"):
        child.result()


@pytest.mark.faults
@pytest.mark.parametrize("nth", range(1, 5))
def test_the_peer_dies_in_any_round(nth: int) -> None:
    ours, theirs = pair()
    child = InChild(
        lambda: (
            lib.adma_fault_arm(lib.ADMA_FAULT_HANDSHAKE, lib.ADMA_FAULT_DIE, 0, nth),
            try_shake(theirs, terms()),
        ),
        theirs,
    )
    with pytest.raises(adma.PeerDied):
        try_shake(ours, terms())
    with pytest.raises(AssertionError, match=f"status {signal.SIGKILL:d}"):
        child.result()


# Users


@pytest.fixture
def other_user() -> Iterator[Callable[[bool], InChild]]:
    """Begins a handshake in a process of another user."""
    ours, theirs = pair()

    def begin(one_user: bool) -> InChild:
        def run() -> dict:
            become(NOBODY_SPECIAL)
            return try_shake(theirs, terms(one_user=one_user))

        child = InChild(run, theirs)
        child.sock = ours  # type: ignore[attr-defined]
        return child

    yield begin
    ours.close()


@pytest.mark.root
def test_two_users_over_a_socket_they_were_given(other_user: Callable[[bool], InChild]) -> None:
    child = other_user(False)
    here = try_shake(child.sock, terms())  # type: ignore[attr-defined]
    there = child.result()
    assert (here["uid"], there["uid"]) == (NOBODY_SPECIAL, 0)
    for found in (here, there):
        assert not found["same_user"]
        assert not found["allow_pickle"]
        assert found["out"]["shared"] is found["in"]["shared"] is None
        for refusal in (found["out"]["mapped:cma"], found["in"]["mapped:cma"]):
            assert "different users" in refusal.cause
        assert not found["can_pull"]
        assert not found["can_push"]


@pytest.mark.root
def test_two_users_do_not_meet_by_name(other_user: Callable[[bool], InChild]) -> None:
    child = other_user(True)
    with pytest.raises(PermissionError, match=f"uid {NOBODY_SPECIAL}.*from_socket"):
        try_shake(child.sock, terms(one_user=True))  # type: ignore[attr-defined]
    with pytest.raises(PermissionError, match="uid 0"):
        child.result()


# mapped:cma refused


def two_children(
    first: Callable[[], None], second: Callable[[], None], forced: int = 0
) -> tuple[InChild, InChild]:
    """Two ends of one ordinary user; each prepares itself as it is told."""
    ours, theirs = pair()

    def run(prepare: Callable[[], None], sock: socket.socket) -> dict:
        become(NOBODY_SPECIAL)
        prepare()
        return try_shake(sock, terms(forced))

    def run_first() -> dict:
        theirs.close()  # or the other one's death would not be seen
        return run(first, ours)

    one = InChild(run_first, ours)
    two = InChild(lambda: run(second, theirs), theirs)
    return one, two


def nothing() -> None:
    """Prepare nothing."""


def undumpable() -> None:
    set_dumpable(False)


@pytest.mark.root
def test_one_end_that_is_not_dumpable_leaves_the_other_way_of_copying() -> None:
    one, two = (child.result() for child in two_children(nothing, undumpable))
    assert not one["can_pull"]
    assert two["can_pull"]
    assert two["can_push"]
    assert one["out"]["mapped:cma"] is one["in"]["mapped:cma"] is None


@pytest.mark.root
def test_two_ends_that_are_not_dumpable() -> None:
    for child in two_children(undumpable, undumpable):
        found = child.result()
        for refusal in (found["out"]["mapped:cma"], found["in"]["mapped:cma"]):
            assert refusal.errno == errno.EPERM
            assert refusal.cause == "the peer is not dumpable"
            assert "PR_SET_DUMPABLE" in refusal.cure


@pytest.mark.root
@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS])
def test_a_seccomp_filter(number: int) -> None:
    def filtered() -> None:
        forbid_vm_calls(number)

    for child in two_children(filtered, filtered):
        refusal = child.result()["out"]["mapped:cma"]
        assert refusal.errno == number
        assert "seccomp" in refusal.cause
        assert "process_vm_readv" in refusal.cure


@pytest.mark.root
def test_forcing_what_is_refused_fails_on_both_ends() -> None:
    for child in two_children(undumpable, undumpable, lib.ADMA_MECH_CMA):
        with pytest.raises(adma.MechanismUnavailable, match="dumpable") as info:
            child.result()
        assert info.value.mechanism == "mapped:cma"
        assert info.value.errno == errno.EPERM
        assert "PR_SET_DUMPABLE" in info.value.cure


@pytest.mark.parametrize(
    ("number", "found", "cause", "cure"),
    [
        (errno.EPERM, Circumstances(same_user=False), "different users", "one user"),
        (errno.ESRCH, Circumstances(visible=False), "PID namespace", "--pid"),
        (errno.EPERM, Circumstances(same_user_namespace=False), "user namespace", "one user"),
        (errno.EPERM, Circumstances(peer_dumpable=0), "not dumpable", "PR_SET_DUMPABLE"),
        (errno.EPERM, Circumstances(ptrace_scope=1), "is 1, and the peer has not", "ADMA_PTRACER"),
        (
            errno.EPERM,
            Circumstances(ptrace_scope=1, named_another=True),
            "named another",
            "ADMA_PTRACER=any",
        ),
        (errno.EPERM, Circumstances(ptrace_scope=2), "CAP_SYS_PTRACE", "ptrace_scope=1"),
        (errno.EPERM, Circumstances(ptrace_scope=3), "until the next boot", "boot with"),
        (errno.EPERM, Circumstances(seccomp=2), "seccomp", "seccomp profile"),
        (errno.EACCES, Circumstances(), "security module", "same"),
        (errno.ENOSYS, Circumstances(), "seccomp", "CONFIG_CROSS_MEMORY_ATTACH"),
        (errno.ESRCH, Circumstances(), "no process", ""),
        (errno.ESTALE, Circumstances(), "not the peer", ""),
        (errno.EFAULT, Circumstances(), "not the peer", ""),
        (errno.EIO, Circumstances(), "could not be reached", ""),
    ],
)
def test_why_mapped_cma_is_refused(
    number: int, found: Circumstances, cause: str, cure: str
) -> None:
    why, what_to_do = explain(number, found)
    assert cause in why
    assert cure in what_to_do


# loopback:tcp refused


@pytest.mark.parametrize("address", ["192.0.2.1", "nowhere", "2001:db8::1"])
def test_an_address_that_is_not_ours(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMA_LOOPBACK_ADDRESS", address)
    for found in both():
        for refusal in (found["out"]["loopback:tcp"], found["in"]["loopback:tcp"]):
            assert address in refusal.cause
            assert "ADMA_LOOPBACK_ADDRESS" in refusal.cure


def test_forcing_loopback_where_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMA_LOOPBACK_ADDRESS", "192.0.2.1")
    for error in both(0, lib.ADMA_MECH_TCP):
        assert isinstance(error, adma.MechanismUnavailable)
        assert error.mechanism == "loopback:tcp"
        assert error.errno == errno.EADDRNOTAVAIL


@pytest.mark.parametrize(
    ("number", "cause", "cure"),
    [
        (errno.EADDRNOTAVAIL, "no interface", "ip link set lo up"),
        (errno.ENETUNREACH, "no interface", "ip link set lo up"),
        (errno.ETIMEDOUT, "not answered", "firewall"),
        (errno.ECONNREFUSED, "different networks", "one network namespace"),
        (errno.EINVAL, "no address", "ADMA_LOOPBACK_ADDRESS"),
        (errno.EPERM, "forbidden", "seccomp"),
        (errno.EIO, "failed", ""),
    ],
)
def test_why_loopback_is_refused(number: int, cause: str, cure: str) -> None:
    why, what_to_do = loopback.explain(number, "127.0.0.1")
    assert cause in why
    assert cure in what_to_do
