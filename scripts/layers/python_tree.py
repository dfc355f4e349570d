# SPDX-License-Identifier: BSD-3-Clause
"""A tree of Python modules, and the arrows between them: imports, wherever they stand.

Imports under ``if TYPE_CHECKING:`` are no arrows, for they are never run; they are counted.
That a package is run before its modules are is no arrow either.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .model import Arrow, Function, Source, Violation

COMPILED = ("_native", "_messages")  # the compiled modules
BINDING = "_core"  # the package, or the modules, that alone may import it


@dataclass(frozen=True)
class _Import:
    module: str  # with the dots of a relative one made absolute
    name: str | None  # of `from module import name`
    line: int
    type_only: bool


def read_python_tree(root: Path, tree: str) -> Source:
    """Read all modules of the package whose folder is `tree`."""
    source = Source()
    package = PurePosixPath(tree).name
    parsed: dict[str, ast.Module] = {}
    for path in sorted((root / tree).rglob("*.py")):
        name = path.relative_to(root / tree).as_posix()
        text = path.read_text(encoding="utf-8")
        source.files[name] = text.count("\n")
        source.units[name] = name
        try:
            parsed[name] = ast.parse(text)
        except SyntaxError as error:
            source.violations.append(
                Violation("unreadable", f"{tree}/{name}", error.lineno or 0, str(error.msg))
            )
    for name, module in parsed.items():
        source.functions += _functions(name, module)
        imports = list(_imports(module.body, _package_of(package, name), False))
        if BINDING not in PurePosixPath(name).with_suffix("").parts:
            source.violations += _compiled(package, f"{tree}/{name}", imports)
        for found in imports:
            target = _target(package, found, source.files)
            if target is None or target == name:
                continue
            if found.type_only:
                source.type_only += 1
            else:
                source.arrows.append(Arrow(name, found.line, target, "imports", target))
    return source


def _package_of(package: str, name: str) -> list[str]:
    """The parts of the package that a relative import in this file begins at."""
    return [package, *PurePosixPath(name).parts[:-1]]


def _compiled(package: str, file: str, imports: list[_Import]) -> Iterator[Violation]:
    """Imports of the compiled module, those for type checkers included, once for each line."""
    lines = {
        found.line: name
        for found in imports
        for name in (found.name, found.module.rsplit(".", 1)[-1])
        if name in COMPILED
    }
    for line, name in sorted(lines.items()):
        text = (
            f"imports the compiled module {name} outside {BINDING}. "
            f"Import what you need from {package}.{BINDING}."
        )
        yield Violation("binding", file, line, text)


def _target(package: str, found: _Import, files: dict[str, int]) -> str | None:
    """The file that an import names, if it is one of the tree."""
    first, *parts = found.module.split(".")
    if first != package or found.name in COMPILED:
        return None
    candidates = [[*parts, found.name]] if found.name is not None else []
    for candidate in [*candidates, parts]:
        for path in ("/".join(candidate) + ".py", "/".join([*candidate, "__init__.py"])):
            if path in files:
                return path
    return None


def _imports(body: list[ast.stmt], package: list[str], type_only: bool) -> Iterator[_Import]:
    for statement in body:
        for node in _parts(statement):
            if isinstance(node, ast.If) and _checks_types(node.test):
                yield from _imports(node.body, package, True)
                yield from _imports(node.orelse, package, type_only)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    yield _Import(alias.name, None, node.lineno, type_only)
            elif isinstance(node, ast.ImportFrom):
                base = package[: len(package) - node.level + 1] if node.level else []
                module = ".".join([*base, *([node.module] if node.module else [])])
                for alias in node.names:
                    yield _Import(module, alias.name, node.lineno, type_only)


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all that it holds, but for what stands under an `if TYPE_CHECKING:`."""
    yield node
    if not (isinstance(node, ast.If) and _checks_types(node.test)):
        for child in ast.iter_child_nodes(node):
            yield from _parts(child)


def _checks_types(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


def _functions(name: str, module: ast.Module) -> Iterator[Function]:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            yield Function(name, node.name, first, (node.end_lineno or first) - first + 1)
