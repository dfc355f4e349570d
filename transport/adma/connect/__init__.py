# SPDX-License-Identifier: BSD-3-Clause
"""How a process finds another one and knows who that is: sockets, names, users, records."""
