# SPDX-License-Identifier: BSD-3-Clause
"""Requests: what a post returns. The paper calls them cookies."""

from __future__ import annotations

from typing import NoReturn

__all__ = ["Request", "size_text"]


class Request:
    """A copy or a message under way: check it, wait for it, cancel it.

    `icopy`, `Channel.iread` and `Channel.iwrite` make requests. A request owns the buffers
    that it was given until it is done. They are free again soon after, whether or not anybody
    looks at the request: by the call that finds it done, between two instructions of the main
    thread, or by the next call of `adma`. A program may drop it: what was posted happens all
    the same. Threads of the library copy while the program computes, so that no call is needed.
    """

    __slots__ = ()

    def check(self) -> bool:
        """Is it done? Never blocks, but may copy for a moment. Raises the request's own error."""
        raise NotImplementedError

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it is done; returns its bytes. Raises the request's own error.

        `timeout` is in seconds; None means no limit. After a TimeoutError, or the exception of
        a signal handler, the request is still pending and owns its buffers.
        """
        raise NotImplementedError

    def cancel(self) -> bool:
        """Take it back. True: nothing of it happened, or will.

        False: it is done, or has begun; wait for it. After True, `check` and `wait` raise
        `Cancelled`.
        """
        raise NotImplementedError

    def times(self) -> dict[str, int]:
        """Nanoseconds that each stage took, once it is done. (Paper, figure 7.)

        The stages are `post`, `start`, `copy` and `complete`; for a message also `match`, and
        `pin` if the kernel helper told. ValueError: it is pending.
        """
        raise NotImplementedError

    @property
    def _done(self) -> bool:
        """Is it done, as far as can be seen without making progress?"""
        raise NotImplementedError

    def _seen(self) -> None:
        """A call has reported it as done: a program was told."""

    def _let_go(self) -> None:
        """Give the buffers of a request that is done back to their owners."""
        raise NotImplementedError

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Request cannot be copied or pickled: it belongs to this process")


def size_text(nbytes: int) -> str:
    """A number of bytes for people, such as "4 MiB"."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if nbytes >= factor:
            return f"{nbytes / factor:.4g} {unit}"
    return f"{nbytes} B"
