# SPDX-License-Identifier: BSD-3-Clause
"""A program that sleeps once on a worker with many endpoints, for a test that traces its calls."""

from __future__ import annotations

import os
import sys

from adma.messages.worker import Worker
from adma.testing.limits import SHORT
from support.workers import connect, settle


def main(endpoints: int) -> None:
    worker, peers = Worker(), [Worker() for _ in range(endpoints)]
    source = [connect(worker, peer) for peer in peers][-1][0]
    settle([worker, *peers])
    request = worker.receive(source, 1, bytearray(1))
    assert not worker.wait([request], SHORT)
    os.access("begin", os.F_OK)  # marks the place in the trace
    assert not worker.wait([request], SHORT)
    os.access("end", os.F_OK)
    for one in (worker, *peers):
        one.close()


main(int(sys.argv[1]))
