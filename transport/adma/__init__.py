# SPDX-License-Identifier: BSD-3-Clause
"""Messages between processes of one machine, copied once, by whoever is free.

with adma.listen("name") as server, server.accept() as channel: ...
channel = adma.connect("name")
channel.write(buf); n = channel.read(buf); request = channel.iread(buf)

adma.copy(dst, src); request = adma.icopy(dst, src); request.wait()

"Paper" in the texts of this package is: K. Vaidyanathan, W. Huang, L. Chai, D. K. Panda,
"Designing Efficient Asynchronous Memory Operations Using Hardware Copy Engine: A Case Study
with I/OAT", 2007. docs/benchmarks.md compares adma with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING as _TYPE_CHECKING

from . import config as _config
from .channel import Channel
from .copying.copies import copy, icopy
from .copying.engine import configure, stats
from .errors import (
    AdmaError,
    Cancelled,
    ChannelClosed,
    ChannelEnded,
    MechanismUnavailable,
    MessagesLost,
    MessageTooLong,
    PeerDied,
    ProtocolError,
    Stalled,
    VersionMismatch,
    WrongKind,
)
from .listener import Listener, listen
from .mechanisms import MechanismName, Refusal
from .meeting import connect, from_socket
from .messages.arrival import ReceiveRequest
from .messages.explanation import Explanation
from .messages.message import Message
from .messages.persistent import PersistentRequest
from .messages.poll import wait
from .messages.waitset import test_all, test_any, wait_all, wait_any, wait_some
from .pipes.end import PipeEnd, pipe, take_end
from .request import Request
from .request import suspend_by as _suspend_by

if _TYPE_CHECKING:
    from collections.abc import Generator as _Generator

    from .request import Awaited as _Awaited

__version__ = "0.1.0"


def _suspend(request: _Awaited) -> _Generator[object, None, None]:
    """Suspend a task. Only programs that await something need asyncio."""
    from .aio import suspended

    return suspended(request)


_suspend_by(_suspend)

if _config.value(_config.TRACE):
    from . import trace as _trace

    _trace.start()

__all__ = [
    "AdmaError",
    "Cancelled",
    "Channel",
    "ChannelClosed",
    "ChannelEnded",
    "Explanation",
    "Listener",
    "MechanismName",
    "MechanismUnavailable",
    "Message",
    "MessageTooLong",
    "MessagesLost",
    "PeerDied",
    "PersistentRequest",
    "PipeEnd",
    "ProtocolError",
    "ReceiveRequest",
    "Refusal",
    "Request",
    "Stalled",
    "VersionMismatch",
    "WrongKind",
    "configure",
    "connect",
    "copy",
    "from_socket",
    "icopy",
    "listen",
    "pipe",
    "stats",
    "take_end",
    "test_all",
    "test_any",
    "wait",
    "wait_all",
    "wait_any",
    "wait_some",
]
