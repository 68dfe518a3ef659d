"""How tables are laid out: which cell is whose, in LaTeX, Markdown and HTML."""

import itertools
from pathlib import Path

import pytest
from audit_tables import BLOCKS, GROUPED, METHODS_AS_ROWS, SECTIONS, judged, read

from bench.audit.files import audit_files
from bench.base.errors import DataError
from bench.reports import get_report
from bench.results.table_stats import statistics
from bench.results.view import View

from . import results_example as ex

PAPER_LIKE = r"""
\begin{table*}\caption{Best in \textcolor{red}{red}}
\begin{tabular*}{\textwidth}[t]{@{\extracolsep{\fill}}c|c|ccc@{}}
\toprule
Datasets & Metrics & BSRGAN~\cite{b} & HAT & Ours \\ \midrule
\multirow{2}{*}{\shortstack{RealSR\\\cite{c}}} & FID$\downarrow$ &
  143.38 & \textbf{123.06} & \underline{139.06} \\
 & LPIPS $\downarrow$ & \textbf{0.2688} & 0.2469 & \underline{0.3822} \\ \cmidrule{1-5}
\multirow{2}{*}{DRealSR} & FID$\downarrow$ & 157.03 & \textbf{141.86} & \underline{150.14} \\
% & LPIPS & 1 & 2 & 3 \\
 & LPIPS $\downarrow$ & 0.3600 & \underline{0.3370} & \textbf{0.3067} \\[1pt]
\bottomrule
\end{tabular*}
\end{table*}
"""


CHECKS = r"""
\begin{tabular}{cc|cc}
Prompt & CFG & FID $\downarrow$ & MUSIQ $\uparrow$ \\
\checkmark & $\times$ & 30.1 & 68.1 \\
\checkmark & \checkmark & \textbf{29.5} & \textbf{69.2} \\
$\times$ & \checkmark & 31.0 & 68.9 \\
\end{tabular}
"""


def test_methods_as_columns(tmp_path: Path) -> None:
    values, found = read(tmp_path, PAPER_LIKE)
    assert len(values) == 12
    assert {value.dataset for value in values} == {"RealSR", "DRealSR"}
    assert [value.method for value in values[:3]] == ["BSRGAN", "HAT", "Ours"]
    (finding,) = found.findings
    assert "RealSR, LPIPS, line 8" in finding.first.place
    assert "HAT 0.2469 is the best and not marked" in finding.detail


def test_methods_as_rows_below_two_headings(tmp_path: Path) -> None:
    values, found = read(tmp_path, METHODS_AS_ROWS)
    assert {(v.dataset, v.metric) for v in values} == {
        (dataset, metric) for dataset in ("RealSR", "DRealSR") for metric in ("PSNR", "LPIPS")
    }
    assert not found.findings
    broken = METHODS_AS_ROWS.replace(r"\textbf{28.50}", "28.50")
    _, found = read(tmp_path, broken)
    assert [f.detail for f in found.findings] == ["C 28.50 is the best and not marked"]


def test_headings_between_rows_are_datasets(tmp_path: Path) -> None:
    values, found = read(tmp_path, GROUPED)
    assert [value.dataset for value in values] == ["RealSR"] * 4 + ["DRealSR"] * 4
    assert not found.findings


def test_ticks_are_methods(tmp_path: Path) -> None:
    values, found = read(tmp_path, CHECKS)
    assert list(dict.fromkeys(value.method for value in values)) == ["✓, ×", "✓, ✓", "×, ✓"]
    assert not found.findings


def test_other_tabulars_of_a_file_are_passed_over_with_a_note(tmp_path: Path) -> None:
    settings = r"\begin{tabular}{ll} optimiser & Adam \\ \end{tabular}"
    _, found = read(tmp_path, settings + GROUPED)
    assert found.notes == ("t.tex, table 1: no row with numbers was found",)
    assert found.values == 8


@pytest.mark.parametrize("layout", ["methods-as-columns", "methods-as-rows"])
@pytest.mark.parametrize("make", [ex.example, ex.wide])
def test_our_own_latex_tables_pass(make: object, layout: str, tmp_path: Path) -> None:
    view = View(layout=layout)  # type: ignore[arg-type]
    for path in get_report("latex").load()(make(), tmp_path, view):  # type: ignore[operator]
        found = audit_files([path])
        assert found.values > 10
        assert {finding.kind for finding in found.findings} <= {"identical"}, found.findings


