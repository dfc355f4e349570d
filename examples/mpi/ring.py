# SPDX-License-Identifier: BSD-3-Clause
"""A token goes around all ranks, and each adds its own number.

mpiexec -n 4 python ring.py
"""

from adma import MPI

comm = MPI.COMM_WORLD
left, right = (comm.rank - 1) % comm.size, (comm.rank + 1) % comm.size

if comm.rank == 0:
    comm.send([0], right)
    print("the token has seen", comm.recv(source=left))
else:
    comm.send([*comm.recv(source=left), comm.rank], right)
