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
from collections.abc import Iterable
from typing import Final

import pytest

from adma.testing.limits import SLOWNESS

QUICK: Final = bool(int(os.environ.get("ADMA_TEST_QUICK") or 0))
SAMPLE: Final = int(os.environ.get("ADMA_TEST_SAMPLE") or 1)


def examples(number: int) -> int:
    """How many examples Hypothesis draws where all are `number`, on a machine that is not slow."""
    number //= SLOWNESS
    return max(number // 4, 1) if QUICK else number


def sample(items: Iterable[pytest.Item], one_in: int) -> set[pytest.Item]:
    """One in `one_in` of the parameter sets of each test, by their names, and at least one."""
    tests: dict[str, list[pytest.Item]] = {}
    for item in items:
        tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    kept: set[pytest.Item] = set()
    for members in tests.values():
        members.sort(key=lambda item: zlib.crc32(item.nodeid.encode()))
        kept.update(members[: -(-len(members) // one_in)])
    return kept
