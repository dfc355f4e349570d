# SPDX-License-Identifier: BSD-3-Clause
"""What a channel is made of: its endpoint, messages under way, objects, and the wait for them."""
