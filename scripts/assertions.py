#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the tests assert, compared between two commits, wherever the tests have moved.

    python scripts/assertions.py OLD [NEW]

Prints each assertion, and each `pytest.raises` and `pytest.warns`, that one of the two has and the
other has not, with how many times more it has it. So a change that only moves and renames can be
told from one that asks less.
"""

from __future__ import annotations

import ast
import collections
import subprocess
import sys
from collections.abc import Iterator

PLACES = ("tests/", "transport/adma/testing/")
CALLS = ("pytest.raises", "pytest.warns")


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


def asserted(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            yield ast.unparse(node.test)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in CALLS:
            yield ast.unparse(node)


def assertions(commit: str) -> collections.Counter[str]:
    """How often the tests of a commit assert what."""
    names = git("ls-tree", "-r", "--name-only", commit).splitlines()
    found: collections.Counter[str] = collections.Counter()
    for name in names:
        if name.startswith(PLACES) and name.endswith(".py"):
            found.update(asserted(ast.parse(git("show", f"{commit}:{name}"))))
    return found


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    old, new = (assertions(commit) for commit in (sys.argv[1], (sys.argv[2:] or ["HEAD"])[0]))
    for sign, more in (("-", old - new), ("+", new - old)):
        for text, times in sorted(more.items()):
            print(f"{sign} {times} x {text}")
    print(f"{sum(old.values())} assertions before, {sum(new.values())} now")


if __name__ == "__main__":
    main()
