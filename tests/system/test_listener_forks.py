# SPDX-License-Identifier: BSD-3-Clause
"""Listeners and forks: prefork servers, daemons, and children that never touch adma."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import adma
from adma._core._native import lib
from adma.connect.record import Entry, Wire
from adma.testing.limits import HANG, SHORT
from adma.testing.observe import until
from support.endpoints import InChild, InThread, hello_entry, pair, segment_fd


class Order:
    """One process waits for a word of the other."""

    def __init__(self) -> None:
        self._ends = socket.socketpair()
        for end in self._ends:
            end.settimeout(HANG)

    def give(self) -> None:
        self._ends[0].sendall(b"!")

    def wait(self) -> None:
        assert self._ends[1].recv(1) == b"!"

    def close(self) -> None:
        for end in self._ends:
            end.close()


@pytest.fixture
def order() -> Iterator[Order]:
    made = Order()
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[adma.Listener]:
    with adma.listen("test") as listener:
        yield listener


def serve(server: adma.Listener, clients: int = 1) -> int:
    """Greet so many clients, each with our pid."""
    for _ in range(clients):
        with server.accept(timeout=HANG) as channel:
            channel.send(os.getpid(), timeout=HANG)
            with contextlib.suppress(adma.ChannelClosed):
                channel.recv(timeout=HANG)
    return os.getpid()


def call(name: str = "test") -> int:
    """The pid of who answers."""
    with adma.connect(name, timeout=HANG) as channel:
        return int(channel.recv(timeout=HANG))


def idle(order: Order) -> InChild:
    """A child that never touches adma, until it is told to end."""
    return InChild(order.wait)


def stacks() -> str:
    frames = sys._current_frames().values()
    return "\n".join("".join(traceback.format_stack(frame)) for frame in frames)


def until_in(function: str) -> None:
    """Until some thread is in that function, and has been for a moment."""
    until(f"a thread is in {function}", lambda: f"in {function}" in stacks())


def open_files() -> list[str]:
    found = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return found


# Whoever leaves first


@pytest.mark.parametrize("leave", ["close", "drop"])
@pytest.mark.filterwarnings("ignore:unclosed <Listener")
def test_a_daemon_serves_after_its_parent_has_left(order: Order, leave: str) -> None:
    """It may not even have begun to accept by then; no process spins."""
    kept = [adma.listen("test")]
    path = kept[0].address

    def daemon() -> tuple[int, bool]:
        order.wait()
        pid = serve(kept[0])
        kept[0].close()
        return pid, os.path.exists(path)

    child = InChild(daemon)
    if leave == "close":
        kept[0].close()
    kept.clear()
    assert not os.path.exists(path)  # nobody serves yet, so the name is free
    caller = InThread(call)
    order.give()
    pid, left = child.result()
    assert caller.result() == pid
    assert not left
    assert os.listdir(os.path.dirname(path)) == []


def test_a_daemon_that_accepts_already_keeps_the_name(order: Order) -> None:
    server = adma.listen("test")

    def daemon() -> int:
        server.fileno()  # it serves from now on
        order.give()
        return serve(server)

    child = InChild(daemon)
    order.wait()
    server.close()
    assert os.path.exists(server.address)
    assert call() == child.result()
    with adma.listen("test"):  # the daemon is gone, so the name is free
        pass


def test_workers_of_a_prefork_server(server: adma.Listener) -> None:
    workers = [InChild(lambda: serve(server, clients=2)) for _ in range(3)]
    callers = [InThread(call) for _ in range(6)]
    pids = {caller.result() for caller in callers}
    assert pids == {worker.result() for worker in workers}
    assert os.path.exists(server.address)  # the maker still listens


def test_workers_go_on_when_the_maker_closes(server: adma.Listener) -> None:
    words = [Order() for _ in range(2)]

    def work(word: Order) -> int:
        server.fileno()  # it serves from now on
        word.give()
        pid = serve(server)
        server.close()
        return pid

    workers = [InChild(lambda word=word: work(word)) for word in words]  # type: ignore[misc]
    for word in words:
        word.wait()
        word.close()
    server.close()
    path = server.address
    assert {call(), call()} == {worker.result() for worker in workers}
    assert not os.path.exists(path)  # the last one to leave has removed it


def test_a_child_that_closes_leaves_the_others_alone(server: adma.Listener) -> None:
    InChild(lambda: (server.fileno(), server.close())).result()
    assert os.path.exists(server.address)
    caller = InThread(call)
    assert serve(server) == caller.result() == os.getpid()


# Children that never touch it


@pytest.mark.parametrize("kind", ["name", "path"])
def test_a_child_that_knows_nothing_of_it_keeps_no_name(
    order: Order, kind: str, tmp_path: Path
) -> None:
    name = "test" if kind == "name" else str(tmp_path / "test")
    server = adma.listen(name)
    place = os.path.dirname(server.address)
    child = idle(order)
    caller = InThread(lambda: call(name))
    assert serve(server) == caller.result()
    server.close()
    with pytest.raises(FileNotFoundError):
        adma.connect(name, timeout=0)
    with adma.listen(name) as again:
        caller = InThread(lambda: call(name))
        serve(again)
        caller.result()
    order.give()
    child.result()
    with adma.listen(name):
        assert os.listdir(place) == [os.path.basename(again.address)]


def test_what_is_set_aside_for_such_a_child_is_swept(order: Order) -> None:
    server = adma.listen("test")
    place = os.path.dirname(server.address)
    child = idle(order)
    server.close()
    assert [name for name in os.listdir(place) if name.startswith(".adma-")]
    order.give()
    child.result()
    with adma.listen("other"):
        assert os.listdir(place) == ["other.sock"]


def test_a_child_whose_name_is_anothers_by_now(order: Order) -> None:
    server = adma.listen("test")

    def late() -> tuple[str, int, str]:
        order.wait()
        with pytest.raises(adma.ChannelClosed) as info:
            server.accept(timeout=HANG)
        return str(info.value), server.fileno(), repr(server)

    child = InChild(late)
    server.close()
    with adma.listen("test") as again:
        order.give()
        reason, number, shown = child.result()
        assert "another one listens at its name" in reason
        assert number == -1
        assert "closed" in shown
        caller = InThread(call)
        serve(again)
        caller.result()


def test_two_generations_of_such_children(order: Order) -> None:
    """The name was set aside for the younger one: the elder does not serve under it."""
    elder = adma.listen("test")

    def late() -> str:
        order.wait()
        with pytest.raises(adma.ChannelClosed) as info:
            elder.accept(timeout=HANG)
        return str(info.value)

    child = InChild(late)
    elder.close()
    younger = adma.listen("test")
    begin = Order()
    heir = InChild(lambda: (begin.wait(), serve(younger), younger.close()))
    younger.close()
    caller = InThread(call)
    begin.give()
    caller.result()
    heir.result()
    begin.close()
    with adma.listen("test"):
        order.give()
        assert "another one listens" in child.result()


# What other threads had in hand


def test_a_fork_while_a_thread_accepts(server: adma.Listener) -> None:
    """The child's turn comes, and its close() wakes its own thread."""
    waiting = InThread(lambda: [channel.close() for channel in server])
    until_in("_await_speaker")

    def work() -> str:
        with pytest.raises(TimeoutError):
            server.accept(timeout=SHORT)
        mine = InThread(server.accept)
        until_in("_await_speaker")
        server.close()
        with pytest.raises(adma.ChannelClosed) as info:
            mine.result()
        return str(info.value)

    assert "closed on this side" in InChild(work).result()
    call_closed = InThread(lambda: adma.connect("test", timeout=HANG).close())
    call_closed.result()
    server.close()
    waiting.result()


