# SPDX-License-Identifier: BSD-3-Clause
"""One process that runs one end of ``ucx_perftest``: rank 0 the client, rank 1 the server.

Started as ``python -m adma.bench.ucx_worker KIND RANK CONTROL_SOCKET LINK_FD PROGRAM``. Each run
starts both ends anew; over the link the ranks tell each other when.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from adma.bench import ucx
from adma.bench.control import Line
from adma.bench.worker import cure_of, serve

TIMEOUT = 60.0
TRANSPORTS = "sm"  # within a node
LISTENING = "0A"
POLL = 0.002  # seconds


class Side:
    """One end."""

    def __init__(self, link: int, rank: int, program: str) -> None:
        self.rank = rank
        self.program = program
        self.size = 1
        self._socket = socket.socket(fileno=link)
        self._line = Line(self._socket)

    def about(self) -> dict[str, Any]:
        tool = shutil.which("ucx_info")
        told = [tool, "-v"] if tool else [self.program, "-h"]
        printed = subprocess.run(told, capture_output=True, text=True, check=False).stdout
        found = next((line for line in printed.splitlines() if "ersion" in line), "")
        return {"version": found.strip("# ").replace("Version", "UCX") or "UCX"}

    def prepare(self, command: dict[str, Any]) -> dict[str, Any]:
        """Remember the size: the program has buffers of its own."""
        self.size = int(command["size"])
        return {"ok": True, "path": ucx.PATH}

    def run(self, command: dict[str, Any]) -> dict[str, Any]:
        """Run both ends once. The program says what a message took."""
        if self.rank == 1:
            return self._serve()
        port = int(self._line.receive(TIMEOUT)["port"])
        try:
            seconds = self._ask(port, int(command["iterations"]), int(command["warmup"]))
        finally:
            self._tell({"done": True})
        return {"seconds": seconds, "each": 2 * seconds}

    def _ask(self, port: int, count: int, warmup: int) -> float:
        argv = [*self._command(port), "-t", "tag_lat", "-f", "-v", "-s", str(self.size)]
        argv += ["-n", str(count), "-w", str(warmup), "127.0.0.1"]
        done = subprocess.run(
            argv, env=_environment(), capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        return ucx.latency(done.stdout + done.stderr)

    def _serve(self) -> dict[str, Any]:
        port = _free_port()
        with subprocess.Popen(
            self._command(port),
            env=_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as server:
            try:
                _await_listening(port, server)
                self._tell({"port": port})
                self._line.receive(TIMEOUT)
                server.wait(TIMEOUT)
            finally:
                server.kill()
        return {"ok": True}

    def _command(self, port: int) -> list[str]:
        # A server must not wait for a client for ever when this process is killed.
        guard = shutil.which("setpriv")
        before = [guard, "--pdeathsig", "KILL"] if guard else []
        return [*before, self.program, "-p", str(port)]

    def _tell(self, message: dict[str, Any]) -> None:
        self._socket.sendall(json.dumps(message).encode() + b"\n")


def _environment() -> dict[str, str]:
    return {"UCX_TLS": TRANSPORTS, "UCX_WARN_UNUSED_ENV_VARS": "n", **os.environ}


def _free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


def _await_listening(port: int, server: subprocess.Popen[bytes]) -> None:
    """Return once the server listens. To connect would be taken for its client. RuntimeError."""
    deadline = time.monotonic() + TIMEOUT
    while not _listens(port):
        if server.poll() is not None:
            words = server.stderr.read().decode(errors="replace") if server.stderr else ""
            raise RuntimeError(f"{ucx.TOOL} ended: {' '.join(words.split())[:300]}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"{ucx.TOOL} does not listen at port {port}")
        time.sleep(POLL)


def _listens(port: int) -> bool:
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(name).read_text(encoding="ascii").splitlines()[1:]:
            words = line.split()
            if words[3] == LISTENING and words[1].endswith(f":{port:04X}"):
                return True
    return False


def main(argv: list[str]) -> int:
    rank, control, link, program = int(argv[1]), argv[2], int(argv[3]), argv[4]
    line = Line.dial(control)
    side = Side(link, rank, program)
    try:
        about = side.about()
    except OSError as error:
        line.send({"rank": rank, "pid": os.getpid(), "error": str(error), "cure": cure_of(error)})
        return 1
    line.send({"rank": rank, "pid": os.getpid(), **about})
    return serve(line, {"prepare": side.prepare, "run": side.run})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
