# SPDX-License-Identifier: BSD-3-Clause
"""The end of a channel in which a test has left messages that nobody will read."""

from __future__ import annotations

import warnings
from typing import Final, Protocol

__all__ = ["cut_off"]

_MOMENT: Final = 0.1  # seconds for chunks that are being copied


class _Closable(Protocol):
    def close(self, timeout: float) -> None: ...


def cut_off(channel: _Closable) -> None:
    """Close it without waiting for messages that are not read, and without a word about these."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        channel.close(timeout=_MOMENT)
