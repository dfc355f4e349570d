#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Check that docs/models.md, the models and the sources agree about names.

In the tables of docs/models.md that bind a model to the code, whatever is quoted on the left has
to occur in the model, and whatever is quoted on the right has to exist in the sources, outside
of comments: a file, a name, or `file.c:name()`. The sources are those of the core, of the kernel
module or of the package, as the model is about the one or the other. Each mutant and
witness of a model has to be listed in its section, and run by run.py. Exit status 0: all agree;
1: a line for each that does not.

    python3 tests/model/names.py [--docs FILE]
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from run import CASES, HERE

TOP = HERE.parents[1]
CORE = ("transport/native",)
HELPER = ("kernel/module", "kernel/include")
OF_THE_HELPER = {"completion", "pin"}
OF_PYTHON = {"claim", "pipe"}
KEYWORDS = {"struct", "enum"}

QUOTED = re.compile(r"`([^`]+)`")
NAME = re.compile(r"[A-Za-z_]\w+")  # one letter is a parameter
FILE = re.compile(r"([\w/]+\.[ch])(?::(.*))?")
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
SWITCH = re.compile(r"\b(?:BUG|WITNESS)_(\w+)")


def without_comments(path: Path) -> str:
    """A file's text, comments left out."""
    return COMMENT.sub(" ", path.read_text(encoding="utf-8"))


def package() -> Path:
    """The package's sources: in the checkout, or where they are installed if it has none."""
    here = TOP / "transport" / "adma"
    if here.is_dir():
        return here
    found = importlib.util.find_spec("adma")
    if found is None or found.origin is None:
        raise FileNotFoundError(f"{here}: it is not there, and adma is not installed")
    return Path(found.origin).parent


class Sources:
    """Sources, of C unless others are asked for: which files there are, and which names in them."""

    def __init__(self, *trees: str | Path, files: str = "*.[ch]") -> None:
        self.names_of = {
            path.as_posix(): set(NAME.findall(without_comments(path)))
            for tree in trees
            for path in (TOP / tree).rglob(files)
        }
        self.names = set().union(*self.names_of.values())

    def lacks(self, quoted: str) -> str:
        """What of a quoted piece of code does not exist; empty if all of it does."""
        file = FILE.fullmatch(quoted)
        if not file:
            return self._lacking(quoted, self.names)
        found = [
            names for path, names in self.names_of.items() if f"/{path}".endswith(f"/{file[1]}")
        ]
        if not found:
            return file[1]
        return self._lacking(file[2] or "", set().union(*found))

    @staticmethod
    def _lacking(text: str, names: set[str]) -> str:
        wanted = set(NAME.findall(text)) - KEYWORDS
        return ", ".join(sorted(wanted - names))


def sections(docs: str) -> Iterator[tuple[str, str]]:
    """The sections about a model: the model's name, and the text."""
    for section in re.split(r"^## ", docs, flags=re.MULTILINE)[1:]:
        model = re.match(r"(\w+)\.pml", section)
        if model:
            yield model[1], section


def bindings(section: str) -> Iterator[tuple[str, str]]:
    """The rows of the table of a section that binds the model to the code."""
    table = re.search(r"^\| model \| code \|\n\|[-|]+\n((?:\|.*\n)+)", section, re.MULTILINE)
    for row in table[1].splitlines() if table else []:
        left, right = row.strip("|").split(" | ", 1)
        yield left, right


def complaints_about(model: str, section: str, sources: Sources) -> Iterator[str]:
    """What does not agree in the section about a model."""
    text = without_comments(HERE / f"{model}.pml")
    names, rows = set(NAME.findall(text)), list(bindings(section))
    if not rows:
        yield "no table binds it to the code"
    for left, right in rows:
        for quoted in QUOTED.findall(left):
            for name in NAME.findall(quoted):
                if name not in names:
                    yield f"`{name}` is not in {model}.pml"
        for quoted in QUOTED.findall(right):
            lacking = sources.lacks(quoted)
            # What the code column says of the model itself, such as a switch.
            if lacking and not set(NAME.findall(quoted)) <= names:
                yield f"`{quoted}`: the sources have no {lacking}"
    listed = set(QUOTED.findall(section))
    known = set(SWITCH.findall(text))
    tried = {
        name
        for cases in CASES
        for case in cases()
        if case.model == model
        for name in SWITCH.findall(case.switches)
    }
    for switch in sorted(known | tried):
        if switch not in listed:
            yield f"`{switch}` is not listed"
        if switch not in tried:
            yield f"`{switch}` is not run by run.py"
        if switch not in known:
            yield f"`{switch}` is not in {model}.pml"


def complaints(docs: str) -> Iterator[str]:
    """What does not agree, a line for each."""
    core, helper, every = Sources(*CORE), Sources(*HELPER), Sources(*CORE, *HELPER)
    described = dict(sections(docs))
    for model in sorted({case.model for cases in CASES for case in cases()} - set(described)):
        yield f"{model}.pml: no section"
    for model, section in described.items():
        sources = helper if model in OF_THE_HELPER else core
        if model in OF_PYTHON:
            sources = Sources(package(), files="*.py")
        for complaint in complaints_about(model, section, sources):
            yield f"{model}.pml: {complaint}"
    for quoted in sorted(set(QUOTED.findall(docs))):
        if FILE.fullmatch(quoted) and (lacking := every.lacks(quoted)):
            yield f"`{quoted}`: the sources have no {lacking}"


def main() -> int:
    """Print what does not agree."""
    parser = argparse.ArgumentParser(description="Check the names in docs/models.md.")
    parser.add_argument("--docs", type=Path, default=TOP / "docs" / "models.md", metavar="FILE")
    docs = parser.parse_args().docs.read_text(encoding="utf-8")
    found = list(complaints(docs))
    for complaint in found:
        print(f"docs/models.md: {complaint}", file=sys.stderr)
    if not found:
        print(f"models: the names of {len(dict(sections(docs)))} models exist")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
