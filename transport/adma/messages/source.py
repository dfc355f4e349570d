# SPDX-License-Identifier: BSD-3-Clause
"""What messages come from: what `wait` knows of a channel."""

from __future__ import annotations

from .endpoint import Endpoint
from .incoming import Receiver

__all__ = ["Source"]


class Source:
    """The base of `Channel`, which is the only one."""

    _endpoint: Endpoint
    _receiver: Receiver