def test_a_silent_client_stays_with_who_let_it_in(server: adma.Listener, order: Order) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(server.address)
    with pytest.raises(TimeoutError):
        server.accept(timeout=0)
    assert len(server._callers.all()) == 1

    def work() -> int:
        with pytest.raises(TimeoutError):
            server.accept(timeout=SHORT)
        order.give()
        return len(server._callers.all())

    child = InChild(work)
    order.wait()
    client = InThread(lambda: adma.from_socket(sock, timeout=HANG))
    with server.accept(timeout=HANG) as channel, client.result() as other:
        writing = InThread(lambda: channel.send("ours", timeout=HANG))
        assert other.recv(timeout=HANG) == "ours"
        writing.result()
    assert child.result() == 0


@pytest.mark.parametrize("words", [0, 1], ids=["silent", "halfway"])
def test_a_child_keeps_no_client(server: adma.Listener, order: Order, words: int) -> None:
    """Neither its socket nor what a handshake has made, so that it sees its end."""
    at_rest = open_files()
    client = socket.socket(socket.AF_UNIX)
    client.connect(server.address)
    if words:
        Wire(client, time.monotonic() + HANG).send(lib.ADMA_ROUND_HELLO, [hello_entry()])
    with pytest.raises(TimeoutError):
        server.accept(timeout=0)
    assert bool([one for one in server._callers.all().values() if one.handshake]) is bool(words)

    def look() -> list[str]:
        found = open_files()
        order.wait()
        return found

    child = InChild(look)
    server._callers.close()
    client.setblocking(True)
    client.settimeout(HANG)
    while client.recv(4096):
        pass  # up to its end, which comes although the child lives
    client.close()
    order.give()
    kinds = ("pidfd", "memfd:", "socket:")

    def count(files: list[str]) -> int:
        return len([one for one in files if any(kind in one for kind in kinds)])

    assert count(child.result()) == count(at_rest) + 1  # this end of the client's, which is ours


