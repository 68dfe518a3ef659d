"""From a grid of cells to values: which is metric, method, dataset. Arrows or known metrics' names
are in the headings (methods as rows) or in the first columns (methods as columns)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from bench.audit.cells import About, Grid, GridCell, Printed, Shape, unfolded, values_in, widened
from bench.audit.names import (
    FACTOR,
    OTHER,
    Given,
    change_in,
    ends_in_metric,
    is_change,
    is_metric,
    led_by,
    named_in,
    tells_marks,
    tells_metrics,
    turned,
)
from bench.audit.numbers import comma_of
from bench.audit.values import Unread, Value, all_of
from bench.base.errors import DataError
from bench.base.text import printable
from bench.results.published import plain

DATASET_HEADS = {"dataset", "datasets", "data", "benchmark", "benchmarks", "testset", "testsets"}
IMAGE_HEADS = {"image", "images", "scene", "scenes"}
SETTING_HEADS = IMAGE_HEADS | {
    *("scale", "factor", "scalefactor", "upscalingfactor", "qualityfactor", "noiselevel", "sigma"),
    "σ",
}
METHOD_HEADS = {"method", "methods", "model", "models", "network", "networks", "algorithm"}
NUMBER = re.compile(r"\W*\d[\d.,]*\W*")
CHECKS = {"✓", "✔", "×", "✗", "✘", "x", "", "yes", "no", "on", "off"}


class _Caption(NamedTuple):
    """What a caption says: whether marks mean the best, and metrics, where it alone names any."""

    told: bool
    metric: str


class TableRead(NamedTuple):
    """What tables say, their cells that were not read, and why others were passed over."""

    values: list[Value]
    unread: list[Unread]
    notes: Sequence[str] = ()


def read_grid(printed: Printed, table: str, given: Given) -> TableRead:
    """The values of a table, which places call so; every other cell with a number is named. `given`
    are metrics' directions, by plain names.
    DataError: there are no numbers, or nothing that tells where the metrics are."""
    width = max(map(len, printed.rows), default=0)
    full = [[*row, *[GridCell("")] * (width - len(row))] for row in printed.rows]
    rows = [row for row in unfolded(full) if any(cell.text for cell in row)]
    for i, row in enumerate(rows):
        head = not any(NUMBER.fullmatch(cell.text) for cell in row)
        rows[i] = [replace(cell, text=turned(cell.text, given, head)) for cell in row]
    texts = [cell.text for row in rows for cell in row]
    named = "" if any(map(ends_in_metric, texts)) else named_in(printed.caption)
    caption = _Caption(tells_marks(printed.caption), named)
    found = [one for block in _blocks(rows) for one in _read_block(block, table, caption)]
    values = [one for one in found if isinstance(one, Value)]
    notes = [f"{printable(table)}: its caption names its metric, {named}"] if named else []
    unread = [one for one in found if isinstance(one, Unread)]
    return TableRead(_apart(values, table), unread, notes)


def unread_grid(grid: Grid, table: str, reason: str) -> list[Unread]:
    """The cells with numbers of a table that could not be read at all."""
    cells = [cell for row in grid for cell in row if cell.numeric or cell.macro]
    return [Unread(table, "", "", cell.text, reason, cell.line) for cell in cells]


def _blocks(rows: list[list[GridCell]]) -> Iterator[list[list[GridCell]]]:
    """Parts of a table with headings of their own: a row of metrics' names begins another."""
    start = 0
    for i in range(1, len(rows)):
        if _names_metrics(rows[i]) and any(_is_data(row) for row in rows[start:i]):
            above = i
            while not _is_data(rows[above - 1]):
                above -= 1
            yield rows[start:above]
            start = above
    yield rows[start:]


def _names_metrics(row: Sequence[GridCell]) -> bool:
    texts = [cell.text for cell in row[1:] if cell.text]
    return len(texts) > 1 and not any(c.numeric for c in row[1:]) and all(map(is_metric, texts))


