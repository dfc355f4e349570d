# SPDX-License-Identifier: BSD-3-Clause
"""UCX's own benchmark, ``ucx_perftest`` (Debian's ucx-utils), where it is installed.

No target installs it, and none needs it. Where it is not, it is printed as not measured.
"""

from __future__ import annotations

import shutil
from itertools import pairwise

from adma.bench.pair import ContestantError

TOOL = "ucx_perftest"
CURE = "install Debian's ucx-utils; in a checkout scripts/need.sh ucx does that"
PATH = "tagged messages of UCX, in C"
SIZES = frozenset((8, 4 << 10, 64 << 10, 1 << 20, 4 << 20))
ROUNDS = 5  # each starts two processes
HEADER = "iterations,"


def found() -> str:
    """The program. Raises ContestantError with the cure."""
    path = shutil.which(TOOL)
    if path is None:
        raise ContestantError(f"{TOOL} is not installed", CURE)
    return path


def latency(printed: str) -> float:
    """The mean one-way time in seconds, from what the client prints with ``-f -v``. ValueError."""
    lines = printed.strip().splitlines()
    for names, values in pairwise(lines):
        if names.startswith(HEADER):
            fields = dict(zip(names.split(","), values.split(","), strict=True))
            return float(fields["overall_lat"]) / 1e6
    raise ValueError(f"{TOOL} printed no latency: {' '.join(printed.split())[:300]}")
