# SPDX-License-Identifier: BSD-3-Clause
"""A descriptor that tells an event loop of requests that are done. adma_notify.h says more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..errors import failure
from ._native import ffi, lib

if TYPE_CHECKING:
    from ._native import adma_notification

__all__ = ["Notification", "tell_notifications"]

#: Tell all of them that a request is done which takes several of the core.
tell_notifications: Final = lib.adma_notify_completion


class Notification:
    """A descriptor that is readable once an awaited request is done after `arm`.

    It is closed with this object at the latest.
    """

    __slots__ = ("_raw",)

    def __init__(self) -> None:
        """OSError: no descriptor is left, or there is another reason; it tells the cure."""
        raw = ffi.new("struct adma_notification *", {"fd": -1})
        self._raw: adma_notification = ffi.gc(raw, lib.adma_notification_close)
        if rc := lib.adma_notification_open(self._raw):
            raise failure("poll descriptor", -rc)

    @property
    def fd(self) -> int:
        """The descriptor; -1: it was closed, or a fork closed it."""
        return self._raw.fd

    def arm(self) -> int:
        """From now on it becomes readable; how many were done since this was last called."""
        return lib.adma_notification_arm(self._raw)

    def disarm(self) -> None:
        """It does not become readable before it is armed again."""
        lib.adma_notification_disarm(self._raw)

    def close(self) -> None:
        """Close the descriptor."""
        lib.adma_notification_close(self._raw)
