#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Run CPython's own tests of connections over adma (see suite.py), and say what came of each.

    run.py --method fork [--plain-wait] [--only TEXT]

The package `test` of the interpreter is needed: Debian has it in libpython3.11-testsuite. Exit
status 0: all passed but those of EXEMPT, and adma carried messages in each class; 1: not; 2: the
interpreter has no such package.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

# What moves descriptors through the raw descriptor of a connection, or is about other addresses.
EXEMPT = ("test_fd_transfer", "test_large_fd_transfer", "test_missing_fd_transfer")


class Result(unittest.TextTestResult):
    """Remembers what passed."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.passed: list[unittest.TestCase] = []

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        super().addSuccess(test)
        self.passed.append(test)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--method", choices=("fork", "spawn", "forkserver"), default="fork")
    parser.add_argument("--plain-wait", action="store_true", help="multiprocessing's own wait")
    parser.add_argument("--only", default="", help="tests whose name contains this text")
    options = parser.parse_args()
    if importlib.util.find_spec("test") is None or not importlib.util.find_spec(
        "test._test_multiprocessing"
    ):
        print(f"{sys.executable} has no tests of CPython: install them", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as place:
        os.environ["ADMA_CARRIED"] = os.path.join(place, "carried")
        os.environ["ADMA_START_METHOD"] = options.method
        os.environ["ADMA_PLAIN_WAIT"] = str(int(options.plain_wait))
        here = str(Path(__file__).resolve().parent)
        os.environ["PYTHONPATH"] = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
        return run(options.only)


def run(only: str) -> int:
    import suite

    failed = 0
    passed = 0
    suite.setUpModule()  # type: ignore[attr-defined]
    try:
        for name in suite.CLASSES:
            tests = [
                test
                for test in unittest.defaultTestLoader.loadTestsFromTestCase(getattr(suite, name))
                if only in str(test) and getattr(test, "_testMethodName", "") not in EXEMPT
            ]
            if not tests:
                continue
            before = suite.carried()
            runner = unittest.TextTestRunner(sys.stderr, verbosity=0, resultclass=Result)
            result = runner.run(unittest.TestSuite(tests))
            assert isinstance(result, Result)
            after = suite.carried()
            counts = {key: after[key] - before[key] for key in after}
            passed += len(result.passed)
            bad = len(result.failures) + len(result.errors)
            carried = any(counts.values())
            failed += bad + (not carried)
            skipped = ", ".join(reason for _, reason in result.skipped)
            print(
                f"{name}: {len(result.passed)} passed, {bad} failed"
                + (f", {len(result.skipped)} skipped ({skipped})" if skipped else "")
                + f"; carried by the channel {counts['reads']} in, {counts['writes']} out, "
                f"by the line {counts['line_in']} in, {counts['line_out']} out",
                flush=True,
            )
        if not only and not suite.carried()["reads"]:
            failed += 1
            print("no message went over a channel")
    finally:
        suite.tearDownModule()  # type: ignore[attr-defined]
    print(f"==== CPython's tests of connections over adma: {passed} passed, {failed} failed ====")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