def test_our_own_marks_of_what_is_not_told_apart_pass(tmp_path: Path) -> None:
    values = {
        ("d", method, f"i{i}", "psnr_y"): 20.0 + i + gap + 0.2 * ((i + turn) % 3)
        for turn, (method, gap) in enumerate({"best": 0.05, "twin": 0.0, "bad": -3.0}.items())
        for i in range(12)
    }
    results = ex.results(values, (ex.PSNR,))
    view = View(groups=statistics(results).groups)
    for path in get_report("latex").load()(results, tmp_path, view):
        assert path.read_text().count(r"$^{\dagger}$") == 2, "one cell and the legend"
        found = audit_files([path])
        assert found.values == 3 and not found.findings and not found.notes


def test_cells_across_columns_and_rows_above_are_understood(tmp_path: Path) -> None:
    table = r"""\begin{tabular}{llc} Dataset & Method & PSNR \\
    & A & 24 \\ \multirow{-2}{*}{RealSR} & B & 25 \\ & A & 26 \\
    \multirow{-2}{*}{DRealSR} & B & \multicolumn{2}{c}{27} \\ \end{tabular}"""
    values, audited = read(tmp_path, table)
    assert [(v.dataset, v.value) for v in values] == [
        ("RealSR", 24), ("RealSR", 25), ("DRealSR", 26)
    ]  # fmt: skip
    assert {cell.text for cell in audited.unread} == {"27"}


def test_headings_between_rows_begin_a_table_of_other_metrics(tmp_path: Path) -> None:
    table = r"""\begin{tabular}{lcc} Method & PSNR & SSIM \\ A & 24 & 0.7 \\
    Method & LPIPS & DISTS \\ A & 0.3 & 0.2 \\ \end{tabular}"""
    found, _ = judged(tmp_path, table)
    assert found == {"A PSNR": "24", "A SSIM": "0.7", "A LPIPS": "0.3", "A DISTS": "0.2"}


def test_rows_of_changes_are_named_and_no_method(tmp_path: Path) -> None:
    table = BLOCKS.replace(r"\bottomrule", r"$\Delta$ & +0.44 & -0.017 & -3 \\")
    _, found = read(tmp_path, table)
    assert not found.findings
    assert [cell.reason for cell in found.unread] == ["is a change, not a value"] * 3


def test_tables_that_name_no_dataset_are_not_compared(tmp_path: Path) -> None:
    _, found = read(tmp_path, BLOCKS + BLOCKS.replace("25.18", "25.19"))
    assert not found.findings and found.tables == 2


def test_tables_below_headings_are_of_different_things(tmp_path: Path) -> None:
    parts = [SECTIONS.format(name, *[digit] * 8) for name, digit in (("Set5", 1), ("Urban", 2))]
    values, found = read(tmp_path, "\n".join(parts), "t.md")
    assert not found.findings
    assert {(value.dataset, value.method) for value in values} == set(
        itertools.product(("2x", "4x"), "AB")
    )
    why = "0 of 8 values of the same names agree, so they are taken for tables of different things"
    assert f"t.md, table 1 and t.md, table 2: {why}" in found.abstained
    again = parts[0].replace("31.7", "31.9")
    _, found = read(tmp_path, "\n".join([parts[0], again]), "t.md")
    assert [finding.kind for finding in found.findings] == ["differs"]
    tables = [*parts, again]
    for order in ([1, 0, 2], [0, 2, 1]):
        _, found = read(tmp_path, "\n".join(tables[i] for i in order), "t.md")
        (finding,) = found.findings
        places = [f"t.md, table {order.index(i) + 1}" for i in (0, 2)]
        both = (finding.first, finding.second)
        assert [one.place.partition(", 2x")[0] for one in both] == places
        assert [one.says for one in both] == ["31.7", "31.9"]


def test_a_scale_in_the_middle_of_a_block_holds_for_all_of_it(tmp_path: Path) -> None:
    rows = [r"A & & 30.1 \\ B & $\times 2$ & \textbf{31.5} \\ C & & 31.0 \\"]
    rows.append(r"A & & 25.1 \\ B & $\times 4$ & 26.0 \\ C & & \textbf{26.5} \\")
    table = r"\begin{tabular}{lcc} Method & Scale & PSNR \\ \midrule %s \end{tabular}"
    values, found = read(tmp_path, table % r" \midrule ".join(rows), "t.tex")
    assert [value.dataset for value in values] == ["× 2"] * 3 + ["× 4"] * 3
    assert not found.findings and not found.abstained
    rows = [r"Set5 & A & 30.1 \\ & B & 31.0 \\ \midrule & Ours & \textbf{31.5} \\"]
    rows += [r"Manga & A & 25.1 \\ & B & 26.0 \\", r"& Ours & \textbf{26.5} \\"]
    table = r"\begin{tabular}{llc} Dataset & Method & PSNR \\ \midrule %s \end{tabular}"
    for last in (r" \midrule ", " "):  # a block's only name is not that of rows above it
        values, found = read(tmp_path, table % (" ".join(rows[:2]) + last + rows[2]), "t.tex")
        assert [value.dataset for value in values] == ["Set5"] * 3 + ["Manga"] * 3
        assert not found.findings and not found.abstained


