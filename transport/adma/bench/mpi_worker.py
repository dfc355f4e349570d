# SPDX-License-Identifier: BSD-3-Clause
"""One rank of an MPI contestant. Needs the standard library and mpi4py; not adma.

Started by ``mpiexec`` in the MPI's own environment: ``mpi_worker.py CONTROL_SOCKET``. All ranks
connect to the driver and block there between rounds. A rank that waited inside MPI would spin, and
take a core from the contestant that is measured.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
from typing import Any

from mpi4py import MPI

try:
    from adma.bench import mpi_traffic
    from adma.bench.samples import SYNC, SYNCS
except ImportError:  # an MPI's environment: the files beside this one
    import mpi_traffic  # type: ignore[import-not-found,no-redef]
    from samples import SYNC, SYNCS  # type: ignore[import-not-found,no-redef]

COMM = MPI.COMM_WORLD
RANK = COMM.Get_rank()

# What decides the path within a node and the way of waiting.
SETTINGS = (
    "MPIR_CVAR_CH4_CMA_ENABLE",
    "MPIR_CVAR_CH4_IPC_CMA_P2P_THRESHOLD",
    "MPIR_CVAR_CH4_XPMEM_ENABLE",
    "MPIR_CVAR_POLLS_BEFORE_YIELD",
    "mpi_yield_when_idle",
    "mpi_event_tick_rate",
    "btl_sm_eager_limit",
    "btl_sm_max_send_size",
)


class Rank:
    """Answers the driver's commands, as `Pinger` of ``worker.py`` does."""

    def __init__(self) -> None:
        self.case = ""
        self.prepared: dict[str, Any] = {}
        self.ranks = mpi_traffic.Ranks()
        self.step = mpi_traffic.PingPong({"size": SYNC}, self.ranks)

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do what a command says."""
        return self.prepare(command) if command["op"] == "prepare" else self.run(command)

    def made(self, command: dict[str, Any]) -> Any:
        """The traffic of a case."""
        return mpi_traffic.FORMS[command["form"]](command, self.ranks)

    def prepare(self, command: dict[str, Any]) -> dict[str, Any]:
        """Make buffers, touched; and check the path with a pattern, outside any timing."""
        if command["case"] != self.case:
            self.prepared.clear()
            self.case = command["case"]
        made = self.made(command)
        made.verify()
        self.prepared[command["key"]] = made
        return {"ok": True}

    def run(self, command: dict[str, Any]) -> dict[str, Any]:
        """Warm up, then time turns. The answer is the time of one message, and of one turn."""
        count = command["iterations"]
        traffic = self.prepared[command["key"]]
        if command.get("cold"):
            self.step.loop(SYNCS)
        else:
            traffic.loop(command["warmup"])
        spent = traffic.timed(count)
        return {"seconds": spent / (traffic.share * count), "each": spent / count}


def about() -> dict[str, Any]:
    """What this MPI says of itself: its name, version, and the settings that matter."""
    import mpi4py

    return {
        "rank": RANK,
        "pid": os.getpid(),
        "mpi4py": mpi4py.__version__,
        "mpi": MPI.Get_library_version().rstrip("\0 \n"),
        "settings": read_settings(),
        "cores": sorted(os.sched_getaffinity(0)),
    }


def read_settings() -> dict[str, int]:
    """Control variables by MPI's tool interface; what this MPI does not know is left out.

    mpi4py does not wrap that interface, so the library is asked by its C names.
    """
    found: dict[str, int] = {}
    try:
        library = ctypes.CDLL(MPI.__file__)
        provided = ctypes.c_int()
        if library.MPI_T_init_thread(0, ctypes.byref(provided)) != 0:
            return found
        for name in SETTINGS:
            value = read_setting(library, name)
            if value is not None:
                found[name] = value
        library.MPI_T_finalize()
    except (OSError, AttributeError):
        pass  # the library has no tool interface, so that nothing is known
    return found


def read_setting(library: ctypes.CDLL, name: str) -> int | None:
    index = ctypes.c_int()
    if library.MPI_T_cvar_get_index(name.encode(), ctypes.byref(index)) != 0:
        return None
    handle, count = ctypes.c_void_p(), ctypes.c_int()
    failed = library.MPI_T_cvar_handle_alloc(index, None, ctypes.byref(handle), ctypes.byref(count))
    if failed or count.value != 1:
        return None
    # Wide enough for every number MPI_T may hand out; unset bytes stay zero.
    value = (ctypes.c_uint8 * 64)()
    failed = library.MPI_T_cvar_read(handle, value)
    library.MPI_T_cvar_handle_free(ctypes.byref(handle))
    return None if failed else int.from_bytes(bytes(value)[:8], sys.byteorder)


def serve(rank: Rank, hello: dict[str, Any]) -> int:
    """Say hello to the driver, and obey its commands until it has had enough, or is gone."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(sys.argv[1])
    line = sock.makefile("rw", encoding="utf-8", newline="\n")

    def say(message: dict[str, Any]) -> None:
        line.write(json.dumps(message) + "\n")
        line.flush()

    say(hello)
    for text in line:
        command = json.loads(text)
        if command["op"] == "exit":
            return 0
        try:
            say(rank.answer(command))
        except Exception as error:
            say({"error": f"{type(error).__name__}: {error}"})
    # The driver is gone. End the other ranks too, since they may wait inside MPI.
    COMM.Abort(1)
    return 1


if __name__ == "__main__":
    sys.exit(serve(Rank(), about()))
