# SPDX-License-Identifier: BSD-3-Clause
"""How two processes get a channel: `listen`, `connect`, `from_socket`."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import socket
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import NoReturn

from . import mechanisms
from .arguments import FOREVER, deadline_of, whole_between
from .channel import Channel
from .connect import access, address, place
from .connect.identity import credentials_of
from .errors import ChannelClosed, PeerDied
from .handshake.handshake import Terms, refuse, shake
from .handshake.link import Link

__all__ = ["Listener", "connect", "from_socket", "listen"]

_log = logging.getLogger("adma")

# Seconds for a client's handshake; and what accept() grants it beyond its own timeout.
_HANDSHAKE = 5.0
_GRACE = 1.0
_BACKLOG_MAX = 2**31 - 1  # what listen(2) takes, an int; the kernel has a lower limit of its own


class Listener:
    """A name at which other processes reach this one. `listen` makes listeners.

    It is a context manager, which closes it. Iterating over it yields a channel for each
    process that connects, until it is closed. Threads may share it.
    """

    def __init__(
        self, name: str | os.PathLike[str], backlog: int, guests: access.Guests = access.PRIVATE
    ) -> None:
        spot = place.to_listen(name, guests.welcome)
        self._name = os.fspath(name)
        self._guests = guests
        self._bound = address.bind(spot, backlog, guests.mode)
        self._sock = self._bound.sock
        self._sock.setblocking(False)
        self._closed = False
        self._lock = threading.Lock()
        self._looking = threading.Lock()  # one thread looks for clients
        # Clients that have connected but sent nothing yet, and until when they may take.
        self._silent: dict[socket.socket, float] = {}

    @property
    def name(self) -> str:
        """The name as it was given to `listen`."""
        return self._name

    @property
    def address(self) -> str:
        """The path of the socket."""
        return self._bound.path

    def fileno(self) -> int:
        """The listening socket's descriptor, readable when a client connects; -1 after close."""
        return self._sock.fileno()

    def accept(self, timeout: float | None = None) -> Channel:
        """Wait for a client and shake hands with it; returns the channel.

        A client whose handshake fails is told why and logged, and `accept` goes on waiting:
        nothing that a client does ends it. Clients that send nothing do not hold up others,
        and are dropped after 5 s.

        `timeout` is in seconds; None means no limit. TimeoutError: nobody connected in time;
        it comes up to a second late when a handshake had begun. ChannelClosed: the listener
        was closed.
        """
        deadline = deadline_of(timeout, "accept")
        while True:
            sock = self._next_speaker(deadline)
            channel = self._welcome(sock, deadline)
            if channel is not None:
                return channel

    def close(self) -> None:
        """Stop listening and remove the socket's file. Closing twice is no error.

        Threads that wait in `accept` wake with ChannelClosed. Channels live on. In a forked
        child only the child's copy is closed.
        """
        with self._lock:
            closed, self._closed = self._closed, True
            silent, self._silent = list(self._silent), {}
        for sock in silent:
            sock.close()
        if closed:
            return
        self._bound.remove()
        if os.getpid() == self._bound.pid:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def __enter__(self) -> Listener:
        self._check_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Channel]:
        while True:
            try:
                channel = self.accept()
            except ChannelClosed:
                return
            yield channel

    def __repr__(self) -> str:
        state = "closed" if self._closed else "listening"
        guests = f", {self._guests}" if self._guests.welcome else ""
        return f"<Listener {self._name!r} {state} at {self.address}{guests}>"

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            try:
                warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            finally:  # also where warnings are errors
                self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Listener cannot be copied or pickled: it is a socket and a file of this process; "
            "cure: pass its name, and connect there"
        )

    def _check_open(self) -> None:
        if self._closed:
            raise ChannelClosed("the listener was closed on this side")

    # Waiting

    def _next_speaker(self, deadline: float | None) -> socket.socket:
        """The next client that has sent something, or hung up. The caller owns its socket.

        One thread at a time looks, at all clients that there are. A second one would not know
        of those that the first one lets in while the second sleeps.
        """
        left = -1.0 if deadline is None else min(max(0.0, deadline - time.monotonic()), FOREVER)
        if not self._looking.acquire(timeout=left):
            raise TimeoutError(f"nobody connected to {self._name!r} in time")
        try:
            return self._await_speaker(deadline)
        finally:
            self._looking.release()

    def _await_speaker(self, deadline: float | None) -> socket.socket:
        looked = False
        while True:
            with self._lock:
                silent = dict(self._silent)
            now = time.monotonic()
            if looked and deadline is not None and now >= deadline:
                raise TimeoutError(f"nobody connected to {self._name!r} in time")
            looked = True
            listening = self._sock.fileno()
            self._check_open()
            poll = select.poll()
            poll.register(listening, select.POLLIN)
            speakers = {sock.fileno(): sock for sock in silent if sock.fileno() >= 0}
            for fd in speakers:
                poll.register(fd, select.POLLIN)
            ends = [*silent.values(), *([] if deadline is None else [deadline])]
            wait = None if not ends else min(max(0.0, min(ends) - now), FOREVER) * 1000
            ready = [fd for fd, _ in poll.poll(wait)]
            for fd in ready:
                if fd in speakers and self._forget(speakers[fd]):
                    return speakers[fd]
            if listening in ready:
                self._let_in()
            self._drop_silent()

    def _forget(self, sock: socket.socket) -> bool:
        """Take a client off the list. False: another thread was faster."""
        with self._lock:
            return self._silent.pop(sock, None) is not None

    def _let_in(self) -> None:
        """Accept one connection, if there still is one."""
        try:
            sock, _ = self._sock.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # another thread, or another process that shares the socket, was faster
        except OSError as error:
            if self._closed:
                return
            if error.errno in (errno.EMFILE, errno.ENFILE) and self._drop_oldest():
                return
            raise
        if not self._turned_away(sock):
            with self._lock:
                if not self._closed:
                    self._silent[sock] = time.monotonic() + _HANDSHAKE
                    return
        sock.close()

    def _turned_away(self, sock: socket.socket) -> bool:
        """Was it refused at once? So a stranger that then sends nothing holds no descriptor."""
        try:
            _judge_other_end(sock, self._guests.judge)
        except PermissionError as error:
            refuse(sock, error)
            _log.warning("%s: refused a client: %s", self.name, error)
            return True
        return False

    def _drop_oldest(self) -> bool:
        """Out of descriptors: drop the client that was silent longest. False: there is none."""
        with self._lock:
            sock = next(iter(self._silent), None)
            if sock is None:
                return False
            del self._silent[sock]
        _log.warning("%s: dropped a silent client: no descriptors left (ulimit -n)", self.name)
        sock.close()
        return True

    def _drop_silent(self) -> None:
        now = time.monotonic()
        with self._lock:
            late = [sock for sock, end in self._silent.items() if now >= end]
            for sock in late:
                del self._silent[sock]
        for sock in late:
            _log.warning("%s: dropped a client that said nothing for %g s", self.name, _HANDSHAKE)
            sock.close()

    # Shaking hands

    def _welcome(self, sock: socket.socket, deadline: float | None) -> Channel | None:
        left = _HANDSHAKE
        if deadline is not None:
            left = min(left, max(_GRACE, deadline - time.monotonic()))
        guests = self._guests
        terms = Terms(self.address, client=False, admit=guests.judge, private=not guests.welcome)
        try:
            return _channel(shake(sock, terms, left))
        except PeerDied as error:
            # This is also what it looks like when a process tests whether somebody listens.
            _log.info("%s: a client left: %s", self.name, error)
        except OSError as error:
            _log.warning("%s: refused a client: %s", self.name, error)
        finally:
            sock.close()
        return None


