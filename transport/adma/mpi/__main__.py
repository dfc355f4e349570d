# SPDX-License-Identifier: BSD-3-Clause
"""`python -m adma.mpi prog.py ...` runs a program of mpi4py's with adma's MPI, unchanged."""

from __future__ import annotations

import sys

from .program import run

if len(sys.argv) < 2:
    sys.exit("usage: python -m adma.mpi PROGRAM [ARGUMENT ...]")
run(sys.argv[1:])
