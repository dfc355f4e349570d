# SPDX-License-Identifier: BSD-3-Clause
"""Who else has a descriptor that forks pass on, and who of them serves it: the kernel counts.

A pipe is inherited together with the descriptor. Each process that serves has put a byte into
it, and takes one out when it stops. Each process that merely inherited it keeps the end for
writing open. So whoever stops sees by the pipe whether it was the last one. A process that was
killed leaves its byte, but no open end: it counts as serving until the last of the others stops.
"""

from __future__ import annotations

import select
from dataclasses import dataclass

from .pipe import Pipe

__all__ = ["ALONE", "Claims", "Others"]


@dataclass(frozen=True)
class Others:
    """The processes that are left when one has stopped."""

    hold: bool  # some have the descriptor still
    serve: bool  # and some of these serve it, or did so until they died


ALONE = Others(False, False)


class Claims:
    """The claims of a family of processes on one descriptor. The maker has one from the start.

    OSError: there is no pipe to be had.
    """

    def __init__(self) -> None:
        self._pipe = Pipe()
        self.add()

    def add(self) -> None:
        """This process serves."""
        self._pipe.put()  # where thousands were killed, the pipe is full, and tells enough

    def withdraw(self, served: bool) -> Others:
        """This process stops, and closes its ends; `served`: it had a claim.

        Where other code has closed the pipe, nobody can tell who is left. Then the others are taken
        to be there: a stale file does less harm than a listener that nobody finds.
        """
        if self._pipe.is_lost:
            self._pipe.close()
            return Others(True, True)
        try:
            if served:
                self._pipe.take(1)
            self._pipe.close_into()
            poll = select.poll()
            poll.register(self._pipe.out, select.POLLIN)
            events = dict(poll.poll(0)).get(self._pipe.out, 0)
        finally:
            self._pipe.close()
        hold = not events & (select.POLLHUP | select.POLLNVAL)
        return Others(hold, hold and bool(events & select.POLLIN))
