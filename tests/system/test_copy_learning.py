# SPDX-License-Identifier: BSD-3-Clause
"""The copy engine learns how copies are spread best over its queues, and in how large parts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import adma
from adma._core import faults as fault_points
from adma._core.learning import Spread, take_up_spreads
from adma.copying import engine as adma_engine
from adma.testing.limits import HANG, KIB, MIB, SHORT
from adma.testing.observe import until
from adma.testing.payload import difference, pattern
from adma.testing.peer import search_path
from support import engine
from support.calls import faults
from support.engine import PART

PLAIN = 16  # so many copies of a size class are spread as is built in
MIB_4 = 20  # the size class
NO_WAY = 2**32 - 1  # nothing was chosen


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    if fault_points.BUILT:
        faults.disarm_all()


def learns(queues: int) -> None:
    """Nothing is known of copies over so many queues, since nobody else asks for so many."""
    engine.configure(engine="thread", queues=queues, learns=True)


def copied(nbytes: int) -> Any:
    """A copy that was waited for; how it was spread."""
    source, target = pattern(nbytes, 1), bytearray(nbytes)
    request: Any = adma.icopy(target, source)
    assert request.wait(HANG) == nbytes
    assert not difference(target, source)
    return request._copy


def ways(nbytes: int) -> list[dict[str, Any]]:
    return [way for way in adma_engine.describe()["learnt"] if way["nbytes"] == nbytes]


@pytest.mark.alone  # on a busy machine there are no samples
def test_what_was_learnt_is_explained() -> None:
    learns(queues=3)
    sizes = []

    def enough() -> bool:
        sizes.append(copied(MIB).plan.parts)
        return sum(way["samples"] for way in ways(MIB)) >= 30

    until("copies were alone, many times", enough)
    assert set(sizes[:PLAIN]) == {MIB // PART}
    assert set(sizes) > {MIB // PART}
    found = ways(MIB)
    assert all(1 <= way["queues"] <= 3 for way in found)
    assert all(way["seconds"] > 0 for way in found)
    assert PART in {way["part_bytes"] for way in found}
    for waits in (True, False):
        assert sum(way["chosen"] for way in found if way["waits"] == waits) <= 1


@pytest.mark.faults
def test_what_is_posted_beside_others_is_spread_plainly() -> None:
    target, source = bytearray(MIB), pattern(MIB, 2)
    with engine.held(learns=True):
        requests: list[Any] = [adma.icopy(target, source) for _ in range(100)]
    adma.wait_all(requests, HANG)
    assert {request._copy.plan.parts for request in requests} == {MIB // PART}
    assert {request._copy.way for request in requests} == {NO_WAY}
    assert target == source


@pytest.mark.faults
def test_no_more_queues_than_were_learnt_to_be_best() -> None:
    """The others leave the copy alone even while they look for work. A caller does not."""
    learns(queues=6)
    take_up_spreads([Spread(MIB_4, True, 1, 0, True, 0, 0, 100_000)])
    target, source = bytearray(4 * MIB), pattern(4 * MIB, 3)
    held: list[Any] = []

    def limited() -> bool:
        until("the caller of a copy is expected to wait", lambda: copied(2 * MIB).waits == 1)
        faults.arm(None, faults.CHUNK, "hold")
        request: Any = adma.icopy(target, source)
        if request._copy.queues == 1:
            held.append(request)
            return True
        engine.release()
        request.wait(HANG)
        return False

    until("a copy is spread as was taken up", limited)
    request = held[0]
    until("a queue is held in its first part", lambda: faults.passes(None, faults.CHUNK) > 0)
    for seed in range(20):  # each wakes another queue, which then looks for more work
        small = bytearray(100 * KIB)
        other = adma.icopy(small, pattern(100 * KIB, seed))
        until("it is copied", other.check)
        assert not difference(small, pattern(100 * KIB, seed))
    assert request._copy.claimed == 1
    with pytest.raises(TimeoutError):
        request.wait(SHORT)
    assert request._copy.copied == request._copy.plan.parts - 1
    engine.release()
    assert request.wait(HANG) == 4 * MIB
    assert target == source


def test_never_more_queues_than_were_asked_for() -> None:
    learns(queues=1)
    for _ in range(PLAIN + 20):
        copied(2 * MIB)
    assert {way["queues"] for way in ways(2 * MIB)} <= {1}
    assert adma_engine.describe()["running"] == 1


def run(script: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, "PYTHONPATH": search_path(), **environment},
        capture_output=True,
        text=True,
        timeout=2 * HANG,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_learning_can_be_switched_off() -> None:
    script = """
import adma
from adma.copying import engine
target, source, parts = bytearray(1 << 20), bytes(1 << 20), set()
for _ in range(100):
    request = adma.icopy(target, source)
    request.wait()
    parts.add(request._copy.plan.parts)
found = engine.describe()
print(parts, found["learns"], found["learnt"])
"""
    assert run(script, ADMA_LEARN="0", ADMA_ENGINE="thread", ADMA_QUEUES="2") == "{8} False []"


def test_it_is_on_unless_somebody_says_otherwise() -> None:
    assert run("from adma.copying import engine; print(engine.describe()['learns'])") == "True"
