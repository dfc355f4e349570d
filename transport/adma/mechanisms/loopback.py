# SPDX-License-Identifier: BSD-3-Clause
"""`loopback:tcp`: through the network stack, over an address of this machine.

The end that was called listens, at a port that the kernel picks, and makes a key. It passes
address, port and key over the Unix socket, and never connects anywhere. The other end connects
to that, if it is a loopback address, or the one that it is set to use itself. It tells its own
port and a salt over the Unix socket. Where neither called the other, both offer to listen, and
the one with the smaller nonce does.

Over TCP each end sends one proof, an HMAC with that key over both nonces, the salt and its role.
Since the salt is chosen after the key, the caller's proof is nothing that the listening end could
have chosen, whoever the address leads to. Anybody on this machine may connect to the port: who
does not come from the port that was told is dropped, unheard. Of the one who does, no more bytes
are read than a proof has.

The listening end does not wait for anybody: it looks when the caller has told that it began to
connect, and once more when the caller has told that it is connected and has sent its proof. The
caller has the last look: it hears the listening end's proof, or the end of the connection.

Then bytes go in both directions. The connection is kept only if the channel will use it. Between
users it is tried only if it is forced, or if nothing else works.
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import hmac
import os
import secrets
import select
import socket
import struct
import termios
import time

from .. import config
from .._core.constants import MECH_TCP
from ..connect.record import Entry
from ..errors import explain as explain_errno
from ..errors import is_shortage
from .interface import Context, Probe, Refusal, refusal_in

__all__ = ["LoopbackTCP", "explain"]

_KEY = 32  # bytes; a proof is as long
_PROOF = 32
_SALT = 16
_PATIENCE = 2.0  # seconds for a connection that stays on this machine
_MOMENT = 0.2  # seconds for one where nobody is in the way; then the other end makes room
_BLINK = 0.05  # seconds for what was sent already to arrive, where the caller cannot tell that
_TICK = 0.001  # seconds between two looks at what no descriptor tells of
_OFFER = struct.Struct(f"=HH{_KEY}s")  # the port, _CALLED or 0, and the key; the address follows
_CALLED = 1
_ANSWER = struct.Struct(f"=H{_SALT}s")  # the caller's port and the salt
_ADDRESS_MAX = 45  # characters of a numeric address
_BACKLOG = 4096  # strangers may connect before there is anybody to drop them
_ATTACH_FILTER, _DETACH_FILTER = 26, 27  # SO_ATTACH_FILTER and so on: see socket(7)


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
    last_between_users = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._made_by = os.getpid()
        self._listens = not context.client  # or offers to
        # It may hold anything, and goes into errors, which people print, and to the peer.
        self._where = config.loopback_address().encode("ascii", "backslashreplace").decode()
        self._port = 0  # at which the listening end listens
        self._key = b""
        self._salt = b""
        self._callers_port = 0
        self._proved = False  # our proof is sent
        self._said = b""  # what came of the other end's
        self._listener: socket.socket | None = None
        self._sock: socket.socket | None = None
        self._failed: Refusal | None = None

    def offer(self) -> Entry:
        """The listening end tells the port, the key and the address."""
        if not self._listens:
            return Entry(self.id)
        try:
            self._listen()
        except OSError as error:
            return self._fail(error)
        self._key = secrets.token_bytes(_KEY)
        head = _OFFER.pack(self._port, _CALLED if self.context.called else 0, self._key)
        return Entry(self.id, 0, head + self._where.encode())

    def answer(self, offer: Entry) -> Entry:
        """The caller begins to connect, and tells from which port, and the salt."""
        if offer.error and self._failed is None:
            self._failed = refusal_in(offer, self.name)
        if self._failed is not None or self._is_listener(offer.data):
            return self._entry()
        self.close()
        self._listens = False
        try:
            self._failed = self._read_offer(offer.data)
            if self._failed is not None:
                return self._entry()
            port = self._begin()
            self._salt = secrets.token_bytes(_SALT)
            if self._is_connected(_MOMENT):
                self._say(b"caller")
        except OSError as error:
            return self._fail(error)
        return Entry(self.id, 0, _ANSWER.pack(port, self._salt))

    def verdict(self, answer: Entry) -> Entry:
        """The listening end looks for the caller, which has connected when this returns there."""
        if answer.error and self._failed is None:
            self._failed = refusal_in(answer, self.name)
        if self._failed is not None:
            self.close()  # the peer may wait for our proof, and sees this at once
            return self._entry()
        try:
            if self._listens:
                self._expect(answer.data)
                self._look()
            else:
                self._finish_connecting()
        except OSError as error:
            self.close()
            return self._fail(error)
        return Entry(self.id)

    def conclude(self, verdict: Entry) -> None:
        """Both directions work, or neither: the connection itself tells the caller."""
        if verdict.error and self._failed is None:
            self._failed = refusal_in(verdict, self.name)
        if self._failed is None:
            try:
                self._meet()
            except OSError as error:
                self._failed = self._refusal(error)
        if self._failed is not None:
            self.close()
        self.out = self.in_ = self._failed

    def take(self) -> int:
        """The connection, non-blocking; -1 if there is none."""
        if self._sock is None or self._failed is not None:
            return -1
        sock, self._sock = self._sock, None
        return sock.detach()

    def close(self) -> None:
        """Drop connection and listener. No port is left in TIME_WAIT (tcp(7))."""
        if self._sock is not None:
            _drop(self._sock, self._made_by)
            self._sock = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _is_listener(self, offer: bytes) -> bool:
        """We offered to, and do: we were called, or nobody else offers to, or by the nonces."""
        if not self._listens:
            return False
        if self.context.called or len(offer) < _OFFER.size:
            return True
        _, called, _ = _OFFER.unpack_from(offer)
        return bool(called != _CALLED and self.context.nonce < self.context.peer.nonce)

    # The listening end

    def _listen(self) -> None:
        self._listener = _socket(self._where)
        self._listener.bind((self._where, 0))
        self._listener.listen(_BACKLOG)
        self._port = int(self._listener.getsockname()[1])

    def _expect(self, answer: bytes) -> None:
        """From now on only the caller gets in, as far as the system lets us see to that."""
        if len(answer) != _ANSWER.size:
            raise _malformed()
        self._callers_port, self._salt = _ANSWER.unpack(answer)
        assert self._listener is not None
        with contextlib.suppress(OSError):
            _keep_out_all_but(self._listener, self._callers_port)

    def _look(self) -> None:
        """Let the caller in, hear its proof and send ours, as far as it has come. Never waits.

        All others are dropped as they come, so that they neither keep the caller out nor count.
        """
        for _ in range(2 * _BACKLOG):
            listener = self._listener
            if listener is None or not _is_ready(listener, select.POLLIN, 0):
                break
            sock = _let_in(listener)
            if sock is not None and _comes_from(sock, self._callers_port):
                self._sock, self._listener = sock, None
                listener.close()
            elif sock is not None:
                _drop(sock)
        if self._sock is not None and not self._proved and self._has_heard(b"caller"):
            self._say(b"listener")

    def _await_caller(self) -> None:
        """It has told that it is connected: what it sent may take a moment to arrive."""
        deadline = time.monotonic() + self.context.remaining(_BLINK)
        self._look()
        while not self._proved:
            where = self._sock or self._listener
            assert where is not None
            _await(where, select.POLLIN, deadline, "the peer did not connect, or said nothing")
            self._look()

    # The connecting end

    def _read_offer(self, offer: bytes) -> Refusal | None:
        """Where to connect to; or why not, although it can be understood. OSError: it cannot."""
        where = offer[_OFFER.size :]
        if not 0 < len(where) <= _ADDRESS_MAX:
            raise _malformed()
        self._port, _, self._key = _OFFER.unpack_from(offer)
        numeric = _numeric(where.decode("ascii", errors="replace"))
        if numeric is None or not self._port:
            raise _malformed()
        if not _is_loopback(numeric) and numeric != _numeric(self._where):
            return self.refuse(
                errno.EADDRNOTAVAIL,
                f"the peer listens at {numeric}, which is no loopback address of this machine",
                f"set {config.LOOPBACK_ADDRESS}={numeric} in both processes, or in neither",
            )
        self._where = numeric
        return None

    def _begin(self) -> int:
        """Begin to connect; returns our port."""
        self._sock = _socket(self._where)
        # What we can bind is an address of this machine. So no peer can send us elsewhere.
        self._sock.bind((self._where, 0))
        number = self._sock.connect_ex((self._where, self._port))
        if number not in (0, errno.EINPROGRESS):
            raise OSError(number, "connect")
        return int(self._sock.getsockname()[1])

    def _is_connected(self, seconds: float) -> bool:
        """Wait until it is; False: it may be later. OSError: it will not be."""
        sock = self._sock
        assert sock is not None
        deadline = time.monotonic() + self.context.remaining(seconds)
        if not _is_ready(sock, select.POLLOUT, deadline):
            return False
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, "connect")
        return True

    def _finish_connecting(self) -> None:
        """When this returns, our proof lies where the listening end finds it."""
        deadline = time.monotonic() + self.context.remaining(_PATIENCE)
        if not self._proved:
            if not self._is_connected(_PATIENCE):
                raise TimeoutError(errno.ETIMEDOUT, "the connection was not answered")
            self._say(b"caller")
        assert self._sock is not None
        while not _has_arrived(self._sock) and time.monotonic() < deadline:
            time.sleep(_TICK)

    def _await_listener(self) -> None:
        deadline = time.monotonic() + self.context.remaining(_PATIENCE)
        assert self._sock is not None
        while not self._has_heard(b"listener"):
            _await(self._sock, select.POLLIN, deadline, "the peer did not say who it is")

    # Both

    def _meet(self) -> None:
        if self._listens:
            self._await_caller()
        else:
            self._await_listener()

    def _proof(self, role: bytes) -> bytes:
        """What only the two ends can say, and each of them only once."""
        nonces = (self.context.nonce, self.context.peer.nonce)
        listener, caller = nonces if self._listens else nonces[::-1]
        said = b"adma loopback:tcp " + role + b"\0" + listener + caller + self._salt
        return hmac.digest(self._key, said, "sha256")

    def _say(self, role: bytes) -> None:
        sock = self._sock
        assert sock is not None
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(self._proof(role), socket.MSG_NOSIGNAL)
        self._proved = True

    def _has_heard(self, role: bytes) -> bool:
        """Read on: has the other end, which has this role, proved that? OSError: it did not."""
        sock = self._sock
        assert sock is not None
        with contextlib.suppress(BlockingIOError):
            part = sock.recv(_PROOF - len(self._said))
            if not part:
                raise ConnectionResetError(errno.ECONNRESET, "the peer dropped the connection")
            self._said += part
        if len(self._said) < _PROOF:
            return False
        if not hmac.compare_digest(self._said, self._proof(role)):
            raise OSError(errno.EPROTO, "who is at the other end is not the peer")
        return True

    def _fail(self, error: OSError) -> Entry:
        if is_shortage(error):
            raise error
        self._failed = self._refusal(error)
        return self._entry()

    def _refusal(self, error: OSError) -> Refusal:
        number = error.errno or (errno.ETIMEDOUT if isinstance(error, TimeoutError) else errno.EIO)
        return self.refuse(number, *explain(number, self._where))

    def _entry(self) -> Entry:
        return self._failed.entry(self.id) if self._failed is not None else Entry(self.id)


# Addresses


def _family(where: str) -> socket.AddressFamily:
    """The family of a numeric address. OSError: it is a name, which a resolver would look up."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError, ValueError):
            socket.inet_pton(family, where)
            return family
    raise OSError(errno.EINVAL, "not a numeric address")


