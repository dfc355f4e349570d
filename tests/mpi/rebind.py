# SPDX-License-Identifier: BSD-3-Clause
"""Gives chosen modules another `mpi4py.MPI`, and leaves the text of all, and `sys.modules`, alone.

A module's own import statements are led elsewhere: what it imports as `mpi4py.MPI`, by whatever
form of the statement, is the namespace. Its classes are then made from the namespace's classes,
and its constants are the namespace's, without a change to what mpi4py itself uses.
"""

from __future__ import annotations

import builtins
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

MPI = "mpi4py.MPI"


class Overlay(ModuleType):
    """A package as it is, but for some of its modules."""

    def __init__(self, package: ModuleType, instead: Mapping[str, ModuleType]) -> None:
        super().__init__(package.__name__)
        self.__dict__.update(instead)
        self._package = package

    def __getattr__(self, name: str) -> Any:
        return getattr(self._package, name)


class Rebinding:
    """The modules that some others get instead of those they name."""

    def __init__(self, namespace: ModuleType) -> None:
        self.instead: dict[str, ModuleType] = {MPI: namespace}

    def copy(self, name: str) -> ModuleType:
        """A second copy of an installed module, which uses the namespace and is used with it."""
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.origin:
            raise ImportError(f"there is no source of {name}")
        spec.loader = Loader(self, name, spec.origin)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.instead[name] = module
        return module

    def install(self, folders: Sequence[Path]) -> None:
        """From now on the modules in these folders are imported so, by their plain names."""
        sys.path[:0] = [str(folder) for folder in folders]
        sys.meta_path.insert(0, Finder(self, folders))

    def load(
        self,
        name: str,
        variables: Mapping[str, object] | None = None,
        local: Mapping[str, object] | None = None,
        wanted: Sequence[str] = (),
        level: int = 0,
    ) -> ModuleType:
        """What an import statement calls in such a module."""
        module = builtins.__import__(name, variables, local, wanted, level)
        return self.lay_over(module)

    def lay_over(self, module: ModuleType) -> ModuleType:
        name = module.__name__
        if name in self.instead:
            return self.instead[name]
        inside = [full for full in self.instead if full.startswith(f"{name}.")]
        if not inside:
            return module
        children = {full.removeprefix(f"{name}.").split(".")[0] for full in inside}
        return Overlay(module, {child: self.child(f"{name}.{child}") for child in children})

    def child(self, name: str) -> ModuleType:
        return self.instead.get(name) or self.lay_over(importlib.import_module(name))


class Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, rebinding: Rebinding, name: str, path: str) -> None:
        super().__init__(name, path)
        self.rebinding = rebinding

    def exec_module(self, module: ModuleType) -> None:
        # An import statement calls the `__import__` of its module's builtins.
        mine = {**vars(builtins), "__import__": self.rebinding.load}
        module.__dict__["__builtins__"] = mine
        super().exec_module(module)


class Finder(importlib.abc.MetaPathFinder):
    def __init__(self, rebinding: Rebinding, folders: Sequence[Path]) -> None:
        self.rebinding = rebinding
        self.folders = [str(folder) for folder in folders]

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if path is not None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, self.folders)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = Loader(self.rebinding, name, spec.loader.path)
        return spec
