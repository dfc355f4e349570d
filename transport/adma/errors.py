# SPDX-License-Identifier: BSD-3-Clause
"""Every error that only `adma` raises.

Where the standard library has a class, `adma` raises that one: a plain `TimeoutError` for a
timeout after which nothing has happened, a `BufferError` for a buffer that cannot be used, a
`BlockingIOError` for a full queue. The classes here are for the rest. All of them are
`AdmaError`; all but `ChannelEnded` and `ChannelClosed` (an `EOFError`) belong to the family of
`OSError` and carry an `errno`.
"""

from __future__ import annotations

import errno
import os
from typing import ClassVar, Final

from .request import Request

__all__ = [
    "AdmaError",
    "Cancelled",
    "ChannelClosed",
    "ChannelEnded",
    "MechanismUnavailable",
    "MessageTooLong",
    "MessagesLost",
    "PeerDied",
    "ProtocolError",
    "Stalled",
    "VersionMismatch",
    "WrongKind",
]


class AdmaError(Exception):
    """The base class of all errors that only `adma` raises."""


class _Coded(AdmaError, OSError):
    """An `AdmaError` with an errno that its class knows, shown as its text alone.

    `(text)` is what code writes; `(errno, text)` is what unpickling passes.
    """

    code: ClassVar[int] = errno.EIO

    def __init__(self, *args: object) -> None:
        if len(args) == 2:
            super().__init__(*args)
        else:
            super().__init__(self.code, args[0] if args else os.strerror(self.code))

    def __str__(self) -> str:
        return str(self.strerror)


class ChannelEnded(AdmaError):
    """The channel has ended. Its subclasses tell how: whether all messages came, and by whom."""


class ChannelClosed(ChannelEnded, EOFError):
    """The channel was closed in order: here, or by the peer, all of whose messages were read."""


class PeerDied(ChannelEnded, _Coded, ConnectionError):
    """The peer is gone without having closed the channel."""

    code = errno.ECONNRESET


class MessagesLost(ChannelEnded, _Coded, ConnectionError):
    """The peer closed the channel before all that it had posted was read; the rest is lost.

    Every message before the first lost one was read, and none after it is delivered. This is no
    EOFError, so that a loop which ends at the end of file does not take a stream that was cut off
    for a whole one.

    `posted`: how many messages the peer had posted. `withdrawn`: how many of these were lost.
    Both are 0 where the peer could not say.
    """

    code = errno.ECONNABORTED

    def __init__(self, *args: object, posted: int = 0, withdrawn: int = 0) -> None:
        super().__init__(*args)
        self.posted = posted
        self.withdrawn = withdrawn


class Stalled(_Coded, TimeoutError):
    """The time of a call is over, its message is matched, and the copy has come to a stop.

    What is matched cannot be taken back. So the call goes on after its timeout, and raises this
    once less than 1 MB moved in a full second: the peer is stopped, say. A call without a
    timeout never raises it.

    `request`: what the call posted. It is still pending and owns the buffer: wait for it, drop
    it, or close the channel. After `recv` it is done when what had begun to arrive is complete,
    and the next `recv` returns the object. A pickled copy of the exception has no request.
    """

    code = errno.ETIMEDOUT
    request: Request

    def __init__(self, *args: object, request: Request | None = None) -> None:
        super().__init__(*args)
        if request is not None:
            self.request = request

    def __reduce__(self) -> tuple[object, ...]:
        kept = {name: value for name, value in vars(self).items() if name != "request"}
        return type(self), self.args, kept


class MessageTooLong(_Coded):
    """The next message does not fit the buffer. It stays and is the next one again.

    `needed`: bytes that the buffer must have.
    """

    code = errno.EMSGSIZE

    def __init__(self, *args: object, needed: int = 0) -> None:
        super().__init__(*args)
        self.needed = needed


class WrongKind(_Coded):
    """The next message is of another kind than the read: an object, or bytes. It stays."""

    code = errno.EPROTOTYPE


class Cancelled(_Coded):
    """The request was cancelled. Nothing of it happened, or will."""

    code = errno.ECANCELED


class ProtocolError(_Coded):
    """The other end breaks the protocol, or is not `adma`."""

    code = errno.EPROTO


class VersionMismatch(ProtocolError):
    """The two ends have no version of the wire protocol in common."""

    code = errno.EPROTONOSUPPORT


class MechanismUnavailable(_Coded):
    """No mechanism can carry the message, or the one that was asked for does not work here.

    `mechanism`: its name. `cause`: why it does not work. `cure`: what would change that; empty
    when nothing is known. `errno`: of the step that failed.
    """

    code = errno.EOPNOTSUPP

    def __init__(self, *args: object, mechanism: str = "", cause: str = "", cure: str = "") -> None:
        if not args:
            named = f"mechanism {mechanism!r} is not available" if mechanism else "no mechanism"
            args = (": ".join(part for part in (named, cause) if part),)
            if cure:
                args = (f"{args[0]}; cure: {cure}",)
        super().__init__(*args)
        self.mechanism = mechanism
        self.cause = cause
        self.cure = cure


# What the system refuses: from what was tried and the errno to cause and cure.

