# SPDX-License-Identifier: BSD-3-Clause
"""The calls that are made for each message, in C (transport/native/binding)."""

from __future__ import annotations

from ._messages import (
    Calls,
    RankCalls,
    Ranks,
    dump,
    object_limits,
    object_read,
    persistent_type_on,
    rank_pickle_by,
    rank_request_type_on,
    rank_requests_adopt,
    ranks_carried,
    ranks_deaths,
    ranks_note_death,
    ranks_prepare,
    request_type_on,
    specification_types,
)
from ._messages import wait_all as wait_for_all
from ._messages import wait_some as wait_for_some

__all__ = [
    "Calls",
    "RankCalls",
    "Ranks",
    "dump",
    "object_limits",
    "object_read",
    "persistent_type_on",
    "rank_pickle_by",
    "rank_request_type_on",
    "rank_requests_adopt",
    "ranks_carried",
    "ranks_deaths",
    "ranks_note_death",
    "ranks_prepare",
    "request_type_on",
    "specification_types",
    "wait_for_all",
    "wait_for_some",
]
