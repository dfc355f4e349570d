# SPDX-License-Identifier: BSD-3-Clause
"""Two processes that connect, of which one dies meanwhile."""

from __future__ import annotations

import os
import select
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


def test_one_of_whose_end_no_descriptor_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is of another pid namespace, say, or was dead and buried when it was watched."""

    def refused(pid: int) -> int:
        raise ProcessLookupError(pid)

    here = Here()
    ends = []
    for name in ("dies", "ends"):
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listening.bind(str(tmp_path / name))
        listening.listen()
        ends.append((listening, here.know(name.ljust(KEY_SIZE).encode(), 0, str(tmp_path / name))))
    monkeypatch.setattr(os, "pidfd_open", refused)
    try:
        told = here.watch([process for _, process in ends])
        assert here.unseen
        assert here.dead() == []
        for listening, _ in ends:
            listening.close()
        (tmp_path / "ends").unlink()
        assert here.dead() == [ends[0][1]]
        assert not here.unseen
        assert not select.select([told], [], [], 0)[0]
    finally:
        here.close()
