r"""Tabulars of a LaTeX file as grids: what spans several cells spread out, rules counted."""

import re
from bisect import bisect
from collections.abc import Iterator, Sequence
from contextlib import suppress

from bench.audit.cells import GridCell, Printed, spread
from bench.audit.latex_cell import read_cell, settled
from bench.audit.latex_macros import Macros, after_arguments, group, own_macros
from bench.base.errors import DataError

TABULAR = re.compile(
    r"\\(begin|end)\s*\{(tabular[xy*]?|tabulary|longtable|longtabu|tabu|array|supertabular\*?"
    r"|xtabular\*?|xltabular|NiceTabular[X*]?)\}"
)
UNREAD = re.compile(r"\\begin\s*\{((?:long|tall)?tblr|tabbing)\}")
FLOAT = re.compile(r"\\(begin|end)\s*\{(?:wrap|side|long)?table\*?\}")
CAPTION = re.compile(r"\\(?:caption|captionof\s*\{table\})\*?\s*(?:\[[^\]]*\])?\s*(?=\{)")
INPUT = re.compile(r"\\(?:input|include)\s*\{([^}]*)\}")
RULES = re.compile(
    r"\\(?:(?:top|mid|bottom)rule(?:\s*\[[^\]]*\])?|h(?:dash)?line|morecmidrules"
    r"|(?:Xhline|arrayrulecolor|cdashline)\s*\{[^}]*\}|addlinespace(?:\s*\[[^\]]*\])?"
    r"|c(?:mid)?rule\s*(?:\[[^\]]*\])?(?:\([^)]*\))?\s*\{[^}]*\}|cline\s*\{[^}]*\}"
    r"|specialrule(?:\s*\{[^}]*\}){3}|rowcolor\s*(?:\[[^\]]*\])?\s*\{[^}]*\}(?:\[[^\]]*\])*"
    r"|noalign\s*\{[^}]*\}|endhead|endfirsthead|endfoot|endlastfoot)(?![A-Za-z])"
)
BLOCK = re.compile(
    r"\\(?:midrule|h(?:dash)?line|Xhline|specialrule|cdashline|c(?:mid)?(?:rule|line)[^{]*\{1-)"
)
"""Rules that set blocks of rows apart: those that begin at the first column."""
BREAK = re.compile(r"\\(?:begin|end|tabularnewline)\b|\\\\\*?(?:\s*\[[^\]]*\])?|\\.|[{}&]", re.S)


def grids(tex: str) -> tuple[list[Printed], list[str]]:
    """Every outermost tabular of a file, in its order, and why others or some rows are not there:
    one without an end, say, or with braces or macros nested beyond reason."""
    plain = re.sub(r"(?<!\\)((?:\\\\)*)%[^\n]*", r"\1", tex)  # without comments
    macros, passed_over = own_macros(plain)
    floats = list(FLOAT.finditer(plain))
    found: list[Printed] = []
    passed_over += [f"\\begin{{{match[1]}}} is not read" for match in UNREAD.finditer(plain)]
    for name, begin, end in _environments(plain):
        try:
            if end < 0:
                raise DataError(f"it has no \\end{{{name}}}, nor is any table after it read")
            start = after_arguments(plain, begin, name)
            rows = settled(_rows(plain[start:end], plain.count("\n", 0, start) + 1, macros))
        except DataError as error:
            at = plain.count("\n", 0, begin) + 1
            passed_over.append(f"line {at}: this \\begin{{{name}}} is not read: {error}")
            continue
        found.append(Printed(spread(rows), _caption(plain, floats, start)))
        inputs = INPUT.findall(plain, start, end)
        passed_over += [f"\\input of {file} is not followed" for file in inputs]
    return found, passed_over


def _caption(tex: str, floats: Sequence[re.Match[str]], start: int) -> str:
    """The captions of the float that a tabular stands in; "" outside of any."""
    after = bisect(floats, start, key=lambda match: match.start())
    if after in (0, len(floats)) or floats[after - 1][1] == "end":
        return ""
    captions = CAPTION.finditer(tex, floats[after - 1].end(), floats[after].start())
    with suppress(DataError):  # what the table holds is read all the same
        return " ".join(group(tex, match.end())[0] for match in captions)
    return ""


def _environments(tex: str) -> Iterator[tuple[str, int, int]]:
    """Name, start (of its arguments) and end, -1 where it has none, of every outermost tabular."""
    depth, name, start = 0, "", 0
    for match in TABULAR.finditer(tex):
        if match[1] == "begin":
            if depth == 0:
                name, start = match[2], match.end()
            depth += 1
        elif depth:
            depth -= 1
            if depth == 0:
                yield name, start, match.start()
    if depth:
        yield name, start, -1


def _rows(content: str, line: int, macros: Macros) -> Iterator[list[GridCell]]:
    block = 0
    for row, offset in _split(content, row=True):
        bare = RULES.sub(lambda match: "\n" * match[0].count("\n"), row)
        block += bool(BLOCK.search(row))
        if bare.strip():
            lead = bare[: len(bare) - len(bare.lstrip())]
            at = line + content.count("\n", 0, offset) + lead.count("\n")
            yield [read_cell(cell, macros, at, block) for cell, _ in _split(bare, row=False)]


def _split(text: str, *, row: bool) -> Iterator[tuple[str, int]]:
    r"""Parts between \\ (rows) or & (cells), outside of braces and nested environments."""
    depth, start = 0, 0
    for match in BREAK.finditer(text):
        found = match[0]
        depth += {"{": 1, "\\begin": 1, "}": -1, "\\end": -1}.get(found, 0)
        ends_row = found.startswith(("\\\\", "\\tabularnewline"))
        if depth == 0 and (ends_row if row else found == "&"):
            yield text[start : match.start()], start
            start = match.end()
    yield text[start:], start
