# SPDX-License-Identifier: BSD-3-Clause
"""The engine `dmaengine` in C, over a stand-in for the device: order, races, refusals, sleep.

What the real device does with its copies is tried in virtual machines (test_engine_dma.py).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from adma.testing.limits import SLOWNESS

TESTS = Path(__file__).parents[1]
NATIVE = TESTS.parent / "transport" / "native"
CC = os.environ.get("CC") or "gcc"
# A sanitizer that is loaded before everything does not go with another one.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}

pytestmark = pytest.mark.skipif(
    not shutil.which(CC) or not NATIVE.is_dir(), reason="no compiler, or no sources, here"
)


def build(program: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    core = [path for path in NATIVE.rglob("*.c") if path.parent.name != "binding"]
    sources = [path for path in core if path.name != "device.c"]
    sources += [TESTS / "native" / name for name in ("device_double.c", "engine_copies.c")]
    command = [CC, "-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-pthread", *flags]
    command += [f"-I{NATIVE}", f"-I{NATIVE / 'include'}"]
    command += ["-o", str(program), *map(str, sources)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)


@pytest.mark.thorough
@pytest.mark.timeout(300 * SLOWNESS)
@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_copies_as_if_one_after_the_other(tmp_path: Path, sanitizer: str) -> None:
    program = tmp_path / "copies"
    flags = [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all", "-Wno-tsan"]
    built = build(program, *flags)
    if built.returncode and "cannot find" in built.stderr:  # the sanitizer's library
        built = build(program)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([program, "4"], env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr[-4000:]
    assert "by the device" in done.stdout
