# SPDX-License-Identifier: BSD-3-Clause
"""One rank of an MPI contestant. Needs the standard library and mpi4py; not adma.

Started by ``mpiexec`` in the MPI's own environment: ``mpi_worker.py CONTROL_SOCKET``. Both ranks
connect to the driver and block there between rounds. A rank that waited inside MPI would spin, and
take a core from the contestant that is measured.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from mpi4py import MPI

COMM = MPI.COMM_WORLD
RANK = COMM.Get_rank()
PEER = 1 - RANK
TAG = 7

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
    """The two buffers of a rank, and MPI's description of them, built once per size."""

    def __init__(self) -> None:
        self.prepare(1)

    def prepare(self, size: int) -> None:
        """Make both buffers, touched; and check the path with a pattern, outside any timing."""
        self.out = pattern(size, RANK)
        self.into = bytearray(b"\xa5") * size
        self.out_spec = [self.out, size, MPI.BYTE]
        self.into_spec = [self.into, size, MPI.BYTE]

    def verify(self) -> None:
        """One round trip of patterns. Raises ValueError when a byte differs."""
        self.loops()["plain"](1)
        if self.into != pattern(len(self.into), PEER):
            raise ValueError(f"rank {RANK} received {len(self.into)} bytes that were not sent")

    def loops(self) -> dict[str, Callable[[int], None]]:
        if RANK == 0:
            return {"plain": self.lead, "persistent": self.lead_persistent}
        return {"plain": self.follow, "persistent": self.follow_persistent}

    def lead(self, count: int) -> None:
        send, recv, out, into = COMM.Send, COMM.Recv, self.out_spec, self.into_spec
        for _ in range(count):
            send(out, PEER, TAG)
            recv(into, PEER, TAG)

    def follow(self, count: int) -> None:
        send, recv, out, into = COMM.Send, COMM.Recv, self.out_spec, self.into_spec
        for _ in range(count):
            recv(into, PEER, TAG)
            send(out, PEER, TAG)

    def lead_persistent(self, count: int) -> None:
        send = COMM.Send_init(self.out_spec, PEER, TAG)
        recv = COMM.Recv_init(self.into_spec, PEER, TAG)
        self.started(count, send, recv)

    def follow_persistent(self, count: int) -> None:
        send = COMM.Send_init(self.out_spec, PEER, TAG)
        recv = COMM.Recv_init(self.into_spec, PEER, TAG)
        self.started(count, recv, send)

    def started(self, count: int, first: Any, second: Any) -> None:
        start_first, wait_first = first.Start, first.Wait
        start_second, wait_second = second.Start, second.Wait
        try:
            for _ in range(count):
                start_first()
                wait_first()
                start_second()
                wait_second()
        finally:
            first.Free()
            second.Free()


def pattern(size: int, seed: int) -> bytearray:
    """Bytes that differ by place (period 251, so no power of two fits) and by sender."""
    tile = bytes((i + 83 * seed) % 251 for i in range(251))
    return bytearray((tile * (size // 251 + 1))[:size])


def answer(rank: Rank, command: dict[str, Any]) -> dict[str, Any]:
    if command["op"] == "prepare":
        rank.prepare(command["size"])
        rank.verify()
        return {"ok": True}
    if command["op"] != "run":
        raise ValueError(f"unknown command {command['op']!r}")
    run = rank.loops()[command.get("mode", "plain")]
    run(command["warmup"])
    begin = time.perf_counter()
    run(command["iterations"])
    return {"seconds": (time.perf_counter() - begin) / (2 * command["iterations"])}


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


def main() -> int:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(sys.argv[1])
    line = sock.makefile("rw", encoding="utf-8", newline="\n")

    def say(message: dict[str, Any]) -> None:
        line.write(json.dumps(message) + "\n")
        line.flush()

    say(about())
    rank = Rank()
    for text in line:
        command = json.loads(text)
        if command["op"] == "exit":
            return 0
        try:
            say(answer(rank, command))
        except Exception as error:
            say({"error": f"{type(error).__name__}: {error}"})
    # The driver is gone. End the other rank too, since it may wait inside MPI.
    COMM.Abort(1)
    return 1


if __name__ == "__main__":
    sys.exit(main())
