# SPDX-License-Identifier: BSD-3-Clause
"""Requests: what a post returns. The paper calls them cookies."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any, NoReturn, Protocol

__all__ = ["Awaited", "Request", "Watched", "size_text", "suspend", "suspend_by"]


class Watched(Protocol):
    """What makes progress on requests, as an event loop sees it. All is called in one thread."""

    @property
    def timed(self) -> bool:
        """Is there no descriptor that tells of all? Then a timer has `advance` called, too."""

    def event_fd(self) -> int:
        """A descriptor with an edge (EPOLLET) whenever `advance` may find something; or -1.

        OSError: there is none left.
        """

    def advance(self, requests: Iterable[Any]) -> bool:
        """Make progress on these, which are pending. Never sleeps. True: call again soon.

        After False the descriptor tells of what comes next.
        """


class Awaited(Protocol):
    """What an event loop knows of a request."""

    @property
    def _done(self) -> bool: ...

    def cancel(self) -> bool:
        """Take it back. False: it is done, or has begun."""

    def _watched(self) -> Watched:
        """What makes progress on it: the same object for requests that one call advances."""

    def _notify(self) -> bool:
        """Have its completion told to notifications. True: it is done already.

        False for requests of which the core knows nothing: their `advance` sees them done.
        """


class Request:
    """A copy or a message under way: check it, wait for it, await it, cancel it.

    `icopy`, `Channel.iread` and `Channel.iwrite` make requests. A request owns the buffers
    that it was given until it is done. They are free again soon after, whether or not anybody
    looks at the request: by the call that finds it done, between two instructions of the main
    thread, or by the next call of `adma`. A program may drop it: what was posted happens all
    the same. Threads of the library copy while the program computes, so that no call is needed.
    """

    __slots__ = ()

    def __init__(self) -> None:
        """This is not public: calls such as `icopy` and `Channel.iread` make requests."""
        raise TypeError(
            f"{type(self).__name__}() is not public: icopy(), iread() and the like make requests"
        )

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

    def __await__(self) -> Generator[Any, None, int]:
        """Wait for it in a task of asyncio, whose loop sleeps meanwhile; returns its bytes.

        Raises the request's own error. If it is done already, the task goes on at once. Several
        tasks, also of several loops, may await one request.

        Cancelling the task cancels the request, unless other tasks await it, too. If that is too
        late, the request stays as it is: await it again, or wait for it. RuntimeError: it is
        pending, and no event loop of asyncio runs in this thread.
        """
        while not self.check():
            yield from suspend(self)
        return self.wait()

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

    def _watched(self) -> Watched:
        """What makes progress on it, for event loops."""
        raise NotImplementedError

    def _notify(self) -> bool:
        """Have its completion told to notifications. True: it is done already."""
        raise NotImplementedError

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Request cannot be copied or pickled: it belongs to this process")


def suspend(request: Awaited) -> Generator[Any, None, None]:
    """Suspend the task that awaits a request, until the request may be done."""
    return _suspenders[-1](request)


def suspend_by(suspender: Callable[[Awaited], Generator[Any, None, None]]) -> None:
    """Say what suspends tasks. That is a matter of event loops, of which this layer knows none."""
    _suspenders.append(suspender)


_suspenders: list[Callable[[Awaited], Generator[Any, None, None]]] = []


def size_text(nbytes: int) -> str:
    """A number of bytes for people, such as "4 MiB"."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if nbytes >= factor:
            return f"{nbytes / factor:.4g} {unit}"
    return f"{nbytes} B"
