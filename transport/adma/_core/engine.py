# SPDX-License-Identifier: BSD-3-Clause
"""The core's copy engine: configured, started, looked at, ended. adma_copy.h says more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._native import ffi, lib

if TYPE_CHECKING:
    from .types import EngineConfig, EngineState

# enum adma_engine_id
AUTO: Final = lib.ADMA_ENGINE_AUTO
CALLER: Final = lib.ADMA_ENGINE_CALLER
THREAD: Final = lib.ADMA_ENGINE_THREAD
DMA: Final = lib.ADMA_ENGINE_DMA
# enum adma_policy
ADAPTIVE: Final = lib.ADMA_ADAPTIVE
ROUND_ROBIN: Final = lib.ADMA_ROUND_ROBIN

#: The ways in which a core of this build copies, by enum adma_kernel.
KERNEL_NAMES: Final = tuple(
    ffi.string(lib.adma_kernel_name(way)).decode() for way in range(lib.adma_kernels())
)

# Each of these is one call into C.
probe = lib.adma_engine_probe
may_assist = lib.adma_engine_may_assist
configure = lib.adma_engine_configure
drain = lib.adma_engine_drain
end = lib.adma_engine_end


def look() -> EngineState:
    """The engine's state, as of now."""
    state = ffi.new("struct adma_engine_state *")
    lib.adma_engine_look(state)
    return state


def configuration() -> EngineConfig:
    """A copy of its configuration, to be changed and given to `configure`."""
    state = look()  # owns the memory that its `config` is a part of
    return ffi.new("struct adma_engine_config *", state.config)


def stats() -> dict[str, int]:
    """Its counters by name."""
    found = ffi.new("struct adma_engine_stats *")
    lib.adma_engine_get_stats(found)
    return {name: int(getattr(found, name)) for name, _ in ffi.typeof(found).item.fields}


def kernel_times(size_class: int) -> tuple[int, dict[int, int]]:
    """Of copies of one class of size: the best kernel, and median nanoseconds of each measured."""
    found = ffi.new("struct adma_engine_kernels *")
    lib.adma_engine_kernels(size_class, found)
    ways = range(len(KERNEL_NAMES))
    return found.best, {way: found.median_ns[way] for way in ways if found.taken[way]}
