"""The laid out table and its text renderings: marks, means, footnotes, escaping, widths."""

import csv
import dataclasses
import io
import math
import re
import zipfile
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from rich.cells import cell_len
from rich.console import Console
from table_example import LAYOUTS

from bench.base.errors import DataError
from bench.base.text import of_spreadsheet, spreadsheet_text
from bench.base.types import MetricSpec
from bench.files.safe_csv import csv_bytes, rows_as_csv
from bench.reports import get_report, render_all
from bench.reports.tables.latex import latex
from bench.reports.tables.layout import DASH, make_table, marks
from bench.reports.tables.markdown import escape as escape_markdown
from bench.reports.tables.markdown import markdown
from bench.reports.tables.terminal import show
from bench.results.results import Item, Results, summarize
from bench.results.table_stats import statistics
from bench.results.view import PLAIN, View

from . import results_example as ex

pytest_plugins = ["table_example"]

NAN = math.nan


VIEWS = (View(every_metric=True), View(layout="methods-as-rows", every_metric=True))


def printed(results: Results, width: int = 80, view: View = PLAIN, **options: object) -> str:
    file = io.StringIO()
    show(results, Console(file=file, width=width, **options), view)  # type: ignore[arg-type]
    return file.getvalue()


@pytest.mark.parametrize(
    ("means", "better", "expected"),
    [
        ([1.0, 3.0, 2.0], "higher", ["", "best", "second"]),
        ([1.0, 3.0, 2.0], "lower", ["best", "", "second"]),
        ([2.0, 2.0, 1.0], "higher", ["best", "best", "second"]),
        ([3.0, 2.0, 2.0, 1.0], "higher", ["best", "second", "second", ""]),
        ([27.124, 27.121, 1.0], "higher", ["best", "second", ""]),
        ([NAN, 2.0, 1.0], "higher", ["", "best", ""]),
        ([NAN, 2.0, NAN], "lower", ["", "", ""]),
        ([5.0, 5.0, 5.0], "lower", ["best", "best", "best"]),
        ([math.inf, 40.0, 30.0], "higher", ["best", "second", ""]),
        ([NAN, NAN], "lower", ["", ""]),
    ],
)
def test_marks(means: list[float], better: str, expected: list[str]) -> None:
    assert marks(means, better) == expected  # type: ignore[arg-type]


def test_means_are_over_the_images_that_every_method_has() -> None:
    values = {
        ("d", "full", "a", "psnr_y"): 10.0,
        ("d", "full", "b", "psnr_y"): 30.0,
        ("d", "part", "a", "psnr_y"): 20.0,
        ("d", "part", "b", "psnr_y"): "broken file",
        ("d", "none", "a", "psnr_y"): "no weights",
        ("d", "none", "b", "psnr_y"): "no weights",
    }
    summary = summarize(ex.results(values, [ex.PSNR])).set_index("method")
    assert list(summary["mean"][:2]) == [10.0, 20.0]
    assert math.isnan(summary["mean"]["none"])
    assert dict(summary["n"]) == {"full": 1, "part": 1, "none": 0}
    assert dict(summary["missing"]) == {"full": 0, "part": 1, "none": 2}
    assert dict(summary["reason"]) == {"full": "", "part": "broken file", "none": "no weights"}


def test_methods_without_a_common_image_have_no_mean() -> None:
    values = {
        ("d", "one", "a", "psnr_y"): 10.0,
        ("d", "one", "b", "psnr_y"): "failed",
        ("d", "two", "a", "psnr_y"): "failed",
        ("d", "two", "b", "psnr_y"): 20.0,
    }
    results = ex.results(values, [ex.PSNR])
    assert summarize(results)["mean"].isna().all()
    assert "no image that every method has a value for" in make_table(results).footnotes


def test_a_set_metric_counts_the_images_of_its_dataset() -> None:
    values = {("d", "m", image, "psnr_y"): 20.0 for image in "abc"}
    values[("d", "m", "", "fid")] = 55.5
    summary = summarize(ex.results(values, [ex.PSNR, ex.FID])).set_index("metric")
    assert (summary["mean"]["fid"], summary["n"]["fid"], summary["missing"]["fid"]) == (55.5, 3, 0)


