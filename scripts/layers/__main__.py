# SPDX-License-Identifier: BSD-3-Clause
"""The command line: ``python scripts/layers [--root DIR] [--json] [--largest]``.

It prints each layer with its files and lines, then what violates the rules. Exit status 0:
nothing does; 1: something does; 2: the table of layers cannot be read.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # the folder itself was run, not the package

from layers.check import Result, check  # noqa: E402
from layers.table import TableError  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="layers", description="Check the layers of the sources.")
    parser.add_argument("--root", type=Path, default=HERE.parent.parent, help="another source tree")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument(
        "--largest", action="store_true", help="print each tree's largest file and function"
    )
    options = parser.parse_args(arguments)
    try:
        results = check(options.root)
    except TableError as error:
        print(f"layers: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps([as_json(result) for result in results], indent=2))
    else:
        for result in results:
            print("\n".join(as_text(result, options.largest)))
    return 1 if any(result.violations for result in results) else 0


def as_text(result: Result, largest: bool) -> Iterator[str]:
    width = max([len(name) for name, _, _ in result.layers], default=0)
    yield f"{result.title}, {result.tree}, from high to low"
    for name, files, lines in result.layers:
        yield f"  {name:{width}} {files:4} files {lines:6} lines"
    if largest:
        yield from _largest(result)
    for violation in result.violations:
        yield str(violation)
    for_types = f", {result.source.type_only} imports for types" if result.source.type_only else ""
    yield (
        f"layers: {result.title} {len(result.source.files)} files, {len(result.circles)} circles, "
        f"{result.upward} upward arrows{for_types}, {len(result.violations)} violations"
    )


def _largest(result: Result) -> Iterator[str]:
    if result.source.files:
        lines, path = max((lines, path) for path, lines in result.source.files.items())
        yield f"  largest file: {result.tree}/{path}, {lines} lines"
    if result.source.functions:
        one = max(result.source.functions, key=lambda function: function.lines)
        place = f"{result.tree}/{one.file}:{one.line}"
        yield f"  longest function: {one.name}, {one.lines} lines, {place}"


def as_json(result: Result) -> dict[str, Any]:
    """All but the arrows: they are many."""
    functions = sorted(result.source.functions, key=lambda function: -function.lines)
    return {
        "tree": result.tree,
        "title": result.title,
        "layers": [
            {"name": name, "files": files, "lines": lines} for name, files, lines in result.layers
        ],
        "files": result.source.files,
        "longest_functions": [asdict(function) for function in functions[:10]],
        "circles": [asdict(circle) for circle in result.circles],
        "upward": result.upward,
        "type_only_imports": result.source.type_only,
        "violations": [asdict(violation) for violation in result.violations],
    }


if __name__ == "__main__":
    sys.exit(main())
