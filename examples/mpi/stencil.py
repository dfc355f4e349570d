# SPDX-License-Identifier: BSD-3-Clause
"""Heat in a block: each rank has some of its planes, and computes while it receives its halos.

    mpiexec -n 2 python stencil.py [PLANES ROWS COLUMNS [STEPS]]

The same steps are made with adma's import and with mpi4py's own, in turn. For each rank 0 prints
the time of a step, and the overlap: the share of the exchange that computing hides. A rank needs
the planes of its neighbours only for its own first and last plane, so it computes the others first.
"""

import sys
import time

import numpy as np
from mpi4py import MPI as PLAIN

from adma import MPI

RATE = 0.1
ROUNDS = 5


class Block:
    """The planes of a rank, with one of each neighbour before and behind them."""

    def __init__(self, namespace, shape):
        self.request = namespace.Request
        self.comm = namespace.COMM_WORLD
        rank, size = self.comm.rank, self.comm.size
        self.before = rank - 1 if rank else namespace.PROC_NULL
        self.behind = rank + 1 if rank < size - 1 else namespace.PROC_NULL
        planes = shape[0] // size
        self.now = np.zeros((planes + 2, *shape[1:]))
        self.next = np.zeros_like(self.now)
        self.sum = np.zeros_like(self.now)
        if rank == 0:
            self.now[1, 1:-1, 1:-1] = 1.0

    def exchange(self):
        """Begin to send the outer planes, and to receive those of the neighbours."""
        comm, now = self.comm, self.now
        return [
            comm.Irecv(now[0], self.before),
            comm.Irecv(now[-1], self.behind),
            comm.Isend(now[1], self.before),
            comm.Isend(now[-2], self.behind),
        ]

    def compute(self, first, last):
        """A step of the planes from `first` to before `last`."""
        if first >= last:
            return
        here = (slice(first, last), slice(1, -1), slice(1, -1))
        now, total = self.now, self.sum[here]
        np.multiply(now[here], -6.0, out=total)
        for axis in range(3):
            for step in (-1, 1):
                beside = list(here)
                beside[axis] = slice(here[axis].start + step, (here[axis].stop or 0) + step or None)
                total += now[tuple(beside)]
        np.multiply(total, RATE, out=total)
        np.add(now[here], total, out=self.next[here])

    def step(self):
        planes = len(self.now) - 2
        requests = self.exchange()
        self.compute(2, planes)
        self.request.Waitall(requests)
        self.compute(1, 2)
        self.compute(max(2, planes), planes + 1)
        self.now, self.next = self.next, self.now

    def only_exchange(self):
        self.request.Waitall(self.exchange())

    def only_compute(self):
        planes = len(self.now) - 2
        self.compute(2, planes)
        self.compute(1, 2)
        self.compute(max(2, planes), planes + 1)

    def timed(self, what, steps):
        """The time of one step, that of the slowest rank."""
        self.comm.Barrier()
        begin = time.perf_counter()
        for _ in range(steps):
            what()
        took = np.array((time.perf_counter() - begin) / steps)
        self.comm.Allreduce(PLAIN.IN_PLACE, took, PLAIN.MAX)
        return float(took)


def main():
    shape = tuple(map(int, sys.argv[1:4])) or (32, 384, 384)
    steps = int(sys.argv[4]) if len(sys.argv) > 4 else 10
    blocks = {"adma": Block(MPI, shape), "mpi4py": Block(PLAIN, shape)}
    found = {name: [] for name in blocks}
    for number in range(ROUNDS + 1):
        for name, block in blocks.items():
            times = [
                block.timed(what, steps)
                for what in (block.only_exchange, block.only_compute, block.step)
            ]
            if number:  # the first round warms up
                found[name].append(times)
    comm = MPI.COMM_WORLD
    heat = {name: comm.allreduce(float(block.now[1:-1].sum())) for name, block in blocks.items()}
    if comm.rank == 0:
        assert heat["adma"] == heat["mpi4py"], heat
        print(f"heat in the block: {heat['adma']:.3f}")
        for name, times in found.items():
            exchange, compute, step = np.median(times, axis=0)
            overlap = (exchange + compute - step) / exchange if comm.size > 1 else 1.0
            print(f"{name}: {step * 1e3:.2f} ms a step, overlap {overlap:.2f}")


main()
