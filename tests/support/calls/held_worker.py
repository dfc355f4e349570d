# SPDX-License-Identifier: BSD-3-Clause
"""A worker one of whose threads is held at a fault point, while the process does something else.

What `hostile_worker` has begun goes on here: the worker is the one that it keeps.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Final

import adma
from adma.messages.worker import ANY_SOURCE, TagRequest, Worker
from adma.testing import Endpoint
from adma.testing.limits import HANG, MIB
from adma.testing.observe import until
from adma.testing.payload import difference, pattern
from support.calls import faults
from support.calls.hostile_worker import worker_of
from support.endpoints import InThread

SIZES: Final = (1, 5000, 2 * MIB)
TAG: Final = 0x5EE
FORKED: Final = 42  # the exit status of a child that was told so


class Exchange:
    """Messages of some sizes to an endpoint and from it; the other side has one, too."""

    def __init__(self, worker: Worker, number: int) -> None:
        self._worker = worker
        self._buffers = [bytearray(nbytes) for nbytes in SIZES]
        self._requests: list[TagRequest] = []
        with contextlib.suppress(adma.ChannelEnded, FileNotFoundError):
            for buffer in self._buffers:
                self._requests.append(worker.receive(number, TAG, buffer))
            for nbytes in SIZES:
                self._requests.append(worker.send(number, TAG, pattern(nbytes, nbytes)))

    def finish(self) -> str:
        """Wait for all of them: the name of the error with which some ended, or ""."""
        error = ""
        self._worker.wait(self._requests, HANG)
        for request in self._requests:
            try:
                request.result()
            except adma.ChannelEnded as ended:
                error = type(ended).__name__
        if not error and len(self._requests) == 2 * len(SIZES):
            for nbytes, buffer in zip(SIZES, self._buffers, strict=True):
                assert not difference(memoryview(buffer), pattern(nbytes, nbytes))
        return error


def begin(endpoint: Endpoint, number: int, point: str, action: str, argument: int = 0) -> bool:
    """A thread exchanges messages with a peer, closes the endpoint, and comes past `point`.

    True: it has got there, and is held or delayed. False: it is through, and did not get there.
    """
    worker, through = worker_of(endpoint), threading.Event()

    def use() -> str:
        try:
            error = Exchange(worker, number).finish()
            with contextlib.suppress(TimeoutError):
                worker.drop(number, 1)
            return error
        finally:
            through.set()

    faults.arm(None, point, action, argument)
    endpoint.kept["thread"] = InThread(use)
    until("it is there, or through", lambda: faults.passes(None, point) > 0 or through.is_set())
    return faults.passes(None, point) > 0


def fork(endpoint: Endpoint) -> int:
    """Fork. The child's copy of the worker says so, and is closed; the child's exit status."""
    worker = worker_of(endpoint)
    pid = os.fork()
    if pid == 0:
        told = False
        try:
            worker.probe(ANY_SOURCE, 0, 0)
        except adma.ChannelClosed as error:
            told = "fork" in str(error)
        worker.close()
        os._exit(FORKED if told else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def finish(endpoint: Endpoint) -> str:
    """Nobody is held any more: how the thread's messages ended."""
    faults.disarm_all()
    thread: InThread = endpoint.kept.pop("thread")
    error: str = thread.result()
    return error
