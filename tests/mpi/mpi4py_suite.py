#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""mpi4py's own tests, demos and benchmark, unmodified, against another namespace than its own.

Each module of them is run by mpiexec on one to four ranks of each MPI. A module says how many
messages adma carried; where it must carry some, none is a failure. What is skipped, and what is
known to fail (`known.py`), is listed by name with the reason. Exit status 0: nothing else failed.

    mpi4py_suite.py --source DIRECTORY [--namespace adma.MPI] [--path DIRECTORY]
                    [--mpi mpich] [--ranks 2,4] [--only test_p2p_buf] [--test PATTERN] [--quick]
                    [--jobs 2]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType

from judge import Verdict, judge
from known import EXPECTED, MODULES, Expected, Module
from launch import FLAVOURS, Ended, Flavour, run

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Totals:
    passed: int = 0
    failed: int = 0
    bad: list[str] = field(default_factory=list)
    # (MPI, module, test, reason): on how many ranks.
    skipped: dict[tuple[str, str, str, str], list[int]] = field(default_factory=dict)
    expected: dict[tuple[str, str, str, str], list[int]] = field(default_factory=dict)
    left_out: dict[tuple[str, str, str, str], list[int]] = field(default_factory=dict)


def main() -> int:
    options = parse()
    signal.signal(signal.SIGTERM, interrupted)
    begin = time.monotonic()
    totals = Totals()
    jobs = list(chosen(options))
    # Each job has a process of its own, which ends what its mpiexec leaves behind.
    with multiprocessing.get_context("fork").Pool(options.jobs) as pool:
        try:
            for job, ended in zip(jobs, pool.imap(partial(carry_out, options), jobs), strict=True):
                note(options, *job, ended, totals)
            pool.close()
        except KeyboardInterrupt:
            totals.bad.append("it was interrupted")
            pool.terminate()
        pool.join()
    tell("skipped by mpi4py's own decorators", totals.skipped)
    tell("expected to fail, and failed", totals.expected)
    tell("left out", totals.left_out)
    for line in totals.bad:
        print(f"FAILED: {line}")
    text = f"{totals.passed} passed, {len(totals.skipped)} skipped"
    if totals.bad:
        text = f"{totals.failed or len(totals.bad)} failed, {text}"
    seconds = time.monotonic() - begin
    print(f"==== mpi4py's tests over {options.namespace}: {text} in {seconds:.0f}s ====")
    return 1 if totals.bad or not totals.passed else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="mpi4py's unpacked sources")
    parser.add_argument("--namespace", default="adma.MPI", help="the module in place of mpi4py.MPI")
    parser.add_argument("--path", default="", help="PYTHONPATH of the ranks: where adma is")
    parser.add_argument(
        "--environments", type=Path, default=ROOT, help="where .venv-mpich and others are"
    )
    parser.add_argument("--mpi", action="append", choices=FLAVOURS, help="(all)")
    parser.add_argument("--ranks", default="", help="numbers of ranks, as 2,4 (1 to 4)")
    parser.add_argument("--only", action="append", help="a module (all)")
    parser.add_argument("--test", action="append", help="pattern of Class.method (all)")
    parser.add_argument("--quick", action="store_true", help="a part, of a minute or two")
    parser.add_argument("--jobs", type=int, default=1, help="modules side by side (1)")
    parser.add_argument("--limit", type=float, default=180, help="seconds for one test (180)")
    parser.add_argument(
        "--verbose", action="store_true", help="show what the ranks print in any case"
    )
    return parser.parse_args()


def interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt  # so that nothing is left running


def chosen(options: argparse.Namespace) -> Iterator[tuple[Flavour, Module, int]]:
    numbers = [int(each) for each in options.ranks.split(",")] if options.ranks else None
    for key in options.mpi or FLAVOURS:
        flavour = FLAVOURS[key]
        for module in MODULES:
            if options.only and module.name not in options.only:
                continue
            ranks = module.quick.get(key, ()) if options.quick else module.ranks
            for each in numbers or ranks:
                # One rank is not spread; and it would be the same as on the MPI without it.
                if each in module.ranks and not (flavour.spread and each == 1):
                    yield flavour, module, each


