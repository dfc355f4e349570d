# SPDX-License-Identifier: BSD-3-Clause
"""The benchmark harness: contestants that alternate round by round, and what is kept of them.

Nothing here is imported by ``import adma``; the command line and ``benchmarks/`` use it.
"""
