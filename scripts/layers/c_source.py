# SPDX-License-Identifier: BSD-3-Clause
"""What a C file defines, declares and uses, as far as its text tells.

No type is known and no macro expanded; the shapes of C and the habits of kernel code do. A
use is a name in a function's body, an initialiser or the body of a macro: a call, or an
address that is taken. Members, labels, tags and local names are no uses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .c_tokens import Node, Text, read_c

_QUALIFIERS = {
    "auto", "const", "extern", "inline", "register", "restrict", "static", "volatile",
    "typedef", "_Noreturn", "_Thread_local", "__always_inline", "__inline", "__restrict",
    "__thread", "__init", "__exit", "__user", "__iomem", "__percpu", "__rcu", "__maybe_unused",
}  # fmt: skip
_TYPES = {
    "bool", "char", "double", "float", "int", "long", "short", "signed", "unsigned", "void",
    "_Bool", "__int128", "__auto_type",
}  # fmt: skip
_TAGGED = {"struct", "union", "enum"}
_TYPE_OF = {"typeof", "__typeof__", "_Atomic"}
# Words that a bracket may follow without being called or declared.
_ATTRIBUTES = {
    "__attribute__", "_Alignas", "alignas", "asm", "__asm__", "__aligned", "__printf",
    "__section", "__must_hold", "__acquires", "__releases", "__counted_by", "__free",
}  # fmt: skip
_STATEMENTS = {
    "break", "case", "continue", "default", "do", "else", "for", "goto", "if", "return",
    "sizeof", "switch", "while",
}  # fmt: skip
_KEYWORDS = _QUALIFIERS | _TYPES | _TAGGED | _TYPE_OF | _ATTRIBUTES | _STATEMENTS
# Macros of the kernel that define an object with the name in their brackets.
_DEFINES = re.compile(r"(DEFINE|DECLARE)_(?!\w*ATTRIBUTE|FREE|GUARD|CLASS)\w+|H?LIST_HEAD")

Nodes = Sequence[Node]


@dataclass
class CFile:
    """A C file. Names are those of functions and objects; the numbers are lines."""

    lines: int = 0
    includes: list[tuple[str, int]] = field(default_factory=list)
    defines: dict[str, int] = field(default_factory=dict)
    statics: dict[str, int] = field(default_factory=dict)
    declares: dict[str, int] = field(default_factory=dict)
    uses: dict[str, int] = field(default_factory=dict)  # the first line of each
    functions: list[tuple[str, int, int]] = field(default_factory=list)  # name, line, lines


def read_c_file(path: Path) -> CFile:
    """Read a C file. Raises Unreadable where brackets do not match."""
    text = path.read_text(encoding="utf-8")
    found = _Reader(read_c(text)).found
    found.lines = text.count("\n")
    return found


class _Reader:
    """Goes through the declarations of a file, one after the other."""

    def __init__(self, text: Text) -> None:
        self.found = CFile(includes=text.includes)
        rest = list(text.nodes)
        while rest:
            rest = self._external(rest)
        for macro in text.macros:
            for i, token in enumerate(macro.body):
                before = macro.body[i - 1].text if i else ""
                if token.word and token.text not in macro.parameters and _may_use(before):
                    self.found.uses.setdefault(token.text, macro.line)

    def _external(self, nodes: list[Node]) -> list[Node]:
        """Take one declaration or function off the nodes and return the others."""
        if [node.text for node in nodes[:2]] == ["extern", '""']:  # "C"
            brace = nodes[2:3]
            return list(brace[0].inner if brace and brace[0].text == "{" else brace) + nodes[3:]
        for at, node in enumerate(nodes):
            head = nodes[:at]
            if node.text == ";":
                self._declaration(head)
                return nodes[at + 1 :]
            if node.text == "{" and not _has(head, "=") and not _type_body(head):
                self._function(head, node)
                return nodes[at + 1 :]
        self._declaration(nodes)
        return []

    def _function(self, head: list[Node], body: Node) -> None:
        head = self._macro_calls(head)
        at = _declarator(head)
        if at is None:
            self._walk([*head, body], set())
            return
        name, start = head[at].text, head[0].line
        self._define(name, head[at].line, _has(head, "static"))
        self.found.functions.append((name, start, body.end - start + 1))
        self._walk(body.inner, set(_parameters(head[at + 1].inner)))

    def _declaration(self, head: list[Node]) -> None:
        head = self._macro_calls(head)
        if not head or _has(head, "typedef"):
            return
        static, external = _has(head, "static"), _has(head, "extern")
        for number, part in enumerate(_split(head)):
            equals = next((i for i, node in enumerate(part) if node.text == "="), len(part))
            self._walk(part[equals:], set())
            declarator = part[:equals]
            at = _declarator(declarator)
            if at is not None:
                if not static:
                    self.found.declares.setdefault(declarator[at].text, declarator[at].line)
                continue
            name = _object(declarator, number == 0)
            if name is None:
                continue
            if external and equals == len(part):
                self.found.declares.setdefault(name.text, name.line)
            else:
                self._define(name.text, name.line, static)

    def _macro_calls(self, head: list[Node]) -> list[Node]:
        """Take calls of macros off the front, such as module_init(f) or DEFINE_MUTEX(m)."""
        while True:
            words = [i for i, node in enumerate(head) if node.text not in _QUALIFIERS][:2]
            if len(words) < 2 or not head[words[0]].word or head[words[1]].text != "(":
                return head
            first, bracket = head[words[0]], head[words[1]]
            after = head[words[1] + 1 :]
            if first.text in _KEYWORDS or (after and not after[0].word):
                return head
            names = _defined_by_macro(first, bracket)
            for name in names:
                self._define(name.text, name.line, _has(head[: words[0]], "static"))
            self._walk([first, bracket], {name.text for name in names})
            head = after

    def _define(self, name: str, line: int, static: bool) -> None:
        where = self.found.statics if static else self.found.defines
        where.setdefault(name, line)

    def _walk(self, nodes: Nodes, scope: set[str], statements: bool = True) -> None:
        """Note the uses among the nodes. The scope has the local names, and gets more."""
        begins = statements
        for i, node in enumerate(nodes):
            before = nodes[i - 1].text if i else ""
            if begins:
                scope.update(_locals(nodes[i:]))
            begins = statements and node.text in (";", "{")
            if node.text == "{":
                self._walk(node.inner, set(scope))
            elif node.inner:
                self._walk(node.inner, scope, before == "for")
            elif (
                node.word
                and node.text not in scope
                and _may_use(before)
                and not _is_label(nodes, i)
            ):
                self.found.uses.setdefault(node.text, node.line)


def _may_use(before: str) -> bool:
    return before not in (".", "->", "goto") and before not in _TAGGED


def _is_label(nodes: Nodes, i: int) -> bool:
    before = nodes[i - 1].text if i else ";"
    return len(nodes) > i + 1 and nodes[i + 1].text == ":" and before in (";", "{", ":")


def _has(nodes: Nodes, text: str) -> bool:
    return any(node.text == text for node in nodes)


def _type_body(head: Nodes) -> bool:
    """Is the brace after these nodes the body of a struct, a union or an enum?"""
    at = max((i for i, node in enumerate(head) if node.text in _TAGGED), default=None)
    if at is None:
        return False
    rest = [
        node
        for i, node in enumerate(head[at + 1 :], at + 1)
        if not node.text.startswith("__") and head[i - 1].text not in _ATTRIBUTES
    ]
    return len(rest) <= 1 and not _has(rest, "(")


def _split(nodes: Nodes) -> Iterator[list[Node]]:
    """The parts between commas."""
    part: list[Node] = []
    for node in nodes:
        if node.text == ",":
            yield part
            part = []
        else:
            part.append(node)
    if part:
        yield part


def _declarator(head: Nodes) -> int | None:
    """The index of the name of a function that is defined or declared here."""
    found = [
        i
        for i, node in enumerate(head[:-1])
        if node.word
        and node.text not in _KEYWORDS
        and head[i + 1].text == "("
        and not (head[i + 1].inner[:1] and head[i + 1].inner[0].text == "*")
    ]
    return next((i for i in found if not head[i].text.isupper()), found[0] if found else None)


def _object(part: Nodes, first: bool) -> Node | None:
    """The name of the object that is declared here. The first of a list has its type before it."""
    for i, node in enumerate(part[:-1]):
        if node.text == "(" and part[i + 1].text == "(" and _has(node.inner, "*"):
            return _last_word(node.inner)  # a pointer to a function
    words = [
        node
        for i, node in enumerate(part)
        if node.word
        and node.text not in _KEYWORDS
        and not node.text.startswith("__")
        and not (i and part[i - 1].text in _TAGGED)
    ]
    if not words or (first and len(part) < 2):
        return None
    return words[-1]


def _last_word(nodes: Nodes) -> Node | None:
    words = [node for node in nodes if node.word and node.text not in _KEYWORDS]
    return words[-1] if words else None


def _parameters(nodes: Nodes) -> Iterator[str]:
    for part in _split(nodes):
        name = _object(part, True)
        if name is not None:
            yield name.text


def _defined_by_macro(macro: Node, bracket: Node) -> list[Node]:
    """What DEFINE_MUTEX(name), LIST_HEAD(name) and the like define."""
    if not _DEFINES.fullmatch(macro.text):
        return []
    parts = list(_split(bracket.inner))
    second = "PER_CPU" in macro.text or "_FLEX" in macro.text
    part = parts[1] if second and len(parts) > 1 else parts[0] if parts else []
    return [node for node in part if node.word][:1]


def _locals(nodes: Nodes) -> Iterator[str]:
    """The names that a statement declares, if it is a declaration."""
    if len(nodes) > 1 and nodes[1].text == "(":
        yield from (node.text for node in _defined_by_macro(nodes[0], nodes[1]))
    at = _specifiers(nodes)
    while at is not None and at < len(nodes):
        while at < len(nodes) and (nodes[at].text == "*" or nodes[at].text in _QUALIFIERS):
            at += 1
        if at + 1 >= len(nodes):
            return
        name: Node | None = nodes[at]
        if nodes[at].text == "(" and nodes[at + 1].text in ("(", "["):
            name = _last_word(nodes[at].inner) if _has(nodes[at].inner, "*") else None
        elif not nodes[at].word or nodes[at].text in _KEYWORDS:
            return
        after = nodes[at + 1]
        if name is None or not (after.text in ("=", ";", ",", "[", ":", "(") or after.word):
            return
        yield name.text
        while at < len(nodes) and nodes[at].text not in (",", ";"):
            at += 1
        if at == len(nodes) or nodes[at].text == ";":
            return
        at += 1


def _specifiers(nodes: Nodes) -> int | None:
    """How many nodes at the front say a type; None where none do."""
    at, typed = 0, False
    while at < len(nodes):
        text = nodes[at].text
        if text in _TYPES:
            typed = True
        elif text in _TYPE_OF or text in _ATTRIBUTES:
            bracket = at + 1 < len(nodes) and nodes[at + 1].text == "("
            typed = typed or (bracket and text in _TYPE_OF)
            at += bracket
        elif text in _TAGGED:
            typed = True
            at += at + 1 < len(nodes) and nodes[at + 1].word
            at += at + 1 < len(nodes) and nodes[at + 1].text == "{"
        elif text not in _QUALIFIERS:
            if typed or not nodes[at].word or text in _STATEMENTS:
                break
            following = nodes[at + 1] if at + 1 < len(nodes) else None
            if following is None or not (following.word or following.text in ("*", "(")):
                break
            if following.text == "(" and not (following.inner and following.inner[0].text == "*"):
                break
            typed = True
        at += 1
    return at if typed else None
