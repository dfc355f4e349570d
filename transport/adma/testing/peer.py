# SPDX-License-Identifier: BSD-3-Clause
"""A second process, which calls what a test asks it to.

    with Peer() as peer:
        channel = peer.connect("shared")
        reading = peer.begin(messages.read, 100)   # runs over there, while ...
        channel.write(b"x" * 100)                  # ... this runs here
        assert reading.result() == b"x" * 100

A peer is a fresh interpreter, never a fork of the test process. It runs one call at a
time, in its main thread. A call and the test may talk while it runs: `endpoint.say()` there
is `peer.heard()` here, `peer.say()` here is `endpoint.hear()` there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, ClassVar

import adma

from .control import Answer, Call, Join, Note, Quit, Rest, pass_socket
from .cut_off import cut_off
from .limits import HANG
from .observe import until_stopped

_OPTIONS = ("-W", "error", "-m", "adma.testing.peer_main")

#: What a channel is wrapped in, at both ends: a class, or a function of a module.
Wrap = Callable[[adma.Channel], Any]


class PeerGone(AssertionError):
    """The peer process ended while something was expected of it."""


class Task:
    """A call that runs in the peer."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.answer: Answer | None = None

    def result(self, timeout: float = HANG) -> Any:
        """What the call returned; raises what it raised, or PeerGone."""
        while self.answer is None:
            self._peer.pump(timeout)
        if self.answer.error is not None:
            raise self.answer.error
        return self.answer.result

    @property
    def done(self) -> bool:
        """True when the answer is here. Never waits."""
        while self.answer is None and self._peer.pump(0, must=False):
            pass
        return self.answer is not None


