# SPDX-License-Identifier: BSD-3-Clause
"""The processes of this machine with which this one exchanges messages, and how they connect.

Each process that imports adma's MPI has one worker, one listening socket in its user's own
directory, and one thread that answers calls. Two processes connect when one of them first
needs the other. Either may call; when both call at once, the call of the process with the
smaller key stands, and the other one waits for it.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
import select
import socket
import struct
import threading
import time
from typing import Final

from .._core.calls import ranks_note_death
from ..connect import access, address, place
from ..connect.identity import credentials_of, is_hung_up
from ..errors import ChannelClosed, PeerDied, failure
from ..messages.worker import Worker

__all__ = ["KEY_SIZE", "LOOK", "Here", "Process", "here"]

KEY_SIZE: Final = 16
# A call to connect the workers; and one for a channel, with the answerer's number for the
# communicator.
_HELLO: Final = struct.Struct(f"<4s{KEY_SIZE}s")
_MAGIC: Final = b"amp1"
_CHANNEL: Final = struct.Struct(f"<4s{KEY_SIZE}sI")
_CHANNEL_MAGIC: Final = b"amc1"
_COME, _WAIT = b"\1", b"\0"  # the answers to a call
_PATIENCE: Final = 30.0  # seconds for two processes to connect
_BACKLOG: Final = 1024
_CALLS_KEPT: Final = 64  # for channels, of processes for which nobody here waits yet
LOOK: Final = 0.01  # seconds between two looks whether a process still lives that one waits for

_APART, _CALLING, _ANSWERING, _CONNECTED = range(4)


class Process:
    """A process of this machine, as this one knows it."""

    __slots__ = ("key", "number", "path", "pid", "state", "watched")

    def __init__(self, key: bytes, pid: int, path: str) -> None:
        self.key = key
        self.pid = pid
        self.path = path
        self.number = -1  # of the endpoint, once there is one
        self.state = _APART
        self.watched = False

    def __repr__(self) -> str:
        return f"<process {self.pid}>"


class Here:
    """This process: its worker, its socket, and the processes that it knows.

    The condition protects the states of processes, and tells of every change of one.
    """

    def __init__(self) -> None:
        self.made_by = os.getpid()
        self.key = secrets.token_bytes(KEY_SIZE)
        self.worker = Worker()
        self._serials = itertools.count()
        self._numbering = threading.Lock()  # several threads may send at once
        self._numbers = itertools.count(1)
        self._known: dict[bytes, Process] = {}
        self._by_number: dict[int, Process] = {}
        self._lock = threading.RLock()  # taken by itself: see forks.py
        self._changed = threading.Condition(self._lock)
        self._obituary: select.epoll | None = None
        self._pidfds: dict[int, Process] = {}
        self._unseen: list[Process] = []  # watched, without a descriptor that tells of their end
        self._dead: list[Process] = []
        self._calls: list[tuple[bytes, int, socket.socket]] = []  # for channels
        self.carried = 0  # messages that this process sent through adma
        self.by_mpi = 0  # and those that MPI carried
        self._listen()
        self.itself = Process(self.key, os.getpid(), self.path)
        self.itself.number = self.worker.connect_self()
        self.itself.state = _CONNECTED
        self._known[self.key] = self.itself
        self._by_number[self.itself.number] = self.itself

    # Numbers

    def next_context(self) -> int:
        """A number for a communicator, which this process uses for no other one."""
        return next(self._numbers)

    def serials(self, count: int) -> int:
        """The first of `count` numbers in a row, for messages that belong to others."""
        with self._numbering:
            for _ in range(count - 1):
                next(self._serials)
            return (next(self._serials) - count + 1) & 0x7FFFFFFF

    # Who there is

    def know(self, key: bytes, pid: int, path: str) -> Process:
        """The process with this key."""
        with self._lock:
            process = self._known.setdefault(key, Process(key, pid, path))
            process.path = process.path or path  # it may have called before we agreed
            return process

    def process_at(self, number: int) -> Process:
        """The process behind an endpoint. The thread that answers may just be adding it."""
        found = self._by_number.get(number)
        if found is None:
            with self._lock:
                self._changed.wait_for(lambda: number in self._by_number, _PATIENCE)
                found = self._by_number[number]
        return found

    # Connecting

    def endpoint_to(self, process: Process) -> int:
        """The number of the endpoint to a process. Connects the first time.

        PeerDied: it does not exist any more. ChannelClosed: it ended in order.
        TimeoutError, OSError: the two cannot connect.
        """
        if process.state == _CONNECTED:
            return process.number
        if os.getpid() != self.made_by:
            raise RuntimeError(
                "this process was forked from a rank: only the rank itself sends and receives"
            )
        deadline = time.monotonic() + _PATIENCE
        while process.state != _CONNECTED:
            if self._may_call(process, deadline):
                self._call(process, deadline)
        return process.number

    def _may_call(self, process: Process, deadline: float) -> bool:
        """Is it this thread's turn to call it? If not, wait until its state changes."""
        with self._lock:
            if process.state == _APART:
                process.state = _CALLING
                return True
            left = max(0.0, deadline - time.monotonic())
            if process.state != _CONNECTED and not self._changed.wait(left):
                raise TimeoutError(f"process {process.pid} did not connect within {_PATIENCE:g} s")
            return False

    def _call(self, process: Process, deadline: float) -> None:
        """Call it. Afterwards the two are connected, or this one has to try again."""
        try:
            sock = self._dial(process, deadline)
        except BaseException:
            self._set(process, _CALLING, _APART)
            raise
        if sock is None:
            self._await_call(process, deadline)
        else:
            self._connect(process, sock, _CALLING)

    def _await_call(self, process: Process, deadline: float) -> None:
        """Its own call is on its way: wait until that has connected the two, or cannot any more."""
        with self._lock:
            while process.state in (_CALLING, _ANSWERING):
                left = deadline - time.monotonic()
                if left > 0:
                    self._changed.wait(min(LOOK, left))
                if process.state == _CALLING and (left <= 0 or _is_gone(process)):
                    process.state = _APART
                    self._changed.notify_all()
                if left <= 0:
                    raise TimeoutError(f"process {process.pid} was to connect, and did not")

    def _dial(self, process: Process, deadline: float) -> socket.socket | None:
        """A socket to the process that answered our call, or None if we wait for its call."""
        sock = self._reach(process, deadline)
        try:
            sock.sendall(_HELLO.pack(_MAGIC, self.key))
            answer = sock.recv(1)
        except ConnectionError as error:
            sock.close()
            raise PeerDied(f"process {process.pid} is gone: {error.strerror}") from error
        except BaseException:
            sock.close()
            raise
        if answer == _COME:
            return sock
        sock.close()
        if not answer:
            raise PeerDied(f"process {process.pid} ended while this one called it")
        return None

    def _reach(self, process: Process, deadline: float) -> socket.socket:
        """A socket that is connected to that of a process of our user."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            sock.settimeout(max(0.01, deadline - time.monotonic()))
            sock.connect(process.path)
            access.own_user(credentials_of(sock).uid)
        except FileNotFoundError:  # one that ends in order removes its socket
            sock.close()
            raise ChannelClosed(f"process {process.pid} has ended") from None
        except ConnectionError as error:
            sock.close()
            raise PeerDied(f"process {process.pid} is gone: {error.strerror}") from error
        except BaseException:
            sock.close()
            raise
        return sock

    def _connect(self, process: Process, sock: socket.socket, state: int) -> None:
        try:
            sock.settimeout(None)
            number = self.worker.connect(sock, timeout=_PATIENCE)
        except BaseException:
            sock.close()
            self._set(process, state, _APART)
            raise
        with self._lock:
            process.number = number
            process.state = _CONNECTED
            self._by_number[number] = process
            self._changed.notify_all()

    def _set(self, process: Process, old: int, new: int) -> None:
        with self._lock:
            if process.state == old:
                process.state = new
            self._changed.notify_all()

    # Channels

    def socket_to(
        self, process: Process, number: int, theirs: int, deadline: float
    ) -> socket.socket:
        """A socket for a channel to a process, which asks for one to this process as well.

        `number` is that of the communicator here, `theirs` that of the process. PeerDied,
        ChannelClosed: it does not exist any more. TimeoutError: it has not asked.
        """
        if self.key < process.key:
            return self._call_for_channel(process, theirs, deadline)
        endpoint = self.endpoint_to(process)
        with self._lock:
            while (sock := self._call_from(process.key, number)) is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(
                        f"process {process.pid} did not ask for a channel in time: both ranks call "
                        "adma.mpi.channel"
                    )
                if not self._changed.wait(min(left, LOOK)):
                    self.worker.health(endpoint)
            return sock

    def _call_for_channel(self, process: Process, theirs: int, deadline: float) -> socket.socket:
        sock = self._reach(process, deadline)
        try:
            sock.sendall(_CHANNEL.pack(_CHANNEL_MAGIC, self.key, theirs))
        except BaseException:
            sock.close()
            raise
        sock.settimeout(None)
        return sock

    def _keep_call(self, sock: socket.socket, key: bytes, number: int) -> None:
        """Another process asks for a channel: this one will do so, too, or has already."""
        sock.settimeout(None)
        with self._lock:
            for gone in [call for call in self._calls if is_hung_up(call[2])]:
                self._calls.remove(gone)
                gone[2].close()
            if len(self._calls) >= _CALLS_KEPT:
                raise failure("calls for channels that this rank does not ask for", errno.EBUSY)
            self._calls.append((key, number, sock))
            self._changed.notify_all()

    def _call_from(self, key: bytes, number: int) -> socket.socket | None:
        """The first call of a process for a channel of a communicator that it still waits with."""
        for call in [each for each in self._calls if each[:2] == (key, number)]:
            self._calls.remove(call)
            if not is_hung_up(call[2]):
                return call[2]
            call[2].close()
        return None

    # Answering

    def _listen(self) -> None:
        name = f"mpi-{os.getpid()}-{secrets.token_hex(4)}"
        where = place.to_listen(name)
        self.path = where.path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with address.making(where):
            self._socket.bind(self.path)
            self._socket.listen(_BACKLOG)
        status = os.stat(self.path)
        self.place = status.st_dev, status.st_ino
        self._thread = threading.Thread(target=self._answer, name="adma-mpi", daemon=True)
        self._thread.start()

    def _answer(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ECONNABORTED):
                    time.sleep(0.01)  # whoever called waits, and there may be a descriptor soon
                    continue
                return  # closed
            try:
                self._answer_one(sock)
            except Exception:
                sock.close()  # the caller is told by that, and it is the one that needs us

    def _answer_one(self, sock: socket.socket) -> None:
        access.own_user(credentials_of(sock).uid)
        sock.settimeout(_PATIENCE)
        hello = sock.recv(_CHANNEL.size)
        if len(hello) == _CHANNEL.size and hello.startswith(_CHANNEL_MAGIC):
            self._keep_call(sock, *_CHANNEL.unpack(hello)[1:])
            return
        if len(hello) != _HELLO.size or not hello.startswith(_MAGIC):
            raise failure("the call of another rank", errno.EPROTO)
        _, key = _HELLO.unpack(hello)
        process = self.know(key, credentials_of(sock).pid, "")
        if not self._takes(process):
            sock.sendall(_WAIT)
            sock.close()
            return
        sock.sendall(_COME)
        self._connect(process, sock, _ANSWERING)

    def _takes(self, process: Process) -> bool:
        """Do we answer this call, or is ours the one that stands?"""
        with self._lock:
            ours_stands = process.state == _CALLING and self.key < process.key
            if ours_stands or process.state in (_ANSWERING, _CONNECTED):
                return False
            process.state = _ANSWERING
            self._changed.notify_all()
            return True

    # Deaths

    def watch(self, processes: list[Process]) -> int:
        """A descriptor that is readable when one of these, or of those before, has ended.

        It is not for those that are `unseen`: who waits has to look for these again and again.
        """
        with self._lock:
            if self._obituary is None:
                self._obituary = select.epoll()
            for process in processes:
                if process.watched or process is self.itself:
                    continue
                process.watched = True
                try:
                    pidfd = os.pidfd_open(process.pid)
                except OSError:  # it is gone already, of another pid namespace, or we may not
                    self._unseen.append(process)
                    continue
                self._pidfds[pidfd] = process
                self._obituary.register(pidfd, select.EPOLLIN)
            return self._obituary.fileno()

    def dead(self) -> list[Process]:
        """Those watched that have ended, but not in order."""
        with self._lock:
            ended = [process for process in self._unseen if _is_gone(process)]
            for process in ended:
                self._unseen.remove(process)
            for pidfd, _ in [] if self._obituary is None else self._obituary.poll(0):
                ranks_note_death()  # before the descriptor does not tell of it any more
                ended.append(self._pidfds.pop(pidfd))
                os.close(pidfd)  # which the epoll notices
            # One that ends in order removes its socket.
            self._dead += [process for process in ended if os.path.exists(process.path)]
            return self._dead

    @property
    def unseen(self) -> bool:
        """Is one watched whose end no descriptor tells? It has to be looked for: see `LOOK`."""
        return bool(self._unseen)

    # The end

    def close(self) -> None:
        """Deliver what was posted, and let go of everything."""
        if os.getpid() != self.made_by:
            return
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # ends the accept of the thread
        self._socket.close()
        with contextlib.suppress(OSError):
            os.unlink(self.path)
        for _, _, sock in self._calls:
            sock.close()
        self.worker.close()
        if self._obituary is not None:
            self._obituary.close()
            for pidfd in self._pidfds:
                os.close(pidfd)


def _is_gone(process: Process) -> bool:
    """Has the process ended? Then nobody listens at its address."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) as sock:
        try:
            sock.connect(process.path)
        except (ConnectionRefusedError, FileNotFoundError):
            return True
        except OSError:  # it has many callers
            return False
    return False


_here: Here | None = None
_making = threading.Lock()


def here() -> Here:
    """This process. Made by the first call."""
    global _here
    with _making:
        if _here is None:
            _here = Here()
        return _here