def test_a_score_that_is_there_twice_is_refused() -> None:
    results = ex.example()
    doubled = pd.concat([results.scores, results.scores.head(1)])
    with pytest.raises(DataError, match="clean/a, near, psnr_y"):
        summarize(dataclasses.replace(results, scores=doubled))


def test_many_reasons_are_counted() -> None:
    values = {("d", "m", f"i{i}", "psnr_y"): f"reason {i}" for i in range(9)}
    reason = summarize(ex.results(values, [ex.PSNR]))["reason"][0]
    assert reason == "reason 0; reason 1; reason 2; and 6 more"


def test_a_note_that_names_its_method_does_not_name_it_twice() -> None:
    results = ex.example()
    first = results.methods[0]
    named = dataclasses.replace(first, note=f"{first.title}: a miniature")
    methods = (named, *results.methods[1:])
    found = make_table(dataclasses.replace(results, methods=methods)).footnotes
    assert f"{first.title}: a miniature" in found


def test_images_of_one_photograph_are_told_from_photographs() -> None:
    told = {"datasets": {"d": {"groups": {"a1": "a", "a2": "a"}}}}
    values = {("d", "m", image, "psnr"): 30.0 for image in ("a1", "a2", "b")}
    own = ex.results(values, (ex.PSNR,), provenance=told)
    assert [group.count for group in make_table(own).groups] == ["n = 3 (2 photographs)"]
    alone = dataclasses.replace(own, provenance={})
    assert [group.count for group in make_table(alone).groups] == ["n = 3"]


def test_footnotes_name_each_reason_once_and_do_not_depend_on_the_layout() -> None:
    by_columns, by_rows = (make_table(ex.example(), view) for view in VIEWS)
    assert (
        by_columns.footnotes
        == by_rows.footnotes
        == (
            "DAT-light: trained on clean downscaling only",
            "PSNR-Y: means over the 1 of 2 images that every method has",
            "the Inception weights are not here",
            "no score for 1 of 2 images: out of memory",
            "the LPIPS weights are not here",
        )
    )
    fid = by_columns.groups[0].rows[3].cells
    assert [(cell.text, cell.mark, cell.notes) for cell in fid] == [(DASH, "", (3,))] * 3
    assert by_columns.groups[1].rows[0].cells[2].notes == (4,)
    assert by_columns.groups[1].label.notes == (2,)
    assert [group.count for group in by_columns.groups] == ["n = 2", "n = 1–2"]


@pytest.mark.parametrize("report", ["terminal", "markdown", "latex", "excel", "html"])
def test_a_metric_that_no_method_has_is_a_line_below_the_table(report: str, tmp_path: Path) -> None:
    values = {
        ("d", method, image, metric): value
        for method in ("m", "n")
        for image, metric, value in [
            ("a", "psnr_y", 20.0),
            ("a", "lpips", "alex.pth is not on this machine"),
            ("", "fid", "inception.pt is not on this machine"),
            ("a", "niqe", 5.0 if method == "m" else "broken file"),
        ]
    }
    results = ex.results(values, (ex.PSNR, ex.LPIPS, ex.NIQE, ex.FID))
    gets = "cassr-bench fetch quick gets them (1.2 GB)"
    view = View(remedy={"lpips": gets, "fid": gets, "niqe": gets})
    assert [m.name for m in make_table(results, view).metrics] == ["psnr_y", "niqe"]
    written = get_report(report).load()(results, tmp_path, view)
    text = printable_text(written[0]).partition('<section id="images"')[0]
    assert f"not here: LPIPS, FID; {gets}" in text
    assert text.count("LPIPS") == 1 and "not on this machine" not in text
    assert "broken file" in text
    alone = make_table(results).notes
    assert alone[0] == "not here: LPIPS; alex.pth is not on this machine"
    nothing = ex.results({("d", "m", "a", "lpips"): "no weights"}, (ex.LPIPS,))
    assert make_table(nothing).metrics == (ex.LPIPS,), "a table of no column says nothing"