def test_a_method_that_ends_in_a_metrics_name_makes_no_table_of_metrics(tmp_path: Path) -> None:
    rows = "| Dataset | L1 | L1 + LPIPS | GAN | Ours |\n|---|---|---|---|---|\n"
    rows += "| Set5 | 30.1 | 31.2 | 29.0 | 31.5 |\n| Set14 | 27.1 | 28.2 | 26.0 | 28.5 |\n"
    with pytest.raises(DataError, match="neither headings nor first columns name metrics"):
        read(tmp_path, rows, "t.md")


HTML = """<table>
<caption>Red is best, blue second best.</caption>
<tr><th rowspan="2">Method</th><th colspan="2">RealSR</th><th colspan="2">DRealSR</th></tr>
<tr><th>PSNR</th><th>$LPIPS \\downarrow$</th><th>PSNR</th><th>LPIPS</th></tr>
<tr><td>A</td><td>24.1</td><td style="color: #0000FF">.30</td><td>27.1</td><td>.33</td></tr>

<tr><td>B</td><td><font color="blue">24.6</font></td><td>.31</td>
    <td><span style="color:blue">27.3</span></td><td><b style="color:blue">.32</b></td></tr>

<tr><td>Ours</td><td><span style="color:red">{}</span></td><td><font color=red>.28</font></td>
    <td style="color:red">28.0</td><td><span style="color:rgb(255,0,0)">.30</span></td></tr>
</table>
"""


def test_tables_of_html_and_the_colours_of_its_tags_are_read(tmp_path: Path) -> None:
    values, found = read(tmp_path, HTML.format("25.0"), "t.md")
    assert len(values) == 12 and not found.unread and not found.findings and not found.abstained
    assert {(v.dataset, v.metric) for v in values} == set(
        itertools.product(("RealSR", "DRealSR"), ("PSNR", "LPIPS"))
    )
    assert [v.line for v in values] == [5] * 4 + [7, 7, 8, 8] + [10, 10, 11, 11]
    _, found = read(tmp_path, HTML.format("24.5"), "t.md")
    (finding,) = found.findings
    assert "Ours 24.5 is second best" in finding.detail
    colours = (
        '| M | PSNR |\n|---|---|\n| A | <font color="red">{}</font> |\n| B | 31 |\n| C | 29 |\n'
    )
    assert not read(tmp_path, colours.format(32), "t.md")[1].findings
    assert read(tmp_path, colours.format(30), "t.md")[1].findings
    open_ = "Best in bold.\n\n<table><tr{}><th>M<th>PSNR<th>SSIM<tr><td>A<td>23.9<td>0.72"
    open_ += "<tr><td>C<sup>1<td>23.5<td>0.69<tr><td>B<td style='font-weight:bold'>24.1<td>0.70"
    for row in ("", " bgcolor=red"):
        values, found = read(tmp_path, open_.format(row), "t.md")
        assert [v.mark for v in values] == [""] * 4 + ["best", ""] and not found.findings
    parts = "<table><thead style='font-weight:bold'><tr><th>M<th>PSNR"
    parts += "".join(f"<tbody><tr><td>A{i}<td>23.{i:03}" for i in range(150))
    values, found = read(tmp_path, f"Best in bold.\n\n{parts}</table>", "t.md")
    assert [v.mark for v in values] == [""] * 150 and not found.findings
    wide = "<table><tr><td>a</td>" + '<td colspan="999">1</td>' * 2 + "</tr></table>"
    tall = "<table><tr><td rowspan=1000 colspan=999>1" + "<tr><td>2" * 200 + "</table>"
    deep = "<table><tr><td>" + "<i>a" * 8000 + "</table>"
    for table, why in (
        ("more than 1000 columns", wide),
        ("more than 1000 columns or 50000 cells", tall),
        ("nested more than 100 deep", deep),
    ):
        with pytest.raises(DataError, match=f"line 1: a <table> is not read: .*{table}"):
            read(tmp_path, why, "t.md")
        values, found = read(tmp_path, f"{why}\n\n{colours.format(30)}", "t.md")
        assert len(values) == 3 and found.findings and len(found.unread) == 1


