# SPDX-License-Identifier: BSD-3-Clause
"""C text as nested tokens, without a preprocessor.

Comments vanish, strings lose their contents, directives are taken out: includes and the
bodies of macros are kept apart. Of ``#if`` and ``#else`` all branches are kept, for each of
them is compiled somewhere. Where that would leave a brace open, only the first is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_COMMENT = re.compile(
    r"""(?P<comment>//(?:\\\n|[^\n])*|/\*.*?\*/)
    |"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""",
    re.S | re.X,
)
_TOKEN = re.compile(
    r"""(?P<directive>^[ \t]*\#(?:\\\n|[^\n])*)
    |(?P<newline>\\?\n)
    |(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
    |(?P<word>[A-Za-z_]\w*)
    |(?P<number>\.?\d(?:[eEpP][+-]|[\w.])*)
    |(?P<mark>->|\.\.\.|[^\s\w])""",
    re.M | re.S | re.X,
)
_DIRECTIVE = re.compile(r"\s*#\s*(\w*)\s*(.*)", re.S)
_MACRO = re.compile(r"(\w+)(\([^)]*\))?(.*)", re.S)
_CLOSING = {"(": ")", "[": "]", "{": "}"}


class Unreadable(Exception):
    """The text has a bracket without its partner."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


@dataclass(frozen=True)
class Token:
    text: str
    line: int

    @property
    def word(self) -> bool:
        return self.text[0].isalpha() or self.text[0] == "_"


@dataclass(frozen=True)
class Node(Token):
    """A token, or a bracket with all that it encloses."""

    inner: tuple[Node, ...] = ()
    end: int = 0  # the line of the closing bracket


@dataclass
class Macro:
    name: str
    line: int
    parameters: set[str]
    body: list[Token]


@dataclass
class Text:
    """A file: its nested tokens and what its directives say."""

    nodes: tuple[Node, ...] = ()
    includes: list[tuple[str, int]] = field(default_factory=list)  # of "..." only
    macros: list[Macro] = field(default_factory=list)


@dataclass
class _Conditional:
    """An ``#if`` that is still open. A branch is None where it is never compiled."""

    branches: list[list[Token] | None]


def read_c(text: str) -> Text:
    """Tokenise the text of a C file. Raises Unreadable."""
    result = Text()
    outermost: list[Token] = []
    current = outermost
    outer: list[tuple[list[Token], _Conditional]] = []
    for kind, token in _scan(text):
        if kind != "directive":
            current.append(token)
            continue
        match = _DIRECTIVE.match(token.text.replace("\\\n", "\n"))
        name, rest = match.groups() if match else ("", "")
        if name in ("if", "ifdef", "ifndef"):
            branch: list[Token] = []
            skipped = rest.strip() in ("0", "__cplusplus", "defined(__cplusplus)")
            outer.append((current, _Conditional([None if skipped else branch])))
            current = branch
        elif name in ("elif", "else") and outer:
            current = []
            outer[-1][1].branches.append(current)
        elif name == "endif" and outer:
            current, conditional = outer.pop()
            current.extend(_merge(conditional.branches))
        elif name == "include" and rest.startswith('"'):
            result.includes.append((rest.split('"')[1], token.line))
        elif name == "define":
            result.macros.append(_macro(rest, token.line))
    if outer:
        raise Unreadable(0, "an #if has no #endif")
    result.nodes = _nest(outermost)
    return result


def _scan(text: str) -> Iterator[tuple[str, Token]]:
    """Yield tokens with their kind. A joined line keeps the numbers of its parts."""
    text = _COMMENT.sub(_without_comment, text)
    line = 1
    for match in _TOKEN.finditer(text):
        kind, value = match.lastgroup or "", match.group()
        if kind != "newline":
            yield kind, Token('""' if kind == "string" else value, line)
        line += value.count("\n")


def _without_comment(match: re.Match[str]) -> str:
    """A comment becomes a space. Its ends of lines stay, but do not end a directive."""
    comment = match["comment"]
    return match.group() if comment is None else " " + "\\\n" * comment.count("\n")


def _macro(rest: str, line: int) -> Macro:
    match = _MACRO.match(rest)
    if match is None:
        raise Unreadable(line, "a #define names nothing")
    name, parameters, body = match.groups()
    tokens = [Token(token.text, token.line + line - 1) for _, token in _scan(body)]
    return Macro(name, line, set(re.findall(r"\w+", parameters or "")), tokens)


def _merge(branches: list[list[Token] | None]) -> list[Token]:
    kept = [branch for branch in branches if branch is not None]
    if all(_balanced(branch) for branch in kept):
        return [token for branch in kept for token in branch]
    return kept[0] if len(branches) > 1 else []


def _balanced(tokens: list[Token]) -> bool:
    try:
        _nest(tokens)
    except Unreadable:
        return False
    return True


def _nest(tokens: list[Token]) -> tuple[Node, ...]:
    levels: list[list[Node]] = [[]]
    open_at: list[Token] = []
    for token in tokens:
        if token.text in _CLOSING:
            open_at.append(token)
            levels.append([])
        elif token.text in _CLOSING.values():
            if not open_at or _CLOSING[open_at[-1].text] != token.text:
                raise Unreadable(token.line, f"{token.text} closes nothing")
            opened = open_at.pop()
            inner = tuple(levels.pop())
            levels[-1].append(Node(opened.text, opened.line, inner, token.line))
        else:
            levels[-1].append(Node(token.text, token.line))
    if open_at:
        raise Unreadable(open_at[-1].line, f"{open_at[-1].text} is never closed")
    return tuple(levels[0])