def printable_text(path: Path) -> str:
    """The words of a report, on one line."""
    if path.suffix == ".xlsx":
        with zipfile.ZipFile(path) as book:
            comments = "xl/comments1.xml"
            told = book.read(comments).decode() if comments in book.namelist() else ""
            table = book.read("xl/worksheets/sheet1.xml").decode()
            strings = re.findall(r"<t[^>]*>([^<]*)", book.read("xl/sharedStrings.xml").decode())
            own = [strings[int(i)] for i in re.findall(r't="s"><v>(\d+)', table)]
            return " ".join([*own, told])
    return " ".join(path.read_text(encoding="utf-8").split())


def test_what_holds_for_several_methods_is_one_footnote() -> None:
    methods = [Item(name, name.upper(), note="not run here.") for name in ("a", "b", "c")]
    methods[2] = dataclasses.replace(methods[2], note="C: not run here.")
    values = {("d", m.name, "x", "psnr_y"): 20.0 for m in methods}
    table = make_table(ex.results(values, [ex.PSNR], methods=methods))
    assert table.footnotes == ("A, B, C: not run here.",)
    assert [label.notes for label in table.columns] == [(1,)] * 3


def test_both_layouts_hold_the_same_cells() -> None:
    by_columns, by_rows = (make_table(ex.example(), view) for view in VIEWS)
    for columns, rows in zip(by_columns.groups, by_rows.groups, strict=True):
        turned = list(zip(*(row.cells for row in rows.rows), strict=True))
        # As text, since NaN is not equal to itself.
        assert repr([row.cells for row in columns.rows]) == repr(turned)


def test_variants_become_the_columns_of_table_3() -> None:
    methods = [
        Item("full", "full", variant={"CFG": "✓", "Caption": "×"}),
        Item("plain", "plain", variant={"CFG": "×", "Caption": "×"}),
    ]
    values = {("d", m.name, "a", "psnr_y"): 20.0 for m in methods}
    results = ex.results(values, [ex.PSNR], methods=methods)
    by_rows = View(layout="methods-as-rows")
    table = make_table(results, by_rows)
    assert table.heads == ("CFG", "Caption")
    assert [[label.text for label in row.labels] for row in table.groups[0].rows] == [
        ["✓", "×"],
        ["×", "×"],
    ]
    assert "| CFG | Caption | PSNR-Y ↑ |" in markdown(results, by_rows)


def test_a_report_of_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="at least one dataset, method and metric"):
        make_table(dataclasses.replace(ex.example(), metrics=()))


def cell_numbers(results: Results) -> list[str]:
    groups = make_table(results).groups
    return [cell.text for group in groups for row in group.rows for cell in row.cells]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("make", [ex.example, ex.wide, ex.hostile, lambda: ex.wide(12, 7, 1)])
def test_terminal_keeps_to_its_width_and_shows_every_number(make, width, layout) -> None:  # type: ignore[no-untyped-def]
    results = make()
    text = printed(results, width, View(layout=layout))
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    words = re.findall(r"[^\s●○]+", text)
    assert Counter(cell_numbers(results)) <= Counter(words)


@pytest.mark.parametrize("width", [80, 120])
def test_terminal_shows_names_whole(width: int) -> None:
    text = printed(ex.example(), width)
    for name in ("Nearest", "Bicubic", "DAT-light", "(bicubic)", "(realistic)", "PSNR-Y ↑"):
        assert name in text


def test_intervals_stand_beside_the_means_that_have_one() -> None:
    values = {
        ("set", method, f"{image}", "psnr"): 25.0 + image * step
        for method, step in (("plain", 0.1), ("ours", 0.2))
        for image in range(12)
    }
    few = {("few", method, "0", "psnr"): 20.0 for method in ("plain", "ours")}
    results = ex.results({**values, **few}, [ex.metric("psnr", "PSNR")])
    statistics_of = statistics(results)
    halves, cells = statistics_of.half_widths, statistics_of.cells.set_index(["dataset", "method"])
    assert set(halves) == {("set", "psnr", "plain"), ("set", "psnr", "ours")}
    low, high = cells.loc[("set", "ours"), ["low", "high"]]
    view, digits = View(half_widths=halves), results.metrics[0].digits
    for text in (printed(results, 200, view), markdown(results, view), latex(results, view)):
        assert f"{26.1:.{digits}f} ± {(high - low) / 2:.{digits}f}" in text
        assert "±: half of the mean" in text and text.count(" ± ") == 2
    assert "±" not in markdown(results)
    infinite = {("set", "plain", "12", "psnr"): math.inf, ("set", "ours", "12", "psnr"): 30.0}
    of_perfect = ex.results({**values, **infinite}, results.metrics)
    assert "no intervals: a score is infinite" in markdown(of_perfect, View(half_widths={}))


