# SPDX-License-Identifier: BSD-3-Clause
"""One rank of a job that has both imports: ``from mpi4py import MPI`` and ``from adma import MPI``.

``ranks_worker.py CONTROL_SOCKET``, started by ``mpiexec`` in an MPI's own environment, where adma
can be imported as well. Each command names the import that it is for.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from mpi4py import MPI as PLAIN

from adma import MPI as CARRIED
from adma.bench import build
from adma.bench.compute import by_numpy, units_for
from adma.bench.mpi_traffic import FORMS, TAG, Ranks, Traffic
from adma.bench.mpi_worker import Rank, about, serve
from adma.bench.overlap_worker import MpiEnd, Side

IMPORTS = {"plain": PLAIN, "adma": CARRIED}
BUSY = 0.0002  # seconds that a rank computes before it talks to its neighbours


class Anybody(Traffic):
    """Rank 0 receives from all others, whoever comes first; then each of them gets an answer."""

    def __init__(self, command: dict[str, Any], ranks: Ranks) -> None:
        super().__init__(ranks)
        self.window = int(command["window"])
        self.share = self.window * (self.comm.size - 1)
        self.message = [bytearray(int(command["size"])), ranks.mpi.BYTE]
        self.answer = [bytearray(8), ranks.mpi.BYTE]

    def lead(self, count: int) -> None:
        receive, message, anybody = self.comm.Recv, self.message, self.ranks.mpi.ANY_SOURCE
        for _ in range(count):
            for _ in range(self.share):
                receive(message, anybody, TAG)
            for rank in range(1, self.comm.size):
                self.comm.Send(self.answer, rank, TAG)

    def follow(self, count: int) -> None:
        send, message = self.comm.Send, self.message
        for _ in range(count):
            for _ in range(self.window):
                send(message, 0, TAG)
            self.comm.Recv(self.answer, 0, TAG)

    def verify(self) -> None:
        """One turn, which ends only if all messages arrive."""
        self.loop(1)


class Ring:
    """Each rank computes, and exchanges messages with both neighbours: the steps of a stencil."""

    def __init__(self, ranks: Ranks, size: int) -> None:
        self.ranks = ranks
        self.compute = by_numpy()
        self.units = units_for(self.compute, BUSY)
        byte = ranks.mpi.BYTE
        self.out, *self.into = ([bytearray(size), byte] for _ in range(3))

    def steps(self, count: int) -> tuple[float, float]:
        """Seconds that they take, and processor time of this rank."""
        comm, wait_all = self.ranks.comm, self.ranks.mpi.Request.Waitall
        sides = [(comm.rank + step) % comm.size for step in (-1, 1)]
        comm.Barrier()
        begin, spent = time.perf_counter(), time.process_time()
        for _ in range(count):
            self.compute(self.units)
            requests = [comm.Irecv(into, side) for into, side in zip(self.into, sides, strict=True)]
            wait_all(requests + [comm.Isend(self.out, side) for side in sides])
        return time.perf_counter() - begin, time.process_time() - spent


class BothImports(Rank):
    """Answers the driver's commands, each for one of the imports."""

    def __init__(self) -> None:
        super().__init__()
        self.by = {name: Ranks(namespace) for name, namespace in IMPORTS.items()}
        self.sides = {
            name: Side(MpiEnd(namespace), self.ranks.rank) for name, namespace in IMPORTS.items()
        }
        self.rings: dict[str, Ring] = {}

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        apart = {"overlap": self.overlap, "ring": self.ring, "idle": self.idle}
        found = apart.get(command["op"])
        return found(command) if found else super().answer(command)

    def made(self, command: dict[str, Any]) -> Any:
        form = Anybody if command["form"] == "anybody" else FORMS[command["form"]]
        return form(command, self.by[command["by"]])

    def overlap(self, command: dict[str, Any]) -> dict[str, Any]:
        """Receive with and without computing, while the sender waits in its call."""
        side = self.sides[command["by"]]
        return side.prepare(command) if "size" in command else side.run(command)

    def ring(self, command: dict[str, Any]) -> dict[str, Any]:
        """Make steps. The time of one, and the processor time of this rank in it."""
        by, count = command["by"], int(command["steps"])
        if by not in self.rings:
            self.rings[by] = Ring(self.by[by], int(command["message"]))
        took, spent = self.rings[by].steps(count)
        return {"seconds": took / count, "spent": spent / count}

    def idle(self, command: dict[str, Any]) -> dict[str, Any]:
        """The processor time of rank 1 while it waits for a message of rank 0."""
        ranks = self.by[command["by"]]
        message = [bytearray(8), ranks.mpi.BYTE]
        if ranks.rank == 0:
            time.sleep(float(command["seconds"]))
            ranks.comm.Send(message, 1, TAG)
            return {"spent": 0.0}
        spent = time.process_time()
        ranks.comm.Recv(message, 0, TAG)
        return {"spent": time.process_time() - spent}


if __name__ == "__main__":
    sys.exit(serve(BothImports(), {**about(), **build.describe(), "wait": build.waiting()}))