def test_a_child_keeps_nothing_of_a_call(tmp_path: Path, order: Order) -> None:
    """A thread is in the middle of connect() to one that does not answer."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "test"))
        listener.listen()
        calling = InThread(lambda: adma.connect(tmp_path / "test", timeout=2 * SHORT))
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(HANG)
            assert peer.recv(4096)
            child = InChild(order.wait)
            with pytest.raises(TimeoutError):
                calling.result()
            while peer.recv(4096):
                pass
        order.give()
        child.result()


def test_a_child_keeps_nothing_of_a_handshake_over_a_socket(order: Order) -> None:
    ours, theirs = pair()
    shaking = InThread(lambda: adma.from_socket(ours, timeout=2 * SHORT))
    theirs.settimeout(HANG)
    assert theirs.recv(4096)
    child = InChild(lambda: (theirs.close(), order.wait()))
    with pytest.raises(TimeoutError):
        shaking.result()
    while theirs.recv(4096):
        pass
    theirs.close()
    order.give()
    child.result()


def test_a_child_keeps_nothing_of_a_handshake_that_is_half_done() -> None:
    """What the thread has received, and made of it, is the parent's."""
    ours, theirs = pair()
    at_rest = open_files()
    shaking = InThread(lambda: adma.from_socket(ours, timeout=2 * SHORT))
    wire = Wire(theirs, time.monotonic() + HANG)
    wire.send(lib.ADMA_ROUND_HELLO, [hello_entry(mechanisms=1 << lib.ADMA_MECH_SHARED)])
    segment = segment_fd()
    wire.send(lib.ADMA_ROUND_OFFER, [Entry(0, 0, b"", [segment])])
    os.close(segment)
    for _ in (lib.ADMA_ROUND_HELLO, lib.ADMA_ROUND_OFFER, lib.ADMA_ROUND_ANSWER):
        wire.receive().close()
    assert any("pidfd" in one for one in open_files())
    child = InChild(open_files)
    with pytest.raises(TimeoutError):
        shaking.result()
    assert [one for one in child.result() if "pidfd" in one or "memfd:" in one] == [
        one for one in at_rest if "pidfd" in one or "memfd:" in one
    ]
    theirs.close()


def test_workers_of_multiprocessing(server: adma.Listener) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=serve, args=(server,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    assert {call(), call()} == {worker.pid for worker in workers}
    for worker in workers:
        worker.join(HANG)
        assert worker.exitcode == 0
        worker.close()


def test_a_fork_does_not_keep_the_lock_of_a_directory(tmp_path: Path) -> None:
    stop = threading.Event()

    def listen_on() -> int:
        times = 0
        while not stop.is_set():
            adma.listen(tmp_path / "test").close()
            times += 1
        return times

    listening = InThread(listen_on)
    children: list[int] = []
    out, into = os.pipe()
    for _ in range(60):
        pid = os.fork()
        if pid == 0:
            directories = [one for one in open_files() if one == str(tmp_path)]
            os.write(into, b"x" if directories else b".")
            signal.pause()
        children.append(pid)
    stop.set()
    try:
        assert listening.result() > 0  # it raised nothing
        assert os.read(out, 4096).replace(b".", b"") == b""
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(out)
        os.close(into)


# Event loops


def test_the_descriptor_is_the_childs_own(server: adma.Listener, order: Order) -> None:
    """It has the number that was known before the fork, and none of the parent's clients."""
    number = server.fileno()
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(server.address)
    with pytest.raises(TimeoutError):
        server.accept(timeout=0)

    def work() -> tuple[bool, int]:
        assert server.fileno() == number
        assert not select.select([number], [], [], 0)[0]
        order.give()
        while not select.select([number], [], [], HANG)[0]:
            pass
        return True, serve(server)

    child = InChild(work)
    order.wait()
    assert call() == child.result()[1]
    sock.send(b"?")
    assert select.select([number], [], [], HANG)[0]
    sock.close()


# Channels


@pytest.mark.parametrize("busy", [True, False])
def test_recv_in_the_child_says_that_it_is_the_parents(busy: bool) -> None:
    ours, theirs = pair()
    other = InThread(lambda: adma.from_socket(theirs, timeout=HANG))
    with adma.from_socket(ours, timeout=HANG) as channel, other.result() as end:
        receiving = InThread(lambda: channel.recv(timeout=HANG) if busy else end.send(1))
        # A thread that is still sending may hold the lock of malloc, which a sanitizer does not
        # give to the child.
        if busy:
            until_in("_receive")
        else:
            receiving.result()

        def use() -> str:
            with pytest.raises(adma.ChannelClosed) as info:
                channel.recv(timeout=HANG)
            return str(info.value)

        said: Callable[[], str] = InChild(use).result
        assert "fork" in said()
        if busy:
            end.send("here", timeout=HANG)
            assert receiving.result() == "here"