class Peer:
    """A process of its own; see the head of this file.

    `preload`: modules that it imports first, as those that register a mechanism.
    `environment`: variables that it has beside ours. Warnings are errors in it.
    """

    #: Modules that every peer of this process imports first; a conftest.py may set it.
    preload_always: ClassVar[tuple[str, ...]] = ()
    #: Those that run now: a test that hangs shows their stacks.
    alive: ClassVar[set[Peer]] = set()
    #: All that ever ran: segments that carry one of these pids are ours.
    pids: ClassVar[set[int]] = set()

    def __init__(
        self, *, environment: dict[str, str] | None = None, preload: tuple[str, ...] = ()
    ) -> None:
        self.preload = preload
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, *_OPTIONS, str(theirs.fileno()), *self.preload_always, *preload],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": search_path(), **(environment or {})},
            )
        self.pid = self.process.pid
        self._pipe = Connection(ours.detach())
        self._task: Task | None = None
        self._notes: deque[Any] = deque()
        self._channels: list[adma.Channel] = []
        self.ended = False
        Peer.alive.add(self)
        Peer.pids.add(self.pid)

    # Talking to the process

    def begin(self, function: Callable[..., Any], *arguments: Any) -> Task:
        """Have the peer call `function(endpoint, *arguments)`; one call at a time.

        Function and arguments are pickled: the peer imports the module of the function.
        """
        return self._order(Call(function, arguments))

    def call(self, function: Callable[..., Any], *arguments: Any, timeout: float = HANG) -> Any:
        """The same, and wait for its result."""
        return self.begin(function, *arguments).result(timeout)

    def say(self, content: Any = None) -> None:
        """Tell the call that runs over there."""
        self._pipe.send(Note(content))

    def heard(self, timeout: float = HANG) -> Any:
        """What a call over there said, the oldest that was not taken yet."""
        while not self._notes:
            self.pump(timeout)
        return self._notes.popleft()

    def hears(self) -> bool:
        """Would `heard` return at once?"""
        while self.pump(0, must=False):
            pass
        return bool(self._notes)

    def pump(self, timeout: float, *, must: bool = True) -> bool:
        """Take one record from the pipe. False, or with `must` AssertionError, when none came."""
        try:
            if not self._pipe.poll(timeout):
                if must:
                    raise AssertionError(f"peer {self.pid} did not answer within {timeout:g} s")
                return False
            record = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            raise PeerGone(f"peer {self.pid} ended: {self._exit()}") from None
        if isinstance(record, Note):
            self._notes.append(record.content)
        else:
            assert self._task is not None
            self._task.answer, self._task = record, None
        return True

    def _order(self, order: Call | Join | Rest) -> Task:
        assert self._task is None, "the peer is busy with another call"
        self._task = task = Task(self)
        try:
            self._pipe.send(order)
        except BrokenPipeError:
            raise PeerGone(f"peer {self.pid} ended: {self._exit()}") from None
        return task

    # Channels

    def begin_join(
        self,
        sock: socket.socket,
        mechanism: str,
        timeout: float = HANG,
        wrap: Wrap | None = None,
    ) -> Task:
        """Have the peer make a channel of `sock`. The socket is closed here."""
        task = self._order(Join(mechanism, timeout, wrap))
        with sock:
            pass_socket(self._pipe, sock, self.pid)
        return task

    def connect(self, mechanism: str = "auto", wrap: Wrap | None = None) -> adma.Channel:
        """Our end of a channel to the peer; closed when the peer is.

        `wrap` is called with the channel, at both ends, and what it returns is used.
        """
        ours, theirs = socket.socketpair()
        task = self.begin_join(theirs, mechanism, wrap=wrap)
        try:
            with contextlib.ExitStack() as undo:
                undo.enter_context(ours)
                channel = adma.from_socket(
                    ours,
                    timeout=HANG,
                    mechanism=mechanism,  # type: ignore[arg-type]
                )
                undo.pop_all()
        except Exception:
            with contextlib.suppress(adma.AdmaError, OSError):
                task.result()  # the other end fails, too
            raise
        self._channels.append(channel)
        task.result()
        return wrap(channel) if wrap else channel

    def connect_to(self, other: Peer, mechanism: str = "auto") -> None:
        """A channel between this peer and another one."""
        for task in self.begin_connect_to(other, mechanism):
            task.result()

    def begin_connect_to(self, other: Peer, mechanism: str) -> tuple[Task, Task]:
        """The same, without waiting; the two handshakes are two tasks."""
        ours, theirs = socket.socketpair()
        return self.begin_join(ours, mechanism), other.begin_join(theirs, mechanism)

    # Life and death

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def stop(self) -> None:
        """Send SIGSTOP, and wait until the process is stopped."""
        self.signal(signal.SIGSTOP)
        until_stopped(self.pid)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """Send SIGKILL, and wait until the process is dead."""
        self.process.kill()
        self.expect_end(-signal.SIGKILL)

    def expect_end(self, code: int) -> None:
        """Wait until the process ends; AssertionError when its exit status is not `code`."""
        found = self.process.wait(HANG)
        assert found == code, f"peer {self.pid} ended with {found}, not with {code}"
        self.ended = True

    def release(self, channel: adma.Channel) -> None:
        """Keep this channel no longer: the test drops it."""
        self._channels.remove(channel)

    def rest(self) -> None:
        """Close both ends of every channel; AssertionError when the peer still holds something."""
        for channel in self._channels:
            cut_off(channel)
        self._channels.clear()
        self._notes.clear()
        left = self._order(Rest()).result()
        assert not left, f"peer {self.pid} left behind:\n" + "\n".join(left)

    def close(self) -> None:
        """End the process in order; AssertionError when it left something or had ended before."""
        try:
            for channel in self._channels:
                cut_off(channel)
            if not self.ended:
                self.rest()
                self._pipe.send(Quit())
                self.expect_end(0)
        finally:
            self.discard()

    @property
    def fd(self) -> int:
        """Our end of its control pipe."""
        return self._pipe.fileno()

    def discard(self) -> None:
        """Kill the process, if it still runs. For use after a failure; may be called again."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self._pipe.close()
        for channel in self._channels:
            with contextlib.suppress(adma.AdmaError, OSError):
                channel.close(timeout=0)
        self._channels.clear()
        Peer.alive.discard(self)

    def _exit(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return f"exit status {self.process.wait(HANG)}"
        return "its pipe is closed, but it runs"

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


def search_path() -> str:
    """PYTHONPATH for a process that has to find the modules that this one finds."""
    return os.pathsep.join(path for path in sys.path if path)
