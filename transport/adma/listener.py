# SPDX-License-Identifier: BSD-3-Clause
"""Listening: a name at which other processes reach this one."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import select
import socket
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import NoReturn

from . import forks, mechanisms
from ._core import handshake
from .arguments import FOREVER, deadline_of, whole_between
from .callers import Caller, Callers
from .channel import Channel
from .closing import Closing
from .connect import access, address, place
from .connect.self_pipe import SelfPipe
from .errors import ChannelClosed, PeerDied
from .handshake.handshake import Terms, refuse
from .meeting import channel_of, judge_other_end
from .messages.endpoint import free_drained

__all__ = ["Listener", "listen"]

_log = logging.getLogger("adma")

# Seconds for a client's handshake; and for how long accept() goes on beyond its own timeout, when
# a client's last words are not older than that.
_HANDSHAKE = 5.0
_GRACE = 1.0
# Seconds between two tries to let clients in where the system has no room for them.
_PAUSE = 0.1
# Seconds for which one that was let in, and is silent, keeps the next ones out.
_ONE_BY_ONE = 0.2
# Seconds for which a step of a guest's handshake may wait. A guest does its part before it sends.
_STEP = 0.1
_BACKLOG_MAX = 2**31 - 1  # what listen(2) takes, an int; the kernel has a lower limit of its own

_CLOSED_HERE = "the listener was closed on this side"
_REPLACED = (
    "the process that made the listener has closed it, and another one listens at its name by "
    "now; cure: close it in the process that made it only when the others are through with it"
)
_NO_PLACE = (
    "its user has as many callers here as one may have that are no channels yet, or has left "
    "unread what was passed to it; cure: let those go on or hang up, and call again"
)
_BROKEN = (
    "the listening socket was shut down or closed behind adma's back; cure: close the Listener, "
    "and do not touch its descriptor"
)


class Listener(Closing):
    """A name at which other processes reach this one. `listen` makes listeners.

    It is a context manager, which closes it. Iterating over it yields a channel for each
    process that connects, until it is closed. Threads may share it.
    """

    def __init__(
        self, name: str | os.PathLike[str], backlog: int, guests: access.Guests = access.PRIVATE
    ) -> None:
        """This is not public: `listen` makes listeners."""
        spot = place.to_listen(name, guests.welcome)
        self._name = os.fspath(name)
        self._guests = guests
        self._lock = threading.RLock()  # a signal handler may close
        self._looking = threading.Lock()  # one thread looks for clients
        self._callers = Callers()
        self._ended = ""  # why it is over, if it is
        self._untouched = False  # a forked child's copy, of which the child may know nothing
        self._short_since: float | None = None  # no room for clients, since the last try then
        bound = address.bind(spot, backlog, guests.mode)
        self._sock = bound.sock
        self._sock.setblocking(False)
        if guests.welcome:
            # No guest passes descriptors before it was judged, where the kernel can see to that.
            handshake.take_rights(self._sock.fileno(), False)
        with forks.held_off():
            try:
                self._wakes = SelfPipe()
            except OSError:
                bound.remove()
                bound.close()
                raise
            self._bound = bound
            forks.in_child(self, Listener._forked)

    @property
    def name(self) -> str:
        """The name as it was given to `listen`."""
        return self._name

    @property
    def address(self) -> str:
        """The path of the socket."""
        return self._bound.path

    def fileno(self) -> int:
        """A descriptor that is readable when `accept` has something to do; -1 after close.

        Somebody has connected, or a client in the middle of its handshake has answered. So
        `accept(timeout=0)` may raise TimeoutError although it was readable, as the handshake
        goes on in several steps: wait for it again. The listener owns it. In a forked child it
        has the same number, and tells of the child's clients.
        """
        if self._ended:
            return -1
        self._touch()
        return self._callers.fileno(self._sock.fileno())

    def accept(self, timeout: float | None = None) -> Channel:
        """Wait for a client and shake hands with it; returns the channel.

        A client whose handshake fails is told why and logged, and `accept` goes on waiting:
        nothing that a client does ends it, and neither does a lack of descriptors, which is
        logged. Clients that send nothing, or stop in the middle of a handshake, do not hold up
        others, and are dropped after 5 s.

        `timeout` is in seconds; None means no limit. TimeoutError: nobody connected in time. A
        handshake that has begun is not lost with that, the next call goes on with it. It comes
        up to a second late where a client has just spoken. ChannelClosed: the listener was
        closed.
        """
        look = _Look(timeout)
        self._touch()
        while True:
            channel = self._go_on(self._next_speaker(look))
            if channel is not None:
                return channel

    def close(self) -> None:
        """Stop listening here. Closing twice is no error.

        Threads that wait in `accept` wake with ChannelClosed. Channels live on.

        Forked processes share a listener, as they share a socket, and each closes its own copy.
        The last one removes the socket's file. Where no process is left that has accepted, and
        a child has inherited the listener without using it, the name is free at once, and that
        child takes it again if it begins to accept.
        """
        with self._lock:
            if self._ended:
                return
            self._ended = _CLOSED_HERE
        self._callers.close()
        self._bound.remove()
        self._wakes.wake()
        self._let_go()

    def _let_go(self) -> None:
        """Close the descriptors, once it is over and no thread waits for them any more."""
        while self._ended and self._sock.fileno() >= 0 and self._looking.acquire(blocking=False):
            try:
                self._wakes.close()
                self._bound.close()
            finally:
                self._looking.release()

    # Forks

    def _forked(self) -> None:
        """In a child: the clients are the parent's, and so is who waits in `accept`."""
        self._lock = threading.RLock()
        self._looking = threading.Lock()
        self._untouched = True
        if self._wakes.fileno() >= 0:
            with contextlib.suppress(OSError):  # no descriptor is left: then close() wakes nobody
                self._wakes.renew()
        self._callers.renew(self._sock.fileno())
        self._let_go()

    def _touch(self) -> None:
        """Called first by whatever makes a process one that serves."""
        self._check_open()
        if self._untouched:
            with self._lock:
                if self._untouched and not self._bound.serve():
                    self.close()
                    self._ended = _REPLACED
                self._untouched = False
            self._check_open()

    def __enter__(self) -> Listener:
        self._check_open()
        return self

    def __iter__(self) -> Iterator[Channel]:
        while True:
            try:
                channel = self.accept()
            except ChannelClosed:
                return
            yield channel

    def __repr__(self) -> str:
        state = "closed" if self._ended else "listening"
        guests = f", {self._guests}" if self._guests.welcome else ""
        return f"<Listener {self._name!r} {state} at {self.address}{guests}>"

    def __del__(self) -> None:
        if hasattr(self, "_bound") and not self._ended:
            try:
                if not self._untouched:
                    warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            finally:  # also where warnings are errors
                self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Listener cannot be copied or pickled: it is a socket and a file of this process; "
            "cure: pass its name, and connect there"
        )

    def _check_open(self) -> None:
        if self._ended:
            raise ChannelClosed(self._ended)

    # Waiting

    def _next_speaker(self, look: _Look) -> Caller:
        """The next client that can go on. The calling thread takes it.

        One thread at a time looks, at all clients that there are. A second one would not know
        of those that the first one lets in while the second sleeps.
        """
        left = -1.0 if look.end == math.inf else max(0.0, look.end - time.monotonic())
        if not self._looking.acquire(timeout=left):
            raise self._nobody()
        try:
            return self._await_speaker(look)
        finally:
            self._looking.release()
            self._let_go()

    def _await_speaker(self, look: _Look) -> Caller:
        while True:
            self._check_open()
            callers = self._callers.all()
            now = time.monotonic()
            limit = _limit(look.end, self._waited_for(callers))
            ends = [limit, *(caller.end for caller in callers.values())]
            listening = -1
            if now < (opens := self._opens({} if look.tries else callers)):
                ends.append(opens)
            else:
                listening = self._sock.fileno()
            ready = _poll(self._wakes.fileno(), listening, callers, min(ends))
            self._check_open()
            if now >= limit and (not ready or (look.looked and now >= look.end + _GRACE)):
                raise self._nobody()
            look.looked = True
            if self._wakes.fileno() in ready:
                self._wakes.drain()
            if events := ready.get(listening, 0):
                self._let_in(events)
            now = time.monotonic()
            able = [each for number, each in callers.items() if number in ready or now >= each.end]
            for caller in self._callers.in_turn(able):
                if not self._callers.take(caller):
                    continue
                if caller.handshake is not None or caller.sock.fileno() in ready:
                    return caller
                text = "%s: dropped a client that said nothing for %g s"
                self._log_about(caller, text, self.name, _HANDSHAKE)
                self._callers.drop(caller)

    def _nobody(self) -> TimeoutError:
        text = f"nobody connected to {self._name!r} in time"
        if self._short_since is not None:
            text += ", as far as this process could let them in: see the log"
        return TimeoutError(text)

    def _opens(self, callers: dict[int, Caller]) -> float:
        """The moment from which the next client is let in.

        Clients that are not let in can be served by another process that shares the socket, and
        this one may be busy for long with the first that it gets. So they are let in one by one,
        if the caller of accept() waits at all. Silent ones must not hold up the others for long,
        and the less the more there are. A user whose guests fail holds up nobody.
        """
        opens = -math.inf
        if self._short_since is not None:
            opens = self._short_since + _PAUSE
        if holders := self._waited_for(callers):
            newest = max(each.came if each.guest else each.seen for each in holders)
            opens = max(opens, newest + _ONE_BY_ONE / len(callers))
        return opens

    def _waited_for(self, callers: dict[int, Caller]) -> list[Caller]:
        """The clients for which the others may wait for a moment."""
        now = time.monotonic()
        for caller in callers.values():
            if caller.guest and now >= caller.came + _ONE_BY_ONE:
                self._callers.note_lapse(caller)
        return [caller for caller in callers.values() if self._callers.is_trusted(caller)]

    def _let_in(self, events: int) -> None:
        """Let in one client, if there still is one. `events`: of the listening socket."""
        with forks.held_off():
            try:
                sock, _ = self._sock.accept()
            except (BlockingIOError, ConnectionAbortedError):
                if events & (select.POLLHUP | select.POLLERR):
                    raise self._broken() from None
                return  # another thread, or another process that shares the socket, was faster
            except OSError as error:
                if error.errno in (errno.EINVAL, errno.EBADF, errno.ENOTSOCK, errno.EOPNOTSUPP):
                    raise self._broken() from error
                self._lacks_room(error)
                return
            forks.in_child(sock, socket.socket.close)
            self._short_since = None
            guests = self._guests
            label = self.address
            terms = Terms(
                label, client=False, admit=guests.judge, private=not guests.welcome, called=True
            )
            caller = Caller(sock, terms, _HANDSHAKE)
            if self._is_welcome(caller):
                out = self._callers.admit(caller)
                if out is not None:
                    self._no_place(out)
            else:
                self._callers.drop(caller)

    def _no_place(self, caller: Caller) -> None:
        """Hang up on one that may not wait, or not any more. It is told why."""
        if caller.handshake is None:
            with contextlib.suppress(OSError):
                refuse(caller.sock, OSError(errno.EBUSY, _NO_PLACE))
        self._log_about(
            caller, "%s: refused a client of uid %d: %s", self.name, caller.uid, _NO_PLACE
        )
        self._callers.drop(caller)

    def _broken(self) -> ChannelClosed:
        if not self._ended:
            self.close()
            self._ended = _BROKEN
        return ChannelClosed(self._ended)

    def _lacks_room(self, error: OSError) -> None:
        """A client cannot be let in now: one that is silent makes room, or all wait for a while."""
        free_drained()  # channels that were dropped may hold descriptors
        caller = self._callers.take_silent()
        if caller is not None:
            text = "%s: dropped a silent client: no descriptors left (ulimit -n)"
            self._log_about(caller, text, self.name)
            self._callers.drop(caller)
            return
        if self._short_since is None:
            cure = "descriptors: ulimit -n, or close some; memory: free some"
            text = "%s: a client cannot be let in, and waits until there is room (%s); cure: for %s"
            _log.warning(text, self.name, error.strerror, cure)
        self._short_since = time.monotonic()

    def _is_welcome(self, caller: Caller) -> bool:
        """False: it was refused at once, so that a stranger that is silent holds no descriptor."""
        try:
            judge_other_end(caller.sock, self._guests.judge)
            return True
        except OSError as error:
            self._log_about(caller, "%s: refused a client: %s", self.name, error)
            with contextlib.suppress(OSError):
                refuse(caller.sock, error)
            return False

    def _log_about(self, caller: Caller, text: str, *arguments: object) -> None:
        """A warning about a client. Those about guests are few, however many callers there are."""
        _log.log(
            logging.WARNING if self._callers.may_warn(caller) else logging.DEBUG, text, *arguments
        )

    # Shaking hands

    def _go_on(self, caller: Caller) -> Channel | None:
        """Go on with a client that was taken. The channel, when its handshake is over."""
        try:
            with forks.held_off():
                link = caller.step(self._patience(caller))
                if link is not None:
                    return channel_of(link)
                self._callers.put(caller)
            self._wakes.wake()  # the thread that looks does not know of it yet
            return None
        except PeerDied as error:
            # This is also what it looks like when a process tests whether somebody listens.
            _log.info("%s: a client left: %s", self.name, error)
        except OSError as error:
            self._log_about(caller, "%s: refused a client: %s", self.name, error)
        except Exception as error:
            # Whatever it is, it is about this client, and others are still to be served.
            if self._callers.may_warn(caller):
                text = "%s: refused a client: %s: %s"
                _log.warning(text, self.name, type(error).__name__, error, exc_info=error)
        except BaseException:
            caller.close()
            raise
        self._callers.drop(caller)
        return None

    def _patience(self, caller: Caller) -> float:
        """Seconds for which a step may wait for this client, while the others wait for the step."""
        if not caller.guest:
            return math.inf
        return _STEP if self._callers.is_trusted(caller) else 0.0


