# SPDX-License-Identifier: BSD-3-Clause
"""The two ends of a pipe, and `pipe`, which makes them.

An end is a `Channel` from the first moment on, and becomes a plain one step by step: its class is
first `PipeEnd`, then `MetEnd`, then `PipedChannel`, which adds nothing to the calls for messages.
"""

from __future__ import annotations

import errno
import os
import socket
import warnings
from typing import TYPE_CHECKING, Any, Literal

from .. import forks, mechanisms
from ..arguments import deadline_of, remaining
from ..channel import Channel
from ..messages.explanation import Explanation
from . import handles
from .early import Early
from .handles import Handles
from .met import NOW, MetEnd, PipedChannel, become
from .state import State

if TYPE_CHECKING:
    from .._core.types import Chan
    from ..handshake.link import Link

__all__ = ["PipeEnd", "pipe", "rebuild", "take_end"]


class PipeEnd(MetEnd):
    """An end of a pipe that is no channel yet. `pipe` makes two.

    The process that first moves a message over an end, or tries to, owns it: it has *claimed* the
    end, and another process's copy raises ChannelClosed. Looking (`poll`, `iprobe`, `probe`,
    `fileno`), closing and passing an end on do not claim it. Until then the end is passed on
    by a fork, to children of multiprocessing as an argument, in its queues and pools, or over a
    socket (`pass_over`, `take_end`).

    Closing an end that was not claimed closes this copy. The other end is told when nobody has a
    copy left, or when the process closes it that has claimed it.

    The channel is made when both ends are claimed, in steps that calls on both ends make. Until
    then messages are kept for the other end, as by a pipe of the system, as far as they fit there:
    about 200 KiB. A longer one waits for the channel.

    `iwrite`, `isend`, `iread`, `irecv` and what `write_init`, `read_init` and `send_init` start
    wait for nobody: what cannot be done at once is pending, and the channel takes it over in
    order. Until then it goes on in calls on this end and on its requests, and in no other thread;
    1024 of each direction may be pending, then BlockingIOError is raised.

    `explain`, `max_outstanding` and `fileno("completions")` are the channel's. Before it is there
    they raise BlockingIOError: exchange a message each way first.
    """

    def __init__(self, copy: Handles) -> None:
        """This is not public: `pipe` and `take_end` make ends."""
        if not isinstance(copy, Handles):
            raise TypeError("PipeEnd() is not public: use pipe()")
        self._early = Early(copy, self)

    # The steps to a channel

    def _make_channel(self, link: Link) -> Chan:
        """See `early.Owner`."""
        try:
            Channel.__init__(self, link)
        except BaseException:
            link.discard()
            raise
        return self._endpoint.chan

    def _now_met(self) -> None:
        """See `early.Owner`."""
        become(self, MetEnd)

    # What there is to be known

    @property
    def max_outstanding(self) -> int:
        """See `Channel.max_outstanding`. BlockingIOError: the channel is not there yet."""
        raise _not_yet("max_outstanding")

    @max_outstanding.setter
    def max_outstanding(self, limit: int) -> None:
        raise _not_yet("max_outstanding")

    @property
    def peer_pid(self) -> int:
        """See `Channel.peer_pid`. 0 also while the other end is not known to be claimed."""
        return self._early.peer_pid

    @property
    def closed(self) -> bool:
        """Was this copy closed, or has another process claimed the end?"""
        return self._early.state not in (State.UNCLAIMED, State.CLAIMED)

    def explain(self, nbytes: int) -> Explanation:
        """See `Channel.explain`. BlockingIOError: the channel is not there yet."""
        raise _not_yet("explain")

    def stats(self) -> dict[str, int]:
        """Messages that went over the line: `line_out` and `line_in`."""
        return self._line_stats()

    def fileno(self, what: Literal["messages", "completions"] = "messages") -> int:
        """See `Channel.fileno`. There are no "completions" yet: BlockingIOError."""
        if what == "completions":
            raise _not_yet('fileno("completions")')
        return PipedChannel.fileno(self, what)

    # Passing it on

    def pass_over(self, sock: socket.socket) -> None:
        """Pass a copy over a connected AF_UNIX socket, where `take_end` takes it.

        This process keeps its own copy: close it if it is not used. ValueError: this process has
        claimed the end. ChannelClosed: another one has, or this copy was closed.
        """
        _check_socket(sock, "pass_over")
        handles.send(sock, self._early.copy())

    def __reduce__(self) -> Any:
        """For multiprocessing. ValueError: the end is claimed."""
        from multiprocessing.reduction import DupFd

        return rebuild, ([DupFd(fd) for fd in self._early.copy().fds()],)

    # Ending

    def close(self, timeout: float | None = 5) -> None:
        """Close this copy of the end; or the end, if this process has claimed it.

        What was written stays there for the other end. `timeout`, in seconds, is for what was
        posted and is pending, until both ends have met and the channel has delivered it, and for
        room to tell the other end that nothing follows; without that, it gets PeerDied at last.
        What is pending after that fails with ChannelClosed, the other end gets MessagesLost after
        what came before it, and a ResourceWarning tells how much it was. With `timeout=0` nothing
        is waited for, and there is no warning.
        """
        deadline = deadline_of(timeout, "close")
        if self._early.deliver(deadline):
            PipedChannel.close(self, remaining(deadline))
        else:
            self._early.close(deadline, tells=timeout != 0)

    def close_without_waiting(self) -> None:
        """As `close(timeout=0)`."""
        self._early.close(NOW)

    def __enter__(self) -> PipeEnd:
        self._early.check()
        return self

    def __repr__(self) -> str:
        return f"<adma.PipeEnd, {self._early.state.name.lower()}>"

    def __del__(self) -> None:
        early = getattr(self, "_early", None)
        if early is None:
            return
        try:
            if early.state is State.CLAIMED:
                warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
        finally:
            early.close(NOW)