def _numeric(where: str) -> str | None:
    """An address as the system writes it; None: it is none."""
    try:
        family = _family(where)
    except OSError:
        return None
    return socket.inet_ntop(family, socket.inet_pton(family, where))


def _is_loopback(numeric: str) -> bool:
    """Does this address stay on this machine whatever its interfaces are? 127.0.0.0/8 and ::1."""
    if _family(numeric) == socket.AF_INET:
        return socket.inet_pton(socket.AF_INET, numeric)[0] == 127
    return numeric == "::1"


# Sockets, which never block


def _socket(where: str) -> socket.socket:
    sock = socket.socket(_family(where), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    sock.setblocking(False)
    return sock


def _let_in(listener: socket.socket) -> socket.socket | None:
    """The next one that connected; None: it has gone again."""
    with contextlib.suppress(BlockingIOError, ConnectionError):
        sock, _ = listener.accept()
        sock.setblocking(False)
        with contextlib.suppress(OSError):  # it has the listener's filter, if that has one
            sock.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)
        return sock
    return None


def _comes_from(sock: socket.socket, port: int) -> bool:
    """Is this the port that it was connected from, on the address that it was connected to?"""
    try:
        there, here = sock.getpeername(), sock.getsockname()
    except OSError:
        return False
    return bool(there[0] == here[0] and there[1] == port)


