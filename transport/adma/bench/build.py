# SPDX-License-Identifier: BSD-3-Clause
"""Which adma this is: version, variant of the build, and the sizes its core was built with."""

from __future__ import annotations

from typing import Any


def describe() -> dict[str, Any]:
    """Version and variant: "release", or "faults" with fault points and live assertions."""
    from adma._core._native import lib

    faults = bool(lib.adma_faults_built())
    return {"version": version(), "build": "faults" if faults else "release"}


def version() -> str:
    """The version of the package that is imported, which need not be one that is installed."""
    import adma

    return adma.__version__


def waiting() -> str:
    """How a blocking call waits, with the limit of spinning where this core tells it."""
    from adma._core._native import lib

    tell = getattr(lib, "adma_spin_max_ns", None)
    limit = f"up to {int(tell()) / 1000:g} us" if tell is not None else "for a bounded time"
    return f"spins {limit}, not with more runnable processes than cores; then sleeps in ppoll"


def thresholds() -> dict[str, int]:
    """Sizes in bytes at which a message starts to travel in another way."""
    from adma._core._native import lib

    return {
        "inline, up to": int(lib.adma_inline_max()),
        "eager, up to": int(lib.adma_eager_max()),
        "bulk segment of shared": int(lib.adma_bulk_size()),
        "half, mapped by both sides": int(lib.adma_segment_size()),
    }
