# SPDX-License-Identifier: BSD-3-Clause
"""What the core's results mean, as exceptions: errnos, and the codes of `enum adma_error`."""

from __future__ import annotations

import errno
import os
from typing import Final, NoReturn

from ..errors import (
    AdmaError,
    Cancelled,
    ChannelClosed,
    MechanismUnavailable,
    MessagesLost,
    MessageTooLong,
    PeerDied,
    ProtocolError,
    WrongKind,
)
from . import ending
from ._native import lib

__all__ = ["error_for", "memory_error", "raise_for"]

# enum adma_error. A request's `error` holds one as it is, a result is negated.
CANCELLED: Final = lib.ADMA_E_CANCELLED
CLOSED_HERE: Final = lib.ADMA_E_CLOSED_HERE
KIND: Final = lib.ADMA_E_KIND
FORKED: Final = lib.ADMA_E_FORKED
LOST: Final = lib.ADMA_E_LOST
MEMORY_HERE: Final = lib.ADMA_E_MEMORY_HERE
MEMORY_PEER: Final = lib.ADMA_E_MEMORY_PEER
NO_MECHANISM: Final = lib.ADMA_E_NO_MECHANISM
TOO_LONG: Final = lib.ADMA_E_TOOLONG

DESCRIPTOR: Final = lib.ADMA_E_DESCRIPTOR

# Results that are no errors: the layer above does what they ask for.
NOT_NOW: Final = -lib.ADMA_E_PENDING  # post it, or wait for it
NEEDS_BULK: Final = -lib.ADMA_E_BULK  # give the channel a bulk segment first


def error_for(code: int, text: str | None = None, *, needed: int = 0) -> Exception:
    """The exception for a result of the core.

    `code` is an errno or a value of `enum adma_error`, negated (a result) or not (the `error`
    of a request). `text` replaces the usual wording; `needed` goes to `MessageTooLong`. Never
    raises, whatever the code. (It does not return to a thread that is left over at the end of the
    interpreter: see `ending`.)
    """
    code = abs(code)
    if code == CLOSED_HERE:
        ending.stop_here()
    if code in (TOO_LONG, errno.EMSGSIZE):
        usual = f"the message has {needed} bytes, more than the buffer: read it into a larger one"
        return MessageTooLong(text or usual, needed=needed)
    if code in _ERRORS:
        kind, usual = _ERRORS[code]
        return kind(text or usual)
    if code in _ERRNOS:
        number, usual = _ERRNOS[code]
        return OSError(number, text or usual)
    return OSError(code, text or os.strerror(code))


def memory_error(code: int, mechanism: str, *, is_read: bool) -> OSError:
    """The error of a message whose memory `mechanism` could not access, at either end."""
    here = abs(code) == MEMORY_HERE
    whose = "the buffer of this call" if here else "the buffer of the peer's call"
    access = "written" if is_read == here else "read"
    return OSError(
        errno.EFAULT,
        f"{whose} cannot be {access} by {mechanism}: a page of it was unmapped, cut off its file "
        "or protected after the call (keep it as it was until the message is done), or it is "
        "memory that the kernel does not copy between processes (use mechanism='auto', which "
        "takes another way then, or copy it into ordinary memory first)",
    )


def raise_for(code: int, text: str | None = None, *, needed: int = 0) -> NoReturn:
    """Raise `error_for(...)`."""
    raise error_for(code, text, needed=needed)


_ERRORS: dict[int, tuple[type[AdmaError], str]] = {
    lib.ADMA_E_CLOSED: (
        ChannelClosed,
        "the peer closed the channel; everything it wrote was read",
    ),
    lib.ADMA_E_ENDED: (
        ChannelClosed,
        "the peer reads no more: it has closed the channel, or is about to",
    ),
    LOST: (
        MessagesLost,
        "the peer closed the channel before everything that it had posted was read: "
        "the messages from here on are lost",
    ),
    lib.ADMA_E_DIED: (
        PeerDied,
        "the peer is gone: its process ended, or let go of the channel, without closing it",
    ),
    KIND: (
        WrongKind,
        "the next message is of another kind: an object is taken by recv(), bytes by read()",
    ),
    CANCELLED: (Cancelled, "the request was cancelled"),
    errno.ECANCELED: (Cancelled, "the request was cancelled"),
    lib.ADMA_E_PROTOCOL: (
        ProtocolError,
        "the peer broke the protocol; the channel is unusable",
    ),
    errno.EPROTO: (ProtocolError, "the peer broke the protocol; the channel is unusable"),
    CLOSED_HERE: (ChannelClosed, "the channel was closed on this side"),
    FORKED: (
        ChannelClosed,
        "this is a forked child's copy of the channel: only the process that connected uses it; "
        "connect anew in the child",
    ),
    NO_MECHANISM: (
        MechanismUnavailable,
        "no mechanism can carry this message; explain() tells why for each",
    ),
}

# Where the standard library has a class for it, OSError picks that class by the errno.
_ERRNOS: dict[int, tuple[int, str]] = {
    errno.ETIMEDOUT: (errno.ETIMEDOUT, "timed out"),
    lib.ADMA_E_FULL: (
        errno.EAGAIN,
        "too many requests are outstanding on this channel: wait for some of them first",
    ),
    DESCRIPTOR: (
        errno.EBADF,
        "a descriptor of this channel is not its own any more: other code of this process has "
        "closed it by its number (a double close, os.closerange), so the channel cannot be used. "
        "Mend that code, and connect anew",
    ),
    MEMORY_HERE: (
        errno.EFAULT,
        "the buffer of this call cannot be accessed: keep its memory mapped until the message is "
        "done",
    ),
    MEMORY_PEER: (
        errno.EFAULT,
        "the buffer of the peer's call cannot be accessed: its memory has to stay mapped until the "
        "message is done",
    ),
    # One layer answers these to the next. A user who reads one has found a bug.
    -NOT_NOW: (errno.EAGAIN, "not possible at once"),
    -NEEDS_BULK: (errno.EAGAIN, "not possible before there is a bulk segment"),
}