def _read_block(rows: list[list[GridCell]], table: str, caption: _Caption) -> list[Value | Unread]:
    data = (i for i, row in enumerate(rows) if _is_data(row) or _below_metrics(row, rows[0]))
    first = next(data, None)
    if first is None:
        raise DataError(f"{printable(table)}: no row with numbers was found")
    while first > 1 and not is_metric(_heading(rows[first - 1], 1) or "PSNR"):
        first -= 1
    body = rows[first:]
    columns = range(len(rows[0]))
    rows[:first] = widened(rows[:first])
    heads = [_joined([row[column] for row in rows[:first]]) for column in columns]
    labels = _label_columns(body, heads)
    if not first or not labels:
        raise DataError(f"{printable(table)}: a heading and a first column of names are needed")
    comma = comma_of(cell.text for row in body for cell in row[labels:] if cell.numeric)
    passed = _text_columns(body, labels, heads)
    shape = Shape(table, labels, heads, comma, passed, caption.told)
    found = [*_numbers_above(rows[:first], table)]
    texts = [[row[column].text for row in body if row[column].text] for column in range(labels)]
    others = [i for i in range(labels) if plain(heads[i].split(" ")[-1]) not in METHOD_HEADS]
    metric = next((i for i in others if texts[i] and tells_metrics(texts[i])), None)
    bottom = [row.text for row in rows[first - 1]]
    named = any(map(is_metric, [*heads[labels:], *bottom[labels:]]))  # a method may end in one
    if tells_metrics(heads[labels:]) or (metric is None and named):
        uppers = [_joined([row[column] for row in rows[: first - 1]]) for column in columns]
        return [*found, *_methods_as_rows(body, shape, bottom, uppers)]
    bold = [any(row[column].marked for row in rows[:first]) for column in columns]
    if caption.metric and plain(heads[0]) in METHOD_HEADS:
        bottom = ["" if OTHER.fullmatch(head) else caption.metric for head in heads]
        return [*found, *_methods_as_rows(body, shape, bottom, heads)]
    if caption.metric and plain(heads[0]) in DATASET_HEADS | SETTING_HEADS:
        return [*found, *_methods_as_columns(body, shape, caption.metric, bold)]
    if metric is None:
        mend = "give them arrows (↑ ↓ or $\\uparrow$ $\\downarrow$) or --metric COLUMN=higher"
        why = f"neither headings nor first columns name metrics; {mend}"
        raise DataError(f"{printable(table)}: {why}")
    return [*found, *_methods_as_columns(body, shape, metric, bold)]


def _below_metrics(row: Sequence[GridCell], top: Sequence[GridCell]) -> bool:
    """Whether a number or a dash stands below a metric's name at the top: most may be words."""
    below = [cell for cell, head in zip(row[1:], top[1:], strict=True) if ends_in_metric(head.text)]
    return row is not top and any(cell.numeric or (cell.missing and cell.text) for cell in below)


def _text_columns(body: Grid, labels: int, heads: Sequence[str]) -> frozenset[int]:
    def holds(column: int) -> bool:
        return any(row[column].numeric or row[column].macro for row in body)

    below = range(labels, len(heads))
    return frozenset(i for i in below if not is_metric(heads[i]) and not holds(i))


def _numbers_above(heads: Grid, table: str) -> Iterator[Unread]:
    """Numbers among the headings, which a row of values that was taken for one would leave."""
    for i, row in enumerate(heads):
        for cell in row[1:]:
            value = cell.number is not None and re.search(r"[.,]\d", cell.text)
            if value or (i and cell.macro):
                about = (row[0].text, "", cell.text, "stands among the headings", cell.line)
                yield Unread(table, *about)


def _apart(values: Sequence[Value], table: str) -> list[Value]:
    """The values, each with a dataset, metric and method of its own; blocks may tell them apart."""
    keys = [(value.dataset, value.metric, value.method) for value in values]
    if len(set(keys)) == len(keys):
        return list(values)
    if all(value.block for value in values):
        named = [replace(v, dataset=all_of(v.dataset, v.block), block="") for v in values]
        return _apart(named, table)
    twice = printable(all_of(*next(key for key in keys if keys.count(key) > 1)))
    mend = "give datasets a column headed Dataset, and methods names of their own"
    raise DataError(f"{printable(table)}: two values are both {twice}; {mend}")


