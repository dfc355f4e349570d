# SPDX-License-Identifier: BSD-3-Clause
"""Listening and connecting in peers."""

from __future__ import annotations

import contextlib
import logging

import adma
from adma.testing import Endpoint
from adma.testing.limits import HANG

_SLICE = 0.02  # seconds between two looks


def listen(
    endpoint: Endpoint, name: str, mode: int | None = None, allow_uids: list[int] | None = None
) -> str:
    """Open a listener, kept under its name; its address."""
    endpoint.kept[name] = server = adma.listen(name, mode=mode, allow_uids=allow_uids)
    return str(server.address)


def accept(endpoint: Endpoint, name: str) -> None:
    """Join the next caller."""
    endpoint.channels.append(endpoint.kept[name].accept(timeout=HANG))


def turn_away(endpoint: Endpoint, name: str) -> None:
    """Accept until one was refused; who gets through is an error. The refusal is in the log."""
    refused = Refusals()
    log = logging.getLogger("adma")
    log.addHandler(refused)
    try:
        while not refused.seen:
            with contextlib.suppress(TimeoutError):
                endpoint.kept[name].accept(timeout=_SLICE).close()
                raise AssertionError("somebody got through")
    finally:
        log.removeHandler(refused)


class Refusals(logging.Handler):
    """Takes note that a client was refused."""

    seen = False

    def emit(self, record: logging.LogRecord) -> None:
        self.seen = self.seen or "refused a client" in record.getMessage()


def connect(endpoint: Endpoint, name: str, mechanism: str = "auto") -> None:
    """Call and join who listens."""
    endpoint.channels.append(adma.connect(name, timeout=HANG, mechanism=mechanism))


def stop(endpoint: Endpoint, name: str) -> None:
    """Close a listener."""
    endpoint.kept.pop(name).close()


def recv_trusting(endpoint: Endpoint) -> object:
    """Unpickle what another user sent."""
    return endpoint.channel.recv(timeout=HANG, allow_pickle=True)
