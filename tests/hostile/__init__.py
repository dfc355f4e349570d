# SPDX-License-Identifier: BSD-3-Clause
"""Peers and callers that break the rules, and what that does to their victim."""
