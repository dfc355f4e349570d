# SPDX-License-Identifier: BSD-3-Clause
"""The descriptors that tell an event loop of what its tasks wait for."""

from __future__ import annotations

import select
from contextlib import suppress

from .._core import channel
from .._core.loop_set import MESSAGES, LoopSet
from .._core.notification import Notification
from ..errors import failure
from ..messages.endpoint import Endpoint
from .groups import Group

__all__ = ["Sources"]


class Sources:
    """The epoll of a loop, with the poll set and a notification in it."""

    def __init__(self) -> None:
        self.notification = Notification()
        self.channels = LoopSet()
        try:
            self._epoll = select.epoll()
        except OSError as error:
            raise failure("poll descriptor", error.errno or 0) from None
        self._channels_fd = -1
        # By descriptor. A number may be that of a closed worker, and of the one that got it next.
        self._groups: dict[int, list[Group]] = {}
        self._epoll.register(self.notification.fd, select.EPOLLIN)
        self.notification.arm()

    @property
    def fd(self) -> int:
        return self._epoll.fileno()

    def join(self, endpoint: Endpoint, group: Group, wants: int) -> bool:
        """Have the poll set look for this. False: the channel is closed. OSError: see there."""
        if not self.channels.join(endpoint.chan, group.place, wants):
            return False
        if wants & MESSAGES and not group.wants & MESSAGES:
            channel.count_probing(endpoint.chan, 1)
        elif group.wants & MESSAGES and not wants & MESSAGES:
            channel.count_probing(endpoint.chan, -1)
        group.wants = wants
        if self._channels_fd < 0:
            self._channels_fd = self.channels.fd
            self._epoll.register(self._channels_fd, select.EPOLLIN)
        return True

    def renew(self) -> None:
        """The poll set has another descriptor, because somebody else has closed it."""
        with suppress(OSError):
            self._epoll.unregister(self._channels_fd)
        self._channels_fd = self.channels.fd
        if self._channels_fd >= 0:
            self._epoll.register(self._channels_fd, select.EPOLLIN)

    def add(self, group: Group, fd: int) -> None:
        """Have the descriptor of a group tell of what comes next. OSError: there is none."""
        if fd < 0:
            return
        with suppress(FileExistsError):  # another group has the same one
            self._epoll.register(fd, select.EPOLLIN | select.EPOLLET)
        group.fd = fd
        self._groups.setdefault(fd, []).append(group)

    def remove(self, group: Group) -> None:
        if group.fd < 0:
            return
        self._groups[group.fd].remove(group)
        if not self._groups[group.fd]:
            del self._groups[group.fd]
            with suppress(OSError):  # it was closed, with its worker
                self._epoll.unregister(group.fd)
        group.fd = -1

    def events(self) -> tuple[bool, bool, list[Group]]:
        """Does the poll set tell of something? Was a request done? Which groups may go on?"""
        told = done = False
        groups: list[Group] = []
        for fd, _ in self._epoll.poll(0):
            if fd == self._channels_fd:
                told = True
            elif fd in self._groups:
                groups += self._groups[fd]
            else:
                done = True
        return told, done, groups

    def close(self) -> None:
        self._epoll.close()
        self.notification.close()
