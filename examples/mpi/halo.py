# SPDX-License-Identifier: BSD-3-Clause
"""Each rank has a part of a rod, and heat flows along it.

The rank asks for the edges of its neighbours, computes what does not need them while they
arrive, and then the rest.

mpiexec -n 4 python halo.py
"""

import numpy as np

from adma import MPI

comm = MPI.COMM_WORLD
cart = comm.Create_cart([comm.size], periods=[False])
left, right = cart.Shift(0, 1)

CELLS, STEPS = 1000, 200
heat = np.zeros(CELLS + 2)  # with a cell of each neighbour
if cart.rank == 0:
    heat[0] = 100.0
after = heat.copy()

for _ in range(STEPS):
    requests = [
        cart.Irecv(heat[:1], left),
        cart.Irecv(heat[-1:], right),
        cart.Isend(heat[1:2], left),
        cart.Isend(heat[-2:-1], right),
    ]
    after[2:-2] = heat[2:-2] + 0.25 * (heat[1:-3] - 2 * heat[2:-2] + heat[3:-1])
    MPI.Request.Waitall(requests)
    for edge in (1, CELLS):
        after[edge] = heat[edge] + 0.25 * (heat[edge - 1] - 2 * heat[edge] + heat[edge + 1])
    after[0], after[-1] = heat[0], heat[-1]
    heat, after = after, heat

total = cart.reduce(float(heat[1:-1].sum()))
if cart.rank == 0:
    print(f"heat in the rod: {total:.3f}")
