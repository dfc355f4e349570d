# SPDX-License-Identifier: BSD-3-Clause
"""Runs a program that imports mpi4py, unchanged, with adma's MPI in place of mpi4py's.

Only the program's own modules are concerned: those below its directory. Their source is read,
and in it each import of `mpi4py.MPI` becomes one of `adma.MPI`. Libraries, and `sys.modules`, are
left alone.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import types
    from collections.abc import Sequence

__all__ = ["OwnModules", "rewritten", "run"]

_THEIRS, _OURS = "mpi4py", "adma"


class _Imports(ast.NodeTransformer):
    """Turns imports of `mpi4py.MPI` into those of `adma.MPI`."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:
        if node.level == 0 and node.module == f"{_THEIRS}.MPI":
            node.module = f"{_OURS}.MPI"
        if node.level or node.module != _THEIRS:
            return node
        ours = [name for name in node.names if name.name == "MPI"]
        theirs = [name for name in node.names if name.name != "MPI"]
        found = [ast.ImportFrom(_OURS, ours, 0)] if ours else []
        if theirs:
            found.append(ast.ImportFrom(_THEIRS, theirs, 0))
        return [ast.copy_location(each, node) for each in found]

    def visit_Import(self, node: ast.Import) -> Any:
        for name in node.names:
            if name.name == f"{_THEIRS}.MPI" and name.asname is not None:
                name.name = f"{_OURS}.MPI"
        return node

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        self.generic_visit(node)
        of_theirs = isinstance(node.value, ast.Name) and node.value.id == _THEIRS
        if not (of_theirs and node.attr == "MPI" and isinstance(node.ctx, ast.Load)):
            return node
        ours = ast.parse(f"__import__('{_OURS}.MPI').MPI", mode="eval").body
        return ast.copy_location(ours, node)


def rewritten(source: str | bytes, path: str) -> types.CodeType:
    """The code of a module, with the imports changed."""
    tree = _Imports().visit(ast.parse(source, path))
    code: types.CodeType = compile(ast.fix_missing_locations(tree), path, "exec")
    return code


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module of the program. Its code is not cached: other programs want it as it is."""

    def get_code(self, fullname: str) -> types.CodeType:
        path = self.get_filename(fullname)
        return rewritten(self.get_data(path), path)


class OwnModules(importlib.abc.MetaPathFinder):
    """Finds the program's own modules, those below a directory."""

    def __init__(self, directory: str) -> None:
        self._directory = os.path.join(os.path.realpath(directory), "")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module's specification, if it is one of the program's."""
        found = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if found is None or not isinstance(found.loader, importlib.machinery.SourceFileLoader):
            return None
        where = os.path.realpath(found.loader.path)
        if not where.startswith(self._directory) or "site-packages" in where:
            return None
        found.loader = _Loader(found.loader.name, found.loader.path)
        return found


def run(arguments: Sequence[str]) -> None:
    """Run a program: its path, and its arguments."""
    path = arguments[0]
    directory = os.path.dirname(os.path.abspath(path))
    with open(path, "rb") as file:
        code = rewritten(file.read(), path)
    sys.argv[:] = arguments
    sys.path[0] = directory
    sys.meta_path.insert(0, OwnModules(directory))
    main = sys.modules["__main__"]
    main.__dict__.update(__file__=path, __spec__=None, __package__=None, __doc__=None)
    exec(code, main.__dict__)
