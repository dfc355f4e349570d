# SPDX-License-Identifier: BSD-3-Clause
"""What a process holds, and whether that grows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: Kilobytes. Python's allocator takes and gives back arenas of this size (1 MiB since 3.10), and
#: may need one more at any time. So a smaller rise says nothing.
ARENA = 1024

#: A quarter of a run has to have so many samples, or chance decides what its extremes are.
LEAST = 5


@dataclass(frozen=True)
class Holds:
    """What a process holds at a moment."""

    memory: int  # kilobytes of its own, and of shared memory that it has touched
    descriptors: int
    threads: int
    segments: int  # mappings of adma's shared memory

    #: By how much each may rise before that counts.
    ALLOWED = {"memory": ARENA, "descriptors": 0, "threads": 0, "segments": 0}  # noqa: RUF012

    @classmethod
    def of(cls, pid: int) -> Holds:
        """OSError: there is no such process any more."""
        place = Path(f"/proc/{pid}")
        status = dict(
            line.split(":", 1)
            for line in (place / "status").read_text().splitlines()
            if ":" in line
        )
        maps = (place / "maps").read_text()
        return cls(
            memory=sum(int(status[name].split()[0]) for name in ("RssAnon", "RssShmem")),
            descriptors=len(os.listdir(place / "fd")),
            threads=int(status["Threads"]),
            segments=maps.count("/memfd:adma") + maps.count("/dev/shm/adma-"),
        )


def rises(samples: Sequence[int], allowed: int = 0) -> bool:
    """Does a quantity grow for as long as the run goes on?

    What is bounded rises and falls between a floor and a ceiling. So the least of a late part of
    the run is never above the most of an earlier part. What leaks at a steady rate passes that mark
    as soon as the leak between the two parts is more than the quantity varies, and so it is
    found in a run that is long enough, whatever the traffic and the machine. The parts are the
    second quarter and the last, so that a quarter lies between them. The first one does not
    count: caches fill there, and every kind of traffic has to have had its turn.
    """
    earlier, later = parts_of(samples)
    return min(later) > max(earlier) + allowed


def parts_of(samples: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    """Those of the second quarter, and of the last. ValueError: there are too few."""
    quarter = len(samples) // 4
    if quarter < LEAST:
        raise ValueError(f"{len(samples)} samples: {4 * LEAST} are needed")
    return samples[quarter : 2 * quarter], samples[-quarter:]


def grown(samples: Sequence[Holds]) -> list[str]:
    """What grows, in words."""
    found = []
    for name, allowed in Holds.ALLOWED.items():
        series = [getattr(sample, name) for sample in samples]
        if rises(series, allowed):
            earlier, later = parts_of(series)
            found.append(
                f"{name}: at most {max(earlier)} in the second quarter of the run, "
                f"at least {min(later)} in the last"
            )
    return found
