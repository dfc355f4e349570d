# SPDX-License-Identifier: BSD-3-Clause
"""The pipe between a test and a peer process: pickled records, and sockets for the peer."""

from __future__ import annotations

import pickle
import socket
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any


@dataclass(frozen=True)
class Call:
    """Run `function(endpoint, *arguments)`; answered by one Answer."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Join:
    """Build a channel on the socket whose descriptor follows; answered by one Answer."""

    mechanism: str
    timeout: float
    wrap: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Note:
    """What a running call is told, or tells."""

    content: Any


@dataclass(frozen=True)
class Answer:
    """What a call returned or raised."""

    result: Any = None
    error: BaseException | None = None


class Rest:
    """Close everything; answered by an Answer with a list of what was left behind."""


class Quit:
    """End. There is no answer."""


class Remote(AssertionError):
    """An exception of the peer that could not be sent as itself."""


def sendable(error: BaseException) -> BaseException:
    """The error, with its traceback as a note and without what belongs to its process."""
    text = "".join(traceback.format_exception(error))
    error.__traceback__ = None
    error.__dict__.pop("request", None)
    error.add_note(f"raised in the peer:\n{text}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return Remote(text)
    return error


def pass_socket(pipe: Connection, sock: socket.socket, pid: int) -> None:
    """Send the descriptor of `sock`; the caller keeps, and closes, its own."""
    send_handle(pipe, sock.fileno(), pid)


def take_socket(pipe: Connection) -> socket.socket:
    return socket.socket(fileno=recv_handle(pipe))
