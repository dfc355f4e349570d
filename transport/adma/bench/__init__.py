# SPDX-License-Identifier: BSD-3-Clause
"""The benchmark harness. Contestants alternate round by round, and reports keep all samples.

Nothing here is imported by ``import adma``; the command line and ``benchmarks/`` use it.
"""
