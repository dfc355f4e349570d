# SPDX-License-Identifier: BSD-3-Clause
"""What a job's reports amount to: a test passes where it passes on every rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from known import Expected, Module

#: The counts of `adma.mpi.stats()` that are asked for: messages by adma, and by the MPI.
ADMA, MPI = "carried", "by_mpi"

#: Of each rank: its tests, its counts, and whether it got to the end.
Reports = Sequence[dict[str, Any]]


@dataclass
class Verdict:
    passed: list[str] = field(default_factory=list)
    failed: dict[str, list[str]] = field(default_factory=dict)  # test: what each rank says
    expected: dict[str, str] = field(default_factory=dict)  # test that failed so: reason
    skipped: dict[str, str] = field(default_factory=dict)  # test: reason
    problems: list[str] = field(default_factory=list)  # of the job as a whole
    stats: dict[str, int] = field(default_factory=dict)  # over all ranks

    @property
    def good(self) -> bool:
        return not self.failed and not self.problems


def judge(
    module: Module,
    reports: Reports,
    status: int | None,
    expected: Sequence[Expected] = (),
    *,
    counts: bool = False,
    spread: bool = False,
    whole: bool = True,
) -> Verdict:
    """Put the ranks' reports together.

    `counts`: does the namespace count its messages? `spread`: are the ranks on several nodes?
    `whole`: are all tests of the module run, so that it must have carried something?
    """
    verdict = Verdict()
    if status is None:
        verdict.problems.append("it hung: see the stacks")
    elif status != 0:
        verdict.problems.append(f"mpiexec ended with status {status}")
    lost = [rank for rank, report in enumerate(reports) if not report["ended"]]
    if lost:
        verdict.problems.append(f"rank {', '.join(map(str, lost))} did not get to the end")
    there = dict(enumerate(reports))
    names = sorted({name for report in reports for name in report["tests"]})
    for name in names:
        sort(
            verdict,
            name,
            {rank: report["tests"].get(name) for rank, report in there.items()},
            expected,
        )
    if not names and not lost:
        verdict.problems.append("it ran no test")
    if status == 0 and not lost:
        verdict.problems += needless(verdict, expected)
        if counts:
            count(verdict, module, reports, spread, whole)
    return verdict


def sort(
    verdict: Verdict,
    name: str,
    by_rank: dict[int, dict[str, Any] | None],
    expected: Sequence[Expected],
) -> None:
    """Where one test belongs."""
    absent = {"state": "failed", "text": "it did not get here, though another rank did"}
    states = {rank: record or absent for rank, record in by_rank.items()}
    bad = {rank: record for rank, record in states.items() if record["state"] == "failed"}
    reasons = [each.reason for each in expected if fnmatchcase(name, each.test)]
    if bad and reasons:
        verdict.expected[name] = reasons[0]
    elif bad:
        verdict.failed[name] = [f"rank {rank}: {record['text']}" for rank, record in bad.items()]
    elif all(record["state"] == "skipped" for record in states.values()):
        verdict.skipped[name] = next(iter(states.values()))["text"]
    else:
        verdict.passed.append(name)


def needless(verdict: Verdict, expected: Sequence[Expected]) -> list[str]:
    """Entries of the table whose tests all pass now."""
    return [
        f"{each.test} passes, though the table says: {each.reason}"
        for each in expected
        if not each.left_out
        and not each.sometimes
        and any(fnmatchcase(name, each.test) for name in verdict.passed)
        and not any(fnmatchcase(name, each.test) for name in verdict.expected)
    ]


def count(
    verdict: Verdict, module: Module, reports: Sequence[dict[str, Any]], spread: bool, whole: bool
) -> None:
    """Did adma carry what it must? Ranks on several nodes may have no pair that it could serve."""
    for report in reports:
        for key, value in report["stats"].items():
            verdict.stats[key] = verdict.stats.get(key, 0) + value
    missing = [key for key in (ADMA, MPI) if key not in verdict.stats]
    if missing:
        verdict.problems.append(f"stats() does not count {' and '.join(missing)}")
        return
    if not module.carries or not whole:
        return
    if spread:
        if module.mixed and len(reports) > 1 and not (verdict.stats[ADMA] and verdict.stats[MPI]):
            verdict.problems.append(f"not both ways carried messages: {verdict.stats}")
        if not verdict.stats[ADMA] + verdict.stats[MPI]:
            verdict.problems.append("no message was counted")
    elif not verdict.stats[ADMA]:
        verdict.problems.append("adma carried no message")
    elif module.each:
        for name in verdict.passed:
            if not any(report["tests"][name]["carried"] for report in reports):
                verdict.problems.append(f"adma carried no message in {name}")
