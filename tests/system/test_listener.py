# SPDX-License-Identifier: BSD-3-Clause
"""listen, connect, from_socket: how two processes meet, and how they do not."""

from __future__ import annotations

import contextlib
import copy
import errno
import gc
import logging
import os
import pickle
import resource
import select
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import adma
from adma import callers
from adma import listener as module
from adma.testing.limits import HANG, SHORT
from support.endpoints import InChild, InThread, pair


@pytest.fixture
def server() -> Iterator[adma.Listener]:
    with adma.listen("test") as listener:
        yield listener


def exchange(channel: adma.Channel, other: adma.Channel) -> None:
    # A forced mechanism does not buffer: both ends have to be at it.
    writing = InThread(lambda: channel.write(b"here", timeout=HANG))
    buffer = bytearray(4)
    assert other.read(buffer, timeout=HANG) == 4
    assert buffer == b"here"
    writing.result()


def raw_client(server: adma.Listener) -> socket.socket:
    """Somebody who has connected and said nothing yet."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(server.address)
    return sock


@pytest.mark.parametrize("mechanism", ["auto", "shared", "mapped:cma", "loopback:tcp"])
def test_they_meet(server: adma.Listener, mechanism: str) -> None:
    calling = InThread(lambda: adma.connect("test", timeout=HANG, mechanism=mechanism))
    with server.accept(timeout=HANG) as channel, calling.result() as other:
        exchange(channel, other)
        exchange(other, channel)


def test_a_forked_process_calls(server: adma.Listener) -> None:
    def call() -> bytes:
        with adma.connect("test", timeout=HANG) as channel:
            channel.write(b"from the child", timeout=HANG)
            buffer = bytearray(2)
            channel.read(buffer, timeout=HANG)
            return bytes(buffer)

    child = InChild(call)
    with server.accept(timeout=HANG) as channel:
        buffer = bytearray(100)
        assert channel.read(buffer, timeout=HANG) == 14
        channel.write(b"ok", timeout=HANG)
        assert child.result() == b"ok"


def test_what_a_listener_says_of_itself(server: adma.Listener) -> None:
    assert server.name == "test"
    assert server.address.endswith("/adma/test.sock")
    assert server.fileno() >= 0
    assert repr(server) == f"<Listener 'test' listening at {server.address}>"
    server.close()
    server.close()
    assert server.fileno() == -1
    assert "closed" in repr(server)
    assert not os.path.exists(server.address)


def test_the_descriptor_is_readable_when_somebody_calls(server: adma.Listener) -> None:
    assert not select.select([server], [], [], 0)[0]
    with raw_client(server):
        assert select.select([server], [], [], HANG)[0] == [server]


def accept_when_readable(server: adma.Listener, rounds: int) -> adma.Channel:
    """As an event loop does it; AssertionError after so many wake-ups."""
    for _ in range(rounds):
        assert select.select([server], [], [], HANG)[0]
        with contextlib.suppress(TimeoutError):
            return server.accept(timeout=0)
    raise AssertionError(f"no channel after {rounds} wake-ups")


@pytest.mark.parametrize("grace", [None, 0])
def test_an_event_loop_accepts(
    server: adma.Listener, monkeypatch: pytest.MonkeyPatch, grace: float | None
) -> None:
    """Also where each call goes on with a handshake by one step only."""
    if grace is not None:
        monkeypatch.setattr(module, "_GRACE", grace)
    for _ in range(3):
        calling = InThread(lambda: adma.connect("test", timeout=HANG))
        with accept_when_readable(server, 10) as channel, calling.result() as other:
            exchange(channel, other)
    assert not select.select([server], [], [], 0)[0]


def test_silent_clients_keep_no_event_loop_busy(server: adma.Listener) -> None:
    silent = [raw_client(server) for _ in range(5)]
    calling = InThread(lambda: adma.connect("test", timeout=HANG))
    with accept_when_readable(server, 12) as channel, calling.result() as other:
        exchange(channel, other)
    assert not select.select([server], [], [], SHORT)[0]
    for sock in silent:
        sock.close()


def test_the_descriptor_stays_the_same(server: adma.Listener) -> None:
    number = server.fileno()
    with raw_client(server), pytest.raises(TimeoutError):
        server.accept(timeout=0)
    assert server.fileno() == number


def test_a_short_timeout_does_not_lose_a_handshake(
    server: adma.Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_GRACE", 0)
    calling = InThread(lambda: adma.connect("test", timeout=HANG))
    deadline = time.monotonic() + HANG
    met: list[adma.Channel] = []
    while not met:
        assert time.monotonic() < deadline
        with contextlib.suppress(TimeoutError):
            met.append(server.accept(timeout=0))
    with met[0] as channel, calling.result() as other:
        exchange(channel, other)


def test_one_in_the_middle_of_a_handshake_does_not_hold_up_others(server: adma.Listener) -> None:
    halfway = raw_client(server)
    halfway.sendall(b"adma"[:1])
    with halfway:
        begin = time.monotonic()
        with pytest.raises(TimeoutError):
            server.accept(timeout=SHORT)
        calling = InThread(lambda: adma.connect("test", timeout=HANG))
        with server.accept(timeout=HANG) as channel, calling.result() as other:
            assert time.monotonic() - begin < module._HANDSHAKE
            exchange(channel, other)


def test_many_silent_clients_do_not_hold_up_others(server: adma.Listener) -> None:
    silent = [raw_client(server) for _ in range(100)]
    begin = time.monotonic()
    calling = InThread(lambda: adma.connect("test", timeout=HANG))
    with server.accept(timeout=HANG) as channel, calling.result() as other:
        assert time.monotonic() - begin < module._HANDSHAKE
        exchange(channel, other)
    for sock in silent:
        sock.close()


def test_no_more_clients_are_let_in_than_served(server: adma.Listener) -> None:
    """The others may be for another process that shares the listener."""
    first = InThread(lambda: adma.connect("test", timeout=HANG))
    waiting = raw_client(server)
    with waiting, server.accept(timeout=HANG), first.result():
        assert len(server._callers.all()) <= 1
        second = InThread(lambda: adma.connect("test", timeout=HANG))
        with server.accept(timeout=HANG), second.result():
            pass


@pytest.mark.parametrize(
    "error",
    [AttributeError("no pidfd_open"), MemoryError(), KeyError("x"), UnicodeError("no text")],
)
def test_nothing_that_happens_to_a_client_ends_a_server(
    server: adma.Listener,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    real = callers.Handshake.step
    failed: list[bool] = []

    def step(self: callers.Handshake) -> object:
        if not failed and threading.current_thread() is threading.main_thread():
            failed.append(True)
            raise error
        return real(self)

    monkeypatch.setattr(callers.Handshake, "step", step)
    refused = InThread(lambda: adma.connect("test", timeout=HANG))

    def call_again() -> adma.Channel:
        with pytest.raises(OSError, match=r"refused the handshake|hung up"):
            refused.result()
        return adma.connect("test", timeout=HANG)

    calling = InThread(call_again)
    for channel in server:
        with channel, calling.result() as other:
            exchange(channel, other)
        break
    assert f"refused a client: {type(error).__name__}" in caplog.text


def test_silent_clients_make_room(tmp_path: Path) -> None:
    """Where no descriptor is left, they go before their time, and others come in."""
    path = str(tmp_path / "test")

    def serve() -> list[str]:
        lines: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger("adma").addHandler(handler)
        with adma.listen(path) as server:
            os.write(into, b"!")
            resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
            filled: list[int] = []
            with contextlib.suppress(OSError):
                while True:
                    filled.append(os.dup(0))
            for fd in filled[-20:]:
                os.close(fd)
            server.accept(timeout=HANG).close()
        return lines

    out, into = os.pipe()
    server = InChild(serve)
    os.read(out, 1)
    silent = [socket.socket(socket.AF_UNIX) for _ in range(30)]
    for sock in silent:
        sock.connect(path)
    deadline = time.monotonic() + HANG
    while True:
        try:
            adma.connect(path, timeout=HANG).close()
            break
        except OSError:  # there was room to let it in, and not for the rest
            assert time.monotonic() < deadline
    assert any("dropped a silent client: no descriptors" in line for line in server.result())
    for sock in silent:
        sock.close()
    os.close(out)
    os.close(into)


@pytest.mark.parametrize("kept", range(9))
def test_a_server_out_of_descriptors_goes_on(tmp_path: Path, kept: int) -> None:
    """With so many descriptors left; it serves when there are enough again."""

    def serve() -> tuple[list[str], float]:
        lines: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger("adma").addHandler(handler)
        server = adma.listen(tmp_path / "test")
        os.write(into, b"!")
        select.select([server._sock], [], [], HANG)
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
        filled: list[int] = []
        with contextlib.suppress(OSError):
            while True:
                filled.append(os.dup(0))
        for _ in range(kept):
            os.close(filled.pop())
        used = time.process_time()
        met: list[adma.Channel] = []
        with contextlib.suppress(TimeoutError):
            met.append(server.accept(timeout=6 * SHORT))
        used = time.process_time() - used
        for fd in filled:
            os.close(fd)
        met = met or [server.accept(timeout=HANG)]
        met[0].close()
        server.close()
        return lines, used

    out, into = os.pipe()
    server = InChild(serve)
    os.read(out, 1)
    deadline = time.monotonic() + HANG
    while True:
        try:
            adma.connect(tmp_path / "test", timeout=HANG).close()
            break
        except OSError:  # refused, for the time being
            assert time.monotonic() < deadline
    lines, used = server.result()
    if kept == 0:
        assert len([line for line in lines if "ulimit -n" in line]) == 1
        assert used < 4 * SHORT  # it does not spin
    os.close(out)
    os.close(into)


def test_a_listening_socket_that_is_shut_down_behind_its_back(server: adma.Listener) -> None:
    server._sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises(adma.ChannelClosed, match=r"behind adma's back.*cure"):
        server.accept(timeout=HANG)
    assert server.fileno() == -1


def test_a_descriptor_that_is_a_strangers_by_now(server: adma.Listener) -> None:
    with open(os.devnull, "rb") as stranger:
        os.dup2(stranger.fileno(), server._sock.fileno())
        number = server._sock.fileno()
        with pytest.raises(adma.ChannelClosed, match=r"behind adma's back.*cure"):
            server.accept(timeout=HANG)
        os.close(number)  # it was left open


def test_accept_in_vain(server: adma.Listener) -> None:
    for timeout in (0, SHORT):
        with pytest.raises(TimeoutError, match="nobody connected to 'test'"):
            server.accept(timeout=timeout)


_NO_TIMES = [
    (-1, ValueError),
    (float("nan"), ValueError),
    ("1", TypeError),
    (b"", TypeError),
    ([], TypeError),
    (True, TypeError),
]


@pytest.mark.parametrize(("timeout", "kind"), _NO_TIMES)
def test_impossible_timeouts(server: adma.Listener, timeout: float, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=r"accept\(timeout\)"):
        server.accept(timeout=timeout)
    with pytest.raises(kind, match=r"connect\(timeout\)"):
        adma.connect("test", timeout=timeout)
    ours, theirs = pair()
    with ours, theirs:
        with pytest.raises(kind, match=r"from_socket\(timeout\)"):
            adma.from_socket(ours, timeout=timeout)
        assert ours.fileno() >= 0  # still the caller's


@pytest.mark.parametrize("timeout", [float("inf"), 10**400, None])
def test_times_that_stand_for_ever(server: adma.Listener, timeout: float | None) -> None:
    calling = InThread(lambda: adma.connect("test", timeout=timeout))
    with server.accept(timeout=timeout), calling.result():
        pass
    ours, theirs = pair()
    other = InThread(lambda: adma.from_socket(theirs, timeout=timeout))
    with adma.from_socket(ours, timeout=timeout), other.result():
        pass


def test_who_waits_already_is_accepted_without_waiting(server: adma.Listener) -> None:
    calling = InThread(lambda: adma.connect("test", timeout=HANG))
    deadline = time.monotonic() + HANG
    while True:
        try:
            channel = server.accept(timeout=0)
            break
        except TimeoutError:
            assert time.monotonic() < deadline
    with channel, calling.result():
        pass


def test_nobody_accepts(server: adma.Listener) -> None:
    with pytest.raises(TimeoutError, match="handshake"):
        adma.connect("test", timeout=SHORT)


def test_rubbish_does_not_end_a_server(
    server: adma.Listener, caplog: pytest.LogCaptureFixture
) -> None:
    rubbish = raw_client(server)
    rubbish.sendall(b"GET / HTTP/1.1\r\n\r\n")
    gone = raw_client(server)
    gone.close()
    calling = InThread(lambda: adma.connect("test", timeout=HANG))
    with rubbish, server.accept(timeout=HANG) as channel, calling.result() as other:
        exchange(channel, other)
    assert "refused a client: the other end does not speak adma's protocol" in caplog.text


def test_silent_clients_do_not_hold_up_others(server: adma.Listener) -> None:
    silent = [raw_client(server) for _ in range(5)]
    calling = InThread(lambda: adma.connect("test", timeout=HANG))
    start = time.monotonic()
    with server.accept(timeout=HANG) as channel, calling.result() as other:
        assert time.monotonic() - start < module._HANDSHAKE
        exchange(channel, other)
    for sock in silent:
        sock.close()


def test_a_silent_client_is_dropped(
    server: adma.Listener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_HANDSHAKE", SHORT)
    with raw_client(server) as silent:
        with pytest.raises(TimeoutError):
            server.accept(timeout=4 * SHORT)
        silent.settimeout(HANG)
        assert silent.recv(1) == b""
    assert "said nothing" in caplog.text


def test_one_that_falls_silent_is_refused(
    server: adma.Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_HANDSHAKE", SHORT)
    with raw_client(server) as client:
        client.sendall(b"1")  # how a record begins
        with pytest.raises(TimeoutError):
            server.accept(timeout=4 * SHORT)


def test_close_wakes_who_waits_in_accept(server: adma.Listener) -> None:
    waiting = InThread(server.accept)
    deadline = time.monotonic() + HANG
    while not any("_await_speaker" in text for text in _stacks()):
        assert time.monotonic() < deadline
    server.close()
    with pytest.raises(adma.ChannelClosed, match="listener was closed"):
        waiting.result()


def _stacks() -> list[str]:
    return ["".join(traceback.format_stack(frame)) for frame in sys._current_frames().values()]


def test_iterating_ends_with_the_listener(server: adma.Listener) -> None:
    calling = InThread(lambda: adma.connect("test", timeout=HANG))
    met = 0
    for channel in server:
        met += 1
        channel.close()
        calling.result().close()
        server.close()
    assert met == 1


def test_threads_share_a_listener(server: adma.Listener) -> None:
    accepting = [InThread(lambda: server.accept(timeout=HANG)) for _ in range(3)]
    calling = [InThread(lambda: adma.connect("test", timeout=HANG)) for _ in range(3)]
    for thread in (*accepting, *calling):
        thread.result().close()


def test_a_name_in_use(server: adma.Listener) -> None:
    with pytest.raises(OSError, match="in use") as info:
        adma.listen("test")
    assert info.value.errno == errno.EADDRINUSE
    with pytest.raises(TimeoutError):
        server.accept(timeout=0)  # the look whether it lives is no client


def test_a_listener_that_is_not_closed_complains() -> None:
    listener = adma.listen("test")
    path = listener.address
    with pytest.warns(ResourceWarning, match="unclosed <Listener"):
        del listener
    assert not os.path.exists(path)


def test_an_unclosed_listener_goes_where_warnings_are_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raised: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: raised.append(what.exc_type))
    listener = adma.listen("test")
    path = listener.address
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del listener
        gc.collect()
    assert raised == [ResourceWarning]
    assert not os.path.exists(path)


def test_a_closed_listener_is_not_entered(server: adma.Listener) -> None:
    server.close()
    with pytest.raises(adma.ChannelClosed, match="listener was closed on this side"), server:
        pass


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_listener_has_no_copy(server: adma.Listener, way: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match=r"a Listener cannot be copied or pickled: .*cure"):
        way(server)


def test_a_forked_child_closes_its_copy_only(server: adma.Listener) -> None:
    InChild(server.close).result()
    calling = InThread(lambda: adma.connect("test", timeout=HANG))
    with server.accept(timeout=HANG), calling.result():
        pass


@pytest.mark.parametrize("backlog", [0, -1, 2**31, 10**20])
def test_a_backlog_out_of_range(tmp_path: Path, backlog: int) -> None:
    with pytest.raises(ValueError, match=f"backlog={backlog}: from 1 to {2**31 - 1}"):
        adma.listen(tmp_path / "test", backlog=backlog)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("backlog", [1.5, "1", None])
def test_a_backlog_that_is_no_number(tmp_path: Path, backlog: int) -> None:
    with pytest.raises(TypeError, match="backlog must be an int"):
        adma.listen(tmp_path / "test", backlog=backlog)
    assert list(tmp_path.iterdir()) == []


def test_the_largest_backlog() -> None:
    adma.listen("test", backlog=2**31 - 1).close()


@pytest.mark.parametrize("name", [None, 5, b"echo"])
def test_what_is_no_name(name: str) -> None:
    for meet in (adma.listen, adma.connect):
        with pytest.raises(TypeError, match=r"name must be a str or an os\.PathLike of str, not"):
            meet(name)


def test_a_path_object_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with adma.listen(Path("test")) as by_path, adma.listen("test") as by_name:
        assert by_path.address == str(tmp_path / "test")
        assert by_name.address.endswith("/adma/test.sock")


def test_unknown_mechanism_before_anything_happens() -> None:
    with pytest.raises(ValueError, match="choose one of auto"):
        adma.connect("nobody", mechanism="carrier-pigeon")


def test_nobody_of_this_name() -> None:
    with pytest.raises(FileNotFoundError, match="listen first"):
        adma.connect("nobody", timeout=0)


# from_socket


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET])
def test_a_socket_becomes_a_channel(kind: socket.SocketKind) -> None:
    ours, theirs = pair(kind)
    other = InThread(lambda: adma.from_socket(theirs, timeout=HANG))
    with adma.from_socket(ours, timeout=HANG) as channel, other.result() as end:
        assert ours.fileno() == theirs.fileno() == -1
        exchange(channel, end)


def test_a_socket_whose_handshake_fails_is_closed() -> None:
    ours, theirs = pair()
    with theirs:
        with pytest.raises(TimeoutError):
            adma.from_socket(ours, timeout=SHORT)
        assert ours.fileno() == -1


def test_sockets_that_cannot_be_channels() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        with pytest.raises(ValueError, match="AF_INET: adma needs a connected AF_UNIX"):
            adma.from_socket(sock)
        assert sock.fileno() >= 0  # still the caller's
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock,
        pytest.raises(ValueError, match="not connected"),
    ):
        adma.from_socket(sock)
    ours, theirs = pair(socket.SOCK_DGRAM)
    with ours, theirs, pytest.raises(ValueError, match="SOCK_STREAM or SOCK_SEQPACKET"):
        adma.from_socket(ours)
    with pytest.raises(ValueError, match="closed"):
        adma.from_socket(ours)
    with pytest.raises(TypeError, match=r"socket\.socket, not int"):
        adma.from_socket(3)  # type: ignore[arg-type]


def test_a_listening_socket_is_no_channel(tmp_path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock,
        pytest.raises(ValueError, match="listening socket"),
    ):
        sock.bind(str(tmp_path / "test"))
        sock.listen()
        adma.from_socket(sock)


def test_a_handshake_with_oneself_in_one_thread_times_out() -> None:
    ours, theirs = pair()
    with theirs, pytest.raises(TimeoutError, match="in time"):
        adma.from_socket(ours, timeout=SHORT)