# By what was tried: how it is told, and the system calls that a sandbox has to allow for it.
TRIED: Final[dict[str, tuple[str, str]]] = {
    "rings": ("the channel's rings cannot be made", "memfd_create, fallocate and mmap"),
    "peer's rings": ("the peer's rings cannot be mapped", "mmap"),
    "bulk segment": ("no bulk segment can be made", "memfd_create, fallocate and mmap"),
    "pipe": ("the pipe cannot be made", "eventfd2 and socketpair"),
    "handshake": ("the handshake needs more than there is", "sendmsg, recvmsg and dup"),
    "channel": ("the channel cannot be made", "eventfd2 and socket"),
    "worker": ("the worker cannot be made", "epoll_create1, eventfd2 and socket"),
    "poll descriptor": ("no descriptor to wait on can be made", "epoll_create1 and epoll_ctl"),
    "wait": ("many channels cannot be waited for", "epoll_create1 and epoll_ctl"),
    "progress thread": ("no progress thread can be started", "clone3, clone and epoll_create1"),
    "helper thread": ("no thread can be started for a call that waits", "clone3 and clone"),
    "mapped:cma": ("the kernel's copy fails", "process_vm_readv and process_vm_writev"),
    "shared": ("there is no bulk segment", "memfd_create, fallocate and mmap"),
    "loopback:tcp": ("the connection is of no use", "socket, connect and sendto"),
    "dma": ("the kernel helper fails", "ioctl"),
    "mapped:helper": ("the kernel helper fails", "ioctl"),
}

_ALLOW = "allow {calls} in the seccomp profile, or in the policy of the security module"
_AGAIN = "close the channel and connect again once that is mended"
_CAUSES: Final[dict[int, tuple[str, str]]] = {
    errno.EMFILE: (
        "this process has no file descriptor left",
        "close some, or raise its limit (ulimit -n)",
    ),
    errno.ENFILE: (
        "the system has no file descriptor left",
        "close files elsewhere, or raise the limit (sysctl fs.file-max)",
    ),
    errno.ETOOMANYREFS: (
        "too many descriptors of this user are under way in sockets",
        "let their receivers read, or raise the limit of this process (ulimit -n)",
    ),
    errno.ENOMEM: (
        "there is no memory left",
        "free some, or raise the limit (of the container, or ulimit -v)",
    ),
    errno.ENOSPC: (
        "there is no room left for shared memory",
        "free some in /dev/shm, or raise the container's limit on memory",
    ),
    errno.EDQUOT: (
        "the quota of this user is used up",
        "free room in /dev/shm and /tmp, or raise the quota",
    ),
    errno.EFBIG: (
        "the limit on the size of files, which holds for shared memory too, is lower",
        "raise the limit (ulimit -f)",
    ),
    errno.EAGAIN: (
        "the limit on threads, or on locked memory, is reached",
        "raise it (ulimit -u, ulimit -l, or pids.max of the container)",
    ),
    errno.EPERM: ("a sandbox or a security module forbids {calls}", _ALLOW),
    errno.EACCES: ("a security module denies {calls}", _ALLOW),
    errno.ENOSYS: (
        "this kernel has no {calls}, or a seccomp filter hides them",
        "use a newer kernel, or allow {calls} in the seccomp profile",
    ),
    errno.EIO: ("the system reports a failure of its own", "look at the kernel's log (dmesg)"),
}
_SPECIAL: Final[dict[tuple[str, int], tuple[str, str]]] = {
    ("poll descriptor", errno.ENOSPC): (
        "this user watches as many descriptors as one may",
        "close some, or raise the limit (sysctl fs.epoll.max_user_watches)",
    ),
    ("wait", errno.ENOSPC): (
        "this user watches as many descriptors as one may",
        "close some, or raise the limit (sysctl fs.epoll.max_user_watches)",
    ),
    ("mapped:cma", errno.EPERM): (
        "one process may not reach the other's memory any more: it changed its user, is not "
        "dumpable, or got a seccomp filter",
        "change users and set filters before the two connect",
    ),
    ("shared", errno.EMFILE): (
        "one of the two processes had no file descriptor left for it",
        "close some, or raise the limit there (ulimit -n); it is tried again after a second",
    ),
    ("loopback:tcp", errno.ECONNRESET): ("the connection broke", _AGAIN),
    ("loopback:tcp", errno.EPIPE): ("the connection broke", _AGAIN),
    ("loopback:tcp", errno.ETIMEDOUT): (
        "the connection was cut, since nothing was answered",
        "let the firewall pass what this machine sends to itself, and connect again",
    ),
}
_UNKNOWN = "none is known: please report it with these words"


def explain(tried: str, number: int) -> tuple[str, str]:
    """Cause and cure of an errno. `tried`: of TRIED, or words for something else."""
    _, calls = TRIED.get(tried, ("", "the system call"))
    usual = _CAUSES.get(number, (os.strerror(number), _UNKNOWN))
    cause, cure = _SPECIAL.get((tried, number), usual)
    return cause.format(calls=calls), cure.format(calls=calls)


def table() -> dict[tuple[str, int], tuple[str, str]]:
    """All that is known, by step and errno; the step is empty for what holds for each of them."""
    shared = {("", number): told for number, told in _CAUSES.items()}
    calls = "such system calls"
    return {
        key: (cause.format(calls=calls), cure.format(calls=calls))
        for key, (cause, cure) in (shared | _SPECIAL).items()
    }


def failure(tried: str, number: int) -> OSError:
    """The error for a step that failed: what was tried, the cause and the cure."""
    told, _ = TRIED.get(tried, (tried, ""))
    cause, cure = explain(tried, number)
    return OSError(number, f"{told}: {cause}; cure: {cure}")


def is_shortage(error: OSError) -> bool:
    """Was there no descriptor left? That may be over in a moment."""
    return error.errno in (errno.EMFILE, errno.ENFILE)


# Tracebacks and pickles name the classes where users find them.
for _public in (
    AdmaError,
    Cancelled,
    ChannelClosed,
    ChannelEnded,
    MechanismUnavailable,
    MessageTooLong,
    MessagesLost,
    PeerDied,
    ProtocolError,
    Stalled,
    VersionMismatch,
    WrongKind,
):
    _public.__module__ = "adma"
