# SPDX-License-Identifier: BSD-3-Clause
"""A pool of worker processes. A worker that dies is replaced, and its task is done again.

    python examples/pool.py [fork | spawn | forkserver]

The parent keeps one end of a pipe for each worker and passes the other end to the worker's
process. `adma.wait` tells which workers have answered, or died: then `recv` raises PeerDied.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

import adma

RETRIES = 3  # a task that has killed as many workers is given up


def work(end: adma.Channel) -> None:
    """What a worker process does, until the parent closes its end."""
    while True:
        try:
            function, argument = end.recv()
        except EOFError:
            return
        try:
            answer: tuple[bool, Any] = True, function(argument)
        except Exception as error:
            answer = False, error
        try:
            end.send(answer)
        except adma.ChannelEnded:
            return  # nobody wants it any more


class Worker:
    def __init__(self, context: Any) -> None:
        self.end, theirs = adma.pipe()
        self.process = context.Process(target=work, args=(theirs,))
        self.process.start()
        theirs.close()  # this process's copy: the worker's own is the last one

    def close(self) -> None:
        self.end.close()
        self.process.join()


class Pool:
    def __init__(self, workers: int, method: str) -> None:
        self.context = multiprocessing.get_context(method)
        self.workers = [Worker(self.context) for _ in range(workers)]

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self.workers:
            worker.close()

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Results in the order in which they come, each with the number of its item."""
        waiting = [(number, item, 0) for number, item in enumerate(items)][::-1]
        idle, busy = list(self.workers), {}
        while waiting or busy:
            while waiting and idle:
                worker, task = idle.pop(), waiting.pop()
                try:
                    worker.end.send((function, task[1]))
                except adma.PeerDied:  # it was killed while it had nothing to do
                    waiting.append(task)
                    idle.append(self.replace(worker))
                else:
                    busy[worker.end] = worker, task
            for end in adma.wait(list(busy)):
                worker, (number, item, deaths) = busy.pop(end)
                try:
                    done, result = end.recv()
                except adma.PeerDied:
                    if deaths + 1 == RETRIES:
                        raise
                    worker = self.replace(worker)
                    waiting.append((number, item, deaths + 1))
                else:
                    if not done:
                        raise result
                    yield number, result
                idle.append(worker)

    def replace(self, dead: Worker) -> Worker:
        dead.close()
        worker = Worker(self.context)
        self.workers[self.workers.index(dead)] = worker
        return worker


def norm(task: tuple[np.ndarray, str]) -> float:
    """The task of this example. It kills its worker, unless that has happened already."""
    array, marker = task
    if marker and not os.path.exists(marker):
        open(marker, "x").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return float(np.linalg.norm(array))


def main() -> None:
    method = sys.argv[1] if len(sys.argv) > 1 else "spawn"
    marker = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"pool-{os.getpid()}")
    arrays = [np.full((256, 256), float(number)) for number in range(8)]
    tasks = [(array, marker if number == 3 else "") for number, array in enumerate(arrays)]
    try:
        with Pool(2, method) as pool:
            for number, result in sorted(pool.map(norm, tasks)):
                print(f"the norm of array {number} is {result:.0f}")
    finally:
        if os.path.exists(marker):
            os.unlink(marker)
            print("a worker was killed, and replaced")


if __name__ == "__main__":
    main()
