"""The workbook: numbers in full, marks, reasons, and text that is never a formula."""

import csv
import math
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.reports.tables.csv_files import render as render_csv
from bench.reports.tables.excel import render
from bench.results.results import Item, summarize
from bench.results.table_stats import statistics
from bench.results.view import View

from . import results_example as ex

SPACE = {"x": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}
FORMULAS = ("=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1,1)", '=HYPERLINK("http://x")')
Sheet = dict[str, tuple[str | float, str]]


def part(book: zipfile.ZipFile, name: str) -> ElementTree.Element:
    return ElementTree.fromstring(book.read(name))


def sheets(path: Path) -> list[Sheet]:
    """Per sheet, by cell: text or number, and the number of its style."""
    with zipfile.ZipFile(path) as book:
        strings = ["".join(item.itertext()) for item in part(book, "xl/sharedStrings.xml")]
        return [_cells(part(book, f"xl/worksheets/sheet{i}.xml"), strings) for i in (1, 2, 3)]


def _cells(root: ElementTree.Element, strings: list[str]) -> Sheet:
    assert root.findall(".//x:f", SPACE) == [] and root.findall(".//x:hyperlink", SPACE) == []
    found: Sheet = {}
    for cell in root.iterfind(".//x:c", SPACE):
        value = cell.find("x:v", SPACE)
        if value is not None and value.text is not None:
            is_text = cell.get("t") == "s"
            shown = strings[int(value.text)] if is_text else float(value.text)
            found[cell.attrib["r"]] = (shown, cell.get("s", "0"))
    return found


def test_table_holds_unrounded_means_marks_and_reasons(tmp_path: Path) -> None:
    results = ex.example()
    table, means, scores = sheets(render(results, tmp_path, View(every_metric=True))[0])
    assert [table[f"{column}3"][0] for column in "ABCDE"] == [
        "Dataset", "Metric", "Nearest", "Bicubic", "DAT-light [1]",
    ]  # fmt: skip
    summary = summarize(results).set_index(["dataset", "metric", "method"])["mean"]
    assert table["E4"][0] == pytest.approx(summary["clean", "psnr_y", "net"], abs=1e-12)
    assert table["C7"][0] == "–"
    styles = [table[f"{column}4"][1] for column in "CDE"]
    assert len(set(styles)) == 3
    notes = [text for text, _ in table.values() if str(text).startswith("[")]
    assert any("Inception weights are not here" in str(note) for note in notes)
    assert means["A1"][0] == "dataset" and scores["E2"][0] == pytest.approx(25.125)


def test_what_is_not_told_apart_has_a_sign_that_leaves_the_number_a_number(tmp_path: Path) -> None:
    values = {("d", m, f"i{i}", "psnr_y"): 20.0 + i for m in "ab" for i in range(8)}
    values |= {("d", "b", "i0", "psnr_y"): 20.5, ("d", "c", "i0", "psnr_y"): "failed"}
    results = ex.results(values, (ex.PSNR,))
    path = render(results, tmp_path, View(groups=statistics(results).groups))[0]
    table = sheets(path)[0]
    assert (table["C4"][0], table["D4"][0]) == (23.5, 23.5625)
    with zipfile.ZipFile(path) as book:
        assert "0.00&quot;†&quot;" in book.read("xl/styles.xml").decode()
    legend = next(str(text) for text, _ in table.values() if "†" in str(text))
    assert "not told apart from the best" in legend
    assert "Holm over 1 comparison per dataset and metric" in legend


def test_intervals_stand_beside_numbers_that_stay_numbers(tmp_path: Path) -> None:
    values = {("d", m, f"i{i}", "psnr_y"): 20.0 + i for m in "ab" for i in range(8)}
    halves = {("d", "psnr_y", "a"): 0.614, ("d", "psnr_y", "b"): 0.25}
    path = render(ex.results(values, (ex.PSNR,)), tmp_path, View(half_widths=halves))[0]
    table = sheets(path)[0]
    assert (table["C4"][0], table["D4"][0]) == (23.5, 23.5)
    with zipfile.ZipFile(path) as book:
        assert "0.00&quot; ± 0.61&quot;" in book.read("xl/styles.xml").decode()


@pytest.mark.parametrize("layout", ["methods-as-columns", "methods-as-rows"])
def test_every_number_stands_where_its_labels_say(tmp_path: Path, layout: str) -> None:
    results = ex.wide(methods=3, metrics=2, datasets=2)
    results = ex.results(
        {tuple(row[:4]): row[4] for row in results.scores.itertuples(index=False, name=None)},  # type: ignore[misc]
        results.metrics,
    )
    table = sheets(render(results, tmp_path, View(layout=layout))[0])[0]  # type: ignore[arg-type]
    summary = summarize(results).set_index(["dataset", "metric", "method"])["mean"]
    names = {f"{m.title} {m.arrow}": m.name for m in results.metrics}
    rows = 4 if layout == "methods-as-columns" else 6
    for row in range(4, 4 + rows):
        dataset = str(table[f"A{row}"][0]).partition(", n")[0]
        for column in "CDE"[: 3 if rows == 4 else 2]:
            pair = [str(table[f"B{row}"][0]), str(table[f"{column}3"][0])]
            metric, method = pair if rows == 4 else pair[::-1]
            expected = summary[dataset, names[metric], method]
            assert table[f"{column}{row}"][0] == pytest.approx(expected, abs=1e-12)


def test_names_that_look_like_formulas_are_text(tmp_path: Path) -> None:
    values = {(name, name, name, "psnr_y"): 20.0 for name in FORMULAS}
    methods = [Item(name, name, note=name) for name in FORMULAS]
    results = ex.results(values, [ex.PSNR], methods=methods, notes=FORMULAS)
    table, means, scores = sheets(render(results, tmp_path)[0])
    texts = {text for text, _ in [*table.values(), *means.values(), *scores.values()]}
    assert set(FORMULAS) <= texts
    for path in render_csv(results, tmp_path):
        with path.open(newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert {f"'{name}" for name in FORMULAS} <= set(cells)
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)


def test_negative_and_infinite_numbers_stay_what_they_are(tmp_path: Path) -> None:
    values = {("d", "a", "x", "psnr_y"): -3.5, ("d", "b", "x", "psnr_y"): math.inf}
    results = ex.results(values, [ex.PSNR])
    table, _, scores = sheets(render(results, tmp_path)[0])
    assert (table["C4"][0], table["D4"][0]) == (-3.5, "inf")
    assert (scores["E2"][0], scores["E3"][0]) == (-3.5, "inf")
    assert "d,a,x,psnr_y,-3.5," in render_csv(results, tmp_path)[0].read_text()


def test_workbooks_are_equal_byte_for_byte(tmp_path: Path) -> None:
    first, again = (render(ex.hostile(), tmp_path / name)[0].read_bytes() for name in "xy")
    assert first == again
