# SPDX-License-Identifier: BSD-3-Clause
"""From a connected socket to a `Link`: two processes find out what works between them."""
