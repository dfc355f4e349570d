# SPDX-License-Identifier: BSD-3-Clause
"""What messages come from: what `wait` knows of a channel."""

from __future__ import annotations

from typing import ClassVar

from .endpoint import Endpoint
from .incoming import Receiver

__all__ = ["Source"]


class Source:
    """The base of `Channel`, which is the only one."""

    _endpoint: Endpoint
    _receiver: Receiver

    #: May messages come in another way, too? Then only these calls know whether there are any.
    _is_early: ClassVar[bool] = False

    def poll(self, timeout: float | None = 0) -> bool:
        """See `Channel.poll`."""
        raise NotImplementedError

    def fileno(self) -> int:
        """See `Channel.fileno`."""
        raise NotImplementedError
