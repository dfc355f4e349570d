# SPDX-License-Identifier: BSD-3-Clause
"""A peer that is a thread of the test's own process: both ends of its channels are here."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import adma

from .cut_off import cut_off
from .endpoint import Endpoint
from .limits import HANG
from .peer import Wrap


class ThreadTask:
    """A call that runs in a thread."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(function, arguments), daemon=True)
        self._thread.start()

    def _run(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        try:
            self._result = function(*arguments)
        except BaseException as error:
            self._error = error

    def result(self, timeout: float = HANG) -> Any:
        """What the call returned; raises what it raised."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise AssertionError(f"the other thread did not answer within {timeout:g} s")
        error, self._error = self._error, None
        if error is not None:
            # The frames of its traceback hold buffers that the test wants back.
            raise error.with_traceback(None)
        return self._result

    @property
    def done(self) -> bool:
        """True when the call is over. Never waits."""
        return not self._thread.is_alive()


class ThreadPeer:
    """Does what a `Peer` does, but for dying and for talking to the test during a call."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._endpoint = Endpoint()
        self._channels: list[adma.Channel] = []

    def begin(self, function: Callable[..., Any], *arguments: Any) -> ThreadTask:
        """Have `function(endpoint, *arguments)` run in a thread."""
        return ThreadTask(function, self._endpoint, *arguments)

    def call(self, function: Callable[..., Any], *arguments: Any, timeout: float = HANG) -> Any:
        """The same, and wait for its result."""
        return self.begin(function, *arguments).result(timeout)

    def connect(self, mechanism: str = "auto", wrap: Wrap | None = None) -> Any:
        """One end of a channel within this process; the other is the thread's."""
        ours, theirs = socket.socketpair()

        def join() -> adma.Channel:
            return adma.from_socket(
                theirs,
                timeout=HANG,
                mechanism=mechanism,  # type: ignore[arg-type]
            )

        task = ThreadTask(join)
        with contextlib.ExitStack() as undo:
            undo.enter_context(ours)
            channel = adma.from_socket(
                ours,
                timeout=HANG,
                mechanism=mechanism,  # type: ignore[arg-type]
            )
            undo.pop_all()
        self._channels.append(channel)
        other = task.result()
        self._endpoint.channels.append(wrap(other) if wrap else other)
        return wrap(channel) if wrap else channel

    def rest(self) -> None:
        """Close both ends of everything."""
        for channel in self._channels:
            cut_off(channel)
        self._channels.clear()
        self._endpoint.close()
