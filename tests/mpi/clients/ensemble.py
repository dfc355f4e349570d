# SPDX-License-Identifier: BSD-3-Clause
"""libensemble calls a simulation on its workers: `python ensemble.py works|killed DIRECTORY`.

It is given adma's communicator. Where a worker is killed, its manager gets an exception, and
libensemble ends all by Abort.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from libensemble.alloc_funcs.give_sim_work_first import give_sim_work_first
from libensemble.libE import libE

from adma import MPI, mpi

VICTIM = 2
HOW, DIRECTORY = sys.argv[1], Path(sys.argv[2])
KILLED, TOLD = DIRECTORY / "killed", DIRECTORY / "told"
BATCH, SIMULATIONS = 6, 24


def generate(history, persis_info, gen_specs, info):
    out = np.zeros(BATCH, dtype=gen_specs["out"])
    out["x"] = np.arange(BATCH)
    return out, persis_info


def simulate(history, persis_info, sim_specs, info):
    if HOW == "killed" and MPI.COMM_WORLD.rank == VICTIM:
        KILLED.write_text(str(time.monotonic()))
        os.kill(os.getpid(), signal.SIGKILL)
    out = np.zeros(1, dtype=sim_specs["out"])
    out["f"] = history["x"] ** 2
    return out, persis_info


class Told(logging.Handler):
    """Tells how late the manager has its exception, which it logs before it aborts."""

    def emit(self, record: logging.LogRecord) -> None:
        if HOW == "killed" and "MPI.Exception" in record.getMessage():
            late = time.monotonic() - float(KILLED.read_text())
            TOLD.write_text(f"{late * 1e3:.1f} ms: {record.getMessage()}")


def run() -> None:
    os.chdir(DIRECTORY)
    libe_specs = {
        "mpi_comm": MPI.COMM_WORLD,
        "disable_log_files": True,
        "save_every_k_sims": SIMULATIONS,
    }
    sim_specs = {"sim_f": simulate, "in": ["x"], "out": [("f", float)]}
    gen_specs = {"gen_f": generate, "out": [("x", float)], "user": {}}
    alloc_specs = {"alloc_f": give_sim_work_first, "user": {"num_active_gens": 1}}
    logging.getLogger("libensemble").addHandler(Told(logging.ERROR))
    history, _, flag = libE(
        sim_specs,
        gen_specs,
        {"sim_max": SIMULATIONS},
        alloc_specs=alloc_specs,
        libE_specs=libe_specs,
    )
    if MPI.COMM_WORLD.rank == 0:
        done = history[history["sim_ended"]]
        assert flag == 0
        assert len(done) >= SIMULATIONS
        assert (done["f"] == done["x"] ** 2).all()
        print(f"{len(done)} simulations, sent by adma: {mpi.stats()['carried']}", flush=True)


if __name__ == "__main__":
    run()