def _check_socket(sock: socket.socket, call: str) -> None:
    if not isinstance(sock, socket.socket) or sock.family != socket.AF_UNIX:
        raise TypeError(f"{call}(sock): sock must be a connected AF_UNIX socket")


def _not_yet(call: str) -> BlockingIOError:
    return BlockingIOError(
        errno.EAGAIN,
        f"{call}: nothing is known of the channel of this pipe before both ends have met; cure: "
        "have both processes use their ends, by a message each way, and ask again",
    )


def pipe() -> tuple[PipeEnd, PipeEnd]:
    """Make two ends of a channel, one of which is for another process, or for a thread.

    No end belongs to a process yet: the one that first moves a message over it owns it. Give an
    end to a process that this one forks, or to a child of multiprocessing (spawn, forkserver,
    pools, queues), and close the copy here. See `PipeEnd`.

    OSError: no descriptors are left; an end takes five, and fewer once both are claimed.
    """
    mechanisms.sweep()
    with forks.held_off():
        one, other = Handles.pair()
        return PipeEnd(one), PipeEnd(other)


def take_end(sock: socket.socket, timeout: float | None = 5) -> PipeEnd:
    """Take an end of a pipe that `PipeEnd.pass_over` has passed over a connected AF_UNIX socket.

    `timeout` is in seconds; None means no limit. TimeoutError: nothing came. PeerDied: the
    other end of the socket hung up. PermissionError: it belongs to another user. ProtocolError:
    what came is no end of a pipe. The socket stays the caller's.
    """
    _check_socket(sock, "take_end")
    return PipeEnd(handles.receive(sock, deadline_of(timeout, "take_end")))


def rebuild(copies: list[Any]) -> PipeEnd:
    """An end that was pickled."""
    fds: list[int] = []
    try:
        for copy in copies:
            fds.append(copy.detach())
            os.set_inheritable(fds[-1], False)  # a child of `spawn` has inherited it
        return PipeEnd(Handles.passed(fds))
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
