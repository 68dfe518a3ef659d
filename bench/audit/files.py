"""What an audit reads: the published tables, or somebody's CSV, LaTeX and Markdown files."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench.audit import latex, markdown
from bench.audit.cells import Printed
from bench.audit.grid import TableRead, read_grid, unread_grid
from bench.audit.names import Given, direction, split_metric
from bench.audit.prose import Claim, ClaimsCard, check
from bench.audit.recompute import audit
from bench.audit.values import Audit, Unread, Value
from bench.base.cards import read_card, read_text
from bench.base.errors import DataError
from bench.base.text import printable
from bench.base.types import Better
from bench.results.published import Source, folder, plain, sources

MAX_BYTES = 20 << 20
TIDY = {"dataset", "method", "metric", "value"}
GRIDS = {".tex": latex.grids, ".md": markdown.grids, ".markdown": markdown.grids}


def audit_published() -> Audit:
    """Audit published tables (those with marks) against themselves and against their prose."""
    values: list[Value] = []
    ranks: dict[str, int] = {}
    names: dict[str, dict[str, str]] = {}
    for source in sources():
        tables = source.card.tables
        if any(table.marked for table in tables.values()):
            names[source.card.name] = titles = {table: f"Table {table}" for table in tables}
            ranks |= {titles[name]: table.marked for name, table in tables.items()}
            values += _published_values(source, titles)
    found = audit(values, ranks)
    for path in sorted(folder().glob("claims/*.toml")):
        card = read_card(path, ClaimsCard)
        found = _with_claims(found, card.claims, values, names.get(card.source, {}))
    return found


def _published_values(source: Source, titles: dict[str, str]) -> list[Value]:
    return [
        Value(
            table=titles[row.table],
            dataset=row.dataset,
            method=f"{row.method} ({row.variant})" if row.variant else row.method,
            metric=row.metric,
            value=row.value,
            better=row.better,
            mark="marked" if row.marked else "",
            who=source.method_name(row),
        )
        for row in source.rows
    ]


def _with_claims(
    found: Audit, claims: Sequence[Claim], values: Sequence[Value], tables: dict[str, str]
) -> Audit:
    contradicted, held = check(claims, values, tables)
    return replace(
        found,
        findings=(*found.findings, *contradicted),
        claims=found.claims + len(claims),
        held=(*found.held, *held),
    )


def audit_files(
    paths: Sequence[Path],
    claims: Path | None = None,
    *,
    significant: bool = False,
    blocks: bool = False,
    without: Sequence[str] = (),
    metrics: Mapping[str, Better] | None = None,
) -> Audit:
    """Audit tables of CSV (tidy or wide), LaTeX and Markdown files, together; as `audit`.

    Args:
        claims: a card of what the text states; its tables are named as in the output.
        metrics: directions of columns, over what is known or printed.

    Raises:
        BenchError: a file that cannot be read as a table (names it and what was expected), or a
            row or column that no table has.
    """
    names = Counter(path.name for path in paths)
    known = {plain(name): better for name, better in (metrics or {}).items()}
    files = [read_file(p, str(p) if names[p.name] > 1 else p.name, known) for p in paths]
    values = [value for file in files for value in file.values]
    _require("--without", without, {value.method for value in values})
    _require("--metric", metrics or {}, {value.metric for value in values})
    for i, value in enumerate(values):
        if better := known.get(plain(value.metric)):
            values[i] = replace(value, better=better, stated=None)
    unread = [cell for file in files for cell in file.unread]
    found = audit(values, significant=significant, blocks=blocks, without=without, unread=unread)
    notes = (*(note for file in files for note in file.notes), *found.notes)
    found = replace(found, notes=notes, unread=tuple(unread))
    if claims is not None:
        found = _with_claims(found, read_card(claims, ClaimsCard).claims, values, {})
    return found


def _require(option: str, names: Iterable[str], there: set[str]) -> None:
    for name in names:
        if plain(name) not in {plain(one) for one in there}:
            expected = ", ".join(sorted(there))
            raise DataError(f"{option}: expected one of {printable(expected)}; found '{name}'")


def read_file(path: Path, name: str = "", given: Given | None = None) -> TableRead:
    """The values of one file, which places call `name`; every cell with a number that is not among
    them is named.

    Raises:
        DataError: it cannot be read, or no table of it can.
    """
    text, name = read_text(path, MAX_BYTES), printable(name or path.name)
    kind = path.suffix.casefold()
    try:
        if kind in GRIDS:
            return _tables(name, given, *GRIDS[kind](text))
        if kind in (".csv", ".tsv"):
            return _csv(text, name, given)
    except DataError as error:
        prefix = "" if str(error).startswith(name) else f"{name}: "
        raise DataError(f"{prefix}{error}") from error
    raise DataError(f"{printable(path)}: expected a .csv, .tsv, .tex or .md file")


def _tables(
    name: str, given: Given | None, found: Sequence[Printed], passed_over: Sequence[str] = ()
) -> TableRead:
    unread = [Unread(name, "", "", "", reason) for reason in passed_over]
    if not found:
        raise DataError(f"{name}: {unread[0].reason if unread else 'no table was found'}")
    values: list[Value] = []
    notes: list[str] = []
    skipped: dict[str, str] = {}
    for number, printed in enumerate(found, 1):
        table = name if len(found) == 1 else f"{name}, table {number}"
        try:
            own = read_grid(printed, table, given or {})
        except DataError as error:
            skipped[table] = str(error).removeprefix(f"{table}: ")
            unread += unread_grid(printed.rows, table, skipped[table])
        else:
            values += own.values
            unread += own.unread
            notes += own.notes
    if not values:
        first = {why: table for table, why in reversed(skipped.items())}
        first = first or {cell.reason: cell.place for cell in unread[:1]}
        whys = "; ".join(f"{place}: {why}" for why, place in reversed(first.items()))
        raise DataError(whys or f"{name}: no value of its tables could be read")
    return TableRead(values, unread, [*(f"{t}: {why}" for t, why in skipped.items()), *notes])


def _csv(text: str, name: str, given: Given | None) -> TableRead:
    heading = text.partition("\n")[0]
    delimiter = max(",;\t", key=heading.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise DataError(f"line {reader.line_num}: is not CSV ({error})") from error
    rows = [(line, row) for line, row in rows if any(cell.strip() for cell in row)]
    if not rows:
        raise DataError("the file is empty")
    head = [cell.strip().casefold() for cell in rows[0][1]]
    for line, row in rows:  # after an unquoted comma every field is another's
        if any(cell.strip() for cell in row[len(head) :]):
            fields = f"expected at most {len(head)} fields, found {len(row)}"
            raise DataError(f"line {line}: {fields}; put a field with a comma in it in quotes")
    if set(head) >= TIDY:
        tidy = [_tidy(dict(zip(head, row, strict=False)), line, name) for line, row in rows[1:]]
        return TableRead(tidy, [])
    grid = [[markdown.read_cell(text, line) for text in row] for line, row in rows]
    return _tables(name, given, [Printed(grid)])


def _tidy(row: dict[str, str], line: int, name: str) -> Value:
    row = {key: text.strip() for key, text in row.items()}
    printed = row.get("value", "")
    cell = markdown.read_cell(printed, line)
    value = cell.number
    if lacking := ", ".join(sorted(TIDY - row.keys())):
        raise DataError(f"line {line}: the row ends before its {lacking}")
    if value is None:
        raise DataError(
            f"line {line}: value: expected one finite number, found '{printable(printed)}'"
        )
    metric, arrow = split_metric(row["metric"])
    words: dict[str, Better] = {"higher": "higher", "lower": "lower"}
    stated = words.get(row.get("better", ""), arrow)
    table = row.get("table", "")
    mark = {"best": "best", "second": "second"}.get(row.get("mark", "").casefold(), "")
    bold = row.get("printed_bold") in ("1", "true", "True")
    return Value(
        table=f"{name}, table {table}" if table else name,
        dataset=row["dataset"],
        method=f"{row['method']} ({row['variant']})" if row.get("variant") else row["method"],
        metric=metric,
        value=value,
        better=direction(metric, stated),
        mark=mark or ("marked" if bold else cell.mark),
        stated=stated,
        line=line,
        told=bool(mark),
    )
