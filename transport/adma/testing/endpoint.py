# SPDX-License-Identifier: BSD-3-Clause
"""What a function that a peer is asked to call works on: channels, and what it keeps by name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import adma

from .control import Join, Note, take_socket
from .cut_off import cut_off
from .leaks import Snapshot
from .limits import HANG

_at_rest: list[Callable[[], None]] = []


def at_rest(function: Callable[[], None]) -> None:
    """Have a peer call `function` after each test, before it closes its channels.

    A module that is preloaded into peers undoes there what its own calls may have changed.
    """
    _at_rest.append(function)


class Endpoint:
    """The first argument of every function that a peer is asked to call.

    `Endpoint.of(channel)` is the test's own endpoint, so that both sides can be told the same.
    """

    def __init__(self, pipe: Connection | None = None) -> None:
        self._control = pipe
        self.channels: list[adma.Channel] = []
        self.kept: dict[str, Any] = {}
        self.before = Snapshot()  # what the process held before it was told anything

    @classmethod
    def of(cls, channel: adma.Channel) -> Endpoint:
        """An endpoint in the process of the test, with this channel."""
        endpoint = cls()
        endpoint.channels.append(channel)
        return endpoint

    @property
    def _pipe(self) -> Connection:
        assert self._control is not None, "only a peer can talk to the test"
        return self._control

    @property
    def channel(self) -> adma.Channel:
        """The channel that was joined last."""
        return self.channels[-1]

    def say(self, content: Any) -> None:
        """Tell the test something, while the call goes on."""
        self._pipe.send(Note(content))

    def hear(self, timeout: float = HANG) -> Any:
        """Wait for what the test says to the call that is running."""
        if not self._pipe.poll(timeout):
            raise AssertionError(f"the test said nothing for {timeout:g} s")
        note = self._pipe.recv()
        assert isinstance(note, Note), note
        return note.content

    def join(self, order: Join) -> None:
        """Take the socket that follows the order, and make a channel of it."""
        sock = take_socket(self._pipe)
        channel = adma.from_socket(
            sock,
            timeout=order.timeout,
            mechanism=order.mechanism,  # type: ignore[arg-type]
        )
        self.channels.append(order.wrap(channel) if order.wrap else channel)

    def close(self) -> None:
        """Let go of everything that was kept, stop copy worker threads, close the channels."""
        self.kept.clear()
        for function in _at_rest:
            function()
        adma.configure()
        for channel in self.channels:
            with contextlib.suppress(adma.ChannelEnded):
                cut_off(channel)
        self.channels.clear()