@pytest.mark.parametrize("view", [View(), View(half_widths={}), View(groups={})])
def test_below_metrics_of_a_set_stands_once_why_they_have_no_interval(view: View) -> None:
    values = {("set", "a", "", "fid"): 20.0, ("set", "b", "", "fid"): 21.0}
    measured = ex.results(values, (ex.FID,), provenance={"metrics": {"fid": {}}})
    # Nobody expects one of published values.
    published = ex.results(values, (ex.FID,), provenance={"published": "a paper"})
    for text in (printed(measured, 200, view), markdown(measured, view), latex(measured, view)):
        said = " ".join(text.replace("\u200b", "").split())
        assert said.count("FID: no interval and no test; one value for the whole set") == 1
        assert "no intervals:" not in said
    assert "no interval and no test" not in markdown(published, view)


@pytest.mark.parametrize(
    ("metric", "image", "expected"),
    [(ex.FID, "", ["best", "best", "second"]), (ex.PSNR, "i", ["second", "second", "best"])],
)
def test_means_that_print_alike_share_a_mark(
    metric: MetricSpec, image: str, expected: list[str]
) -> None:
    means = {"a": 0.001, "b": 0.004, "c": 7.0}
    values = {("d", method, image, metric.name): mean for method, mean in means.items()}
    (row,) = make_table(ex.results(values, [metric])).groups[0].rows
    assert [cell.text for cell in row.cells] == ["0.00", "0.00", "7.00"]
    assert [cell.mark for cell in row.cells] == expected


@pytest.mark.parametrize("report", ["terminal", "markdown", "latex", "excel"])
def test_where_no_test_is_possible_no_comparisons_are_told(report: str, tmp_path: Path) -> None:
    alone = ex.results({("d", "m", f"{i}", "psnr_y"): 20.0 + i for i in range(9)}, (ex.PSNR,))
    view = View(groups=statistics(alone).groups)
    text = printable_text(get_report(report).load()(alone, tmp_path, view)[0])
    assert "Nothing is marked: no test is possible" in text and "comparison" not in text


def test_a_workbook_of_many_intervals_has_few_formats(tmp_path: Path) -> None:
    values = {(f"d{i}", "m", "a", "psnr_y"): 20.0 for i in range(210)}
    halves = {(f"d{i}", "psnr_y", "m"): 1 + i / 100 for i in range(210)}
    results = ex.results(values, (ex.PSNR,))
    (path,) = get_report("excel").load()(results, tmp_path, View(half_widths=halves))
    with zipfile.ZipFile(path) as book:
        assert book.read("xl/styles.xml").count(b"<numFmt ") < 200
    assert "20.00 ± 3.09" in printable_text(path)


def test_terminal_marks_survive_without_colour_and_have_the_papers_with() -> None:
    plain = printed(ex.example(), color_system=None)
    assert "27.62●" in plain and "26.62○" in plain and "\x1b" not in plain
    coloured = printed(ex.example(), force_terminal=True, color_system="standard", no_color=False)
    assert "\x1b[1;31m" in coloured and "\x1b[94m" in coloured


def test_terminal_of_an_ascii_stream_is_ascii() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii", newline="\n")
    show(ex.hostile(), Console(file=file, width=80), View(every_metric=True))
    file.flush()
    assert "FID v" in raw.getvalue().decode("ascii")


def test_terminal_obeys_no_escape_or_markup_in_names() -> None:
    text = printed(ex.hostile(), 120, force_terminal=True, color_system="standard")
    assert "\x1b[31m" not in text
    assert "[red]markup" in text