def listen(
    name: str | os.PathLike[str],
    backlog: int = 128,
    *,
    mode: int | None = None,
    allow_uids: Iterable[int] | None = None,
) -> Listener:
    """Listen at a name, or at a path: a str with "/" in it, or any os.PathLike.

    A name is a file in a directory of this user's own. `pathlib.Path("x")` is a path, relative
    to the working directory, while the str "x" is a name. "x@USER", with this process's own
    user, is the name "x" as other users call it. `backlog`: how many clients may wait for
    `accept`, from 1 to 2**31 - 1; the kernel's own limit is net.core.somaxconn (listen(2)).

    Only processes of the same user can connect, unless one of these is given:

    `mode`      permissions of the socket's file, whatever the umask. 0o666 lets
                every user connect, 0o660 those of the file's group. That is this
                process's group, that of a directory with the set-group-id bit, or
                another one after `os.chown(server.address, -1, gid)`. 0o600 is
                the same as no mode.
    `allow_uids`  uids that may connect beside this process's own. The kernel
                vouches for the uid of the process that connects, and of the one
                that speaks. Without `mode` the file's mode is 0o666 then; with
                it, both have to allow a user.

    A name that is open to others is a file in a directory that they can reach, below /tmp or
    the directory that ADMA_OPEN_DIR names for all of them. They connect to "NAME@USER" (see
    `connect`); this user's own processes connect to either. Others use a path only where
    nobody but root and the listener's user can have put it there. The uid 65534 stands for
    users that cannot be named here, such as those of another user namespace; it is never
    let in.

    A listener that lets others in does not use `mapped:cma`, with anybody, and a channel
    between two users unpickles nothing unless asked to. A client that stops in the middle of
    its handshake holds up `accept` for up to 5 s, so a busy server accepts in several threads.

    TypeError, ValueError: no name, backlog, mode or uid looks like that. OSError (EADDRINUSE):
    the name is in use; a file that a dead process left is replaced. OSError (ENAMETOOLONG):
    the path has more than 107 bytes. PermissionError: the directory is not writable, should
    hold private sockets and is not private, or belongs to somebody else; or the name is one
    of another user.
    """
    callers = whole_between(
        backlog,
        1,
        _BACKLOG_MAX,
        "backlog must be an int, a number of callers",
        f"backlog={{}}: from 1 to {_BACKLOG_MAX} callers can wait",
    )
    guests = access.guests(mode, allow_uids)
    mechanisms.sweep()
    return Listener(name, callers, guests)


