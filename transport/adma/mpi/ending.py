# SPDX-License-Identifier: BSD-3-Clause
"""The end of a rank: what was posted is delivered before MPI ends, whichever way it does.

MPI_Finalize deletes the attributes of COMM_SELF first, and so calls us. At the end of the
interpreter mpi4py calls it when Python can call nothing any more, and so `atexit` does before.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import Any

from mpi4py import MPI

from .. import config
from .._core.calls import ranks_carried
from . import buffered, processes

__all__ = ["expect", "stats"]

_done = False


def stats() -> dict[str, int]:
    """How many messages this process sent: those that adma `carried`, and those `by_mpi`."""
    me = processes.here()
    return {"carried": me.carried + ranks_carried(), "by_mpi": me.by_mpi}


def expect() -> None:
    """Deliver what is posted at the end."""
    key = MPI.Comm.Create_keyval(delete_fn=_at_finalize)
    MPI.COMM_SELF.Set_attr(key, True)
    atexit.register(end)


def _at_finalize(*_: Any) -> None:
    end()


def end() -> None:
    """Deliver what was posted, and let go of everything."""
    global _done
    if _done:
        return
    _done = True
    me = processes.here()
    if os.getpid() == me.made_by and not hasattr(sys, "last_value"):
        # Buffered sends are complete for the program, however late their receivers come. Where
        # an exception ends the rank, those may never come.
        buffered.flush_all()
    if config.value(config.MPI_STATS):
        told = ", ".join(f"{name} {count}" for name, count in stats().items())
        print(f"adma.MPI: rank {MPI.COMM_WORLD.rank}: messages sent: {told}", file=sys.stderr)
    me.close()
