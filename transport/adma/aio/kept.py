# SPDX-License-Identifier: BSD-3-Clause
"""A message whose task was cancelled too late: it is kept for the next call that reads."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from .._core.constants import BYTES
from .._core.operation import Operation
from ..errors import MessageTooLong, WrongKind
from ..messages.message import Message
from . import loops

if TYPE_CHECKING:
    from ..buffer_types import Scattered
    from ..messages.channel_request import ChannelRequest

__all__ = ["Kept"]


class Kept:
    """A read that was matched before it could be taken back.

    Its bytes leave the buffer of the task that was cancelled as soon as they are there.
    """

    def __init__(self, request: ChannelRequest, buf: Scattered | None = None) -> None:
        self._request = request
        self._buf = buf  # None: the request has memory of its own, or the bytes were moved
        self._value: Any = None
        self._has_value = False
        self.kind: Literal["bytes", "object"] = "object" if request._verb == "recv" else "bytes"
        if buf is not None:
            with suppress(RuntimeError, OSError):  # no loop runs, or no descriptor is left: later
                loops.running().completions.enrol(request, self._move)

    def _move(self) -> None:
        """It may be done: move its bytes. An error is for whoever settles it."""
        with suppress(Exception):
            if self._request.check():
                self._settle()

    async def settle(self) -> bool:
        """Wait until the message is there. False: its read has failed, so nothing is kept.

        A task that is cancelled meanwhile leaves it as it is. What unpickling raises is raised.
        """
        try:
            if not self._has_value:
                await self._request
                self._settle()
        except Exception:
            if self._request._nbytes is None:
                return False
            raise
        return True

    def _settle(self) -> None:
        result: Any = self._request.wait(0)
        if not self._has_value:
            self._value = result if self._buf is None else _gathered(self._buf, result)
            self._buf, self._has_value = None, True

    @property
    def message(self) -> Message:
        """What `probe` tells of it."""
        nbytes = self._request._nbytes
        return Message(self.kind, nbytes or 0)

    def read_into(self, buf: Scattered) -> int:
        """Copy it into a buffer. `WrongKind`, `MessageTooLong` and errors of `buf`: it stays."""
        data = self.read_bytes(None)
        views = [_checked(each) for each in (buf if isinstance(buf, (list, tuple)) else [buf])]
        space = sum(view.nbytes for view in views)
        if len(data) > space:
            raise _too_long(len(data), f"the buffer {space}")
        rest = memoryview(data)
        for view in views:
            part, rest = rest[: view.nbytes], rest[view.nbytes :]
            view[: part.nbytes] = part
        return len(data)

    def read_bytes(self, limit: int | None) -> bytes:
        """Its bytes. `WrongKind`, `MessageTooLong`: it stays."""
        if self.kind != "bytes":
            raise WrongKind("the next message is an object: recv() takes it; it stays")
        data: bytes = self._value
        if limit is not None and len(data) > limit:
            raise _too_long(len(data), f"max_bytes is {limit}")
        return data

    def received(self) -> Any:
        """The object. `WrongKind`: it stays."""
        if self.kind != "object":
            raise WrongKind("the next message is bytes: read() takes it; it stays")
        return self._value


def _too_long(needed: int, space: str) -> MessageTooLong:
    text = f"the next message has {needed} bytes, {space}: it stays, read it with more room"
    return MessageTooLong(text, needed=needed)


def _checked(buf: Any) -> memoryview:
    """The bytes of a buffer that `read` accepts."""
    Operation(buf, read=True, kind=BYTES, call="read").release()
    return _flat(buf)


def _flat(buf: Any) -> memoryview:
    view = memoryview(buf)
    return view.cast("B") if view.nbytes else memoryview(b"")


def _gathered(buf: Any, nbytes: int) -> bytes:
    """The first bytes of one buffer, or of a list of them."""
    if not isinstance(buf, (list, tuple)):
        return bytes(_flat(buf)[:nbytes])
    return b"".join(map(_flat, buf))[:nbytes]
