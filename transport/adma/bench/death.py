# SPDX-License-Identifier: BSD-3-Clause
"""The time from the SIGKILL of a process until the call of its peer raises an exception.

Each round has new processes. The survivor is asleep in the call when the kill is sent. The kernel
frees the victim's memory before it tells anybody, so a large victim is measured, too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adma.bench.contestants import Local
from adma.bench.pair import ContestantError, Pair
from adma.bench.schema import Contestant, Report, Series

HOLD, AIM = 50_000.0, 5_000.0  # us, for a victim of less than 256 MB
KEY = "death"
ASLEEP_TIMEOUT = 10.0
CASES: Mapping[str, dict[str, Any]] = {
    "in read": {"call": "read", "size": 8, "bytes": 0},
    "in read, peer of 200 MB": {"call": "read", "size": 8, "bytes": 200_000_000},
    "in write of 16M": {"call": "write", "size": 16 << 20, "bytes": 0},
}


def measure(report: Report, directory: Path, rounds: int, mechanism: str) -> Sequence[Series]:
    """Add the contestant and the series of each case, in us. Raises ContestantError."""
    report.contestants.append(Contestant(KEY, "survivor", library="adma"))
    found = [Series(KEY, name, "us", []) for name in CASES]
    report.series += found
    for _ in range(rounds):
        for series in found:
            series.values.append(kill_one(directory, CASES[series.metric], mechanism))
    return found


def kill_one(directory: Path, case: dict[str, Any], mechanism: str) -> float:
    """Microseconds from the kill until the survivor's exception, with a new pair of processes."""
    local = Local("death", "death", mechanism, module="adma.bench.death_worker")
    with local(directory) as pair:
        pair.start()
        pair.ask_rank(1, {"op": "load", "bytes": case["bytes"]})
        pair.tell(0, {"op": "block", "call": case["call"], "size": case["size"]})
        pair.answer(0)
        wait_asleep(pair)
        begin = time.monotonic()
        pair.kill(1)
        return float(pair.answer(0)["at"] - begin) * 1e6


def wait_asleep(pair: Pair) -> None:
    """Return once the survivor sleeps in its call; it spins first. Raises ContestantError."""
    pid = int(pair.ranks[0].hello["pid"])
    deadline = time.monotonic() + ASLEEP_TIMEOUT
    seen = 0
    while seen < 3:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
        seen = seen + 1 if state == "S" else 0
        if time.monotonic() > deadline:
            raise ContestantError(f"the survivor did not go to sleep within {ASLEEP_TIMEOUT:g} s")
        time.sleep(0.002)