def expected(options: argparse.Namespace, flavour: Flavour, module: Module) -> list[Expected]:
    return [each for each in EXPECTED if each.holds(flavour.key, options.namespace, module.name)]


def carry_out(options: argparse.Namespace, chosen: tuple[Flavour, Module, int]) -> Ended:
    """Run a module on some ranks. It is called in processes of their own."""
    flavour, module, ranks = chosen
    table = expected(options, flavour, module)
    job = {
        "namespace": options.namespace,
        "module": module.name,
        "source": os.fspath(options.source.resolve()),
        "communicators": module.communicators,
        "tests": options.test or ["*"],
        "leave_out": [each.test for each in table if each.left_out],
    }
    python = options.environments / f".venv-{flavour.environment}" / "bin" / "python"
    return run(flavour, python, ranks, job, options.path, options.limit)


def note(
    options: argparse.Namespace,
    flavour: Flavour,
    module: Module,
    ranks: int,
    ended: Ended,
    totals: Totals,
) -> None:
    """Say in a line what came of a module, and add it up."""
    title = f"{flavour.key:8} {ranks} {module.name}"
    table = expected(options, flavour, module)
    verdict = judge(
        module,
        ended.reports,
        ended.status,
        table,
        counts=options.namespace.startswith("adma."),
        spread=flavour.spread,
        whole=not options.test,
    )
    print(f"{title:34} {summary(verdict, ended)}", flush=True)
    if options.verbose or not verdict.good:
        show(verdict, ended)
    totals.passed += len(verdict.passed)
    totals.failed += len(verdict.failed)
    totals.bad += [f"{title}: {each}" for each in [*verdict.problems, *verdict.failed]]
    add(totals.skipped, flavour, module, verdict.skipped, ranks)
    add(totals.expected, flavour, module, verdict.expected, ranks)
    add(totals.left_out, flavour, module, {e.test: e.reason for e in table if e.left_out}, ranks)


def summary(verdict: Verdict, ended: Ended) -> str:
    text = f"{len(verdict.passed):3} passed {len(verdict.failed):2} failed"
    text += f" {len(verdict.skipped):3} skipped"
    if verdict.expected:
        text += f" {len(verdict.expected):2} expected failures"
    if verdict.stats:
        text += "; messages " + ", ".join(f"{key} {value}" for key, value in verdict.stats.items())
    return f"{text}; {ended.seconds:.1f} s" + "".join(f"; {each}" for each in verdict.problems)


def show(verdict: Verdict, ended: Ended) -> None:
    """What the ranks and mpiexec printed, each line with its author."""
    for rank, output in enumerate(ended.outputs):
        for line in output.splitlines()[-200:]:
            print(f"  [rank {rank}] {line}")
    for test, words in verdict.failed.items():
        print(f"  {test}: {'; '.join(each.splitlines()[-1] for each in words)}"[:400])
    for line in ended.words.splitlines()[-100:]:
        print(f"  [mpiexec] {line}")
    sys.stdout.flush()


def add(
    where: dict[tuple[str, str, str, str], list[int]],
    flavour: Flavour,
    module: Module,
    tests: dict[str, str],
    ranks: int,
) -> None:
    for test, reason in tests.items():
        where.setdefault((flavour.key, module.name, test, reason), []).append(ranks)


def tell(what: str, tests: dict[tuple[str, str, str, str], list[int]]) -> None:
    """Tests of one module with the same reason, on the same numbers of ranks, share a line."""
    together: dict[tuple[str, str, str, str], list[str]] = {}
    for (mpi, module, test, reason), ranks in tests.items():
        key = (mpi, module, " ".join(reason.split())[:200], ", ".join(map(str, ranks)))
        together.setdefault(key, []).append(test)
    if together:
        print(f"\n{what}:")
    for (mpi, module, reason, where), names in together.items():
        print(f"  {mpi} {module} ({where} ranks): {reason}: {', '.join(names)}")


if __name__ == "__main__":
    sys.exit(main())
