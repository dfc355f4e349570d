# SPDX-License-Identifier: BSD-3-Clause
"""What closes itself at the end of a `with` block."""

from __future__ import annotations

from types import TracebackType
from typing import Self

__all__ = ["Closing"]


class Closing:
    """A context manager: `close` is called at the end of the block, however it ends."""

    __slots__ = ()

    def close(self) -> None:
        """Let go of what it has. Closing twice is no error."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
