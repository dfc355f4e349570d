# SPDX-License-Identifier: BSD-3-Clause
"""Two or more long-lived processes that belong to one contestant.

The driver starts them, and they connect to it on a private Unix socket. From then on they do only
what they are told there. Whatever happens (an error, a time-out, Ctrl-C), :meth:`Pair.close` leaves
no process behind. It has a pidfd of each, so that none can be mistaken for another.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from adma.bench.control import Line
from adma.bench.signals import held
from adma.closing import Closing

START_TIMEOUT = 60.0
ROUND_TIMEOUT = 120.0
EXIT_TIMEOUT = 5.0
TAIL = 2000  # bytes of a failed process' last words


class ContestantError(RuntimeError):
    """A contestant could not be started or stopped answering. `cure`: what would help, if known."""

    def __init__(self, text: str, cure: str = "") -> None:
        super().__init__(text)
        self.cure = cure


@dataclass
class Program:
    """A command to start, its environment, and the descriptors that it inherits."""

    argv: Sequence[str]
    environment: dict[str, str]
    inherit: Sequence[int] = ()


@dataclass
class Rank:
    """One of the processes, as the driver knows it once it has connected."""

    line: Line
    hello: dict[str, Any]
    pidfd: int = -1


class Pair(Closing):
    """The processes of a contestant, two unless `size` says more, all blocked until told.

    `make` gets the path of the control socket and returns the programs to start: two for a local
    pair, one ``mpiexec`` for MPI. It may be called once only.
    """

    def __init__(
        self,
        key: str,
        directory: Path,
        make: Callable[[Path], Sequence[Program]],
        size: int = 2,
    ) -> None:
        self.key = key
        self.size = size
        self.ranks: list[Rank] = []
        self._make = make
        self._stem = "".join(c if c.isalnum() else "-" for c in key)
        self._control = directory / f"{self._stem}.sock"
        self._words = directory / f"{self._stem}.err"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._failed = False

    def start(self, timeout: float = START_TIMEOUT) -> None:
        """Start the programs and wait for all ranks.

        Raises ContestantError with the process' last words when it ends, reports an error or
        stays silent for `timeout` seconds. What was started is ended by `close()`.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(self._control))
            listener.listen(self.size)
            try:
                self._launch()
                self._gather(listener, time.monotonic() + timeout)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    self._control.unlink()
        self.ranks.sort(key=lambda rank: int(rank.hello["rank"]))

    def ask(self, command: dict[str, Any], timeout: float = ROUND_TIMEOUT) -> list[dict[str, Any]]:
        """Give all ranks a command and wait for all answers, in the order of ranks.

        Raises ContestantError when one reports an error, ends, or stays silent. The pair can
        only be closed then.
        """
        return self._collect(dict.fromkeys(range(self.size), command), timeout)

    def ask_rank(
        self, rank: int, command: dict[str, Any], timeout: float = ROUND_TIMEOUT
    ) -> dict[str, Any]:
        """Give one rank a command and wait for its answer. Raises as `ask()`."""
        return self._collect({rank: command}, timeout)[0]

    def tell(self, rank: int, command: dict[str, Any]) -> None:
        """Give one rank a command; `answer()` takes its answer. Raises ContestantError."""
        try:
            self.ranks[rank].line.send(command)
        except OSError as error:
            raise self._failure(f"rank {rank} is gone") from error

    def answer(self, rank: int, timeout: float = ROUND_TIMEOUT) -> dict[str, Any]:
        """The answer of one rank to what it was told. Raises ContestantError."""
        return self._answer(self.ranks[rank], time.monotonic() + timeout)

    def kill(self, rank: int) -> None:
        """End one rank at once by SIGKILL, as a benchmark of deaths needs it."""
        signal.pidfd_send_signal(self.ranks[rank].pidfd, signal.SIGKILL)

    def last_words(self) -> str:
        """What the processes wrote to stdout and stderr so far."""
        try:
            return self._words.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def close(self) -> None:
        """Ask all ranks to exit, then end whatever is left. Idempotent.

        Signals wait meanwhile; otherwise never raises.
        """
        with held():
            for rank in self.ranks:
                with contextlib.suppress(OSError):
                    rank.line.send({"op": "exit"})
                rank.line.close()
            self._end_processes()
            for rank in self.ranks:
                _kill(rank.pidfd)
            self.ranks.clear()

    def _launch(self) -> None:
        with self._words.open("wb") as words, held():
            programs = self._make(self._control)
            try:
                for program in programs:
                    self._processes.append(_spawn(program, words))
            finally:
                for fd in (fd for program in programs for fd in program.inherit):
                    os.close(fd)

    def _gather(self, listener: socket.socket, deadline: float) -> None:
        """Accept all ranks, and watch the processes: one that ends will never connect."""
        watched = {os.pidfd_open(process.pid): process for process in self._processes}
        try:
            while len(self.ranks) < self.size:
                left = max(0.0, deadline - time.monotonic())
                ready, _, _ = select.select([listener.fileno(), *watched], [], [], left)
                if listener.fileno() in ready:
                    self._greet(listener.accept()[0], deadline)
                elif ready:
                    raise self._failure(f"ended with {watched[ready[0]].wait()}")
                else:
                    raise self._failure("did not call back in time")
        finally:
            for fd in watched:
                os.close(fd)

    def _greet(self, sock: socket.socket, deadline: float) -> None:
        rank = Rank(Line(sock), {})
        self.ranks.append(rank)
        rank.pidfd = os.pidfd_open(_peer_pid(sock))
        rank.hello = self._answer(rank, deadline)

    def _collect(self, commands: dict[int, dict[str, Any]], timeout: float) -> list[dict[str, Any]]:
        deadline = time.monotonic() + timeout
        for index, command in commands.items():
            self.tell(index, command)
        waiting = {self.ranks[index].line.fileno(): index for index in commands}
        answers: dict[int, dict[str, Any]] = {}
        # Take whichever is ready first: the other one may hang, and an error must not wait for it.
        while waiting:
            left = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select(list(waiting), [], [], left)
            if not ready:
                raise self._failure(f"no answer within {timeout:g} s")
            for fd in ready:
                index = waiting.pop(fd)
                answers[index] = self._answer(self.ranks[index], deadline)
        return [answers[index] for index in sorted(answers)]

    def _answer(self, rank: Rank, deadline: float) -> dict[str, Any]:
        try:
            message = rank.line.receive(max(0.001, deadline - time.monotonic()))
        except (EOFError, OSError, ValueError) as error:
            raise self._failure(str(error) or type(error).__name__) from error
        if "error" in message:
            raise ContestantError(str(message["error"]), str(message.get("cure", "")))
        return message

    def _failure(self, what: str) -> ContestantError:
        """The error, with the last words of the process that failed."""
        self._failed = True
        words = " ".join(self.last_words()[-TAIL:].split())
        return ContestantError(f"{what}: {words}" if words else what)

    def _end_processes(self) -> None:
        """Wait a little, then ask by SIGTERM (mpiexec ends its ranks then), then SIGKILL."""
        deadline = time.monotonic() + (0.0 if self._failed else EXIT_TIMEOUT)
        for ask in (None, signal.SIGTERM, signal.SIGKILL):
            for process in self._processes:
                if ask is not None and process.poll() is None:
                    process.send_signal(ask)
            for process in self._processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.05, deadline - time.monotonic()))
            deadline = time.monotonic() + EXIT_TIMEOUT
        self._processes.clear()


def _spawn(program: Program, words: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a program. Raises ContestantError that names it."""
    try:
        return subprocess.Popen(
            list(program.argv),
            env=program.environment,
            pass_fds=program.inherit,
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            # Ctrl-C reaches the driver only, which ends the others in order.
            start_new_session=True,
        )
    except OSError as error:
        raise ContestantError(f"{program.argv[0]}: {error.strerror}") from error


def _peer_pid(sock: socket.socket) -> int:
    """The process at the other end, as the kernel says."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", raw)[0])


def _kill(pidfd: int) -> None:
    """End the process that the pidfd refers to, if it still runs, and close the pidfd."""
    if pidfd < 0:
        return
    with contextlib.suppress(OSError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.close(pidfd)
