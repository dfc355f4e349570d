# SPDX-License-Identifier: BSD-3-Clause
"""A peer that forks, without exec, while it has a channel."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import pickle
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import adma
from adma.testing import Endpoint
from adma.testing.limits import HANG
from adma.testing.payload import pattern
from support.calls import computing


@contextlib.contextmanager
def _hang_guard() -> Iterator[None]:
    """A child that hangs dies by the default action of SIGALRM."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, HANG)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)


def _in_child(function: Callable[[], Any]) -> Any:
    """What the function returns in a forked child."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with _hang_guard(), open(into, "wb") as pipe:
                pickle.dump(function(), pipe)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    os.close(into)
    with open(out, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with status {status:#x}"
    return pickle.loads(data)


def use_in_child(endpoint: Endpoint) -> dict[str, str]:
    """What every call says in the child, by its name."""
    channel = endpoint.channel
    uses: dict[str, Callable[[], object]] = {
        "write": lambda: channel.write(b"x", timeout=0),
        "write large": lambda: channel.write(bytearray(100_000), timeout=0),
        "read": lambda: channel.read(bytearray(1), timeout=0),
        "iwrite": lambda: channel.iwrite(b"x"),
        "iread": lambda: channel.iread(bytearray(1)),
        "probe": lambda: channel.probe(timeout=0),
        "iprobe": lambda: channel.iprobe(),
        "send": lambda: channel.send(1, timeout=0),
        "recv": lambda: channel.recv(timeout=0),
        "fileno": lambda: channel.fileno(),
    }

    def run() -> dict[str, str]:
        said = {}
        for name, use in uses.items():
            try:
                said[name] = f"returned {use()!r}"
            except Exception as error:
                said[name] = f"{type(error).__name__}: {error}"
        channel.close(timeout=0)
        return said

    return dict(_in_child(run))


def sockets_in_child(endpoint: Endpoint) -> list[str]:
    """Sockets, pidfds, epolls and memfds that the child still has; its control pipe left out."""
    control = os.readlink(f"/proc/self/fd/{endpoint._pipe.fileno()}")

    def run() -> list[str]:
        found = []
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                found.append(os.readlink(f"/proc/self/fd/{name}"))
        words = ("socket:", "pidfd", "eventpoll", "eventfd", "memfd")
        return [one for one in found if one != control and any(word in one for word in words)]

    return list(_in_child(run))


def drop_in_child(endpoint: Endpoint, name: str) -> int:
    """Cancel, and drop every reference, in the child."""

    def run() -> int:
        posted = endpoint.kept[name]
        with contextlib.suppress(adma.ChannelClosed, adma.Cancelled):
            posted.request.cancel()
        del posted
        endpoint.kept.clear()
        endpoint.channels.clear()
        gc.collect()
        return 0

    return int(_in_child(run))


def exit_child(endpoint: Endpoint) -> int:
    """A child that ends as Python programs do, finalisers and all."""
    del endpoint
    pid = os.fork()
    if pid == 0:
        with _hang_guard():
            # What main() returning comes to, but from in here.
            ctypes.pythonapi.Py_Exit(0)
    return os.waitpid(pid, 0)[1]


def leave_child(endpoint: Endpoint) -> int:
    """A child that stays; its pid."""
    del endpoint
    pid = os.fork()
    if pid == 0:
        while True:
            signal.pause()
    return pid


def end_child(endpoint: Endpoint, pid: int) -> None:
    del endpoint
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def talk_posted_in_child(endpoint: Endpoint, nbytes: int) -> int:
    """The same as below, by a request that completes in the child while that computes."""
    del endpoint

    def answer(channel: adma.Channel, buffer: bytearray) -> None:
        request = channel.iread(buffer)
        assert len(computing.progress_threads(os.getpid())) == 1
        assert computing.until_done(request)
        request.wait()
        channel.write(buffer, timeout=HANG)

    def closed() -> None:
        assert not computing.progress_threads(os.getpid())

    return _talk(nbytes, answer, closed)


def talk_in_child(endpoint: Endpoint, nbytes: int) -> int:
    """A new channel between this process and its child: one message each way."""
    del endpoint

    def answer(channel: adma.Channel, buffer: bytearray) -> None:
        channel.read(buffer, timeout=HANG)
        channel.write(buffer, timeout=HANG)

    return _talk(nbytes, answer, lambda: None)


def _talk(
    nbytes: int,
    answer: Callable[[adma.Channel, bytearray], None],
    closed: Callable[[], None],
) -> int:
    """A child that answers a message, and then looks at what a closed channel left; its status."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            ours.close()
            with _hang_guard(), adma.from_socket(theirs, timeout=HANG) as channel:
                answer(channel, bytearray(nbytes))
            closed()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    theirs.close()
    with adma.from_socket(ours, timeout=HANG) as channel:
        channel.write(pattern(nbytes, 5), timeout=HANG)
        buffer = bytearray(nbytes)
        assert channel.read(buffer, timeout=HANG) == nbytes
        assert buffer == pattern(nbytes, 5)
    return os.waitpid(pid, 0)[1]
