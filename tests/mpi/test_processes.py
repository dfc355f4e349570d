# SPDX-License-Identifier: BSD-3-Clause
"""Two processes that connect, of which one dies meanwhile."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from adma import PeerDied
from adma.mpi.processes import KEY_SIZE, Here

WAIT = b"\0"  # "my own call is on its way"


def test_one_that_dies_before_its_call_has_come(tmp_path: Path) -> None:
    here = Here()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(str(tmp_path / "peer"))
    listening.listen()

    def answer_and_die() -> None:
        sock, _ = listening.accept()
        with sock, listening:
            assert sock.recv(100)
            sock.sendall(WAIT)

    peer = threading.Thread(target=answer_and_die)
    peer.start()
    try:
        process = here.know(bytes(KEY_SIZE), os.getpid(), str(tmp_path / "peer"))
        for _ in range(2):  # whoever asks again is told, too
            with pytest.raises(PeerDied, match="is gone"):
                here.endpoint_to(process)
    finally:
        peer.join()
        here.close()
