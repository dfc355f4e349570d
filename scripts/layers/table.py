# SPDX-License-Identifier: BSD-3-Clause
"""The order of layers, as a table in a Markdown file tells it.

The table stands between two markers. It has the columns *tree*, *layer* and *files*, in
this order; further columns are for readers. The layers of a tree stand from high to low.
An empty *tree* means the tree of the row above. Of *files* only what stands in backticks
counts: patterns relative to the tree, where ``*`` stands for any part of a name, ``**`` for
any path, and a slash at the end for all that is in a folder. Of several rows that match a
file the first counts.

Below the table, a paragraph that begins with "One header for several files:" may name, in
backticks and relative to the root, headers ``X.h`` that declare what ``X_*.c`` define.
Those files and the header then count as one unit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

BEGIN = "<!-- layers -->"
END = "<!-- /layers -->"
SEVERAL = "one header for several files:"
COLUMNS = ["tree", "layer", "files"]


class TableError(Exception):
    """The file has no table, or one that cannot be understood."""


@dataclass
class Layer:
    """A row of the table."""

    name: str
    patterns: list[str]
    line: int  # where in the Markdown file

    def holds(self, path: str) -> bool:
        return any(matches(pattern, path) for pattern in self.patterns)


@dataclass
class Table:
    """The layers of each tree, from high to low."""

    layers: dict[str, list[Layer]] = field(default_factory=dict)
    several: dict[str, int] = field(default_factory=dict)  # header: line in the Markdown file

    def level(self, tree: str, path: str) -> int | None:
        """Return the index of the first layer that holds the file; 0 is the highest."""
        for level, layer in enumerate(self.layers.get(tree, [])):
            if layer.holds(path):
                return level
        return None


def matches(pattern: str, path: str) -> bool:
    """Tell whether a path matches a pattern of the table."""
    if pattern.endswith("/"):
        pattern += "**"
    wild = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = (wild.get(part, re.escape(part)) for part in re.split(r"(\*\*|\*|\?)", pattern))
    return re.fullmatch("".join(parts), path) is not None


def read_table(path: Path) -> Table:
    """Read the table from a Markdown file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        begin, end = lines.index(BEGIN), lines.index(END)
    except FileNotFoundError:
        raise TableError(f"{path}: there is no such file; it holds the table of layers") from None
    except ValueError:
        raise TableError(f"{path}: no table between the lines {BEGIN} and {END}") from None
    table, tree, head, several = Table(), "", True, False
    for number, line in enumerate(lines[begin + 1 : end], begin + 2):
        several = bool(line) and (several or line.lower().startswith(SEVERAL))
        if several:
            table.several.update(dict.fromkeys(_quoted(line), number))
        if not line.startswith("|") or not line.replace("-", "").strip("|: "):
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if head:
            if [cell.lower() for cell in cells[:3]] != COLUMNS:
                raise TableError(f"{path}:{number}: the first columns are not {', '.join(COLUMNS)}")
            head = False
            continue
        tree = cells[0].strip("`/") or tree
        patterns = _quoted(cells[2]) if len(cells) > 2 else []
        if not tree or not patterns:
            raise TableError(f"{path}:{number}: a row needs a tree, a layer and files in backticks")
        table.layers.setdefault(tree, []).append(Layer(cells[1].strip("`"), patterns, number))
    if not table.layers:
        raise TableError(f"{path}:{begin + 1}: the table is empty")
    return table


def _quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)
