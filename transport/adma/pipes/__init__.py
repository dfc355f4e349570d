# SPDX-License-Identifier: BSD-3-Clause
"""Pipes: two ends by one call, each of which belongs to the process that first uses it."""
