# SPDX-License-Identifier: BSD-3-Clause
"""The core's worker matches as the reference says, whatever its endpoints and mechanisms are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.matching import ENDPOINTS, Send, Step, TooLong, play, scripts
from support.quick import examples
from support.workers import Rig, WorkerDriver

EXAMPLES = examples(150)
RECONNECT_EACH = 8  # examples


@dataclass
class Case:
    mechanism: str = "auto"
    idle: int = 0  # endpoints beside those of the reference
    selves: int = 0  # of these are connected to the receiving worker itself


CASES = {
    "few": Case(),
    "many": Case(idle=4),
    "itself": Case(selves=ENDPOINTS),
    "mixed": Case(idle=4, selves=1),
    "cma": Case("mapped:cma"),
    "many-cma": Case("mapped:cma", idle=4),
    "shared": Case("shared"),
    "many-shared": Case("shared", idle=4),
}


class Rigs:
    """One rig serves many scripts. Once a script has failed, the next one gets a new rig."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self._numbers = count(1)
        self._rig: Rig | None = None

    def play(self, too_long: TooLong, script: list[Step]) -> None:
        rig = self._rig or Rig(self.case.mechanism, idle=self.case.idle, selves=self.case.selves)
        self._rig = None
        number = next(self._numbers)
        if number % RECONNECT_EACH == 0:
            rig.reconnect(number // RECONNECT_EACH % ENDPOINTS)
        try:
            play(lambda too_long: WorkerDriver(rig, too_long), too_long, script)
        except BaseException:
            rig.close()
            raise
        self._rig = rig

    def close(self) -> None:
        if self._rig:
            self._rig.close()


def waiting(script: list[Step]) -> list[Step]:
    """The same, where all sends wait for their match: a forced mechanism carries every size."""
    return [replace(s, rendezvous=True) if isinstance(s, Send) else s for s in script]


@pytest.fixture(params=CASES.values(), ids=CASES)
def rigs(request: pytest.FixtureRequest) -> Iterator[Rigs]:
    rigs = Rigs(request.param)
    yield rigs
    rigs.close()


def test_the_worker_agrees_with_the_reference(rigs: Rigs) -> None:
    adapt: Callable[[list[Step]], list[Step]] = list if rigs.case.mechanism == "auto" else waiting

    @settings(max_examples=EXAMPLES)
    @given(scripts().map(adapt), st.sampled_from(TooLong))
    def drawn(script: list[Step], too_long: TooLong) -> None:
        rigs.play(too_long, script)

    drawn()
