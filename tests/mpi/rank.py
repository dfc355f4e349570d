# SPDX-License-Identifier: BSD-3-Clause
"""One rank of a job: `rank.py DIRECTORY`, started by mpiexec in an MPI's own environment.

The directory holds the job (`job.json`). This process leaves there a file named after its process
id, what it prints (`rank-0.out`), and what came of each test (`rank-0.log`, a line of JSON for each
beginning and end).
SIGUSR1 makes it print the stacks of all its threads.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fnmatch
import importlib
import json
import os
import signal
import sys
import traceback
import types
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import programs
from rebind import Rebinding


class Recorder(unittest.TestResult):
    """Writes what came of each test at once, so that it is known when a later one hangs."""

    def __init__(self, carried: Counter, log: TextIO) -> None:
        super().__init__()
        self.carried = carried
        self.log = log
        self.state, self.text, self.before = "passed", "", 0

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        super().startTest(test)
        self.state, self.text, self.before = "passed", "", self.carried.total()
        self.note(begin=name_of(test))

    def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        carried = self.carried.total() - self.before
        self.note(test=name_of(test), state=self.state, text=self.text, carried=carried)
        super().stopTest(test)

    def note(self, **what: Any) -> None:
        self.log.write(json.dumps(what) + "\n")
        self.log.flush()

    def put(self, test: Any, state: str, text: str) -> None:
        if self.state != "failed":
            self.state = state
        self.text += text
        if not hasattr(test, "_testMethodName"):  # setUpClass, or the module itself
            self.note(test=name_of(test), state=state, text=text, carried=0)

    def addError(self, test: Any, err: Any) -> None:  # noqa: N802
        self.put(test, "failed", "".join(traceback.format_exception(*err)))
        print(f"{name_of(test)} failed:\n{self.text}", flush=True)

    addFailure = addError  # noqa: N815

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: N802
        if err is not None:
            self.text += f"{subtest._subDescription()}: "
            self.addError(test, err)

    def addSkip(self, test: Any, reason: str) -> None:  # noqa: N802
        self.put(getattr(test, "test_case", test), "skipped", reason)

    def addUnexpectedSuccess(self, test: Any) -> None:  # noqa: N802
        self.put(test, "failed", "passed, though its decorator says that it fails")


def name_of(test: Any) -> str:
    """`Class.method`; for what is no test, such as a failing setUpClass, its whole name."""
    method = getattr(test, "_testMethodName", None)
    return f"{type(test).__qualname__}.{method}" if method else str(test)


class Counter:
    """adma's own counts of messages. A namespace without adma has none."""

    def __init__(self, namespace: str) -> None:
        self.known = namespace.partition(".")[0] == "adma"

    def read(self) -> dict[str, int]:
        if not self.known:
            return {}
        return dict(importlib.import_module("adma.mpi").stats())

    def total(self) -> int:
        return self.read().get("carried", 0)


def main() -> int:
    directory = Path(sys.argv[1])
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    (directory / f"{os.getpid()}.pid").touch()  # from now on the signal does not end it
    job = json.loads((directory / "job.json").read_text())
    for absent in ("cupy", "numba"):  # as mpi4py's own runner has it unless told otherwise
        sys.modules[absent] = None  # type: ignore[assignment]
    namespace = importlib.import_module(job["namespace"])
    world = namespace.COMM_WORLD
    rank = world.Get_rank()
    print_to(directory / f"rank-{rank}.out")
    counter = Counter(job["namespace"])
    before = counter.read()
    with open(directory / f"rank-{rank}.log", "w") as log:
        results = Recorder(counter, log)
        with failing(results):
            module = prepare(job, namespace)
            select(module, job["tests"], job["leave_out"]).run(results)
        after = counter.read()
        results.note(stats={key: value - before.get(key, 0) for key, value in after.items()})
    return 0


def print_to(path: Path) -> None:
    """From here on all that this process prints, in C, too, goes there."""
    sys.stdout.flush()
    sys.stderr.flush()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


@contextlib.contextmanager
def failing(results: Recorder) -> Iterator[None]:
    """What is raised outside any test, as by the module while it is imported, is a failure."""
    try:
        yield
    except (Exception, SystemExit):
        text = traceback.format_exc()
        print(text, flush=True)
        results.note(test="import", state="failed", text=text, carried=0)


def prepare(job: dict[str, Any], namespace: Any) -> types.ModuleType:
    rebinding = Rebinding(namespace)
    source = Path(job["source"])
    rebinding.install([source / "test", source / "demo"])
    name = job["module"]
    if name == "pingpong":
        return programs.pingpong(rebinding, namespace.COMM_WORLD)
    if name.startswith("osu_"):
        return programs.demo(name)
    if name == "test_util_pkl5":
        rebinding.copy("mpi4py.util.pkl5")
    module = importlib.import_module(name)
    if job["communicators"]:
        add_communicators(module, namespace.COMM_WORLD)
    return module


def select(module: types.ModuleType, tests: list[str], leave_out: list[str]) -> unittest.TestSuite:
    """Of a module's tests, those whose names match a pattern of `tests` and none of `leave_out`."""
    chosen = unittest.TestSuite()
    for group in unittest.TestLoader().loadTestsFromModule(module):
        assert isinstance(group, unittest.TestSuite)
        for test in group:
            name = name_of(test)
            if any(fnmatch.fnmatchcase(name, each) for each in leave_out):
                continue
            if any(fnmatch.fnmatchcase(name, each) for each in tests):
                chosen.addTest(test)
    return chosen


# ---- communicators that mpi4py's tests do not try ----


def add_communicators(module: types.ModuleType, world: Any) -> None:
    """Make, of each class over the world, classes over communicators derived from it."""
    ways = {
        "Dup": lambda: world.Dup(),
        "Reversed": lambda: world.Split(0, -world.Get_rank()),
        "Halves": lambda: world.Split(world.Get_rank() % 2, world.Get_rank()),
    }
    size = world.Get_size()
    least = {"Dup": 1, "Reversed": 2, "Halves": 3}
    for name, base in list(vars(module).items()):
        if not (isinstance(base, type) and issubclass(base, unittest.TestCase)):
            continue
        if name.endswith("World") and hasattr(base, "COMM"):
            for suffix, make in ways.items():
                if size >= least[suffix] and not hasattr(module, name + suffix):
                    setattr(module, name + suffix, over(base, name + suffix, make))


def over(base: Any, name: str, make: Any) -> type:
    """The tests of a class over a communicator of their own, which is freed after each."""

    def set_up(self: Any) -> None:
        self.own = self.COMM = make()
        base.setUp(self)

    def tear_down(self: Any) -> None:
        base.tearDown(self)
        self.own.Free()

    members = {"setUp": set_up, "tearDown": tear_down, "__module__": base.__module__}
    return type(name, (base,), members)


if __name__ == "__main__":
    sys.exit(main())
