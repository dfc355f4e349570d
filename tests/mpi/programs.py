# SPDX-License-Identifier: BSD-3-Clause
"""mpi4py's demos and its benchmark as tests: short runs of the programs as they are."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import types
import unittest
from collections.abc import Callable
from typing import Any

from rebind import Rebinding

# A few rounds of each size, by the names of the demos' parameters.
SHORT = {
    "skip": 1,
    "loop": 5,
    "skip_small": 1,
    "loop_small": 5,
    "skip_large": 1,
    "loop_large": 2,
    "window_size": 16,
    "window_size_large": 8,
    "MAX_MSG_SIZE": 1 << 20,
}
ROUNDS = ["--skip", "1", "--loop", "5", "--skip-large", "1", "--loop-large", "3"]
SIZES = ["--max-size", str(1 << 20)]
PINGPONG = {
    "Arrays": [],
    "Bytearrays": ["--array", "none"],
    "Pickle": ["--pickle"],
    "OutOfBand": ["--outband", "--threshold", "1024"],
}


def demo(name: str) -> types.ModuleType:
    """The demo `osu_NAME.py`, whose function is named as its file is."""
    function = getattr(importlib.import_module(name), name)
    parameters = inspect.signature(function).parameters
    options = {key: value for key, value in SHORT.items() if key in parameters}

    def test(self: unittest.TestCase) -> None:
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            function(**options)
        print(text.getvalue())

    return module_of(name, {"testRun": test})


def pingpong(rebinding: Rebinding, world: Any) -> types.ModuleType:
    rebinding.copy("mpi4py.util.pkl5")
    bench = rebinding.copy("mpi4py.bench")

    def test(arguments: list[str]) -> Callable[[unittest.TestCase], None]:
        def run(self: unittest.TestCase) -> None:
            rows = bench.pingpong(world, [*arguments, *ROUNDS, *SIZES], verbose=False)
            assert len(rows) > 20

        return run

    return module_of("pingpong", {f"test{key}": test(each) for key, each in PINGPONG.items()})


def module_of(name: str, tests: dict[str, Callable[[unittest.TestCase], None]]) -> types.ModuleType:
    module = types.ModuleType(name)
    case = type("TestProgram", (unittest.TestCase,), {**tests, "__module__": name})
    vars(module)[case.__name__] = case
    return module
