# SPDX-License-Identifier: BSD-3-Clause
"""Which adma this is: version, variant of the build, and the sizes its core was built with."""

from __future__ import annotations

from typing import Any


def describe() -> dict[str, Any]:
    """Version and variant: "release", or "faults" with fault points and live assertions."""
    from adma._core import faults

    return {"version": version(), "build": "faults" if faults.BUILT else "release"}


def version() -> str:
    """The version of the package that is imported, which need not be one that is installed."""
    import adma

    return adma.__version__


def waiting() -> str:
    """How a blocking call waits, with the limit of spinning where this core tells it."""
    from adma._core.constants import SPIN_MAX_NS

    limit = f"up to {SPIN_MAX_NS / 1000:g} us"
    return f"spins {limit}, not with more runnable processes than cores; then sleeps in ppoll"


def thresholds() -> dict[str, int]:
    """Sizes in bytes at which a message starts to travel in another way."""
    from adma._core.constants import BULK_SIZE, EAGER_MAX, INLINE_MAX, SEGMENT_SIZE

    return {
        "inline, up to": INLINE_MAX,
        "eager, up to": EAGER_MAX,
        "bulk segment of shared": BULK_SIZE,
        "half, mapped by both sides": SEGMENT_SIZE,
    }
