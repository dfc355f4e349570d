# SPDX-License-Identifier: BSD-3-Clause
"""`adma.connection`, where it says more than CPython's own tests ask for."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing import AuthenticationError, BufferTooShort
from pathlib import Path
from typing import Any

import pytest

from adma.connection import Client, Connection, Listener, Pipe, wait
from adma.testing.limits import HANG, LARGE
from adma.testing.payload import pattern
from adma.testing.peer import search_path

CPYTHON = Path(__file__).resolve().parents[1] / "cpython" / "run.py"


@pytest.fixture
def ends() -> Iterator[tuple[Connection, Connection]]:
    one, other = Pipe()
    with one, other:
        yield one, other


def in_child(run: Callable[[], object]) -> int:
    """Run it in a forked child, whose pid is returned."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(int(HANG))
        try:
            run()
        finally:
            os._exit(0)
    return pid


def test_cpythons_own_tests() -> None:
    """Those of connections alone: the others take longer. `tests/cpython/run.py` has them all."""
    done = subprocess.run(
        [sys.executable, str(CPYTHON), "--only", "TestConnection"],
        capture_output=True,
        text=True,
        timeout=HANG,
        env=os.environ | {"PYTHONPATH": search_path()},
    )
    if done.returncode == 2:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed, 0 failed" in done.stdout


@pytest.mark.parametrize("nbytes", [0, 5, 8192, 8193, 100_000, LARGE])
def test_messages_of_any_size(nbytes: int) -> None:
    """In any order, over a connection that expects them to be as the last one was."""
    one, other = Pipe()

    def answer() -> None:
        one.close()
        while message := other.recv_bytes():
            other.send_bytes(message)
        other.close()

    child = in_child(answer)
    other.close()
    for size in (7, nbytes, nbytes, 20_000, nbytes, 7):
        if size:
            one.send_bytes(pattern(size, 1))
            assert one.recv_bytes() == pattern(size, 1)
    one.send_bytes(pattern(nbytes + 9, 2))
    buffer = bytearray(nbytes + 8)
    with pytest.raises(BufferTooShort) as caught:
        one.recv_bytes_into(buffer)
    assert caught.value.args == (pattern(nbytes + 9, 2),)
    one.send_bytes(b"abc")
    assert one.recv_bytes_into(buffer, 3) == 3
    assert buffer[:6] == b"\0\0\0abc"
    one.send_bytes(b"")
    assert os.waitpid(child, 0)[1] == 0
    with pytest.raises(EOFError):
        one.recv_bytes()
    with pytest.raises(BrokenPipeError):
        one.send_bytes(bytes(nbytes))
    one.close()


def test_a_message_that_is_longer_than_allowed(ends: tuple[Connection, Connection]) -> None:
    one, other = ends
    one.send_bytes(b"abc")
    assert other.recv_bytes(3) == b"abc"
    one.send_bytes(b"abcd")
    with pytest.raises(OSError, match="bad message length"):
        other.recv_bytes(3)
    assert not other.readable
    other.send(1)
    assert one.recv() == 1


def test_a_killed_process_is_an_end_of_file() -> None:
    one, other = Pipe()

    def begin() -> None:
        other.send("ready")
        signal.pause()

    child = in_child(begin)
    assert one.recv() == "ready"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with pytest.raises(EOFError):
        one.recv()
    with pytest.raises(OSError, match=r"another process has claimed"):
        other.recv()
    one.close()
    other.close()


def test_a_connection_that_was_used_is_not_passed_on(
    ends: tuple[Connection, Connection],
) -> None:
    one, other = ends
    one.send(1)
    with pytest.raises(ValueError, match="before it is used"):
        other.send(one)
    with pytest.raises(ValueError, match="before it is used"):
        pickle.dumps(one)
    assert other.recv() == 1


def test_a_close_does_not_wait_for_the_reader() -> None:
    """What was sent is read later, from the line and from the channel."""
    one, other = Pipe()
    for number in range(8):
        one.send(number)
        assert other.recv() == number
        other.send(number)
        assert one.recv() == number
    for number in range(8):
        one.send(number)
    one.close()
    assert [other.recv() for _ in range(8)] == list(range(8))
    with pytest.raises(EOFError):
        other.recv()
    other.close()


def test_wait(ends: tuple[Connection, Connection]) -> None:
    """For connections, descriptors and others, before and after there is a channel."""
    one, other = ends
    out, into = os.pipe()
    try:
        assert wait([one, other, out], 0) == []
        assert wait([one, other, out], -1) == []
        for number in range(8):
            one.send(number)
            assert wait([one, other, out], HANG) == [other]
            assert other.recv() == number
            other.send(number)
            assert wait([other, one], HANG) == [one]
            assert one.recv() == number
            assert wait([one, other, out], 0) == []
        os.write(into, b"!")
        assert wait([one, other, out]) == [out]
    finally:
        os.close(out)
        os.close(into)
    one.close()
    assert wait([other]) == [other]


def test_a_listener_with_a_key(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    said: list[Any] = []

    def call(key: bytes) -> None:
        try:
            with Client(path, authkey=key) as client:
                client.send("hello")
                said.append(client.recv())
        except AuthenticationError as error:
            said.append(str(error))

    with Listener(path, authkey=b"right") as listener:
        for key in (b"wrong", b"right"):
            thread = threading.Thread(target=call, args=(key,))
            thread.start()
            if key == b"wrong":
                with pytest.raises(AuthenticationError):
                    listener.accept()
            else:
                with listener.accept() as served:
                    assert served.recv() == "hello"
                    served.send("welcome")
                    thread.join()
            thread.join()
    assert said == ["digest sent was rejected", "welcome"]


@pytest.mark.parametrize("call", [Listener, Client])
def test_other_families_are_refused(call: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match=r"AF_INET is not served.*cure"):
        call(("localhost", 0))
    with pytest.raises(ValueError, match=r"AF_INET is not served.*cure"):
        call(None, family="AF_INET")
