# SPDX-License-Identifier: BSD-3-Clause
"""A program in which other code closes descriptors of the library by mistake.

Run as ``python -m support.stray NAME SOCKET [ARGUMENT ...]``: `NAME` is a function of this module,
which is called with a channel over the socket and the arguments. What it prints is for the test. It
runs in a process of its own, because a process in which this has happened is good for nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import adma
from adma.testing.limits import HANG, LARGE
from adma.testing.observe import until

KINDS = ("socket", "pidfd", "eventfd", "eventpoll", "timerfd", "all")


def named(before: set[int]) -> dict[int, str]:
    """What was opened since, by number."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return {number: text for number, text in found.items() if number not in before}


_link: list[int] = []  # the socket that is to be the channel's


def open_now() -> set[int]:
    """What is open beside that socket."""
    return set(named(set())) - set(_link)


class Stranger:
    """Files of other code, which come to have our numbers."""

    def __init__(self) -> None:
        self.theirs, self._partner = socket.socketpair()
        self._partner.setblocking(False)
        self._partner.send(b"for somebody else")
        self.numbers: list[int] = []

    def take(self, number: int) -> None:
        os.dup2(self.theirs.fileno(), number)
        self.numbers.append(number)

    def is_untouched(self) -> bool:
        """Nothing was sent there, nothing was read, and all numbers still name it."""
        inode = os.fstat(self.theirs.fileno()).st_ino
        kept = all(os.fstat(number).st_ino == inode for number in self.numbers)
        unread = self.theirs.recv(100, socket.MSG_PEEK) == b"for somebody else"
        try:
            sent = self._partner.recv(1)
        except BlockingIOError:
            sent = b""
        return kept and unread and not sent


def lose(numbers: dict[int, str], kind: str, stranger: Stranger | None) -> None:
    for number, text in numbers.items():
        if kind == "all" or kind in text:
            if stranger is None:
                os.close(number)
            else:
                stranger.take(number)


def rest() -> None:
    """Longer than the time after which a descriptor that was not used is looked at."""
    time.sleep(1.1)


def close(make: Callable[[], adma.Channel], kind: str, replaced: str, timeout: str) -> None:
    """Lose descriptors, close, and end."""
    stranger = Stranger() if replaced == "replaced" else None
    before = open_now()
    channel = make()
    requests = [channel.iread(bytearray(LARGE))]  # from now on there is a progress thread
    channel.fileno(), channel.fileno("completions")
    numbers = named(before)
    assert any("timerfd" in text for text in numbers.values())
    if stranger is not None:
        rest()
    lose(numbers, kind, stranger)
    begin = time.monotonic()
    channel.close(timeout=float(timeout))
    print("closed after", time.monotonic() - begin, flush=True)
    if stranger is not None:
        print("untouched" if stranger.is_untouched() else "touched", flush=True)
    del requests


def close_under_sleepers(make: Callable[[], adma.Channel], kind: str, timeout: str) -> None:
    """The same while a thread sleeps in a call on the channel, and one on a set of channels."""
    before = open_now()
    channel = make()
    said: list[str] = []

    def call(wait: Callable[[], object]) -> None:
        try:
            wait()
        except (adma.ChannelClosed, OSError) as error:
            said.append(type(error).__name__)

    waits: list[Callable[[], object]] = [
        lambda: channel.read(bytearray(1)),
        lambda: adma.wait([channel]),
    ]
    threads = [threading.Thread(target=call, args=(wait,)) for wait in waits]
    for thread in threads:
        thread.start()
    until("both sleep", lambda: all(_sleeps(thread) for thread in threads))
    lose(named(before), kind, None)
    begin = time.monotonic()
    channel.close(timeout=float(timeout))
    print("closed after", time.monotonic() - begin, flush=True)
    for thread in threads:
        thread.join(HANG)
    print("woken after", time.monotonic() - begin, len(said), flush=True)


def _sleeps(thread: threading.Thread) -> bool:
    try:
        with open(f"/proc/self/task/{thread.native_id}/wchan") as file:
            return "poll" in file.read()
    except OSError:
        return False


