# SPDX-License-Identifier: BSD-3-Clause
"""The point-to-point traffic of mpi4py programs, carried by adma where two ranks share a machine.

`from adma import MPI` is mpi4py's namespace with communicators of adma's. `wrap(comm)` makes one of
any communicator of mpi4py. `channel(comm, peer)` makes a channel of adma's between two ranks.
`stats()` tells what adma has carried.
"""

from __future__ import annotations

from .channels import channel
from .communicators import wrap
from .ending import stats

__all__ = ["channel", "stats", "wrap"]
