# SPDX-License-Identifier: BSD-3-Clause
"""The soak's rule for what grows, and what it sees of a process."""

from __future__ import annotations

import os
import random
from dataclasses import replace

import pytest

from soak.growth import ARENA, Holds, grown, rises


def noise(count: int, seed: int = 1) -> list[int]:
    chance = random.Random(seed)
    return [100 + chance.randrange(20) for _ in range(count)]


def test_what_is_bounded_does_not_grow() -> None:
    assert not any(rises(noise(60, seed)) for seed in range(200))
    assert not rises([7] * 20)
    assert not rises([*range(15), *noise(45)])  # caches fill at first
    assert not rises([*noise(30), 500, *noise(29)])


@pytest.mark.parametrize("each", [2, 3, 40])
def test_a_steady_leak_is_found_under_the_noise(each: int) -> None:
    leaking = [at * each + value for at, value in enumerate(noise(60))]
    assert rises(leaking)
    assert rises([at // 10 for at in range(60)])  # one descriptor now and then
    assert not rises(leaking, allowed=60 * each)


def test_a_run_that_is_too_short_says_nothing() -> None:
    with pytest.raises(ValueError, match="20 are needed"):
        rises([1] * 19)


def test_it_sees_what_a_process_holds() -> None:
    before = Holds.of(os.getpid())
    fd = os.open("/", os.O_RDONLY)
    try:
        after = Holds.of(os.getpid())
    finally:
        os.close(fd)
    assert after.descriptors == before.descriptors + 1
    assert before.memory > 0
    assert before.threads >= 1


def test_it_says_what_grows() -> None:
    holds = Holds(memory=1, descriptors=10, threads=2, segments=4)
    flat = [replace(holds, memory=at * ARENA // 60) for at in range(60)]
    assert grown(flat) == []
    assert grown([replace(holds, descriptors=at) for at in range(60)]) == [
        "descriptors: at most 29 in the second quarter of the run, at least 45 in the last"
    ]
