# SPDX-License-Identifier: BSD-3-Clause
"""What a source tree is to the rules: files, units, arrows between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Arrow:
    """One file needs another one. Both paths are relative to the tree."""

    source: str
    line: int
    target: str
    verb: str  # "includes", "uses" or "imports"
    name: str  # of the header, the function, the object or the module
    defined_at: int = 0  # the line in the target that defines the name, for "uses"


@dataclass(frozen=True)
class Violation:
    """Something that the rules forbid. The text says what, why and how to mend it."""

    rule: str
    file: str  # relative to the root
    line: int  # 0: the whole file
    text: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.rule}: {self.text}"


@dataclass(frozen=True)
class Function:
    """A function and how long it is."""

    file: str
    name: str
    line: int
    lines: int


@dataclass
class Source:
    """All that the rules need to know of a tree."""

    files: dict[str, int] = field(default_factory=dict)  # path: number of lines
    units: dict[str, str] = field(default_factory=dict)  # path: the unit it belongs to
    arrows: list[Arrow] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    type_only: int = 0  # Python imports that only type checkers see


@dataclass(frozen=True)
class Circle:
    """Units that need each other, and for each of them one arrow to another of them."""

    files: list[str]
    arrows: list[Arrow]


def circles(source: Source) -> list[Circle]:
    """Return the strongly connected components of more than one unit, the largest first."""
    edges: dict[str, dict[str, Arrow]] = {unit: {} for unit in source.units.values()}
    for arrow in source.arrows:
        here, there = source.units[arrow.source], source.units[arrow.target]
        if here != there:
            edges[here].setdefault(there, arrow)
    found = []
    for component in _components(edges):
        members = set(component)
        found.append(
            Circle(
                sorted(path for path, unit in source.units.items() if unit in members),
                [
                    next(arrow for there, arrow in edges[unit].items() if there in members)
                    for unit in sorted(members)
                ],
            )
        )
    return sorted(found, key=lambda circle: (-len(circle.files), circle.files))


def _components(edges: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Tarjan's algorithm. Components of a single unit are left out."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(unit: str) -> None:
        number[unit] = low[unit] = len(number)
        stack.append(unit)
        for other in edges[unit]:
            if other not in number:
                visit(other)
                low[unit] = min(low[unit], low[other])
            elif other in stack:
                low[unit] = min(low[unit], number[other])
        if low[unit] == number[unit]:
            at = stack.index(unit)
            if len(stack) - at > 1:
                found.append(stack[at:])
            del stack[at:]

    for unit in edges:
        if unit not in number:
            visit(unit)
    return found
