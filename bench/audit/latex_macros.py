r"""Macros of LaTeX files: the file's own \newcommand, and the arguments that follow a macro."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from bench.base.errors import DataError

WIDTH_FIRST = {"tabular*", "tabularx", "tabulary", "supertabular*", "xtabular*", "xltabular"}
NEW_COMMAND = re.compile(
    r"\\(?:(?:re)?newcommand|providecommand|DeclareRobustCommand)\*?\s*\{?\\([A-Za-z]+)\}?"
    r"\s*(?:\[(\d)\])?\s*(?:\[([^\]]*)\])?\s*(?=\{)"
    r"|\\def\s*\\([A-Za-z]+)\s*((?:#\d)*)\s*(?=\{)"
)
LET = re.compile(r"\\let\s*\\([A-Za-z]+)\s*=?\s*(\\[A-Za-z]+)")
TOKEN = re.compile(r"\\(?:[A-Za-z]+\*?|.)|[{}_^]|[^\\{}_^]+", re.S)


class _Macro(NamedTuple):
    """One of the file's own: how many arguments, what it stands for, the first one's default."""

    arguments: int
    body: str
    default: str | None = None


Macros = Mapping[str, _Macro]


def own_macros(tex: str) -> tuple[Macros, list[str]]:
    """The file's own, and why others of it are not there."""
    macros: dict[str, _Macro] = {}
    unread = []
    for match in NEW_COMMAND.finditer(tex):
        count = int(match[2] or 0) if match[1] else (match[5] or "").count("#")
        name = match[1] or match[4]
        try:
            macros[name] = _Macro(count, group(tex, match.end())[0], match[3])
        except DataError as error:
            line = tex.count("\n", 0, match.start()) + 1
            unread.append(f"line {line}: the definition of \\{name} is not read: {error}")
    for match in LET.finditer(tex):
        macros.setdefault(match[1], _Macro(0, match[2]))
    return macros, unread


def group(tex: str, at: int) -> tuple[str, int]:
    """The content of the brace group that begins at or after blanks at `at`, and its end."""
    blank = re.compile(r"\s*").match(tex, at)
    at = blank.end() if blank else at
    if at >= len(tex) or tex[at] != "{":
        token = TOKEN.match(tex, at)
        return (token[0][:1], at + 1) if token and token[0][0] not in "\\{}" else ("", at)
    depth = 0
    for match in re.compile(r"\\.|[{}]", re.S).finditer(tex, at):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return tex[at + 1 : match.start()], match.end()
    raise DataError("a { has no matching }")


def after_arguments(tex: str, at: int, name: str) -> int:
    """Past the column specification, and past the width of tabular* and tabularx."""
    for _ in range(2 if name in WIDTH_FIRST else 1):
        bracket = re.compile(r"\s*\[[^\]]*\]").match(tex, at)
        at = bracket.end() if bracket else at
        _, at = group(tex, at)
    return at


def read_arguments(tex: str, at: int, most: int) -> tuple[list[str], int]:
    """Up to `most` brace groups that follow, optional ones passed over."""
    found: list[str] = []
    follows = re.compile(r"\s*(\[[^\]]*\]\s*)*(\{|\*\s*(?=\{))")
    while len(found) < most and (match := follows.match(tex, at)):
        starred = match[2][0] == "*"
        body, at = ("*", match.end()) if starred else group(tex, match.end() - 1)
        found.append(body)
    return found, at
