# SPDX-License-Identifier: BSD-3-Clause
"""What `import adma` brings with it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import adma

HEAVY = ["numpy", "mpi4py", "matplotlib", "asyncio", "multiprocessing"]


def test_it_is_light() -> None:
    code = f"import sys, adma; print([n for n in {HEAVY!r} if n in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
    assert found.stderr == ""


def test_it_starts_no_thread_and_opens_no_descriptor() -> None:
    code = (
        "import os; before = os.listdir('/proc/self/fd'); import adma; "
        "print(len(os.listdir('/proc/self/task')), os.listdir('/proc/self/fd') == before)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["1", "True"]


@pytest.mark.parametrize(
    "name",
    [
        "Channel", "Message", "Request", "listen", "connect", "from_socket", "wait_all",
        "wait_any", "ChannelClosed", "PeerDied", "MessageTooLong", "WrongKind", "Cancelled",
        "ProtocolError", "MechanismUnavailable", "VersionMismatch",
    ],
)  # fmt: skip
def test_the_public_names(name: str) -> None:
    assert hasattr(adma, name)
    assert name in adma.__all__


def test_all_names_exist() -> None:
    assert [name for name in adma.__all__ if not hasattr(adma, name)] == []