def _is_data(row: Sequence[GridCell]) -> bool:
    """At least half of what follows the first cell are numbers, or all of it is missing."""
    rest = [cell for cell in row[1:] if cell.text]
    there = [cell for cell in rest if not cell.missing]
    numeric = sum(cell.numeric for cell in there)
    return bool(rest) and 2 * numeric >= len(there)


def _label_columns(body: Grid, heads: Sequence[str]) -> int:
    """How many columns at the left hold names: those before the first that holds values.

    That is one that is mostly numbers, or one below a metric's name that has any. Settings, as of
    an ablation, are numbers too: those at the left of all others that are no metric's.
    """
    settings = not is_metric(heads[0])
    for column in range(len(body[0])):
        cells = [row[column] for row in body if row[column].text]
        numeric = sum(cell.numeric or cell.missing for cell in cells)
        metric = bool(column) and is_metric(heads[column])
        holds = any(cell.numeric for cell in cells) and (2 * numeric > len(cells) or metric)
        settings = settings and holds and not metric and any(map(is_metric, heads[column:]))
        if holds and not settings and plain(heads[column]) not in SETTING_HEADS:
            return column
    return len(body[0])


def _joined(cells: Sequence[GridCell]) -> str:
    return " ".join(dict.fromkeys(cell.text for cell in cells if cell.text))


def _methods_as_rows(
    body: Grid, shape: Shape, bottom: Sequence[str], uppers: Sequence[str]
) -> Iterator[Value | Unread]:
    rows = _below_headings(body, shape.labels)
    dataset_column = _dataset_column([row for _, row in rows], shape)
    columns = list(_columns([row for _, row in rows], shape, bottom, uppers))
    leads = [above for above, _, why in columns[shape.labels :] if not why]
    across = _methods_above([row for _, row in rows], shape, leads)
    others = [i for i in range(shape.labels) if i != dataset_column]
    settings = [i for i in others if plain(shape.heads[i]) in SETTING_HEADS]
    names = [i for i in others if i not in settings] or settings
    methods = [(heading, all_of(*(row[i].text for i in names))) for heading, row in rows]
    kinds, signs = {heading for heading, _ in methods}, _signs_tell(body, shape)
    once = len(set(methods)) == len({method for _, method in methods})
    dataset = ""
    alone: dict[int, set[str]] = {}
    if dataset_column is not None:
        for _, row in rows:
            alone.setdefault(row[0].block, set()).add(row[dataset_column].text)
    for (heading, method), (_, row) in zip(methods, rows, strict=True):
        block = f"block {row[0].block - rows[0][1][0].block + 1}" if kinds == {""} else heading
        here = "" if once else heading
        if dataset_column is not None:
            told = alone[row[0].block] - {""}
            # where the first row has none, names stand at the middle of their blocks
            middle = len(told) == 1 and not rows[0][1][dataset_column].text
            own = row[dataset_column].text or (told.pop() if middle else "")
            dataset = here = own or dataset
        here = all_of(here, *(row[i].text for i in settings if i not in names))
        texts = [cell.text for _, cell in shape.values_of(row)]
        change = is_change(method, texts if signs else ())
        marked = not across and any(row[i].marked for i in names)
        for column, cell in shape.values_of(row):
            above, metric, why = columns[column]
            place = (here or method, above) if across else (all_of(here, above), method)
            about = About(method, *place, metric, marked)
            why = "is a change, not a value" if change else why
            yield from values_in(cell, shape, column, about, block if here != block else "", why)


def _columns(
    body: Grid, shape: Shape, bottom: Sequence[str], uppers: Sequence[str]
) -> Iterator[tuple[str, str, str]]:
    """Of each column: what its metric is of, the metric, and why its values are not judged."""
    for column, head in enumerate(shape.heads):
        named = is_metric(bottom[column])
        lead, metric = led_by(bottom[column] if named else head)
        above = all_of(uppers[column] if named else "", lead)
        signed = any(row[column].text[:1] in ("+", "-", "−") for row in body)
        yield change_in(head, signed) or (above, metric, "")


