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
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
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
