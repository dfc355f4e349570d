# SPDX-License-Identifier: BSD-3-Clause
"""What only adma's own tests need: fault points, hostile memory, other users, namespaces.

Peers, payloads, leak checks and the conformance kit are public: `adma.testing`. Nothing here
but `places` imports pytest: a peer process imports the rest, and has to start fast.
"""