class _Look:
    """How long a call of accept() looks for clients."""

    def __init__(self, timeout: float | None) -> None:
        deadline = deadline_of(timeout, "accept")
        self.end = math.inf if deadline is None else deadline
        self.tries = timeout == 0  # it does not wait, so it keeps no client waiting either
        self.looked = False  # the first look counts, however late it is


def _limit(deadline: float, callers: list[Caller]) -> float:
    """When accept() gives up: at its deadline, or later where somebody spoke just before that."""
    spoke = [caller.spoke for caller in callers if caller.spoke is not None]
    return max([deadline, *(min(deadline, each) + _GRACE for each in spoke)])


def _poll(wakes: int, listening: int, callers: dict[int, Caller], end: float) -> dict[int, int]:
    """What is ready, at the latest at the moment `end`. Numbers of -1 are left out."""
    poll = select.poll()
    for number in (wakes, listening):
        if number >= 0:
            poll.register(number, select.POLLIN)
    for number, caller in callers.items():
        poll.register(number, caller.events)
    return dict(poll.poll(min(max(0.0, end - time.monotonic()), FOREVER) * 1000))


def listen(
    name: str | os.PathLike[str],
    backlog: int = 128,
    *,
    mode: int | None = None,
    allow_uids: Iterable[int] | None = None,
) -> Listener:
    """Listen at a name, or at a path: a str with "/" in it, or any os.PathLike.

    A name is a file in a directory of this user's own. `pathlib.Path("x")` is a path, relative
    to the working directory, while the str "x" is a name. "x@USER", with this process's own
    user, is the name "x" as other users call it. `backlog`: how many clients may wait for
    `accept`, from 1 to 2**31 - 1; the kernel's own limit is net.core.somaxconn (listen(2)).

    Only processes of the same user can connect, unless one of these is given:

    `mode`      permissions of the socket's file, whatever the umask. 0o666 lets
                every user connect, 0o660 those of the file's group. That is this
                process's group, that of a directory with the set-group-id bit, or
                another one after `os.chown(server.address, -1, gid)`. 0o600 is
                the same as no mode.
    `allow_uids`  uids that may connect beside this process's own. The kernel
                vouches for the uid of the process that connects, and of the one
                that speaks. Without `mode` the file's mode is 0o666 then; with
                it, both have to allow a user.

    A name that is open to others is a file in a directory that they can reach, below /tmp or
    the directory that ADMA_OPEN_DIR names for all of them. They connect to "NAME@USER" (see
    `connect`); this user's own processes connect to either. Others use a path only where
    nobody but root and the listener's user can have put it there. The uid 65534 stands for
    users that cannot be named here, such as those of another user namespace; it is never
    let in.

    A listener that lets others in does not use `mapped:cma`, with anybody, and a channel
    between two users unpickles nothing unless asked to.

    Forked processes share a listener as they share a socket: a server may fork workers that all
    accept, or listen first and then become a daemon. See `Listener.close`.

    TypeError, ValueError: no name, backlog, mode or uid looks like that. OSError (EADDRINUSE):
    the name is in use; a file that a dead process left is replaced. OSError (ENAMETOOLONG):
    the path has more than 107 bytes. PermissionError: the directory is not writable, should
    hold private sockets and is not private, or belongs to somebody else; or the name is one
    of another user.
    """
    callers = whole_between(
        backlog,
        1,
        _BACKLOG_MAX,
        "backlog must be an int, a number of callers",
        f"backlog={{}}: from 1 to {_BACKLOG_MAX} callers can wait",
    )
    guests = access.guests(mode, allow_uids)
    mechanisms.sweep()
    return Listener(name, callers, guests)
