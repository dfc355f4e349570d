# SPDX-License-Identifier: BSD-3-Clause
"""A tree of C files: its units, and the arrows between them.

``X.c`` and ``X.h`` of one folder are one unit. Arrows are includes of the tree's own
headers, and names that one unit uses and another one defines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from .c_source import CFile, read_c_file
from .c_tokens import Unreadable
from .model import Arrow, Function, Source, Violation

PUBLIC = "include/"  # headers here are the tree's contract; they declare what others define


def read_c_tree(root: Path, tree: str, several: Iterable[str]) -> Source:
    """Read all C files of a tree. `several`: headers that stand for several files each."""
    return _Reader(root, tree, several).source


class _Reader:
    def __init__(self, root: Path, tree: str, several: Iterable[str]) -> None:
        self.tree = tree
        self.source = Source()
        self.files: dict[str, CFile] = {}
        for path in sorted((root / tree).rglob("*.[ch]")):
            name = path.relative_to(root / tree).as_posix()
            if name.endswith(".mod.c"):
                continue  # made by the kernel's build
            try:
                self.files[name] = read_c_file(path)
            except Unreadable as error:
                self._violation("unreadable", name, error.line, f"{error}. Mend the file.")
                self.files[name] = CFile()
        self._units(several)
        self.included = {name: dict(self._includes(name)) for name in self.files}
        self.definers = self._definers()
        for name, file in self.files.items():
            self.source.files[name] = file.lines
            self.source.functions += [Function(name, *function) for function in file.functions]
            self.source.arrows += self._uses(name)
            self._declarations(name)
        for name, headers in self.included.items():
            self.source.arrows += [
                Arrow(name, line, header, "includes", header) for header, line in headers.items()
            ]

    def _violation(self, rule: str, name: str, line: int, text: str) -> None:
        self.source.violations.append(Violation(rule, f"{self.tree}/{name}", line, text))

    def _units(self, several: Iterable[str]) -> None:
        self.source.units = {name: name.rsplit(".", 1)[0] for name in self.files}
        for header in several:
            stem = header.removeprefix(self.tree + "/").removesuffix(".h")
            if stem + ".h" not in self.files or not header.startswith(self.tree + "/"):
                continue
            for name in self.files:
                if _is_part(name, stem):
                    self.source.units[name] = stem

    def _includes(self, name: str) -> Iterator[tuple[str, int]]:
        for included, line in self.files[name].includes:
            found = self._header(name, included)
            if found is None:
                text = (
                    f'"{included}" is not found from the folder of this file, from {self.tree} '
                    f"or from {self.tree}/include. Include it by a path from one of them."
                )
                self._violation("include", name, line, text)
            else:
                yield found, line

    def _header(self, name: str, included: str) -> str | None:
        folder = PurePosixPath(name).parent
        for path in (folder / included, PurePosixPath(included), PUBLIC / PurePosixPath(included)):
            parts: list[str] = []
            for part in path.parts:
                if part == ".." and parts:
                    parts.pop()
                else:
                    parts.append(part)
            if "/".join(parts) in self.files:
                return "/".join(parts)
        return None

    def _definers(self) -> dict[str, dict[str, int]]:
        """By name: the files that define it for others, and the line."""
        definers: dict[str, dict[str, int]] = {}
        for name, file in self.files.items():
            shared = {**file.defines, **(file.statics if name.endswith(".h") else {})}
            for symbol, line in shared.items():
                definers.setdefault(symbol, {})[name] = line
        return definers

    def _visible(self, name: str) -> set[str]:
        """The headers that a file includes, directly or not."""
        found: set[str] = set()
        more = [name]
        while more:
            fresh = set(self.included[more.pop()]) - found
            found |= fresh
            more += fresh
        return found

    def _uses(self, name: str) -> Iterator[Arrow]:
        file, unit, visible = self.files[name], self.source.units[name], self._visible(name)
        for symbol, line in file.uses.items():
            definers = self.definers.get(symbol, {})
            if symbol in file.statics or any(self.source.units[one] == unit for one in definers):
                continue
            for definer, defined_at in definers.items():
                # What a header defines is there only for those that include it.
                if definer.endswith(".c") or definer in visible:
                    yield Arrow(name, line, definer, "uses", symbol, defined_at)
                    break

    def _declarations(self, name: str) -> None:
        """A header declares what its own unit defines, and other files declare nothing."""
        if name.startswith(PUBLIC):
            return
        unit, header = self.source.units[name], name.endswith(".h")
        for symbol, line in self.files[name].declares.items():
            definers = self.definers.get(symbol, {})
            if any(self.source.units[one] == unit for one in definers):
                continue
            if definers:
                one, at = next(iter(definers.items()))
                cure = f"Declare it in {self.source.units[one]}.h" + (
                    "." if header else ", and include that."
                )
                text = f"declares {symbol}, which {self.tree}/{one}:{at} defines. {cure}"
            elif header:
                text = (
                    f"declares {symbol}, which no file of {self.tree} defines. "
                    f"Define it in {unit}.c, or remove the declaration."
                )
            else:
                continue  # something of a library
            self._violation("declaration", name, line, text)


def _is_part(name: str, stem: str) -> bool:
    """Is this X_*.c of the header X.h that stands for several files?"""
    return name.startswith(stem + "_") and "/" not in name[len(stem) :] and name.endswith(".c")
