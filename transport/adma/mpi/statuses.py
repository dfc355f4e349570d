# SPDX-License-Identifier: BSD-3-Clause
"""What users see of a message once it is over: its status, or MPI's error."""

from __future__ import annotations

import errno
import sys
from typing import Any, Final, NoReturn

from mpi4py import MPI

from ..errors import (
    Cancelled,
    ChannelEnded,
    MessageTooLong,
    ProtocolError,
)

__all__ = ["fail", "fail_from", "fill", "fill_empty", "fill_null", "translate"]


def fill(
    status: Any,
    source: int,
    tag: int,
    nbytes: int,
    error: int = MPI.SUCCESS,
    cancelled: bool = False,
) -> None:
    """Tell a status of MPI, if there is one, about a message."""
    if status is None:
        return
    status.Set_source(source)
    status.Set_tag(tag)
    status.Set_error(error)
    status.Set_elements(MPI.BYTE, nbytes)
    status.Set_cancelled(cancelled)


def fill_empty(status: Any) -> None:
    """The status of what is no message: a send, or a request that is null or not active."""
    fill(status, MPI.ANY_SOURCE, MPI.ANY_TAG, 0)


def fill_null(status: Any) -> None:
    """The status of a receive from PROC_NULL."""
    fill(status, MPI.PROC_NULL, MPI.ANY_TAG, 0)


def fail(comm: Any, error_class: int, cause: BaseException | None, text: str) -> NoReturn:
    """Report an error as MPI does: to the error handler of the communicator; None: COMM_SELF's.

    With mpi4py's default handler, and with any that returns, this raises `MPI.Exception`. With
    ERRORS_ARE_FATAL or ERRORS_ABORT the processes end, after the text was printed.
    """
    if not comm:  # None, or freed before its last message came
        comm = MPI.COMM_SELF
    handler = comm.Get_errhandler()
    is_fatal = handler in (MPI.ERRORS_ARE_FATAL, MPI.ERRORS_ABORT)
    if handler not in _PREDEFINED:
        handler.Free()
    if is_fatal:
        print(f"adma.mpi: {MPI.Get_error_string(error_class)}: {text}", file=sys.stderr, flush=True)
    comm.Call_errhandler(error_class)
    error = MPI.Exception(error_class)
    error.add_note(text)
    raise error from cause


def fail_from(comm: Any, error: Exception) -> NoReturn:
    """Report an error of adma as MPI does, but for a TimeoutError, which MPI does not know."""
    fail(comm, translate(error), error, str(error))


def translate(error: BaseException) -> int:
    """The error class of MPI for an error of adma. A TimeoutError is raised again as it is."""
    if isinstance(error, TimeoutError):
        raise error
    for kind, error_class in _CLASSES:
        if isinstance(error, kind):
            return error_class
    if isinstance(error, OSError) and error.errno in (errno.ENOMEM, errno.ENOSPC):
        return int(MPI.ERR_NO_MEM)
    return int(MPI.ERR_OTHER)


# An MPI without fault tolerance has no such class, and mpi4py gives it the number of another one.
_PROC_FAILED: Final[int] = (
    MPI.ERR_OTHER if MPI.ERR_PROC_FAILED == MPI.ERR_UNKNOWN else MPI.ERR_PROC_FAILED
)
_CLASSES: Final[tuple[tuple[type[BaseException], int], ...]] = (
    (MessageTooLong, MPI.ERR_TRUNCATE),
    (ChannelEnded, _PROC_FAILED),
    (Cancelled, MPI.ERR_REQUEST),
    (ProtocolError, MPI.ERR_INTERN),
    (MemoryError, MPI.ERR_NO_MEM),
    (BufferError, MPI.ERR_BUFFER),
)
_PREDEFINED: Final = (MPI.ERRORS_RETURN, MPI.ERRORS_ARE_FATAL, MPI.ERRORS_ABORT)
