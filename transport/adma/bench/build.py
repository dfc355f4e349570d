# SPDX-License-Identifier: BSD-3-Clause
"""Which adma is measured: its version, the variant of the build, and the sizes in its core."""

from __future__ import annotations

from typing import Any


def describe() -> dict[str, Any]:
    """Version and variant: "release", or "faults" with fault points and live assertions."""
    from adma._core import faults

    return {"version": version(), "build": "faults" if faults.BUILT else "release"}


def version() -> str:
    """The version of the package that is imported, which may not be the one that is installed."""
    import adma

    return adma.__version__


def waiting() -> str:
    """How a blocking call waits, and how long it spins at most."""
    from adma._core.constants import SPIN_MAX_NS

    limit = f"up to {SPIN_MAX_NS / 1000:g} us"
    return f"spins {limit}, not with more runnable processes than cores; then sleeps in ppoll"


def thresholds() -> dict[str, int]:
    """Sizes in bytes at which messages travel in another way, and of the memory they go through."""
    from adma._core.constants import BULK_SIZE, EAGER_MAX, INLINE_MAX, SEGMENT_SIZE

    return {
        "inline, up to": INLINE_MAX,
        "eager, up to": EAGER_MAX,
        "bulk segment of shared": BULK_SIZE,
        "half, address space of both sides": SEGMENT_SIZE,
    }
