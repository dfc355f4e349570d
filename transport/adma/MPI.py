# SPDX-License-Identifier: BSD-3-Clause
"""mpi4py's `MPI`, with point-to-point messages between ranks of one machine carried by adma.

`from adma import MPI` in place of `from mpi4py import MPI`, in all ranks: the first import is
collective over COMM_WORLD. What is not here is mpi4py's own.
"""

from __future__ import annotations

from typing import Any

from mpi4py import MPI as _mpi

from .mpi import ending as _ending
from .mpi.activity import Nothing as _Nothing
from .mpi.buffered import COMMON as _COMMON
from .mpi.communicators import (
    Cartcomm,
    Comm,
    Distgraphcomm,
    Graphcomm,
    Intercomm,
    Intracomm,
    Topocomm,
)
from .mpi.communicators import wrap as _wrap
from .mpi.message import MESSAGE_NO_PROC, MESSAGE_NULL, Message
from .mpi.requests import REQUEST_NULL, Grequest, Prequest, Request

COMM_NULL = Comm(_mpi.COMM_NULL)
COMM_WORLD: Intracomm = _wrap(_mpi.COMM_WORLD)
COMM_SELF: Intracomm = _wrap(_mpi.COMM_SELF)
_ending.expect()


def Attach_buffer(buf: Any) -> None:
    """Attach a buffer for buffered sends on all communicators that have none of their own."""
    _COMMON.attach(buf)


def Detach_buffer() -> Any:
    """Wait until what was sent from it is on its way; returns the buffer."""
    return _COMMON.detach()


def Flush_buffer() -> None:
    """Wait until what was sent from it is on its way."""
    _COMMON.flush()


def Iflush_buffer() -> Request:
    """As `Flush_buffer`, which never waits for long."""
    _COMMON.flush()
    return Request.of(None, _Nothing(receives=False))


def Finalize() -> None:
    """Deliver what was posted, and end MPI."""
    _ending.end()
    _mpi.Finalize()


def __getattr__(name: str) -> Any:
    return getattr(_mpi, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_mpi)})


__all__ = [
    "COMM_NULL",
    "COMM_SELF",
    "COMM_WORLD",
    "MESSAGE_NO_PROC",
    "MESSAGE_NULL",
    "REQUEST_NULL",
    "Attach_buffer",
    "Cartcomm",
    "Comm",
    "Detach_buffer",
    "Distgraphcomm",
    "Finalize",
    "Flush_buffer",
    "Graphcomm",
    "Grequest",
    "Iflush_buffer",
    "Intercomm",
    "Intracomm",
    "Message",
    "Prequest",
    "Request",
    "Topocomm",
]
