# SPDX-License-Identifier: BSD-3-Clause
"""Requests: what a post returns, the paper's cookie."""

from __future__ import annotations

from typing import NoReturn

__all__ = ["Request", "size_text"]


class Request:
    """Something under way: check it, wait for it, cancel it.

    Made by `icopy`, `Channel.iread` and `Channel.iwrite`. It owns the buffers
    that it was given until it is done. It may be dropped: what was posted
    happens all the same, and nobody has to call for that: threads of the
    library copy while the program computes.
    """

    __slots__ = ("__weakref__",)

    def check(self) -> bool:
        """True when it is done, False while it is not. Never blocks, but may copy for a moment.

        Raises the request's own error.
        """
        raise NotImplementedError

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it is done; the bytes.

        `timeout` in seconds, None: for ever. TimeoutError leaves it pending
        and its buffers owned by it, as does an interruption. Raises the
        request's own error.
        """
        raise NotImplementedError

    def cancel(self) -> bool:
        """Take it back. True only if nothing of it will happen any more.

        False: it is done, or has begun; wait for it. After True, `check` and
        `wait` raise `Cancelled`.
        """
        raise NotImplementedError

    def times(self) -> dict[str, int]:
        """Where the time went, by stage, in nanoseconds, once it is done: the paper's figure 7.

        `post`, `start`, `copy`, `complete`; of a message `match`, too, and `pin` if the kernel
        helper told. ValueError while it is pending.
        """
        raise NotImplementedError

    @property
    def _done(self) -> bool:
        """Is it over, as far as can be seen without doing anything?"""
        raise NotImplementedError

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Request cannot be copied or pickled: it belongs to this process")


def size_text(nbytes: int) -> str:
    """Bytes for people: "4 MiB"."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if nbytes >= factor:
            return f"{nbytes / factor:.4g} {unit}"
    return f"{nbytes} B"
