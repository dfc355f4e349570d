# SPDX-License-Identifier: BSD-3-Clause
"""The environment variables that adma looks at: all of them, and nowhere else.

Each function reads its variable when it is called, so that a program may set it before.
Nothing here judges a value: who uses it does, and names the variable in the error.

A program with rights that whoever started it lacks (set-user-id, set-group-id, file capabilities)
must not let that user choose files and addresses for it. There all variables count as not set,
also after the program has given the rights back.
"""

from __future__ import annotations

import os
from typing import Final

from ._core.handshake import has_more_rights

COPIERS: Final = "ADMA_COPIERS"
EMULATED: Final = "ADMA_EMULATED"  # what emulates this machine, where that cannot be seen
ENGINE: Final = "ADMA_ENGINE"
LEARN: Final = "ADMA_LEARN"  # "0": how messages are carried, and copies are spread, is not learnt
LOOPBACK_ADDRESS: Final = "ADMA_LOOPBACK_ADDRESS"
OPEN_DIR: Final = "ADMA_OPEN_DIR"
MPI_STATS: Final = "ADMA_MPI_STATS"  # "1": at its end a rank tells what adma carried
PEER_MPICH: Final = "ADMA_PEER_MPICH"  # the Python of an environment with mpi4py on MPICH
PEER_OPENMPI: Final = "ADMA_PEER_OPENMPI"  # and on Open MPI
PTRACER: Final = "ADMA_PTRACER"
QUEUES: Final = "ADMA_QUEUES"
SCHEDULE: Final = "ADMA_SCHEDULE"
TRACE: Final = "ADMA_TRACE"
TRACE_EVENTS: Final = "ADMA_TRACE_EVENTS"

#: Is the environment that of a user with fewer rights? As it was when adma was imported.
IS_FOREIGN: Final = has_more_rights()


def value(variable: str) -> str:
    """The value of a variable; "" when it is not set, or not to be trusted."""
    return "" if IS_FOREIGN else os.environ.get(variable, "")


def copiers() -> str:
    """Which end may copy the chunks of a message: "both" unless ADMA_COPIERS says otherwise."""
    return value(COPIERS) or "both"


def learns() -> bool:
    """Is it learnt how messages are carried and copies are spread? Unless ADMA_LEARN is 0."""
    return value(LEARN) != "0"


def loopback_address() -> str:
    """The address at which `loopback:tcp` listens: 127.0.0.1 unless ADMA_LOOPBACK_ADDRESS.

    The end that connects goes to this one, or to a loopback address, and nowhere else.
    """
    return value(LOOPBACK_ADDRESS) or "127.0.0.1"


def any_tracer() -> bool:
    """May every process of this user trace this one, where Yama asks? ADMA_PTRACER=any."""
    return value(PTRACER) == "any"


def open_directory() -> str:
    """Below which all users have their directories of sockets for others: ADMA_OPEN_DIR."""
    return os.path.normpath(value(OPEN_DIR) or "/tmp")


def configuration_directory() -> str:
    """Where the user's own settings are: XDG_CONFIG_HOME or ~/.config, or "".

    A relative one does not count, as for `runtime_directory`.
    """
    directory = value("XDG_CONFIG_HOME")
    if os.path.isabs(directory):
        return directory
    home = value("HOME")
    return os.path.join(home, ".config") if os.path.isabs(home) else ""


def runtime_directory() -> str:
    """The user's own directory for as long as the session lasts: XDG_RUNTIME_DIR, or "".

    A relative one does not count, as the XDG base directory specification says: it would be
    another directory after each chdir.
    """
    directory = value("XDG_RUNTIME_DIR")
    return directory if os.path.isabs(directory) else ""
