# SPDX-License-Identifier: BSD-3-Clause
"""The calls that are made for each message, in C (transport/native/binding)."""

from __future__ import annotations

from ._messages import Calls, dump, object_limits, object_read, persistent_type_on, request_type_on
from ._messages import wait_all as wait_for_all
from ._messages import wait_some as wait_for_some

__all__ = [
    "Calls",
    "dump",
    "object_limits",
    "object_read",
    "persistent_type_on",
    "request_type_on",
    "wait_for_all",
    "wait_for_some",
]