def _methods_above(body: Grid, shape: Shape, above: Sequence[str]) -> bool:
    """Whether methods stand above the metrics: each row is a test set or image of its own."""
    first = [row[0].text for row in body]
    heads = [plain(head) for head in shape.heads[: shape.labels]]
    alone = heads[0] in (DATASET_HEADS | IMAGE_HEADS) - {"data"} and not METHOD_HEADS.intersection(
        heads
    )
    named = all(name and not FACTOR.fullmatch(name) for name in above)
    return alone and len(set(first)) == len(first) and named and len(set(above)) > 1


def _below_headings(body: Grid, labels: int) -> list[tuple[str, Sequence[GridCell]]]:
    """The rows that hold more than a heading, each with the heading that it stands below."""
    found, heading = [], ""
    for row in body:
        if _heading(row, labels):
            heading = _heading(row, labels)
        else:
            found.append((heading, row))
    return found


def _dataset_column(body: Grid, shape: Shape) -> int | None:
    """The column of words headed so; else one of scales beside the names; else the first of
    several, where methods are repeated under it."""
    labels, words = shape.labels, [*range(shape.labels), *sorted(shape.passed)]
    named = next((i for i in words if plain(shape.heads[i]) in DATASET_HEADS), None)
    if named is not None or labels < 2:
        return named
    below = [row[1].text for row in body if row[1].text]
    if labels == 2 and below and all(map(FACTOR.fullmatch, below)):
        return 1
    if plain(shape.heads[0]) in METHOD_HEADS:
        return None
    groups: dict[str, set[str]] = {}
    for row in body:
        groups.setdefault(row[0].text, set()).add(row[labels - 1].text)
    names = {row[labels - 1].text for row in body}
    sizes = [len(group) for group in groups.values()]
    repeated = len(groups) > 1 and sum(sizes) > len(names) and max(sizes) > 1
    return 0 if repeated and not names <= CHECKS and not set(groups) <= CHECKS else None


def _methods_as_columns(
    body: Grid, shape: Shape, metric: int | str, named: Sequence[bool]
) -> Iterator[Value | Unread]:
    """`metric` is the column that names it, or its name."""
    dataset = above = ""
    heads = shape.heads
    texts = [[row[i].text for row in body if row[i].text] for i in range(len(heads))]
    texts = texts if _signs_tell(body, shape) else [[] for _ in heads]
    why_not = {
        i: "is a change, not a value" for i, own in enumerate(texts) if is_change(heads[i], own)
    }
    if isinstance(metric, str):
        others = (i for i, head in enumerate(heads) if OTHER.fullmatch(head))
        why_not |= dict.fromkeys(others, f"is not {metric} (see its heading)")
    for heading, row in _below_headings(body, shape.labels):
        dataset, above = (heading, heading) if heading != above else (dataset, above)
        dataset = all_of(*(row[i].text for i in range(shape.labels) if i != metric)) or dataset
        told = metric if isinstance(metric, str) else row[metric].text
        name = all_of(dataset, told)
        for column, cell in shape.values_of(row):
            about = About(name, dataset, heads[column], told, named[column])
            yield from values_in(cell, shape, column, about, why_not=why_not.get(column, ""))


def _signs_tell(body: Grid, shape: Shape) -> bool:
    """Whether signs tell changes from values: not where all are negative, as an NLL may be."""
    cells = (cell for row in body for _, cell in shape.values_of(row) if cell.numeric)
    return not all(cell.text[0] in "-−" for cell in cells)


def _heading(row: Sequence[GridCell], labels: int) -> str:
    """The text of a row that holds nothing else: a heading between groups of rows."""
    texts = list(dict.fromkeys(cell.text for cell in row if cell.text))
    numeric = any(cell.numeric for cell in row[labels:])
    return texts[0] if len(texts) == 1 and not numeric else ""