def find_out(make: Callable[[], adma.Channel], kind: str, replaced: str, call: str) -> None:
    """A call that sleeps finds by itself that the channel cannot be used any more."""
    stranger = Stranger() if replaced == "replaced" else None
    before = open_now()
    channel = make()
    calls: dict[str, Callable[[], object]] = {
        "read": lambda: channel.read(bytearray(1), timeout=HANG),
        "write": lambda: channel.write(bytes(LARGE), timeout=HANG),
        "wait": lambda: [adma.wait([channel], timeout=HANG), channel.iprobe()],
        "request": lambda: channel.iread(bytearray(LARGE)).wait(timeout=HANG),
    }
    said: list[Any] = []

    def run() -> None:
        try:
            calls[call]()
        except Exception as error:
            said.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    until("it sleeps", lambda: _sleeps(thread))
    if stranger is not None:
        rest()
    lose(named(before), kind, stranger)
    thread.join(HANG)
    (error,) = said
    print(type(error).__name__, errno.errorcode.get(getattr(error, "errno", 0), ""), flush=True)
    if stranger is not None:
        print("untouched" if stranger.is_untouched() else "touched", flush=True)
    channel.close(timeout=1)


def write(make: Callable[[], adma.Channel]) -> None:
    """The wake-up for a message does not go to a stranger."""
    stranger = Stranger()
    before = open_now()
    channel = make()
    assert channel.read(bytearray(5), timeout=HANG) == 5
    rest()
    lose(named(before), "socket", stranger)
    channel.write(b"there")
    print("untouched" if stranger.is_untouched() else "touched", flush=True)
    assert sys.stdin.readline()  # the peer has read it: it wakes by itself
    channel.close(timeout=1)


def go_on(make: Callable[[], adma.Channel], kind: str, replaced: str) -> None:
    """The progress thread loses what it sleeps on: it goes on, as do fork and other channels."""
    stranger = Stranger() if replaced == "replaced" else None
    channel = make()
    ours, theirs = socket.socketpair()
    before = open_now()
    making = threading.Thread(target=lambda: ends.append(adma.from_socket(theirs)))
    ends: list[adma.Channel] = []
    making.start()
    ends.append(adma.from_socket(ours))
    making.join(HANG)
    other = before | set(named(before))
    first = channel.iread(bytearray(LARGE))  # starts the progress thread
    numbers = {number: text for number, text in named(before).items() if number not in other}
    assert len(numbers) == 2
    if stranger is not None:
        rest()
    lose(numbers, kind, stranger)
    ends[0].write(b"x", timeout=HANG)
    assert ends[1].read(bytearray(1), timeout=HANG) == 1
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    print("go", flush=True)
    until("the message is read", lambda: first._operations[0].done)
    print(first.wait(), flush=True)
    if stranger is not None:
        print("untouched" if stranger.is_untouched() else "touched", flush=True)
    for each in (*ends, channel):
        each.close(timeout=1)


def without_pidfd(make: Callable[[], adma.Channel]) -> None:
    """Read to the end without what tells of the peer's death."""
    stranger = Stranger()
    before = open_now()
    channel = make()
    lose(named(before), "pidfd", stranger)
    with contextlib.suppress(TimeoutError):
        channel.probe(timeout=1.5)  # it looks meanwhile
    print("lost", flush=True)
    print(channel.read(bytearray(5), timeout=HANG), flush=True)
    try:
        channel.read(bytearray(5), timeout=HANG)
    except ConnectionError as error:
        print(repr(error), flush=True)
    except EOFError as error:
        print(type(error).__name__, flush=True)


def interrupted(make: Callable[[], adma.Channel]) -> None:
    """A request waits, everything is lost, and Ctrl-C ends the wait."""
    before = open_now()
    channel = make()
    request = channel.iread(bytearray(LARGE))
    lose(named(before), "timerfd", None)
    print("sleeping", flush=True)
    try:
        request.wait(HANG)
    except KeyboardInterrupt:
        print("interrupted", flush=True)


def main(name: str, number: str, *arguments: str) -> None:
    _link.append(int(number))

    def make() -> adma.Channel:
        return adma.from_socket(socket.socket(fileno=int(number)))

    globals()[name](make, *arguments)
    print("end of program", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
