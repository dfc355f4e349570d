# SPDX-License-Identifier: BSD-3-Clause
"""Names for the core's objects, for annotations; and the pointers that point to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from ._native import ffi

if TYPE_CHECKING:
    from ._native import (
        Array,
        adma_arrived,
        adma_chan,
        adma_copy,
        adma_dim,
        adma_engine_config,
        adma_engine_state,
        adma_nonce,
        adma_plan,
        adma_req,
        adma_segment,
        adma_worker,
        sigset_t,
    )

    Chan: TypeAlias = adma_chan
    Req: TypeAlias = adma_req
    Copy: TypeAlias = adma_copy
    Plan: TypeAlias = adma_plan
    Dims: TypeAlias = adma_dim  # the first of several
    EngineConfig: TypeAlias = adma_engine_config
    EngineState: TypeAlias = adma_engine_state
    Nonce: TypeAlias = adma_nonce
    Segment: TypeAlias = adma_segment
    Worker: TypeAlias = adma_worker
    Arrived: TypeAlias = adma_arrived
    SignalMask: TypeAlias = sigset_t
    #: A buffer of Python's, held. It knows its length in bytes.
    Hold: TypeAlias = Array[bytes]

__all__ = ["NO_CHANNEL", "NO_REQUEST"]

#: Every function of the core takes it for a channel that was closed.
NO_CHANNEL: Final[Chan] = ffi.NULL
NO_REQUEST: Final[Req] = ffi.NULL