def test_a_metric_that_the_caption_alone_names(tmp_path: Path) -> None:
    sets = "{}\n\n| Method | Set5 | Set14 |\n|---|---|---|\n| A | 30.1 | {} |\n"
    sets += "| B | **31.0** | 28.0 |\n| C | 30.5 | **28.5** |\n"
    values, found = read(tmp_path, sets.format("PSNR, the best in bold.", "27.0"), "t.md")
    assert {(v.dataset, v.metric, v.better) for v in values} == {
        ("Set5", "PSNR", "higher"),
        ("Set14", "PSNR", "higher"),
    }
    assert not found.findings and "t.md: its caption names its metric, PSNR" in found.notes
    (finding,) = read(tmp_path, sets.format("PSNR, the best in bold.", "29.0"), "t.md")[1].findings
    assert "A 29.0 is the best and not marked" in finding.detail
    with pytest.raises(DataError, match="neither headings nor first columns name metrics"):
        read(tmp_path, sets.format("The best in bold.", "27.0"), "t.md")
    table = "PSNR (dB), the best in bold.\n\n| Method | Params (M) | Set5 | Time (s) |\n"
    table += "|---|---|---|---|\n| A | 12.1 | 32.1 | 1 |\n| B | **8.1** | **32.5** | 2 |\n"
    values, found = read(tmp_path, f"{table}| C | 20.1 | 32.0 | 3 |\n", "t.md")
    assert {v.metric: v.better for v in values} == {
        "PSNR": "higher", "Params (M)": None, "Time (s)": None
    }  # fmt: skip
    assert not found.findings and not found.unread
    table = "PSNR, best in bold.\n\n| Dataset | #Images | A | B |\n|---|---|---|---|\n"
    values, found = read(tmp_path, f"{table}| Set5 | 5 | 32.1 | **32.5** |\n", "t.md")
    assert [v.method for v in values] == ["A", "B"]
    sizes = (
        "PSNR, best in bold.\n\n| Dataset | HAT (S) | Memory Net | Ours #1 |\n|---|---|---|---|\n"
    )
    values, other = read(tmp_path, f"{sizes}| Set5 | 32.1 | 32.2 | **32.5** |\n", "t.md")
    assert [v.method for v in values] == ["HAT (S)", "Memory Net", "Ours #1"] and not other.unread
    years = "PSNR, best in bold.\n\n| Method | Year | Steps | Parameter | Set5 |\n"
    years += "|---|---|---|---|---|\n"
    years += "| A | 2021 | 4 | 2 | 30.1 |\n| **B** | **2020** | **1** | **1** | **31.2** |\n"
    assert not read(tmp_path, years, "t.md")[1].findings
    assert [cell.reason for cell in found.unread] == [
        "is not PSNR (see its heading)"
    ] and not found.findings
    levels = r"\begin{table}\caption{PSNR/SSIM on BSD68. \textbf{Best}.}\begin{tabular}{lcc}"
    levels += r" Noise level & BM3D & Ours \\ 15 & 31.1/.87 & \textbf{31.7}/\textbf{.88} \\"
    levels += r" 25 & \textbf{29.1}/.80 & 29.0/\textbf{.82} \\ \end{tabular}\end{table}"
    values, found = read(tmp_path, levels, "t.tex")
    assert {(v.dataset, v.method) for v in values} == set(
        itertools.product(("15", "25"), ("BM3D", "Ours"))
    )
    assert len(values) == 8 and not found.unread and not found.findings


def test_a_scale_before_a_name_is_part_of_it(tmp_path: Path) -> None:
    table = "| Scale | Method | PSNR |\n|---|---|---|\n| x | 4x BSRGAN (ICCV 2021) | 24.1 |\n"
    values, _ = read(tmp_path, f"{table}| x | 4x Swin2SR | 25.1 |\n", "t.md")
    assert len({v.method for v in values}) == len(values) == 2


