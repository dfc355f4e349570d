# SPDX-License-Identifier: BSD-3-Clause
"""Blocks of data go through all ranks. Each computes on one block while the next one arrives.

mpiexec -n 3 python pipeline.py
"""

import numpy as np

from adma import MPI

comm = MPI.COMM_WORLD
BLOCKS, SIZE = 16, 1 << 18
first, last = comm.rank == 0, comm.rank == comm.size - 1
buffers = [np.empty(SIZE), np.empty(SIZE)]
total = 0.0


def begin(block: int) -> MPI.Request:
    if first or block >= BLOCKS:
        return MPI.REQUEST_NULL
    return comm.Irecv(buffers[block % 2], comm.rank - 1, block)


coming = begin(0)
for block in range(BLOCKS):
    coming.Wait()
    data = buffers[block % 2]
    if first:
        data[:] = block
    coming = begin(block + 1)
    np.add(data, 1.0, out=data)
    if last:
        total += float(data[0])
    else:
        comm.Send(data, comm.rank + 1, block)

if last:
    print("sum over the blocks:", total)
