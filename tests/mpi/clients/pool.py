# SPDX-License-Identifier: BSD-3-Clause
"""emcee samples a distribution on schwimmbad's MPIPool: `python pool.py works|killed DIRECTORY`.

The pool is what its users write, but for the import of MPI. Where a worker is killed, the master
is told by an exception, and ends all by Abort.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import emcee
import numpy as np
from schwimmbad import MPIPool

from adma import MPI, mpi

WALKERS, STEPS = 16, 60
VICTIM = 2  # a rank
AFTER = 20  # calls of its function
HOW, DIRECTORY = sys.argv[1], Path(sys.argv[2])
KILLED, TOLD = DIRECTORY / "killed", DIRECTORY / "told"
calls = 0


def log_probability(place: np.ndarray) -> float:
    """That of a normal distribution; the victim does not come back from one of its calls."""
    global calls
    calls += 1
    if HOW == "killed" and MPI.COMM_WORLD.rank == VICTIM and calls > AFTER:
        KILLED.write_text(str(time.monotonic()))
        os.kill(os.getpid(), signal.SIGKILL)
    return float(-0.5 * np.sum(place**2))


with MPIPool(comm=MPI.COMM_WORLD) as pool:  # workers stay in here
    start = np.random.default_rng(1).normal(size=(WALKERS, 2))
    sampler = emcee.EnsembleSampler(WALKERS, 2, log_probability, pool=pool)
    try:
        sampler.run_mcmc(start, STEPS)
    except MPI.Exception as error:
        late = time.monotonic() - float(KILLED.read_text())
        TOLD.write_text(f"{late * 1e3:.1f} ms: {error.__cause__}")
        MPI.COMM_WORLD.Abort(3)
    assert HOW == "works"
    assert abs(sampler.get_chain(flat=True).mean()) < 0.5
    print(f"{sampler.get_chain().shape}, sent by adma: {mpi.stats()['carried']}", flush=True)
