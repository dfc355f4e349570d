# SPDX-License-Identifier: BSD-3-Clause
"""A master gives work to whoever is free, and hears of a worker that dies.

mpiexec -n 4 python farm.py
"""

from adma import MPI

comm = MPI.COMM_WORLD
WORK, DONE, STOP = 1, 2, 3


def master(tasks: list[int]) -> dict[int, int]:
    results: dict[int, int] = {}
    status = MPI.Status()
    workers = min(comm.size - 1, len(tasks))
    for worker in range(1, comm.size):
        if worker <= workers:
            comm.send(tasks.pop(), worker, WORK)
        else:
            comm.send(None, worker, STOP)
    while workers:
        task, result = comm.recv(source=MPI.ANY_SOURCE, tag=DONE, status=status)
        results[task] = result
        if tasks:
            comm.send(tasks.pop(), status.source, WORK)
        else:
            comm.send(None, status.source, STOP)
            workers -= 1
    return results


def worker() -> None:
    status = MPI.Status()
    while True:
        task = comm.recv(source=0, status=status)
        if status.tag == STOP:
            return
        comm.send((task, task * task), 0, DONE)


if comm.rank:
    worker()
else:
    squares = master(list(range(20)))
    print("sum of squares:", sum(squares.values()))
