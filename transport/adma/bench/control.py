# SPDX-License-Identifier: BSD-3-Clause
"""The control line between the driver of a benchmark and a contestant's process.

It carries one JSON object per line over a private Unix socket. A process that waits for its turn
blocks in ``recv`` here, and takes no processor time from the one that is measured.

The worker for MPI (``mpi_worker.py``) speaks the same protocol with its own few lines, because it
runs where adma is not installed.
"""

from __future__ import annotations

import json
import socket
from typing import Any

LINE_MAX = 1 << 20


class Line:
    """A connected control socket, read and written by whole JSON objects."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._pending = b""

    @classmethod
    def dial(cls, path: str) -> Line:
        """Connect to the driver's socket at `path`. Raises OSError when nobody listens there."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(path)
        except OSError:
            sock.close()
            raise
        return cls(sock)

    def fileno(self) -> int:
        return self.sock.fileno()

    def send(self, message: dict[str, Any]) -> None:
        """Send one object. Raises OSError when the other end is gone."""
        self.sock.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, timeout: float | None = None) -> dict[str, Any]:
        """The next object.

        Raises EOFError when the other end is gone, TimeoutError after `timeout` seconds (what
        arrived so far is kept for the next call), ValueError for what is no JSON object.
        """
        self.sock.settimeout(timeout)
        while b"\n" not in self._pending:
            if len(self._pending) > LINE_MAX:
                raise ValueError(f"control line longer than {LINE_MAX} bytes")
            try:
                data = self.sock.recv(1 << 16)
            except ConnectionError as error:
                raise EOFError("the other end of the control line is gone") from error
            if not data:
                raise EOFError("the other end of the control line is gone")
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        message = json.loads(line)
        if not isinstance(message, dict):
            raise ValueError("control line: expected a JSON object")
        return message

    def close(self) -> None:
        self.sock.close()
