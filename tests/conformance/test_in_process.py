# SPDX-License-Identifier: BSD-3-Clause
"""The kit within one process, and over channels that are wrapped in another class."""

from __future__ import annotations

from typing import Any

import adma
from adma.testing import InProcessSuite


class Wrapped:
    """A channel of somebody's own, which hands every call on."""

    def __init__(self, channel: adma.Channel) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def __repr__(self) -> str:
        return repr(self._channel)

    def __enter__(self) -> Wrapped:
        self._channel.__enter__()
        return self

    def __exit__(self, *how: Any) -> None:
        self._channel.__exit__(*how)


class TestInProcess(InProcessSuite):
    mechanisms = ("auto",)
    wrap = Wrapped
