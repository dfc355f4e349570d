# SPDX-License-Identifier: BSD-3-Clause
"""Listening and connecting in peers."""

from __future__ import annotations

import contextlib
import logging

import adma
from support.limits import HANG
from support.peer_main import End

_SLICE = 0.02  # seconds between two looks


def listen(
    end: End, name: str, mode: int | None = None, allow_uids: list[int] | None = None
) -> str:
    """Open a listener, kept under its name; its address."""
    end.kept[name] = server = adma.listen(name, mode=mode, allow_uids=allow_uids)
    return str(server.address)


def accept(end: End, name: str) -> None:
    """Join the next caller."""
    end.channels.append(end.kept[name].accept(timeout=HANG))


def turn_away(end: End, name: str) -> None:
    """Accept until one was refused; who gets through is an error. The refusal is in the log."""
    refused = Refusals()
    log = logging.getLogger("adma")
    log.addHandler(refused)
    try:
        while not refused.seen:
            with contextlib.suppress(TimeoutError):
                end.kept[name].accept(timeout=_SLICE).close()
                raise AssertionError("somebody got through")
    finally:
        log.removeHandler(refused)


class Refusals(logging.Handler):
    """Takes note that a client was refused."""

    seen = False

    def emit(self, record: logging.LogRecord) -> None:
        self.seen = self.seen or "refused a client" in record.getMessage()


def connect(end: End, name: str, mechanism: str = "auto") -> None:
    """Call and join who listens."""
    end.channels.append(adma.connect(name, timeout=HANG, mechanism=mechanism))


def stop(end: End, name: str) -> None:
    """Close a listener."""
    end.kept.pop(name).close()


def recv_trusting(end: End) -> object:
    """Unpickle what another user sent."""
    return end.channel.recv(timeout=HANG, allow_pickle=True)