def test_markdown_golden() -> None:
    table = markdown(ex.example(), View(every_metric=True)).split("\n\n")[1]
    assert table == "\n".join(
        [
            "| Dataset | Metric | Nearest | Bicubic | DAT-light<sup>1</sup> |",
            "| --- | --- | ---: | ---: | ---: |",
            "| Quick (bicubic), n = 2 | PSNR-Y ↑ | 25.62 | *26.62* | **27.62** |",
            "|  | LPIPS ↓ | 0.5050 | *0.4050* | **0.3050** |",
            "|  | NIQE ↓ | *7.0000* | *7.0000* | **5.4321** |",
            "|  | FID ↓ | –<sup>3</sup> | –<sup>3</sup> | –<sup>3</sup> |",
            "| Quick (realistic), n = 1–2<sup>2</sup> | PSNR-Y ↑ | 23.12 | *24.12* "
            "| **25.12**<sup>4</sup> |",
            "|  | LPIPS ↓ | –<sup>5</sup> | –<sup>5</sup> | –<sup>5</sup> |",
            "|  | NIQE ↓ | *7.0000* | *7.0000* | **5.4321** |",
            "|  | FID ↓ | –<sup>3</sup> | –<sup>3</sup> | –<sup>3</sup> |",
        ]
    )


def test_markdown_names_make_no_cells_tags_or_links() -> None:
    text = markdown(ex.hostile())
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    assert "<script" not in text and "&lt;script&gt;" in text
    assert r"\[x\](y)" in text
    assert escape_markdown("a|b") == r"a\|b"


def test_csv_gives_back_what_went_in(tmp_path: Path) -> None:
    for results in (ex.example(), ex.hostile()):
        scores, summary = get_report("csv").load()(results, tmp_path)
        read = pd.read_csv(scores, keep_default_na=False, na_values={"value": [""]})
        texts = ["dataset", "method", "image", "metric", "reason"]
        shown = {name: results.scores[name].map(spreadsheet_text) for name in texts}
        expected = results.scores.assign(**shown)
        pd.testing.assert_frame_equal(read, expected, check_dtype=False)
        means = pd.read_csv(summary)["mean"]
        pd.testing.assert_series_equal(means, summarize(results)["mean"])
    with scores.open(newline="") as file:
        assert len(list(csv.reader(file))) == 1 + len(results.scores)
    assert b"\x1b" not in scores.read_bytes()


def test_every_csv_escapes_names(folder_of_reports: Path) -> None:
    hostile = ex.hostile()
    methods = tuple(dataclasses.replace(m, name=f"=1+{m.name}\x1b[31m\n") for m in hostile.methods)
    named = {old.name: new.name for old, new in zip(hostile.methods, methods, strict=True)}
    scores = hostile.scores.assign(method=hostile.scores["method"].map(named))
    results = dataclasses.replace(hostile, methods=methods, scores=scores)
    for path in render_all(results, folder_of_reports, ["csv", "statistics", "published", "cost"]):
        if path.suffix == ".csv":
            text = path.read_text()
            assert "\x1b" not in text, path
            assert not [
                line for line in csv.reader(io.StringIO(text)) for f in line if f[:1] == "="
            ]


def test_headings_of_csv_are_texts_like_its_fields() -> None:
    frame = pd.DataFrame({"=1+1": ["@x\x1b"], "n": [1.5]})
    assert csv_bytes(frame) == b"'=1+1,n\n'@x\\x1b,1.5\n"
    for text in ("=x", "'=x", "'-1", "''", "'a", "-", "it's", ""):
        assert of_spreadsheet(spreadsheet_text(text)) == text


def test_rows_become_the_csv_that_their_frame_becomes() -> None:
    rows = [("=1+1", 'a,\n"b"', 0.1 + 0.2, "-x"), ("é\x1b", "", None, "2"), ("", "m", 1e-20, "")]
    columns = ["image", "@metric", "value", "folder"]
    frame = pd.DataFrame(rows, columns=columns).astype({"value": float})
    assert rows_as_csv(columns, rows) == csv_bytes(frame)
