# SPDX-License-Identifier: BSD-3-Clause
"""A mechanism that adma does not know passes the kit: one file, registered when it is imported.

The kit runs in a process of its own, since a mechanism that is registered stays.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import toy_mechanism

from adma.testing.limits import SLOWNESS
from support import suites

HERE = Path(__file__).parent
CC = os.environ.get("CC") or "gcc"
SUITE = """
import toy_mechanism
from adma.testing import ConformanceSuite

class TestToy(ConformanceSuite):
    mechanisms = ("toy",)
    preload = ("toy_mechanism",)
"""
#: The kit has at least so many for each mechanism.
TESTS = 134

pytestmark = pytest.mark.skipif(
    not shutil.which(CC) or not (HERE.parents[1] / "transport" / "native").is_dir(),
    reason="no compiler, or no sources, here",
)


@pytest.mark.timeout(300 * SLOWNESS)
def test_a_mechanism_of_somebody_elses_passes_the_kit(tmp_path: Path) -> None:
    library = toy_mechanism.build(tmp_path, CC)
    status, output = suites.run(tmp_path, SUITE, ADMA_TOY_LIBRARY=str(library))
    assert status == 0, output
    assert suites.counted(output, "passed") >= TESTS