def _keep_out_all_but(listener: socket.socket, port: int) -> None:
    """Have the kernel ignore whoever connects from another port. OSError: it does not do that.

    The program is that of a classic BPF filter, which a TCP socket runs on each segment from its
    header on: take the 16 bits at 0, the port it came from; if they are `port`, keep it all.
    """
    steps = [(0x28, 0, 0, 0), (0x15, 0, 1, port), (0x06, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 0)]
    program = array.array("B", b"".join(struct.pack("=HBBI", *step) for step in steps))
    head = struct.pack("@HP", len(steps), program.buffer_info()[0])
    listener.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, head)


def _has_arrived(sock: socket.socket) -> bool:
    """Has all that was sent been received by the other end's system? True where we cannot tell."""
    left = array.array("i", [0])
    with contextlib.suppress(OSError):
        fcntl.ioctl(sock, termios.TIOCOUTQ, left)
    return left[0] == 0


def _is_ready(sock: socket.socket, events: int, deadline: float) -> bool:
    """Wait for events, or the end. By poll, since a sandbox may refuse an epoll."""
    poll = select.poll()
    poll.register(sock, events)
    return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))


def _await(sock: socket.socket, events: int, deadline: float, lack: str) -> None:
    """As `_is_ready`. TimeoutError with this text: the deadline has passed."""
    if not _is_ready(sock, events, deadline) or time.monotonic() > deadline:
        raise TimeoutError(errno.ETIMEDOUT, lack)


def _drop(sock: socket.socket, made_by: int | None = None) -> None:
    """Close a connection that is of no use. `made_by`: in a child of that process it goes on."""
    # With a linger time of 0 the connection is reset, which leaves no port in TIME_WAIT.
    if made_by in (None, os.getpid()):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _malformed() -> OSError:
    return OSError(errno.EPROTO, "what the peer told is malformed")