def connect(
    name: str | os.PathLike[str], timeout: float | None = 5, mechanism: str = "auto"
) -> Channel:
    """Connect to the process that listens at a name or a path, written as for `listen`.

    "x" is the name "x" of this process's own user, "x@USER" that of another one, who has to
    have opened it; USER is a login name or a number. A listener of any other user is refused
    before a byte is sent. At a path the listener may be another user's only if nobody but
    root, this user and that one can have put it there: no directory on the way, those of
    symbolic links included, may belong to somebody else or be writable for others. So a path
    below /tmp leads to listeners of this user only.

    `timeout` is in seconds; None means no limit. TimeoutError leaves nothing behind.
    `mechanism` is the one to use for every message, in both directions; "auto" chooses for
    each. MechanismUnavailable: it does not work between the two. ValueError: there is none of
    that name, or no such user. TypeError: an argument is of a wrong type.

    FileNotFoundError, ConnectionRefusedError: nobody listens, or what is there is no socket.
    PermissionError: the listener belongs to another user than it should, or does not let this
    one in. PeerDied, ProtocolError, VersionMismatch: the other end failed.
    """
    forced = mechanisms.check_name(mechanism)
    deadline = _deadline(timeout, "connect")
    callee = place.to_call(name)
    mechanisms.sweep()
    sock = address.connect(callee, deadline)
    try:
        _judge_other_end(sock, callee.judge)
        left = max(0.0, deadline - time.monotonic())
        terms = Terms(callee.label, client=True, forced=forced, admit=callee.judge)
        return _channel(shake(sock, terms, left))
    finally:
        sock.close()


def from_socket(sock: socket.socket, timeout: float | None = 5, mechanism: str = "auto") -> Channel:
    """Make a channel over a connected AF_UNIX socket, SOCK_STREAM or SOCK_SEQPACKET.

    The other end does the same. Nothing else may be under way on the socket. The other end
    may belong to another user, since whoever holds the socket was given it. Such a channel
    unpickles nothing unless asked to, and does not use `mapped:cma`.

    TypeError, ValueError: an argument is refused for what it is, and the socket stays the
    caller's. Otherwise the channel owns it from the call on: `sock` is detached, and closed
    if the handshake fails. Timeout, mechanism and other errors are as for `connect`.
    """
    forced = mechanisms.check_name(mechanism)
    deadline = _deadline(timeout, "from_socket")
    _check_socket(sock)
    terms = Terms("socket", client=False, forced=forced, admit=access.anybody)
    try:
        return _channel(shake(sock, terms, max(0.0, deadline - time.monotonic())))
    finally:
        sock.close()


def _judge_other_end(sock: socket.socket, judge: access.Judge) -> None:
    """Judge the user at the other end, before a byte is sent.

    Root may have made the socket for another user. The handshake sees that one.
    """
    uid = credentials_of(sock).uid
    if uid != 0:
        judge(uid)


def _channel(link: Link) -> Channel:
    try:
        return Channel(link)
    except BaseException:
        link.discard()
        raise


def _deadline(timeout: float | None, call: str) -> float:
    """As `deadline_of`, with a moment far away where there is no limit."""
    deadline = deadline_of(timeout, call)
    return time.monotonic() + FOREVER if deadline is None else deadline


def _check_socket(sock: socket.socket) -> None:
    if not isinstance(sock, socket.socket):
        raise TypeError(f"sock must be a socket.socket, not {type(sock).__name__}")
    if sock.fileno() < 0:
        raise ValueError("sock is closed")
    if sock.family != socket.AF_UNIX:
        raise ValueError(
            f"sock is of {sock.family.name}: adma needs a connected AF_UNIX socket, "
            "such as one of socket.socketpair()"
        )
    if sock.type not in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
        raise ValueError(f"sock is of {sock.type.name}: it must be SOCK_STREAM or SOCK_SEQPACKET")
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ValueError("sock is a listening socket: pass one that its accept() returned")
    try:
        sock.getpeername()
    except OSError:
        raise ValueError("sock is not connected") from None
