# SPDX-License-Identifier: BSD-3-Clause
"""Every error that only `adma` raises, and how the C core's codes become exceptions.

What the standard library has a word for stays the standard library's: a
`TimeoutError` is a time-out, a `BufferError` a buffer that cannot be used, a
`BlockingIOError` a full queue. The classes here are for the rest. All of them
are `AdmaError`; all but `ChannelClosed` (an `EOFError`) belong to the family
of `OSError` and carry an `errno`.
"""

from __future__ import annotations

import errno
import os
from enum import IntEnum
from typing import ClassVar, NoReturn

__all__ = [
    "AdmaError",
    "Cancelled",
    "ChannelClosed",
    "MechanismUnavailable",
    "MessageTooLong",
    "PeerDied",
    "ProtocolError",
    "VersionMismatch",
    "WrongKind",
    "error_for",
    "raise_for",
]


class AdmaError(Exception):
    """What all errors of `adma` have in common: catch this to catch them all."""


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


class ChannelClosed(AdmaError, EOFError):
    """The channel was closed in order: by the peer (everything it wrote was read), or here."""


class PeerDied(_Coded, ConnectionError):
    """The peer is gone without having closed the channel."""

    code = errno.ECONNRESET


class MessageTooLong(_Coded):
    """A message does not fit the buffer it met. It stays first in line.

    `needed`: bytes a buffer must have to take it.
    """

    code = errno.EMSGSIZE

    def __init__(self, *args: object, needed: int = 0) -> None:
        super().__init__(*args)
        self.needed = needed


class WrongKind(_Coded):
    """A read met a message of another kind, such as an object. It stays first in line."""

    code = errno.EPROTOTYPE


class Cancelled(_Coded):
    """The request was cancelled: nothing of it happened, or will."""

    code = errno.ECANCELED


class ProtocolError(_Coded):
    """The other end does not keep to the protocol, or is no `adma` at all."""

    code = errno.EPROTO


class VersionMismatch(ProtocolError):
    """The other end speaks no version of the wire protocol that this one speaks."""

    code = errno.EPROTONOSUPPORT


class MechanismUnavailable(_Coded):
    """A mechanism that was asked for does not work between these two processes.

    `mechanism`: its name; `cause`: why not; `cure`: what would change that
    (empty when nothing is known); `errno`: of the step that failed.
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


class _Code(IntEnum):
    """`enum adma_error` of adma.h; a test holds the two together."""

    CLOSED = 1001
    DIED = 1002
    TOOLONG = 1003
    KIND = 1004
    CANCELLED = 1005
    PROTOCOL = 1006
    CLOSED_HERE = 1007
    FORKED = 1008
    FULL = 1009
    NO_MECHANISM = 1010
    PENDING = 1011
    BULK = 1012


def error_for(code: int, text: str | None = None, *, needed: int = 0) -> Exception:
    """The exception for a result of the C core.

    `code` is an errno or a value of `enum adma_error`, negated (a result) or
    not (the `error` of a request). `text` replaces the usual wording; `needed`
    goes to `MessageTooLong`. Never raises, whatever the code.
    """
    code = abs(code)
    if code in (_Code.TOOLONG, errno.EMSGSIZE):
        usual = f"the message has {needed} bytes, more than the buffer: read it into a larger one"
        return MessageTooLong(text or usual, needed=needed)
    if code in _ERRORS:
        kind, usual = _ERRORS[code]
        return kind(text or usual)
    if code in _ERRNOS:
        number, usual = _ERRNOS[code]
        return OSError(number, text or usual)
    return OSError(code, text or os.strerror(code))


def raise_for(code: int, text: str | None = None, *, needed: int = 0) -> NoReturn:
    """Raise `error_for(...)`."""
    raise error_for(code, text, needed=needed)


_ERRORS: dict[int, tuple[type[AdmaError], str]] = {
    _Code.CLOSED: (ChannelClosed, "the peer closed the channel; everything it wrote was read"),
    _Code.DIED: (PeerDied, "the peer is gone: its process ended without closing the channel"),
    _Code.KIND: (
        WrongKind,
        "the message in line is of another kind: an object is taken by recv(), bytes by read()",
    ),
    _Code.CANCELLED: (Cancelled, "the request was cancelled"),
    errno.ECANCELED: (Cancelled, "the request was cancelled"),
    _Code.PROTOCOL: (ProtocolError, "the peer broke the protocol; the channel is unusable"),
    errno.EPROTO: (ProtocolError, "the peer broke the protocol; the channel is unusable"),
    _Code.CLOSED_HERE: (ChannelClosed, "the channel was closed on this side"),
    _Code.FORKED: (
        ChannelClosed,
        "this is a forked child's copy of the channel: only the process that connected uses it; "
        "connect anew in the child",
    ),
    _Code.NO_MECHANISM: (
        MechanismUnavailable,
        "no mechanism can carry this message; explain() tells why for each",
    ),
}

# Where Python's own class is the right one, OSError picks it by errno.
_ERRNOS: dict[int, tuple[int, str]] = {
    errno.ETIMEDOUT: (errno.ETIMEDOUT, "timed out"),
    _Code.FULL: (
        errno.EAGAIN,
        "too many requests are outstanding on this channel: wait for some of them first",
    ),
    # Answers from one layer to the next; nobody should ever read these.
    _Code.PENDING: (errno.EAGAIN, "not possible at once"),
    _Code.BULK: (errno.EAGAIN, "not possible before there is a bulk segment"),
}

# Tracebacks and pickles name the classes where users find them.
for _public in (
    AdmaError,
    Cancelled,
    ChannelClosed,
    MechanismUnavailable,
    MessageTooLong,
    PeerDied,
    ProtocolError,
    VersionMismatch,
    WrongKind,
):
    _public.__module__ = "adma"
