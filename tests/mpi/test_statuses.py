# SPDX-License-Identifier: BSD-3-Clause
"""Statuses that we fill, and errors that go the way of MPI's own."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from mpi4py import MPI

import adma
from adma.mpi import statuses
from adma.mpi.statuses import fail, fail_from, fill, fill_empty, fill_null, translate


def told(status: Any) -> tuple[Any, ...]:
    return (status.source, status.tag, status.error, status.count, status.cancelled)


def test_a_status_tells_what_was_received() -> None:
    status = MPI.Status()
    fill(status, 3, 17, 40)
    assert told(status) == (3, 17, MPI.SUCCESS, 40, False)
    assert status.Get_count(MPI.DOUBLE) == 5
    assert status.Get_elements(MPI.INT) == 10
    fill(status, 1, 2, 0, MPI.ERR_TRUNCATE, cancelled=True)
    assert told(status) == (1, 2, MPI.ERR_TRUNCATE, 0, True)
    fill(status, 0, 0, 3 << 40)
    assert status.Get_elements(MPI.BYTE) == 3 << 40
    assert not status.cancelled
    fill(status, 0, 0, 7)
    assert status.Get_count(MPI.INT) == MPI.UNDEFINED


def test_nobody_asked_for_a_status() -> None:
    fill(None, 3, 17, 40)
    fill_empty(None)
    fill_null(None)


def test_empty_and_null_statuses_are_those_of_mpi() -> None:
    ours, theirs = MPI.Status(), MPI.Status()
    fill(ours, 3, 17, 40, cancelled=True)
    fill_empty(ours)
    request = MPI.Request()
    request.Wait(theirs)
    assert told(ours) == told(theirs)
    fill_null(ours)
    MPI.COMM_SELF.Recv(None, MPI.PROC_NULL, status=theirs)
    assert told(ours) == told(theirs)


@pytest.fixture
def comm() -> Iterator[Any]:
    comm = MPI.COMM_SELF.Dup()
    yield comm
    comm.Free()


def test_the_usual_handler_raises(comm: Any) -> None:
    cause = adma.MessageTooLong("9 bytes came, and the buffer has 4", needed=9)
    with pytest.raises(MPI.Exception) as caught:
        fail_from(comm, cause)
    error: Any = caught.value
    assert error.Get_error_class() == MPI.ERR_TRUNCATE
    assert error.__cause__ is cause
    assert error.__notes__ == ["9 bytes came, and the buffer has 4"]


def test_a_handler_of_the_user_is_called(comm: Any) -> None:
    calls: list[int] = []
    handler = MPI.Comm.Create_errhandler(lambda _, code: calls.append(code))
    comm.Set_errhandler(handler)
    handler.Free()
    for _ in range(3):
        with pytest.raises(MPI.Exception):
            fail(comm, MPI.ERR_TRUNCATE, None, "too long")
    assert calls == [MPI.ERR_TRUNCATE] * 3


@pytest.mark.parametrize("name", ["ERRORS_ARE_FATAL", "ERRORS_ABORT"])
def test_a_fatal_handler_ends_the_process_with_the_text(name: str) -> None:
    program = (
        "from mpi4py import MPI\n"
        "from adma.mpi.statuses import fail\n"
        "comm = MPI.COMM_SELF.Dup()\n"
        f"comm.Set_errhandler(MPI.{name})\n"
        "fail(comm, MPI.ERR_TRUNCATE, None, '9 bytes came')\n"
    )
    # A process that MPI starts by itself, whatever started this one.
    alone = {k: v for k, v in os.environ.items() if not k.startswith(("PMI", "OMPI_COMM", "HYD"))}
    alone["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", program], env=alone, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "adma.mpi: " in done.stderr
    assert "9 bytes came" in done.stderr
    assert "Traceback" not in done.stderr


def test_errors_have_the_classes_of_mpi() -> None:
    assert translate(adma.MessageTooLong("")) == MPI.ERR_TRUNCATE
    assert translate(MemoryError()) == MPI.ERR_NO_MEM
    assert translate(OSError(errno.ENOMEM, "")) == MPI.ERR_NO_MEM
    assert translate(BufferError()) == MPI.ERR_BUFFER
    assert translate(adma.ProtocolError("")) == MPI.ERR_INTERN
    assert translate(OSError(errno.EPERM, "")) == MPI.ERR_OTHER
    for gone in (adma.PeerDied("died"), adma.MessagesLost("lost"), adma.ChannelClosed("closed")):
        error_class = translate(gone)
        assert error_class == statuses._PROC_FAILED
        assert error_class != MPI.ERR_UNKNOWN


@pytest.mark.parametrize("error", [TimeoutError("late"), adma.Stalled("stopped")])
def test_a_timeout_stays_one(error: Exception) -> None:
    with pytest.raises(TimeoutError) as caught:
        fail_from(MPI.COMM_SELF, error)
    assert caught.value is error
