# SPDX-License-Identifier: BSD-3-Clause
"""Persistent requests: prepared once, and started again and again.

Those of buffers are compiled (binding/persistent.h). That of an object is made here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .._core.calls import persistent_type_on
from .._core.operation import Operation
from ..request import Request
from .channel_request import ChannelRequest
from .endpoint import Endpoint

__all__ = ["BufferStarter", "ObjectStarter", "PersistentRequest"]


class PersistentRequest(ChannelRequest):
    """A message that is prepared once, and started again and again.

    `Channel.read_init`, `write_init` and `send_init` make it. After `start` it is a request like
    any other, which can be waited for, awaited and cancelled. Once it is done, it can be started
    again. A program may drop it: what was started happens all the same.
    """

    __slots__ = ()

    def start(self) -> None:
        """Start it. RuntimeError: it was started before, and is pending."""
        raise NotImplementedError

    def __repr__(self) -> str:
        if not self._operations and self._nbytes is None:
            return f"<{self._verb} on {self._endpoint!r}, not started>"
        return super().__repr__()


#: Writes or reads one buffer. The calls of a channel make it.
BufferStarter = persistent_type_on(PersistentRequest)


class ObjectStarter(PersistentRequest):
    """Sends one object, as it is at each start."""

    __slots__ = ("_begun", "_endpoint", "_isend", "_object", "_verb")

    def __init__(
        self, endpoint: Endpoint, isend: Callable[[object], Request], thing: object
    ) -> None:
        self._endpoint = endpoint
        self._verb = "send"
        self._isend = isend
        self._object = thing
        self._begun: ChannelRequest | None = None

    def start(self) -> None:
        """Pickle the object, and post it. RuntimeError: it was started before, and is pending.

        Whatever pickling raises is raised before anything is posted. If it failed before, and
        nobody was told, that error is raised, and it is not started.
        """
        self._check_startable()
        posted = self._isend(self._object)
        assert isinstance(posted, ChannelRequest)
        self._begun = posted

    def _check_startable(self) -> None:
        if self._begun is not None:
            if not self._begun._done:
                raise RuntimeError(f"start(): this {self._verb} is pending; wait for it first")
            begun, self._begun = self._begun, None
            begun.check()

    def check(self) -> bool:
        """Is it done? Raises the error with which it failed. ValueError: it was not started."""
        return self._started().check()

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it is done; returns the object's bytes. ValueError: it was not started."""
        return self._started().wait(timeout)

    def cancel(self) -> bool:
        """Take it back. See `ChannelRequest.cancel`."""
        return self._begun is not None and self._begun.cancel()

    def _started(self) -> ChannelRequest:
        if self._begun is None:
            raise ValueError(f"this {self._verb} was not started: call start() first")
        return self._begun

    @property
    def _operations(self) -> Sequence[Operation]:  # type: ignore[override]
        return self._begun._operations if self._begun is not None else ()

    @property  # type: ignore[misc]
    def _nbytes(self) -> int | None:
        return self._begun._nbytes if self._begun is not None else None

    @property
    def _done(self) -> bool:
        return self._begun is None or self._begun._done

    @property
    def _unmet(self) -> ChannelRequest | None:
        return self._begun._unmet if self._begun is not None else None

    def _seen(self) -> None:
        if self._begun is not None:
            self._begun._seen()

    def _let_go(self) -> None:
        if self._begun is not None:
            self._begun._let_go()
