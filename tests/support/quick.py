# SPDX-License-Identifier: BSD-3-Clause
"""What is left out where a change is checked, and done where everything is: `make test-all`.

ADMA_TEST_QUICK=1 leaves out tests that are marked `thorough`, and has Hypothesis draw a quarter of
the examples. ADMA_TEST_SAMPLE=N keeps one in N of the parameter sets of a test, and one at least:
always the same ones, which differ from test to test, so that together they still meet every
mechanism, kind and end.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Hashable, Iterable
from typing import Final, TypeVar

QUICK: Final = bool(int(os.environ.get("ADMA_TEST_QUICK") or 0))
SAMPLE: Final = int(os.environ.get("ADMA_TEST_SAMPLE") or 1)

T = TypeVar("T")


def examples(number: int) -> int:
    """How many examples Hypothesis draws where all are `number`."""
    return max(number // 4, 1) if QUICK else number


def sample(
    items: Iterable[T], name: Callable[[T], str], family: Callable[[T], Hashable], one_in: int
) -> list[T]:
    """One in `one_in` of the items, by their names, and at least one of each family."""
    families: dict[Hashable, list[T]] = {}
    for item in items:
        families.setdefault(family(item), []).append(item)
    kept = []
    for members in families.values():
        members.sort(key=lambda item: zlib.crc32(name(item).encode()))
        kept += members[: -(-len(members) // one_in)]
    return kept
