# SPDX-License-Identifier: BSD-3-Clause
"""`adma.testing` as somebody else uses it: what it passes, what it catches, what it needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support import suites

HEAD = """
import adma
from adma.testing import ConformanceSuite, InProcessSuite, conformance

class Handing:
    def __init__(self, channel):
        self.channel = channel

    def __getattr__(self, name):
        return getattr(self.channel, name)
"""

HONEST = """
class TestHonest(conformance.Sizes):
    mechanisms = ("shared", "auto")
    wrap = Handing
"""

# The first byte of what it reads is wrong.
SPOILT = """
class Spoiling(Handing):
    def read(self, buffer, timeout=None):
        nbytes = self.channel.read(buffer, timeout=timeout)
        if nbytes:
            memoryview(buffer).cast("B")[0] ^= 1
        return nbytes

class TestSpoilt(conformance.Sizes):
    wrap = Spoiling
"""

LEAKING = """
import os

class TestLeaking(conformance.Probing):
    def test_it_leaves_a_descriptor(self, peer, channel):
        os.dup(0)
"""

MISSING = """
class TestMissing(conformance.Probing):
    mechanisms = ("pigeon",)
"""


@pytest.mark.thorough
def test_a_channel_that_is_wrapped_passes(tmp_path: Path) -> None:
    status, output = suites.run(tmp_path, HEAD + HONEST)
    assert status == 0, output
    assert suites.counted(output, "passed") == 22


def test_bytes_that_are_spoilt_are_caught(tmp_path: Path) -> None:
    status, output = suites.run(tmp_path, HEAD + SPOILT, "-k", "every_threshold and not way")
    assert status == 1, output
    assert suites.counted(output, "failed") == 1
    assert "first difference at byte 0" in output


def test_what_a_test_leaves_behind_is_caught(tmp_path: Path) -> None:
    status, output = suites.run(tmp_path, HEAD + LEAKING, "-k", "leaves_a_descriptor")
    assert status == 1, output
    assert "left behind by this test:\n  fds:" in output.replace("E     ", "").replace("E   ", "")


def test_a_mechanism_that_is_not_there_fails(tmp_path: Path) -> None:
    """It is not skipped: a suite that names a mechanism wants it tested."""
    status, output = suites.run(tmp_path, HEAD + MISSING, "-k", "wakes")
    assert status == 1, output
    assert "'pigeon' is unknown" in output


def test_a_peer_needs_no_pytest() -> None:
    code = (
        "import sys, adma.testing.peer_main; print({'pytest', 'hypothesis'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("missing", ["pytest", "hypothesis"])
def test_what_the_kit_lacks_is_named_with_the_cure(missing: str) -> None:
    code = (
        f"import sys; sys.modules['{missing}'] = None\n"
        "from adma.testing import Peer\n"  # needs neither
        "from adma.testing import ConformanceSuite\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"needs {missing}; cure: pip install 'adma[testing]'" in done.stderr