def test_rows_of_words_and_names_that_begin_with_digits(tmp_path: Path) -> None:
    table = (
        "| Model | Dataset | Task | Size | 2x (PSNR/SSIM) | Download |\n|---|---|---|---|---|---|\n"
    )
    table += "| 001_SRNet_x4 | Set5 | SR | 256x256 | - | [log](a) |\n"
    table += "| 3D-Net | Set5 | SR | 256x256 | 30.1/0.87 | [log](b) |\n"
    values, found = read(tmp_path, table, "t.md")
    assert [(v.method, v.metric) for v in values] == [
        ("3D-Net, SR, 256x256", "PSNR"),
        ("3D-Net, SR, 256x256", "SSIM"),
    ]
    assert not found.unread
    rows = "| Dataset | Scale | Method | PSNR (RGB) |\n|---|---|---|---|\n"
    rows += "".join(f"| Set5 | {k} | {m} | {v} |\n" for k, m, v in [(2, "A", 38), (4, "A", 32)])
    rows += "| Set5 | 2 | B | **39** |\n| Set5 | 4 | B | **33** |\n"
    values, found = read(tmp_path, rows, "t.md")
    assert {(v.dataset, v.method, v.better) for v in values} == {
        (f"Set5, {k}", m, "higher") for k, m in itertools.product("24", "AB")
    }
    assert not found.findings


def test_columns_of_changes_are_no_method_and_may_be_called_alike(tmp_path: Path) -> None:
    """A gain in LPIPS is negative, and no value of LPIPS is less."""
    table = tmp_path / "t.md"
    table.write_text(
        "| Dataset | Metric | Ours | SeeSR | Gain | Ours-L | OSEDiff | Gain |\n"
        "|---|---|---|---|---|---|---|---|\n"
        "| RealSR | PSNR↑ | 25.10 | **25.18** | -0.3% | 25.12 | 25.01 | +0.4% |\n"
        "| RealSR | LPIPS↓ | **0.2718** | 0.3009 | -0.0291 | 0.2730 | 0.2921 | -0.0191 |\n"
        "| DRealSR | LPIPS↓ | **0.2866** | 0.3189 | -0.0323 | 0.2901 | 0.2968 | -0.0067 |\n"
    )
    found = audit_files([table])
    assert found.findings == () and found.values == 12
    assert [cell.reason for cell in found.unread] == ["is a change, not a value"] * 6
    texts = (
        "| Dataset | Metric | A | B | Gain |\n|---|---|---|---|---|\n"
        "| Set5 | NLL↓ | -3.1 | **-3.4** | -0.3 |",
        "| Method | NLL↓ | BPD↓ |\n|---|---|---|\n"
        "| A | -3.1 | −4.1 |\n| B | **-3.4** | **−4.4** |\n| Gain | -0.3 | -0.3 |",
    )
    for text, values in zip(texts, (2, 4), strict=True):  # all are negative, so no sign tells
        table.write_text(f"{text}\n")
        found = audit_files([table])
        assert found.findings == () and found.values == values and len(found.unread) == values // 2


def test_equal_values_of_methods_that_hardly_differ_are_no_wonder(tmp_path: Path) -> None:
    table = tmp_path / "t.md"
    rows = ["Softplus | 20.233 | .93720 | .22891", "FP32 density | 20.233 | {}"]
    rows += ["A | 39.721 | .98948 | .00500", "B | 39.668 | .98959 | .00503"]
    text = "| Control | PSNR ↑ | SSIM ↑ | LPIPS ↓ |\n|---|---|---|---|\n"
    for others, kinds in ((".93722 | .22885", []), (".95101 | .18212", ["identical"])):
        table.write_text(text + "".join(f"| {row.format(others)} |\n" for row in rows))
        assert [finding.kind for finding in audit_files([table]).findings] == kinds


COPIED = r"""\begin{tabular}{lcccc}
Method & PSNR$\uparrow$ & SSIM$\uparrow$ & LPIPS$\downarrow$ & MUSIQ$\uparrow$ \\
A & 26.12 & .7311 & .3125 & 61.23 \\ B & 25.41 & .7024 & .2981 & 64.02 \\
\end{tabular}"""


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ([], ""),
        ([(".3125", ".3152")], "0.3152"),
        ([(".3125", ".3152"), ("61.23", "62.13")], ""),  # may be of other images
        ([(".3125", ".3152"), (".7311", ".7")], ""),  # two equal values are too few
        ([("MUSIQ", "Time"), ("61.23", "91.23")], ""),  # another machine's
    ],
)
def test_a_row_of_another_paper_is_copied_with_another_value(
    changes: list[tuple[str, str]], says: str, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs.tex"
    theirs.write_text(COPIED)
    copy = COPIED.replace("B & 25.41", "C & 24.41")
    for old, new in changes:
        copy = copy.replace(old, new)
    ours = tmp_path / "ours.tex"
    ours.write_text(copy)
    found = [each for each in audit_files([theirs, ours]).findings if each.kind == "differs"]
    assert [each.second.says for each in found] == ([says] if says else [])
    for each in found:
        assert "theirs.tex, LPIPS, A" in each.first.place
