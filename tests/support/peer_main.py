# SPDX-License-Identifier: BSD-3-Clause
"""The other process of a test: does what it is told through its control pipe, and nothing else."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

import adma
from adma._core._native import lib
from support import engine
from support.control import Answer, Call, Join, Note, Quit, Rest, sendable, take_socket
from support.leaks import Scope, Snapshot, left_behind, snapshot
from support.limits import HANG


class End:
    """What a function that runs in the peer is given. Without a pipe: the test's own end."""

    def __init__(self, pipe: Connection | None = None) -> None:
        self._control = pipe
        self.channels: list[adma.Channel] = []
        self.kept: dict[str, Any] = {}
        self.before = Snapshot()  # what the process had before it was told anything

    @classmethod
    def of(cls, channel: adma.Channel) -> End:
        """The test's own end, so that both sides can be told the same."""
        end = cls()
        end.channels.append(channel)
        return end

    @property
    def _pipe(self) -> Connection:
        assert self._control is not None, "only a peer can talk to the test"
        return self._control

    @property
    def channel(self) -> adma.Channel:
        """The channel that was joined last."""
        return self.channels[-1]

    def say(self, content: Any) -> None:
        """Tell the test something, while the call goes on."""
        self._pipe.send(Note(content))

    def hear(self, timeout: float = HANG) -> Any:
        """Wait for what the test says to the call that is running."""
        if not self._pipe.poll(timeout):
            raise AssertionError(f"the test said nothing for {timeout:g} s")
        note = self._pipe.recv()
        assert isinstance(note, Note), note
        return note.content

    def join(self, order: Join) -> None:
        """Take the socket that follows, and make a channel of it."""
        sock = take_socket(self._pipe)
        self.channels.append(
            adma.from_socket(sock, timeout=order.timeout, mechanism=order.mechanism)
        )

    def close(self) -> None:
        """Let go of everything that was kept, close the channels, disarm the fault points."""
        self.kept.clear()
        if lib.adma_faults_built():
            for point in range(lib.ADMA_FAULT_POINTS):
                lib.adma_fault_arm(point, lib.ADMA_FAULT_NONE, 0, 1)
        engine.rest()
        for channel in self.channels:
            with contextlib.suppress(adma.PeerDied, adma.ChannelClosed):
                channel.close(timeout=HANG)
        self.channels.clear()


def answer(end: End, order: Call | Join) -> Answer:
    """Do what the order says; whatever is raised is the answer."""
    try:
        if isinstance(order, Join):
            end.join(order)
            return Answer()
        return Answer(order.function(end, *order.arguments))
    except BaseException as error:
        return Answer(error=sendable(error))


def serve(pipe: Connection) -> None:
    """Obey orders until told to quit, or until the test is gone."""
    end = End(pipe)
    end.before = snapshot(Scope())
    while True:
        try:
            order = pipe.recv()
        except EOFError:
            return
        if isinstance(order, Quit):
            return
        if isinstance(order, Rest):
            end.close()
            pipe.send(Answer(left_behind(end.before, Scope())))
        else:
            pipe.send(answer(end, order))
        # A failed post must not live on in the locals of its exception.
        del order


def main() -> None:
    # The test sends it when it runs out of time: every thread says where it is.
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Connection(int(sys.argv[1])) as pipe:
        serve(pipe)
    # Threads that a failed test left behind must not keep the process.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
