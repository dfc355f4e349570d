# SPDX-License-Identifier: BSD-3-Clause
"""`loopback:tcp`: through the network stack, over an address of this machine.

The end with the smaller nonce listens on a port that the kernel picks. It tells the peer that
port and a secret over the Unix socket. A connection that does not send the secret is a
stranger's and dropped. Then bytes go in both directions. The connection is kept only if the
channel will use it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import secrets
import select
import socket
import struct
import time
from collections.abc import Sequence

from .. import config
from .._core.constants import MECH_TCP
from ..connect.record import Entry
from ..errors import explain as explain_errno
from ..errors import is_shortage
from .interface import Context, Probe, Refusal, refusal_in

__all__ = ["LoopbackTCP", "explain"]

_SECRET = 32  # bytes; the reply, a digest of it, is as long
_PATIENCE = 2.0  # seconds for a connection that stays on this machine
_PORT = struct.Struct("=H")
_STRANGERS = 64  # connections that may wait at once to say the secret


def explain(number: int, where: str) -> tuple[str, str]:
    """Cause and cure for an errno of a connection to `where`. Looks at its arguments only."""
    if number in (errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENODEV):
        return (
            f"no interface of this machine has the address {where}",
            f"ip link set lo up, or set {config.LOOPBACK_ADDRESS} to an address of this machine "
            "(both processes in one network namespace)",
        )
    if number == errno.ETIMEDOUT:
        return (
            f"a connection to {where} on this machine was not answered in {_PATIENCE:g} s",
            "let the firewall accept connections of this machine to itself",
        )
    if number == errno.ECONNREFUSED:
        return (
            f"nobody answers at {where}: the two processes see different networks",
            "run both in one network namespace",
        )
    if number in (errno.EAFNOSUPPORT, errno.EINVAL):
        return (
            f"{where} is no address of a kind that this machine has",
            f"set {config.LOOPBACK_ADDRESS}",
        )
    if number in (errno.EPERM, errno.EACCES):
        return (
            "TCP sockets are forbidden to this process",
            "allow them in the seccomp profile or the security module's policy",
        )
    cause, cure = explain_errno("loopback:tcp", number)
    return f"a connection over {where} failed: {cause}", cure


class LoopbackTCP(Probe):
    """One end listens, the other connects; each then knows that its bytes reach the other."""

    name = "loopback:tcp"
    id = MECH_TCP
    keeps_descriptor = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._listens = context.nonce < context.peer.nonce
        # It may hold anything, and goes into errors, which people print, and to the peer.
        self._where = config.loopback_address().encode("ascii", "backslashreplace").decode()
        self._secret = b""
        self._listener: socket.socket | None = None
        self._sock: socket.socket | None = None
        self._failed: Refusal | None = None

    def offer(self) -> Entry:
        """The listening end tells the port, the secret and the address."""
        if not self._listens:
            return Entry(self.id)
        try:
            port = self._listen()
        except OSError as error:
            return self._fail(error)
        self._secret = secrets.token_bytes(_SECRET)
        return Entry(self.id, 0, _PORT.pack(port) + self._secret + self._where.encode())

    def answer(self, offer: Entry) -> Entry:
        """The other end connects and sends the secret."""
        if offer.error and self._failed is None:
            self._failed = refusal_in(offer, self.name)
        if self._listens or self._failed is not None:
            return self._entry()
        try:
            self._connect(offer.data)
        except OSError as error:
            return self._fail(error)
        return Entry(self.id)

    def verdict(self, answer: Entry) -> Entry:
        """The listening end reads the secret and replies; the other end reads the reply."""
        if answer.error and self._failed is None:
            self._failed = refusal_in(answer, self.name)
        if self._failed is not None:
            self.close()  # the peer may wait for our reply, and sees this at once
            return self._entry()
        try:
            if self._listens:
                self._sock = self._accept()
                self._sock.sendall(_reply(self._secret), socket.MSG_NOSIGNAL)
            else:
                self._hear_reply()
        except OSError as error:
            self.close()
            return self._fail(error)
        return Entry(self.id)

    def conclude(self, verdict: Entry) -> None:
        """Both directions work, or neither."""
        if verdict.error and self._failed is None:
            self._failed = refusal_in(verdict, self.name)
        self.out = self.in_ = self._failed

    def take(self) -> int:
        """The connection, non-blocking; -1 if there is none."""
        if self._sock is None or self._failed is not None:
            return -1
        self._sock.setblocking(False)
        sock, self._sock = self._sock, None
        return sock.detach()

    def close(self) -> None:
        """Drop connection and listener. No port is left in TIME_WAIT (tcp(7))."""
        if self._sock is not None:
            _drop(self._sock)
            self._sock = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    # The listening end

    def _listen(self) -> int:
        family = _family(self._where)
        self._listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener.setblocking(False)
        self._listener.bind((self._where, 0))
        self._listener.listen(_STRANGERS)
        return int(self._listener.getsockname()[1])

    def _accept(self) -> socket.socket:
        """The connection that sends the secret. All others are dropped."""
        listener = self._listener
        assert listener is not None
        self._listener = None
        deadline = time.monotonic() + self.context.remaining(_PATIENCE)
        said: dict[socket.socket, bytes] = {}
        with listener:
            try:
                while (left := deadline - time.monotonic()) > 0:
                    ready = _readable([listener, *said], left)
                    if listener in ready:
                        self._let_in(listener, said)
                    for sock in ready:
                        if sock is not listener and self._hear(sock, said):
                            return _prepare(_taken(sock, said))
            finally:
                for sock in said:
                    _drop(sock)
        raise TimeoutError(errno.ETIMEDOUT, "the peer did not connect")

    @staticmethod
    def _let_in(listener: socket.socket, said: dict[socket.socket, bytes]) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            sock, _ = listener.accept()
            if len(said) >= _STRANGERS:
                _drop(sock)
                return
            sock.setblocking(False)
            said[sock] = b""

    def _hear(self, sock: socket.socket, said: dict[socket.socket, bytes]) -> bool:
        """Read on. True: this one has sent the secret. A stranger is dropped."""
        try:
            part = sock.recv(_SECRET - len(said[sock]))
        except BlockingIOError:
            return False
        except OSError:
            part = b""
        said[sock] += part
        if part and len(said[sock]) < _SECRET:
            return False
        if hmac.compare_digest(said[sock], self._secret):
            return True
        del said[sock]
        _drop(sock)
        return False

    # The connecting end

    def _connect(self, offer: bytes) -> None:
        if len(offer) <= _PORT.size + _SECRET:
            raise OSError(errno.EPROTO, "the peer's offer is malformed")
        (port,) = _PORT.unpack_from(offer)
        self._secret = offer[_PORT.size : _PORT.size + _SECRET]
        self._where = offer[_PORT.size + _SECRET :].decode("ascii", errors="replace")
        sock = socket.socket(_family(self._where), socket.SOCK_STREAM)
        self._sock = sock
        sock.settimeout(self.context.remaining(_PATIENCE) or _PATIENCE)
        try:
            # What we can bind is an address of this machine. So no peer can send us elsewhere.
            sock.bind((self._where, 0))
            sock.connect((self._where, port))
        except TimeoutError:
            raise TimeoutError(errno.ETIMEDOUT, "the connection was not answered") from None
        _prepare(sock)
        sock.sendall(self._secret, socket.MSG_NOSIGNAL)

    def _hear_reply(self) -> None:
        sock = self._sock
        assert sock is not None
        expected = _reply(self._secret)
        deadline = time.monotonic() + self.context.remaining(_PATIENCE)
        reply = b""
        while len(reply) < len(expected):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(errno.ETIMEDOUT, "the peer did not reply")
            sock.settimeout(left)
            part = sock.recv(len(expected) - len(reply))
            if not part:
                raise ConnectionResetError(errno.ECONNRESET, "the peer dropped the connection")
            reply += part
        if not hmac.compare_digest(reply, expected):
            raise OSError(errno.EPROTO, "who answered is not the peer")

    # Both

    def _fail(self, error: OSError) -> Entry:
        if is_shortage(error):
            raise error
        number = error.errno or (errno.ETIMEDOUT if isinstance(error, TimeoutError) else errno.EIO)
        self._failed = self.refuse(number, *explain(number, self._where))
        return self._entry()

    def _entry(self) -> Entry:
        return self._failed.entry(self.id) if self._failed is not None else Entry(self.id)


def _readable(socks: Sequence[socket.socket], seconds: float) -> list[socket.socket]:
    """Those that can be read, or have ended. By poll, since a sandbox may refuse an epoll."""
    poll = select.poll()
    by_number = {sock.fileno(): sock for sock in socks}
    for number in by_number:
        poll.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poll.poll(seconds * 1000)]


def _family(where: str) -> socket.AddressFamily:
    """The family of a numeric address. OSError: it is a name, which a resolver would look up."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError, ValueError):
            socket.inet_pton(family, where)
            return family
    raise OSError(errno.EINVAL, "not a numeric address")


def _reply(secret: bytes) -> bytes:
    return hashlib.sha256(b"adma loopback:tcp" + secret).digest()


def _prepare(sock: socket.socket) -> socket.socket:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _taken(sock: socket.socket, said: dict[socket.socket, bytes]) -> socket.socket:
    del said[sock]
    return sock


def _drop(sock: socket.socket) -> None:
    # With a linger time of 0 the connection is reset, which leaves no port in TIME_WAIT.
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
