# SPDX-License-Identifier: BSD-3-Clause
"""Point-to-point messages of mpi4py, moved by adma where both processes share a machine."""
