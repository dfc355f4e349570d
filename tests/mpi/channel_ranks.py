# SPDX-License-Identifier: BSD-3-Clause
"""Two ranks between which channels are tested: `python channel_ranks.py`, on both.

Rank 0 runs the tests of channel_kit.py. Rank 1 is the peer: it calls what they ask it to.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import deque
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

import pytest

from adma import MPI, mpi
from adma.testing import Endpoint, Peer, leaks, peer_main

comm = MPI.COMM_WORLD
# The worker of a rank keeps these for as long as MPI runs.
OF_THE_WORKER = leaks.Scope(other_threads=frozenset({"adma-progress", "adma-standby"}))


def join(endpoint: Endpoint, other: int) -> None:
    """Make the peer's end of a channel to this rank."""
    endpoint.channels.append(mpi.channel(comm, other))


class RankPeer(Peer):
    """A rank that is a peer: the launcher has started it, and nobody here ends it."""

    def __init__(self, pipe: Connection, rank: int, pid: int) -> None:
        self.pid = pid
        self.rank = rank
        self._pipe = pipe
        self._task = None
        self._notes = deque()
        self._channels = []

    def connect(self, mechanism: str = "auto", wrap: Any = None) -> Any:
        assert (mechanism, wrap) == ("auto", None)
        joining = self.begin(join, comm.rank)
        channel = mpi.channel(comm, self.rank)
        self._channels.append(channel)
        joining.result()
        return channel

    def _exit(self) -> str:
        return f"rank {self.rank} tells why"


peers: list[RankPeer] = []


def main() -> int:
    """Rank 0 tests, rank 1 serves."""
    comm.sendrecv(None, 1 - comm.rank, source=1 - comm.rank)  # both are connected from now on
    if comm.rank == 1:
        with Client(comm.recv(source=0)) as pipe:
            comm.send(os.getpid(), 0)
            peer_main.serve(pipe, OF_THE_WORKER)
        return 0
    with tempfile.TemporaryDirectory() as directory:
        with Listener(os.path.join(directory, "pipe")) as listener:
            comm.send(listener.address, 1)
            pipe = listener.accept()
        peers.append(RankPeer(pipe, 1, comm.recv(source=1)))
        tests = Path(__file__).with_name("channel_kit.py")
        options = ["-q", "--color=no", "-p", "no:cacheprovider", f"--confcutdir={tests.parent}"]
        status = pytest.main([*options, *sys.argv[1:], str(tests)])
        pipe.close()
    return int(status)


if __name__ == "__main__":
    import channel_ranks  # the tests and the peer know this module by that name

    sys.exit(channel_ranks.main())
