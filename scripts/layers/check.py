# SPDX-License-Identifier: BSD-3-Clause
"""The rules: every file is in a layer, arrows point down, and nothing goes in circles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .c_tree import PUBLIC, read_c_tree
from .model import Arrow, Circle, Source, Violation, circles
from .python_tree import read_python_tree
from .table import Layer, Table, TableError, read_table

TABLE = "docs/architecture.md"
TREES = {
    "transport/native": "C core",
    "transport/adma": "Python package",
    "kernel/module": "kernel module",
}
PYTHON = "transport/adma"


@dataclass
class Result:
    """What came out for one tree."""

    tree: str
    title: str
    source: Source
    layers: list[tuple[str, int, int]]  # name, files, lines
    circles: list[Circle]
    upward: int
    violations: list[Violation]


def check(root: Path) -> list[Result]:
    """Check all trees that there are. Raises TableError."""
    table = read_table(root / TABLE)
    for tree in table.layers:
        if tree not in TREES or not (root / tree).is_dir():
            raise TableError(f"{TABLE}: the table names {tree}, which is no tree of this project")
    results = [_check_tree(root, tree, table) for tree in TREES if (root / tree).is_dir()]
    if results:
        results[0].violations += _stale_headers(root, table)
    return results


def _check_tree(root: Path, tree: str, table: Table) -> Result:
    if tree == PYTHON:
        source = read_python_tree(root, tree)
    else:
        source = read_c_tree(root, tree, table.several)
    layers = table.layers.get(tree, [])
    levels = {path: table.level(tree, path) for path in source.files}
    found = circles(source)
    upward = list(_upward(tree, source, layers, levels))
    violations = [
        *source.violations,
        *_no_layer(tree, levels),
        *_empty(layers, levels),
        *upward,
        *(_circle(tree, circle) for circle in found),
    ]
    counts = [
        (
            layer.name,
            sum(1 for path in levels if levels[path] == level),
            sum(lines for path, lines in source.files.items() if levels[path] == level),
        )
        for level, layer in enumerate(layers)
    ]
    return Result(tree, TREES[tree], source, counts, found, len(upward), violations)


def _upward(
    tree: str, source: Source, layers: list[Layer], levels: dict[str, int | None]
) -> Iterator[Violation]:
    seen: set[tuple[str, str]] = set()
    for arrow in source.arrows:
        here, there = levels[arrow.source], levels[arrow.target]
        public = arrow.verb == "includes" and arrow.target.startswith(PUBLIC)
        if here is None or there is None or there >= here or public:
            continue
        if (arrow.source, arrow.name) in seen:
            continue
        seen.add((arrow.source, arrow.name))
        text = (
            f"{_said(tree, arrow)}; this file is in layer {layers[here].name}, that one in "
            f"{layers[there].name}, which is higher. {_cure(arrow, layers[here].name)}"
        )
        yield Violation("upward", f"{tree}/{arrow.source}", arrow.line, text)


def _said(tree: str, arrow: Arrow) -> str:
    if arrow.verb == "uses":
        return f"uses {arrow.name}, defined at {tree}/{arrow.target}:{arrow.defined_at}"
    return f"{arrow.verb} {arrow.name}"


def _cure(arrow: Arrow, layer: str) -> str:
    if arrow.verb == "uses":
        return (
            f"Move it to {layer} or lower, move its user up, or let the higher layer pass it down "
            "as an argument or an operation."
        )
    return f"Move what is needed of it to {layer} or lower, or move this file up."


def _no_layer(tree: str, levels: dict[str, int | None]) -> Iterator[Violation]:
    for path, level in levels.items():
        if level is None:
            text = f"is in no layer. Add it to the table in {TABLE}."
            yield Violation("no layer", f"{tree}/{path}", 0, text)


def _empty(layers: list[Layer], levels: dict[str, int | None]) -> Iterator[Violation]:
    for level, layer in enumerate(layers):
        if level not in levels.values():
            text = f"no file is in layer {layer.name}. Mend its row, or remove it."
            yield Violation("empty layer", TABLE, layer.line, text)


def _stale_headers(root: Path, table: Table) -> Iterator[Violation]:
    for header, line in table.several.items():
        stem = Path(header).stem
        if not (root / header).is_file() or not list((root / header).parent.glob(f"{stem}_*.c")):
            text = f"{header} is not a header of several files {stem}_*.c. Remove it here."
            yield Violation("several files", TABLE, line, text)


def _circle(tree: str, circle: Circle) -> Violation:
    arrows = "".join(
        f"\n    {tree}/{arrow.source}:{arrow.line} "
        + (_said(tree, arrow) if arrow.verb == "uses" else f"{arrow.verb} {arrow.target}")
        for arrow in circle.arrows
    )
    first = circle.files[0]
    text = (
        f"{len(circle.arrows)} units need each other: {', '.join(circle.files)}. "
        f"Turn or remove arrows, among them:{arrows}"
    )
    return Violation("circle", f"{tree}/{first}", 0, text)
