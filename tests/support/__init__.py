# SPDX-License-Identifier: BSD-3-Clause
"""What the tests are built from: peers in real processes, payloads, observers, leak checks.

Nothing here imports pytest: a peer process imports it too, and has to start fast.
"""
