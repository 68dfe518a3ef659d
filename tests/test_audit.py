"""Tables and prose recomputed: the paper's contradictions, and anybody's CSV and LaTeX."""

import dataclasses
import itertools
import json
import re
from collections import Counter
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Cli

from bench.audit.cells import GridCell, Printed
from bench.audit.files import audit_files, audit_published, read_file
from bench.audit.grid import read_grid
from bench.audit.latex import grids
from bench.audit.names import split_metric
from bench.audit.numbers import numbers
from bench.audit.prose import ClaimsCard
from bench.audit.recompute import audit
from bench.audit.values import Audit, Mark, Value, place_of
from bench.base.cards import read_card
from bench.base.errors import BenchError, DataError
from bench.reports import get_report
from bench.results.published import folder
from bench.results.table_stats import statistics
from bench.results.view import View

from . import results_example as ex


def text(finding: object) -> str:
    return json.dumps(dataclasses.asdict(finding), ensure_ascii=False)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def paper() -> Audit:
    return audit_published()


def test_the_paper_contradicts_itself_in_at_least_ten_places(paper: Audit) -> None:
    assert len(paper.findings) == 13
    assert Counter(finding.kind for finding in paper.findings) == {
        "marks": 6,
        "margin": 2,
        "comparison": 2,
        "differs": 1,
        "identical": 1,
        "rank": 1,
    }
    assert (paper.values, paper.tables, paper.claims) == (224, 3, 7)


def test_every_contradiction_names_two_places_that_differ(paper: Audit) -> None:
    for finding in paper.findings:
        assert finding.first.place != finding.second.place
        assert finding.first.says and finding.second.says
        places = finding.first.place + finding.second.place
        assert "Table" in places
    assert len(set(paper.findings)) == len(paper.findings)


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("marks", ["DIV2K-val, DISTS", "CasSR 0.1531 is the best and not marked"]),
        ("marks", ["DIV2K-val, LPIPS", "HAT 0.3175 is second best and not marked"]),
        ("marks", ["RealSR, LPIPS", "BSRGAN 0.2688 is 3rd best", "HAT 0.2469 is the best"]),
        ("marks", ["RealSR, NIQE", "CasSR 5.3491 is second best and not marked"]),
        ("marks", ["Table 3, DIV2K-val, LPIPS", "0.3141 is the best and not marked"]),
        ("marks", ["Table 3, DIV2K-val, MANIQA", "0.5057 is the best and not marked"]),
        ("identical", ["DRealSR, MUSIQ, BSRGAN", "DRealSR, MUSIQ, FeMaSR", "57.1217"]),
        ("differs", ["Table 1", "0.3225", "Table 2", "0.3175", "prints for HAT", "3rd best of 3"]),
        ("margin", ["section 4.2", "3.82%", "2.32 %"]),
        ("margin", ["section 4.2", "7.05%", "7.58 %"]),
        ("rank", ["section 4.2", "LPIPS CasSR 0.3225 is 3rd best, after HAT 0.3175, SeeSR 0.3050"]),
        ("comparison", ["section 3.4", "FID", "MANIQA", "is better than"]),
        ("comparison", ["section 4.3", "is the best of 4"]),
    ],
)
def test_what_the_paper_contradicts(paper: Audit, kind: str, parts: list[str]) -> None:
    texts = [text(finding) for finding in paper.findings if finding.kind == kind]
    assert any(all(part in found for part in parts) for found in texts), texts


def test_true_claims_of_the_paper_hold(paper: Audit) -> None:
    assert [statement.place for statement in paper.held] == [
        "section 4.2, Quantitative Comparison",
        "section 4.3, Importance of image activation module",
    ]


def row(marks: list[tuple[str, Mark]], better: str = "higher", table: str = "t") -> list[Value]:
    """A row of printed values with their marks, of methods a, b, c, ..."""
    return [
        Value(table, "d", chr(97 + i), "M", Decimal(number), better, mark)  # type: ignore[arg-type]
        for i, (number, mark) in enumerate(marks)
    ]


GOOD_ROW = row([("1", ""), ("3", "best"), ("2", "second")], table="t")


@pytest.mark.parametrize(
    ("marks", "wrong"),
    [
        ([("3", "best"), ("2", "second"), ("1", "")], 0),
        ([("3", "second"), ("2", "best"), ("1", "")], 1),
        ([("3", "best"), ("2", ""), ("1", "second")], 1),
        ([("3", ""), ("2", "second"), ("1", "")], 1),
        ([("3", "best"), ("3", "best"), ("2", "second")], 0),
        ([("3", "best"), ("3", "best"), ("2", "")], 0),
        ([("3", "best"), ("3", "second"), ("2", "")], 0),
        ([("3", "best"), ("3", ""), ("2", "second")], 0),
        ([("3", "best"), ("2", "second"), ("2", "second")], 0),
        ([("3", "best"), ("2", ""), ("2", "second")], 0),
        ([("3", "best"), ("2", "")], 0),
        ([("3", "best"), ("2", "second")], 0),
        ([("3", ""), ("2", ""), ("1", "")], 1),
    ],
)
def test_marks_of_best_and_second_best(marks: list[tuple[str, Mark]], wrong: int) -> None:
    other = [dataclasses.replace(value, dataset="other") for value in GOOD_ROW]
    assert len(audit(row(marks) + other).findings) == wrong


def test_lower_is_better_turns_the_order() -> None:
    assert not audit(row([("1", "best"), ("2", "second"), ("3", "")], "lower")).findings
    assert audit(row([("1", ""), ("2", "second"), ("3", "best")], "lower")).findings


def test_one_kind_of_mark_for_two_ranks_is_recognised() -> None:
    bold: list[tuple[str, Mark]] = [("3", "best"), ("2", "best"), ("1", "")]
    assert not audit(row(bold)).findings
    assert audit(row(bold), {"t": 1}).findings


def test_marks_of_a_group_need_only_hold_the_best() -> None:
    group: list[tuple[str, Mark]] = [("3", "best"), ("2", ""), ("1", "best")]
    assert audit(row(group)).findings
    assert not audit(row(group), significant=True).findings
    assert audit(row([("3", ""), ("2", "best"), ("1", "best")]), significant=True).findings


def test_random_tables_marked_rightly_pass_and_a_moved_mark_is_found() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        numbers = rng.choice(10_000, rng.integers(3, 10), replace=False)
        order = list(np.argsort(-numbers))
        names: dict[int, Mark] = {order[0]: "best", order[1]: "second"}
        marks: list[tuple[str, Mark]] = [
            (f"{number / 1e4:.4f}", names.get(i, "")) for i, number in enumerate(numbers)
        ]
        assert not audit(row(marks)).findings
        moved = marks.copy()
        i, j = order[0], order[int(rng.integers(1, len(order)))]
        moved[i], moved[j] = (marks[i][0], marks[j][1]), (marks[j][0], marks[i][1])
        assert len(audit(row(moved)).findings) == 1


PAIR: list[tuple[str, Mark]] = [
    ("57.1217", ""), ("57.1217", ""), ("50.3458", ""), ("64.7460", "best")
]  # fmt: skip


def of_musiq(marks: list[tuple[str, Mark]], metric: str = "MUSIQ") -> list[Value]:
    return [dataclasses.replace(value, metric=metric) for value in row(marks)]


def test_equal_values_count_only_where_chance_would_not_make_them() -> None:
    coarse = of_musiq([("27.1", ""), ("27.1", ""), ("25.0", ""), ("29.0", "best")])
    assert not audit(coarse).findings
    fine = of_musiq(PAIR)
    assert [finding.kind for finding in audit(fine).findings] == ["identical"]
    assert not audit(of_musiq(PAIR, "Params")).findings


def test_one_method_in_two_tables_must_agree_in_the_digits_both_print() -> None:
    one = row([("25.15", "best"), ("24.00", "")], table="one")
    rounded = [dataclasses.replace(one[0], table="two", value=Decimal("25.1511"))]
    assert not audit(one + rounded).findings
    for value, half in (("25.145", "25.15"), ("25.155", "25.15"), ("25.1", "25.15")):
        both = [dataclasses.replace(one[0], value=Decimal(value)), rounded[0]]
        both[1] = dataclasses.replace(both[1], value=Decimal(half))
        assert not audit(both).findings
    other = [dataclasses.replace(one[0], table="two", value=Decimal("25.16"))]
    (finding,) = audit(one + other).findings
    assert (finding.kind, finding.first.says, finding.second.says) == ("differs", "25.15", "25.16")


def test_a_plus_makes_another_method() -> None:
    one = row([("25.15", "best"), ("24.00", "")], table="one")
    plus = [dataclasses.replace(one[0], table="two", method="a+", value=Decimal("26.00"))]
    assert not audit(one + plus).findings


def test_arrows_against_the_metric_are_found() -> None:
    rows = [[GridCell("Method"), GridCell("NIQE ↑")], _row("a", "5.1")]
    value = read_grid(Printed(rows), "t").values[0]
    assert (value.better, value.stated) == ("lower", "higher")
    (finding,) = audit([value]).findings
    assert finding.kind == "direction"


def _row(*texts: str) -> list[GridCell]:
    return [GridCell(text) for text in texts]


@pytest.mark.parametrize(
    ("rank", "name"),
    [(1, "the best"), (2, "second best"), (3, "3rd best"), (11, "11th best"), (22, "22nd best")],
)
def test_places_have_names(rank: int, name: str) -> None:
    assert place_of(rank) == name


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("LPIPS ↓ [74]", ("LPIPS", "lower")),
        ("PSNR (dB) ↑", ("PSNR", "higher")),
        ("MUSIQ(↑)", ("MUSIQ", "higher")),
        ("SSIM", ("SSIM", None)),
    ],
)
def test_headings_are_metric_and_arrow(head: str, expected: tuple[str, str | None]) -> None:
    assert split_metric(head) == expected


CELLS = {
    r"0.5": ("0.5", ""),
    r"\textbf{0.5}": ("0.5", "best"),
    r"{\bf 0.5}": ("0.5", "best"),
    r"{\bfseries 0.5}": ("0.5", "best"),
    r"$\mathbf{0.5}$": ("0.5", "best"),
    r"\underline{0.5}": ("0.5", "second"),
    r"\textbf{\underline{0.5}}": ("0.5", "best"),
    r"\textcolor{red}{0.5}": ("0.5", "best"),
    r"\textcolor{red!80!black}{0.5}": ("0.5", "best"),
    r"\textcolor[rgb]{1,0,0}{0.5}": ("0.5", "best"),
    r"\textcolor{blue}{\textbf{0.5}}": ("0.5", "second"),
    r"{\color{blue} 0.5}": ("0.5", "second"),
    r"\textcolor{gray}{0.5}": ("0.5", ""),
    r"\best{0.5}": ("0.5", "best"),
    r"\snd 0.5": ("0.5", "second"),
    r"0.5$^{\dagger}$": ("0.5", ""),
    r"0.5\textsuperscript{1,2}": ("0.5", ""),
    r"$0.5_{\pm 0.1}$": ("0.5", ""),
    r"0.5 $\pm$ 0.1": ("0.5", ""),
    r"$-$0.5": ("-0.5", ""),
    r"0.5\%": ("0.5", ""),
    r"\cellcolor{gray!20}0.5": ("0.5", ""),
    r"\multirow{2}*{0.5}": ("0.5", ""),
    r"0.5 % comment": ("0.5", ""),
    r"--": (None, ""),
    r"": (None, ""),
}


@pytest.mark.parametrize("cell", list(CELLS))
def test_latex_cells(cell: str) -> None:
    source = (
        r"\newcommand{\best}[1]{\textcolor{red}{\textbf{#1}}}"
        "\n"
        r"\def\snd{\color{blue}}"
        "\n"
        rf"\begin{{tabular}}{{cc}} a & {cell}" + "\n" + r"\\ \end{tabular}"
    )
    ((_, found),) = grids(source)[0][0].rows
    number, mark = CELLS[cell]
    assert found.number == (None if number is None else Decimal(number))
    assert found.mark == mark


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (r"StableSR~\cite{wang2023}", "StableSR"),
        (r"Real-ESRGAN+\textsuperscript{1}", "Real-ESRGAN+"),
        (r"\textsc{SeeSR} \citep[see][]{a,b}", "SeeSR"),
        (r"\ours{}", "ours"),
        (r"Ours$_{small}$", "Ourssmall"),
        (r"A\_B \& C", "A_B & C"),
        (r"\shortstack[l]{two\\lines}", "two lines"),
        (r"\begin{tabular}{@{}c@{}}two\\lines\end{tabular}", "two lines"),
        (r"PSNR$\uparrow$", "PSNR↑"),
    ],
)
def test_latex_names(name: str, expected: str) -> None:
    ((first, *_),), _ = grids(rf"\begin{{tabular}}{{cc}}{name} & 1 \\\end{{tabular}}")
    assert first[0][0].text == expected


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

METHODS_AS_ROWS = r"""
\begin{tabular}{l|cc|cc}
\multirow{2}{*}{Method} & \multicolumn{2}{c|}{RealSR} & \multicolumn{2}{c}{DRealSR} \\
 & PSNR$\uparrow$ & LPIPS$\downarrow$ & PSNR$\uparrow$ & LPIPS$\downarrow$ \\ \hline
A & \textbf{24.70} & \underline{0.3018} & 28.13 & 0.3315 \\
B & \underline{24.50} & \textbf{0.3009} & \underline{28.17} & \textbf{0.3189} \\
C & 24.12 & 0.3200 & \textbf{28.50} & \underline{0.3201} \\
\end{tabular}
"""

GROUPED = r"""
\begin{tabular}{lcc}
Method & PSNR & SSIM \\
\multicolumn{3}{c}{\textit{RealSR}} \\
A & \textbf{24.70} & 0.70 \\
B & 24.50 & \textbf{0.71} \\
\multicolumn{3}{c}{\textit{DRealSR}} \\
A & 27.00 & 0.80 \\
B & \textbf{28.00} & \textbf{0.81} \\
\end{tabular}
"""

CHECKS = r"""
\begin{tabular}{cc|cc}
Prompt & CFG & FID $\downarrow$ & MUSIQ $\uparrow$ \\
\checkmark & $\times$ & 30.1 & 68.1 \\
\checkmark & \checkmark & \textbf{29.5} & \textbf{69.2} \\
$\times$ & \checkmark & 31.0 & 68.9 \\
\end{tabular}
"""


def read(tmp_path: Path, content: str, name: str = "t.tex") -> tuple[list[Value], Audit]:
    path = tmp_path / name
    path.write_text(content)
    return read_file(path).values, audit_files([path])


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


def test_wide_csv(tmp_path: Path) -> None:
    wide = (
        "Dataset,Metric,A,B,C\n"
        "RealSR,FID ↓,143.38,**126.97**,*139.06*\n"
        ",LPIPS ↓,\\textbf{0.2688},0.3034,\\underline{0.3822}\n"
    )
    values, found = read(tmp_path, wide, "wide.csv")
    assert {value.dataset for value in values} == {"RealSR"}
    (finding,) = found.findings
    assert "line 3" in finding.first.place
    assert "B 0.3034 is second best and not marked" in finding.detail


def test_tidy_csv_is_the_published_one(shared: Path) -> None:
    found = audit_files([shared / "paper" / "published_tables.csv"])
    kinds = Counter(finding.kind for finding in found.findings)
    assert kinds == {"marks": 6, "identical": 1}


def test_tables_of_several_files_are_compared(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("dataset,method,metric,value\nd,m,PSNR,25.1\n")
    (tmp_path / "b.csv").write_text("dataset,method,metric,value\nd,M,psnr,25.3\n")
    (finding,) = audit_files([tmp_path / "a.csv", tmp_path / "b.csv"]).findings
    assert finding.kind == "differs"
    assert finding.first.place.startswith("a.csv") and finding.second.place.startswith("b.csv")


CLAIMS = """
[[claims]]
kind = "margin"
place = "abstract"
says = "beats the second best PSNR by {percent} %"
table = "t.tex"
datasets = ["{dataset}"]
method = "{method}"
metrics = ["PSNR"]
percent = "{percent}"
"""


@pytest.mark.parametrize(("percent", "wrong"), [("3.7", 0), ("3.70", 0), ("3.9", 1), ("4", 0)])
def test_own_claims_are_checked(tmp_path: Path, percent: str, wrong: int) -> None:
    (tmp_path / "t.tex").write_text(GROUPED)
    card = tmp_path / "claims.toml"
    card.write_text(CLAIMS.format(percent=percent, dataset="DRealSR", method="B"))
    found = audit_files([tmp_path / "t.tex"], card)
    assert len(found.findings) == wrong
    assert found.claims == 1


@pytest.mark.parametrize(("dataset", "method"), [("Nowhere", "B"), ("RealSR", "Nobody")])
def test_claims_about_nothing_are_refused(tmp_path: Path, dataset: str, method: str) -> None:
    (tmp_path / "t.tex").write_text(GROUPED)
    card = tmp_path / "claims.toml"
    card.write_text(CLAIMS.format(percent="1", dataset=dataset, method=method))
    with pytest.raises(BenchError, match=r"claim of abstract: no .*(Nowhere|Nobody)"):
        audit_files([tmp_path / "t.tex"], card)


@pytest.mark.parametrize(
    ("rows", "percent", "why"),
    [
        ("B,1,2", "1", "no percentage of PSNR: it needs a rival"),
        ("A,0,1\nB,1,2", "1", "no percentage of PSNR: it needs a rival"),
        ("A,1,1\nB,1,2", "12%", "percent"),
        ("A,1,1\nB,1,2", "NaN", "percent"),
        ("A,1,1\nB,2,2", None, "no direction of Q8"),
    ],
)
def test_claims_that_cannot_be_judged_are_refused(
    tmp_path: Path, rows: str, percent: str | None, why: str
) -> None:
    lines = "".join(f"Set5,{row}\n" for row in rows.split("\n"))
    (tmp_path / "t.csv").write_text(f"Dataset,Method,PSNR,Q8\n{lines}")
    card = CLAIMS.format(percent=percent or 1, dataset="Set5", method="B").replace("tex", "csv")
    (tmp_path / "claims.toml").write_text(card if percent else card.replace('"PSNR"', '"Q8"'))
    with pytest.raises(BenchError, match=why):
        audit_files([tmp_path / "t.csv"], tmp_path / "claims.toml")


UNREADABLE = {
    "missing.tex": None,
    "notes.txt": b"hello",
    "empty.csv": b"",
    "binary.csv": b"\xff\xfe\x00\x01",
    "quotes.csv": b'a,"b\nc',
    "words.csv": b"a,b\nc,d\n",
    "nohead.csv": b"1,2\n3,4\n",
    "noarrows.csv": b"Method,Speed,Weight\na,1,2\nb,3,4\n",
    "number.csv": b"dataset,method,metric,value\nd,m,PSNR,high\n",
    "infinite.csv": b"dataset,method,metric,value\nd,m,PSNR,inf\n",
    "short.csv": b"dataset,method,metric,value\nd,m\n",
    "twice.csv": b"Method,PSNR\na,1\na,2\n",
    "none.tex": rb"\section{No table}",
    "open.tex": rb"\begin{tabular}{c} a & 1",
    "brace.tex": rb"\begin{tabular}{cc} \textbf{a & 1 \\ \end{tabular}",
    "deep.tex": rb"\begin{tabular}{cc}" + b"{" * 5000 + b"}" * 5000 + rb" & 1 \\ \end{tabular}",
    "loop.tex": rb"\newcommand{\a}{\a\a}\begin{tabular}{cc} \a & 1 \\ \end{tabular}",
    "bomb.tex": rb"\newcommand{\a}[1]{#1#1#1#1#1#1#1#1#1#1}\begin{tabular}{cc}"
    + rb"\a{\a{\a{\a{\a{\a{xxxx}}}}}} & 1 \\ \end{tabular}",
    "steps.tex": b"".join(
        rb"\newcommand{\%s}{\%s\%s}" % (one, two, two)
        for one, two in itertools.pairwise([b"a" * i for i in range(1, 40)])
    )
    + rb"\begin{tabular}{cc} \a & 1 \\ \end{tabular}",
    "shorter.csv": b"value,dataset,method,metric\n1.0,a\n",
    "spans.tex": rb"\begin{tabular}{cc} \multicolumn{999999999}{c}{a} & \multirow{x}{*}{b} \\"
    rb"\end{tabular}",
}


@pytest.mark.parametrize("name", list(UNREADABLE))
def test_unreadable_input_is_one_line_that_names_the_file(name: str, tmp_path: Path) -> None:
    content = UNREADABLE[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BenchError) as error:
        audit_files([tmp_path / name])
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_exit_codes_and_json(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "good.tex").write_text(METHODS_AS_ROWS)
    good = cli("audit", tmp_path / "good.tex")
    assert (good.returncode, good.stdout) == (0, "no contradictions in 12 values of 1 table\n")
    done = cli("audit", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["contradictions"] == len(found["findings"]) == 13
    assert {"kind", "first", "second", "detail"} == set(found["findings"][0])
    missing = cli("audit", "nothing.csv")
    assert missing.returncode == 2
    assert len(missing.stderr.splitlines()) == 1
    for word in (
        "--claims=x.toml", "--metric=PSNR=lower", "--without=A", "--block", "--marks=significant"
    ):  # fmt: skip
        alone = cli("audit", word)
        assert alone.returncode == 2
        assert f"error: {word.partition('=')[0]}: expected with FILE" in alone.stderr


def test_output_fits_80_columns_and_shows_both_places(cli: Cli) -> None:
    done = cli("audit")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "13 contradictions in 224 values of 3 tables and 7 claims"
    assert done.stdout.count("\n\n") == 13
    told = (ROOT / "docs" / "audit.md").read_text().partition("## The paper")[2]
    values = re.findall(r"\d+\.\d{4}|\d+\.\d+ ?%|\d,\d+", told)
    assert lines[-1] in told and len(values) > 6
    printed = " ".join(done.stdout.split())
    assert [value for value in values if value not in printed] == []


def test_claims_are_the_papers_own_words(shared: Path) -> None:
    prose = " ".join((shared / "paper" / "cassr_paper.md").read_text().split())
    card = read_card(folder() / "claims" / "cassr.toml", ClaimsCard)
    assert len(card.claims) == 7
    for claim in card.claims:
        assert claim.says in prose, claim.says


def judged(tmp_path: Path, content: str, name: str = "t.tex") -> tuple[dict[str, str], Audit]:
    """What was read ("row metric" -> value and mark) and the audit."""
    values, found = read(tmp_path, content, name)
    return {f"{v.method} {v.metric}": f"{v.value} {v.mark}".strip() for v in values}, found


def tabular(*cells: str, head: str = r"PSNR$\uparrow$") -> str:
    rows = r" \\ ".join(f"{chr(65 + i)} & {cell} & {i}" for i, cell in enumerate(cells))
    return rf"\begin{{tabular}}{{lcc}} Method & {head} & FID \\ {rows} \end{{tabular}}"


NUMBERS = {
    ".9522": "0.9522",
    "1,234.5": "1234.5",
    "5.7e-1": "0.57",
    r"$5.7\times10^{-1}$": "0.57",
    r"5.7$\cdot$10\textsuperscript{-1}": "0.57",
    "27,45": "27.45",
    "0,123": "0.123",
    r"24.1 ($\uparrow$0.3)": "24.1",
    r"24.1 $\uparrow$": "24.1",
    r"24.1{\scriptsize\textcolor{red}{$\uparrow$0.3}}": "24.1",
    r"\textbf{24.1}$_{\textcolor{blue}{+0.3}}$": "24.1 best",
    r"\cellcolor{red!20}\underline{24.1}": "24.1 second",
    r"\colorbox{yellow}{24.1}": "24.1 colour yellow",
    r"\makecell{\textbf{24.1}\\(+0.3)}": "24.1 best",
    r"\best{24.1}": "24.1 best",
    r"\best[blue]{24.1}": "24.1 second",
    r"\snd{24.1}": "24.1 second",
    r"\bb{24.1}": "24.1 best",
    r"\ourpsnr": "24.9",
    r"\SI{24.1}{dB}": "24.1",
}
MACROS = r"""
\newcommand{\best}[2][red]{\textcolor{#1}{#2}}
\let\snd=\underline
\newcommand\bb{\textbf}
\providecommand{\ourpsnr}{24.9}
"""


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (r"24.1\,dB", "24.1"),
        (r"$24.1\,$", "24.1"),
        (r"$1.2\!$", "1.2"),
        (r"**24.1**\;dB", "24.1 best"),
        (r"24.1\\0.7", None),
        ("2x (24.10)", None),
        ("2 x (24.1)", None),
    ],
)
def test_cells_of_csv_are_markdown_with_spaces_of_latex(
    cell: str, expected: str | None, tmp_path: Path
) -> None:
    found, audited = judged(tmp_path, f'Method,PSNR\nA,"{cell}"\nB,20\n', "t.csv")
    assert found.get("A PSNR") == expected and len(audited.unread) == (expected is None)


@pytest.mark.parametrize("cell", list(NUMBERS))
def test_numbers_are_read_as_printed(cell: str, tmp_path: Path) -> None:
    """Above all in the first row, which an arrow must not make a heading."""
    found, audited = judged(tmp_path, MACROS + tabular(cell, "20.0"))
    assert found == {"A PSNR": NUMBERS[cell], "A FID": "0", "B PSNR": "20.0", "B FID": "1"}
    assert not audited.unread


UNREAD = {
    "1,234": "may be thousands or three decimals",
    "<0.01": "is not a number that can be told",
    "24.1-24.9": "is not a number that can be told",
    "24.1/0.71": "2 numbers for 1 metric",
    "24.1 (0.71)": "2 numbers for 1 metric",
    r"\makecell{24.1\\0.71}": "is not a number that can be told",
    r"\gain{24}{5}": "is not a number that can be told",
    r"\ourpsnr": r"\ourpsnr is not defined in the file",
    r"\multirow{2}{*}{24.1}": "spans several rows or columns",
    "OOM": "is no number",
    "9" * 30: "has more than 25 digits",
}


@pytest.mark.parametrize("cell", list(UNREAD))
@pytest.mark.parametrize("first", [True, False])
def test_what_is_not_read_is_named(cell: str, first: bool, tmp_path: Path) -> None:
    cells = (cell, "20", "21") if first else ("20", "21", cell)
    found, audited = judged(tmp_path, tabular(*cells))
    assert len(found) == 5
    (unread,) = audited.unread
    assert (unread.row, unread.column) == ("A" if first else "C", "PSNR↑")
    assert unread.reason == UNREAD[cell]
    assert audited.values + len(audited.unread) == 6


def test_pairs_of_metrics_have_their_own_marks(tmp_path: Path) -> None:
    pair = r"\textbf{24.10}/\underline{.7100}"
    found, audited = judged(
        tmp_path, tabular(pair, "20/.72", "19/--", head="PSNR/SSIM $\\uparrow$")
    )
    assert (found["A PSNR"], found["A SSIM"]) == ("24.10 best", "0.7100 second")
    assert audited.values == 8 and not audited.unread
    wide = "Method;PSNR/SSIM\nA;**24,1**/0,71\nB;23,0/**0,72**\nC;22,9/0,70\n"
    found, audited = judged(tmp_path, wide, "t.csv")
    assert (found["A PSNR"], found["B SSIM"]) == ("24.1 best", "0.72 best")
    assert not audited.findings and not audited.unread


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


def test_tables_and_files_that_are_not_read_are_named(tmp_path: Path) -> None:
    other = r"\begin{tabular}{ll} rate & 5e-4 \\ \end{tabular} \begin{tblr}{l} 1 \end{tblr}"
    rows = GROUPED.replace(r"A & 27", r"\input{rows} A & 27")
    _, audited = read(tmp_path, other + rows)
    assert [cell.reason for cell in audited.unread[:3]] == [
        r"\begin{tblr} is not read",
        r"\input of rows is not followed",
        "a heading and a first column of names are needed",
    ]


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (r"\begin{tabular}{lc M & PSNR \\ A & 24 \\ \end{tabular}", "a { has no matching }"),
        (r"\begin{tabular}{lc} M & PSNR \\ A & \textbf{24 \\ \end{tabular}", "a { has no match"),
        (
            r"\begin{tabular}{lc} M & PSNR \\ A & 24 \\ \begin{tabular}{lc} \end{tabular}",
            r"it has no \end{tabular}, nor is any table after it read",
        ),
    ],
)
def test_a_damaged_table_costs_none_of_the_others(
    tmp_path: Path, damaged: str, reason: str
) -> None:
    table = r"\newcommand{\mine}{x \begin{tabular}{lc} Method & PSNR \\ B & 25 \\ \end{tabular}"
    captioned = rf"\begin{{table}} \caption{{Best in bold {table} \end{{table}}"
    found, audited = judged(tmp_path, f"{captioned}\n{damaged}")
    assert found == {"B PSNR": "25"}
    macro, cell = audited.unread
    assert macro.reason == r"line 1: the definition of \mine is not read: a { has no matching }"
    assert cell.reason.startswith(r"line 2: this \begin{tabular} is not read: " + reason)
    with pytest.raises(DataError, match=r"t\.tex: line 1: this .* is not read"):
        read(tmp_path, damaged)


@pytest.mark.parametrize("content", ["Method,PSNR,SSIM\nA,27,45,0.8\n", "a\n"])
def test_a_decimal_comma_without_quotes_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(DataError, match=r"expected at most 3 fields, found 4|no row with numbers"):
        audit_files([tmp_path / "t.csv"])


def test_a_table_that_was_not_wholly_read_does_not_pass(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "t.tex").write_text(METHODS_AS_ROWS.replace("24.12", "<24.12"))
    done = cli("audit", tmp_path / "t.tex")
    assert done.returncode == 2
    assert done.stdout == (
        "not judged: t.tex, row 'C', column 'RealSR PSNR↑', line 7 '<24.12': is not a\n"
        "              number that can be told\n"
        "not judged: 1 of 12 cells; nothing contradicts in 11 values of 1 table\n"
    )
    found = json.loads(cli("audit", tmp_path / "t.tex", "--json").stdout)
    assert (found["seen"], found["values"], len(found["unread"])) == (12, 11, 1)
    broken = METHODS_AS_ROWS.replace("24.12", "<24.12").replace(r"\textbf{28.50}", "28.50")
    (tmp_path / "t.tex").write_text(broken)
    done = cli("audit", tmp_path / "t.tex")
    assert done.returncode == 1
    assert done.stdout.endswith(
        "1 contradiction in 11 values of 1 table; not judged: 1 of 12 cells\n"
    )


BLOCKS = r"""\begin{tabular}{lccc} Method & PSNR$\uparrow$ & LPIPS$\downarrow$ & FID \\ \midrule
BSRGAN & \textbf{26.39} & \textbf{0.267} & \textbf{139} \\ HAT & 25.69 & 0.273 & 141 \\ \midrule
StableSR & 24.70 & 0.302 & 149 \\ SeeSR & 25.18 & 0.301 & 145 \\
Ours & \textbf{25.62} & \textbf{0.284} & \textbf{142} \\
\bottomrule \end{tabular}"""
CATEGORIES = r"""\begin{tabular}{lcc} Method & NIQE$\downarrow$ & MUSIQ$\uparrow$ \\ \midrule
\multicolumn{3}{c}{GAN} \\ P & 5.10 & 61.1 \\ Q & \underline{4.60} & 60.2 \\
\multicolumn{3}{c}{Diffusion} \\ R & 4.90 & \underline{66.3} \\
\rowcolor{blue!8} S & \textbf{4.31} & \textbf{69.4} \\ \bottomrule \end{tabular}"""
REFERENCE = r"""
\newcommand{\fst}[1]{\cellcolor{red!25}#1} \newcommand{\snd}[1]{\cellcolor{orange!25}#1}
\begin{tabular}{lccc} Method & PSNR$\uparrow$ & SSIM$\uparrow$ & LPIPS$\downarrow$ \\ \hline
HR & 45.10 & .9960 & .0021 \\ \hline
A & \fst{27.50} & \fst{.7790} & .2410 \\ B & \snd{26.61} & .7620 & \snd{.2310} \\
C & 25.00 & \snd{.7650} & \fst{.2110} \\ \hline \end{tabular}"""
GAINS = r"""\begin{tabular}{lccr}
Method & \makecell{MUSIQ\\$\uparrow$} & NIQE$\downarrow$ & Time \\ \midrule
A & 61.20 & 5.20 & \textbf{0.12} \\
A + Ours & \textbf{64.90} (+3.70) & \textbf{4.80}$_{\textcolor{red}{-0.40}}$ & 0.15 \\ \midrule
B & 68.30 & 4.90 & \textbf{1.10} \\
B + Ours & \textbf{69.95} {\tiny\textcolor{green}{$\uparrow$2.4\%}} & \textbf{4.51} & 1.21 \\
\bottomrule \end{tabular}"""
PAIRS = r"""\begin{tabular}{lcc} Method & Set5 & Set14 \\ & PSNR/SSIM & PSNR/SSIM \\ \midrule
RCAN & 32.63/\textcolor{blue}{.9002} & \textcolor{blue}{28.87}/.7889 \\
SAN & \textcolor{blue}{32.64}/\textcolor{red}{.9003} &
\textcolor{red}{28.92}/\textcolor{blue}{.7891} \\
\textbf{Ours} & \textbf{\textcolor{red}{32.70}}/\textbf{.8990} &
\textbf{28.85}/\textbf{\textcolor{red}{.7899}} \\ \bottomrule \end{tabular}"""
SETTINGS = r"""\begin{tabular}{ccccc} Steps & CFG & \multicolumn{2}{c}{RealLR200} & Cost \\
& & MUSIQ $\uparrow$ & MANIQA $\uparrow$ & NFE $\downarrow$ \\ \hline
1 & \xmark & 64.10 & 0.5910 & \textbf{1} \\ 5 & \cmark & 68.20 & \textbf{0.6543} & 10 \\
50 & \cmark & \textbf{68.90} & 0.6502 & 100 \\ \hline \end{tabular}"""
SWAPPED = r"""\begin{tabular}{llcc} Scale & Method & PSNR$\uparrow$ & LPIPS$\downarrow$ \\ \midrule
\multirow{3}{*}{$\times 2$} & A & 31.1 & \textcolor{red}{0.21} \\
& B & \textcolor{red}{31.4} & 0.25 \\
& C & \textcolor{blue}{32.0} & \textcolor{blue}{0.19} \\ \midrule
\multirow{3}{*}{$\times 4$} & A & \textcolor{blue}{27.9} & \textcolor{red}{0.33} \\
& B & 27.0 & \textcolor{blue}{0.31} \\ & C & \textcolor{red}{27.5} & 0.36 \\ \end{tabular}"""
MARKDOWN = """A | pipe in text.

| Method | PSNR ↑ | LPIPS ↓ | #Params |
|:--|:-:|:-:|--:|
| BSRGAN | 26.39 | 0.2670 | 16.7 |
| [SeeSR](https://x.y) | 25.18 | 0.3009 | 16.7 |
| **Ours** | **26.80** | **0.2511** | **1.2** |
| Ours-L | <u>26.51</u> | *0.2600* | 1,234.5 |
"""
CELLCOLOR = r"""\begin{tabular}{l|ccc|ccc} \toprule
& \multicolumn{3}{c|}{\textbf{RealSR}} & \multicolumn{3}{c}{\textbf{DRealSR}} \\ \cmidrule(lr){2-4}
\textbf{Method} & PSNR$\uparrow$ & LPIPS$\downarrow$ & Size (M)$\downarrow$ & PSNR$\uparrow$ &
LPIPS$\downarrow$ & Size (M)$\downarrow$ \\ \midrule
HR & 80.00 & 0.000 & 0 & 80.00 & 0.000 & 0 \\ \midrule
A & \cellcolor{best}26.39 & \cellcolor{second}0.267 & \cellcolor{best}16 &
\cellcolor{second}28.75 & \cellcolor{second}0.288 & \cellcolor{best}16 \\
B & 26.01 & 0.301 & \cellcolor{second}20 & 28.03 & 0.328 & \cellcolor{second}20 \\
\textbf{Ours} & \cellcolor{second}\textbf{26.30} & \cellcolor{best}\textbf{0.250} & \textbf{30} &
\cellcolor{best}\textbf{28.80} & \cellcolor{best}\textbf{0.270} & \textbf{30} \\ \end{tabular}"""
LEVELS = """|  | DIV2K |  | RealSR |  |
|---|---|---|---|---|
| Method | PSNR ↑ | LPIPS ↓ | PSNR ↑ | LPIPS ↓ |
| A | 24.1 | 0.31 | 25.1 | 0.29 |
| B | **24.9** | 0.30 | **25.3** | 0.28 |
| C | 24.2 | **0.25** | 25.0 | **0.22** |
"""
STACKED = r"""\begin{tabular}{lcc} Method & \makecell{RealSR\\PSNR$\uparrow$ / LPIPS$\downarrow$} &
\makecell{DRealSR\\PSNR$\uparrow$ / LPIPS$\downarrow$} \\ \midrule A & 25.1 / 0.31 & 27.9 / 0.33 \\
B & $\mathbf{2 6 . 1}$ / 0.29 & \textbf{28.9} / 0.31 \\
C & 25.9 / \textbf{0.25} & 28.1 / \textbf{0.28} \\ \end{tabular}"""
BESIDE = """| Method | PSNR | LPIPS | Method | PSNR | LPIPS |
|---|---|---|---|---|---|
| A | 16.770 | 0.474 | C | 24.240 | 0.152 |
| B | 20.418 | 0.216 | D | **25.086** | **0.108** |
"""
ELSEWHERE = r"""\begin{tabular}{lcccc} Method & PSNR & LPIPS & DISTS & MUSIQ \\ \hline
P & \RB{30.1} & \BB{0.21} & 0.15 & 60.1 \\ Q & 29.0 & 0.25 & \BB{0.14} & \BB{61.0} \\
R & \BB{29.9} & \RB{0.20} & \RB{0.12} & \RB{62.4} \\ \hline
S & 27.2 & 0.26 & 0.20 & 66.0 \\ T & 27.0 & 0.24 & 0.19 & \BB{67.2} \\
U & \RB{27.9} & \RB{0.22} & \RB{0.16} & \RB{69.9} \\ \end{tabular}"""
MATH = r"""| Metrics | A | B | C |
|---|---|---|---|
| NIQE$\downarrow$ | 5.2 | **4.1** | 4.4 |
| MUSIQ $\uparrow$ | 61.0 | 60.1 | **65.0** |
"""
CONFIGURATIONS = """| config | kernel | colour | PSNR | SSIM |
|---|---|---|---|---|
| full [[3]] | learnt | two lobes | 24.7 | 0.765 |
| plain | learnt | flat | 23.9 | 0.749 |
| fixed | frozen | two lobes | **24.9** | **0.767** |
"""
PLANTED = {
    "configurations": (CONFIGURATIONS, "23.9", "25.9", "plain, learnt, flat 25.9 is the best"),
    "elsewhere": (ELSEWHERE, r"\RB{0.22}", "0.22", "U 0.22 is the best and not marked"),
    "named": (
        ELSEWHERE.replace("RB", "first").replace("BB", "second"),
        r"\second{0.14}",
        "0.14",
        "Q 0.14 is second best and not marked",
    ),
    "math": (MATH, "4.4", "4.0", "C 4.0 is the best and not marked"),
    "cellcolor": (
        CELLCOLOR,
        r"\cellcolor{best}26.39",
        "26.39",
        "A 26.39 is the best and not marked",
    ),
    "levels": (LEVELS, "25.3", "25.0", "A 25.1 is the best and not marked"),
    "stacked": (STACKED, r"\mathbf{2 6 . 1}", "26.1", "B 26.1 is the best and not marked"),
    "beside": (BESIDE, "24.240", "25.240", "C 25.240 is the best and not marked"),
    "blocks": (BLOCKS, r"\textbf{0.284}", "0.284", "Ours 0.284 is the best and not marked"),
    "categories": (CATEGORIES, r"P & 5.10", r"P & \underline{5.10}", "P 5.10 is 4th best"),
    "reference": (REFERENCE, r"\fst{27.50}", "27.50", "A 27.50 is the best and not marked"),
    "gains": (GAINS, "69.95", "67.95", "B 68.30 is the best and not marked"),
    "pairs": (PAIRS, r"\textcolor{red}{28.92}", "28.92", "SAN 28.92 is the best and not marked"),
    "settings": (SETTINGS, r"0.6502", r"\textbf{0.6502}", "50, ✓ 0.6502 is second best"),
    "swapped": (SWAPPED, r"\textcolor{blue}{32.0}", "32.0", "C 32.0 is the best and not marked"),
    "markdown": (MARKDOWN, "26.80", "25.80", "Ours 25.80 is 3rd best"),
}


@pytest.mark.parametrize("name", list(PLANTED))
def test_a_marked_table_holds_and_a_planted_contradiction_is_found(
    name: str, tmp_path: Path
) -> None:
    table, right, wrong, detail = PLANTED[name]
    file = "t.tex" if "tabular" in table else "t.md"
    _, found = read(tmp_path, table, file)
    assert not found.findings and not found.abstained and not found.unread
    assert table.count(right) == 1
    _, found = read(tmp_path, table.replace(right, wrong), file)
    (finding,) = found.findings
    assert detail in finding.detail


WHOSE = """| Video | CLIP-IQA ↑ | MUSIQ ↑ | NIQE ↓ |
|---|---|---|---|
| a | 0.457 | 68.68 | 4.29 |
| b | 0.529 | 62.31 | 6.20 |
| **Mean** | **0.493** | **65.50** | **5.25** |
"""


def test_a_row_marked_throughout_may_say_whose_it_is(tmp_path: Path) -> None:
    _, found = read(tmp_path, WHOSE, "t.md")
    assert not found.findings
    assert found.notes == ("t.md: the marks of Mean may only say whose row it is",)
    table = "Dataset | Metric | A | Ours | Ours+ | New\n---|---|---|---|---|---\n"
    table += "".join(f"D{i} | PSNR | 1{i} | **2{i}.7** | **2{i}.6** | 2{i}.9\n" for i in "12")
    table += "D3 | PSNR | 13 | **23.7** | 23.6 | 23.9\n"
    _, found = read(tmp_path, table, "t.md")
    assert not found.findings and found.abstained == ("t.md: marks fit no reading (3 of 3 rows)",)


BOLD_ROW = r"""\begin{table} %s \begin{tabular}{lccccc}
Method & PSNR & SSIM & LPIPS & DISTS & MUSIQ \\ \midrule
A & 26.1 & .731 & .312 & .220 & 61.2 \\ B & 25.4 & .702 & .298 & .231 & 64.0 \\
%s & \textbf{26.5} & \textbf{.742} & \textbf{.251} & \textbf{.201} & \textbf{66.1} \\
\end{tabular} \end{table}"""


@pytest.mark.parametrize(
    ("caption", "name", "found"),
    [
        ("", "Ours", True),
        ("", r"\textbf{Ours}", False),
        (r"\caption{Results. Best values are in bold.}", r"\textbf{Ours}", True),
        (r"\caption{The \textbf{best} and \underline{second best}.}", r"\textbf{Ours}", True),
        (r"\caption{Ours, in bold, is best.}", r"\textbf{Ours}", False),
    ],
)
def test_a_wrong_mark_in_a_row_that_is_bold_throughout(
    caption: str, name: str, found: bool, tmp_path: Path
) -> None:
    table = BOLD_ROW % (caption, name)
    _, whole = read(tmp_path, table)
    assert not whole.findings and not whole.abstained
    _, planted = read(tmp_path, table.replace(".731", ".751"))
    if found:
        (finding,) = planted.findings
        assert finding.detail.startswith("Ours 0.742 is second best; A 0.751 is the best")
    else:
        (line,) = planted.abstained
        assert line.startswith("t.tex, SSIM, marks: Ours 0.742 is second best; A 0.751 is the best")
        assert line.endswith(
            "unless the marks of Ours may only say whose row it is; a caption that says what bold "
            "means decides"
        )


def test_the_paragraph_beside_a_markdown_table_is_its_caption(tmp_path: Path) -> None:
    table = """| Video | CLIP-IQA | MUSIQ | NIQE |
|---|---|---|---|
| a | 0.45 | 61 | 5.0 |
| b | 0.45 | 61 | 5.1 |
| c | **0.45** | **61** | **5.2** |"""
    _, found = read(tmp_path, f"{table}\n\nThe best is in bold.\n", "t.md")
    assert [finding.detail for finding in found.findings] == [
        "c 5.2 is 3rd best; a 5.0 is the best and not marked"
    ]
    assert not read(tmp_path, table, "t.md")[1].findings
    other = table.replace("5.2", "4.9")
    for text, places in (
        (f"One.\n\n{table}\n\nThe best is in bold.\n\n{other}\n", 0),
        (f"The best is in bold.\n\n{table}\n\nTwo.\n\n{other}\n", 1),
        (f"{table}\n\nThe best is in bold.\n\n{other}\n\nTwo.\n", 1),
    ):
        assert len(read(tmp_path, text, "t.md")[1].findings) == places, text


def test_marks_of_which_no_two_are_compared_are_not_judged(tmp_path: Path) -> None:
    table = "| Dataset | Method | PSNR |\n|---|---|---|\n| X | A | **24.1** |\n| Y | A | 23.0 |"
    _, found = read(tmp_path, table, "t.md")
    assert found.abstained == ("t.md: marks: no two values are of one dataset and metric",)
    rows = ["Method & PSNR & SSIM", "A & 24.9 & 0.70", "B & 24.2 & 0.75"]
    ours = r"\hline Ours & \textbf{24.5} & \textbf{0.71}"
    table = r"\begin{tabular}{lcc}" + r" \\ ".join([*rows, ours]) + r"\end{tabular}"
    (line,) = read(tmp_path, table)[1].abstained
    assert line.endswith("metric where its marks leave out A, B, which a rule sets apart")


@pytest.mark.parametrize("own", [r"\cellcolor{cyan}%s", r"\textcolor{teal}{%s}"])
def test_the_colour_of_one_row_alone_is_no_mark_that_is_not_judged(
    own: str, tmp_path: Path
) -> None:
    ours = " & ".join(own % value for value in ("24.3", "0.30"))
    rows = ["Method & PSNR & LPIPS", "A & 24.1 & 0.31", "B & 24.5 & 0.33", f"Ours & {ours}"]
    table = r"\begin{tabular}{lcc}" + r" \\ ".join(rows) + r"\end{tabular}"
    _, found = read(tmp_path, table)
    assert not found.abstained
    assert found.notes[0] == "t.tex: PSNR: nothing is marked, so there are no marks to check"


@pytest.mark.parametrize("inner", ["num", "mathrm", "textit"])
@pytest.mark.parametrize("outer", ["textcolor{red}", "textbf", "cellcolor{best}"])
def test_what_sets_a_number_otherwise_hides_no_mark(outer: str, inner: str, tmp_path: Path) -> None:
    table = rf"""\begin{{tabular}}{{lcc}}
    Method & PSNR & LPIPS \\ \hline
    A & \{outer}{{\{inner}{{24.9}}}} & \{inner}{{0.33}} \\
    B & \{inner}{{24.2}} & \{outer}{{\{inner}{{0.30}}}} \\
    C & \{inner}{{24.5}} & \{inner}{{0.31}} \\
    \end{{tabular}}"""
    _, found = read(tmp_path, table)
    assert not found.findings and not found.notes and not found.abstained
    _, found = read(tmp_path, table.replace("24.9", "24.3"))
    assert [each.detail for each in found.findings] == [
        "A 24.3 is second best; C 24.5 is the best and not marked"
    ]


def test_marks_beside_a_value_that_was_not_read_are_not_judged(tmp_path: Path) -> None:
    table = LEVELS.replace("**24.9**", "24.9 or so")
    _, found = read(tmp_path, table, "t.md")
    assert not found.findings
    assert [cell.text for cell in found.unread] == ["24.9 or so"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("433 MB", "433E6"),
        ("16.7M", "16.7E6"),
        ("2.5×", "2.5"),
        ("25 MB (17×)", "25E6"),
        ("12 ms", "12"),
    ],
)
def test_sizes_and_factors_are_numbers(text: str, value: str) -> None:
    found = numbers(text)
    assert not isinstance(found, str)
    assert [number.value for number in found] == [Decimal(value)]


UNCLEAR = r"""\begin{tabular}{lcc} Method & PSNR$\uparrow$ & SSIM \\ \midrule
HR & 40.1 & .7 \\ \midrule
A & \textbf{27.1} & .71 \\ B & 26.0 & \textbf{.72} \\ \end{tabular}"""


def test_where_several_readings_remain_nothing_is_judged_and_options_decide(
    cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "t.tex").write_text(UNCLEAR)
    done = cli("audit", tmp_path / "t.tex")
    assert done.returncode == 2
    assert (
        "not judged: t.tex, PSNR, marks: A 27.1 is second best; HR 40.1 is the best and not "
        "marked, unless its marks hold within each block or its marks leave out HR, which a rule "
        "sets apart; --block or --without ROW decides"
    ) in " ".join(done.stdout.split())
    assert done.stdout.endswith("not judged: 1 place; nothing contradicts in 6 values of 1 table\n")
    for option in (["--block"], ["--without", "HR"]):
        assert cli("audit", tmp_path / "t.tex", *option).returncode == 0
    done = cli("audit", tmp_path / "t.tex", "--without", "HR", "--metric", "PSNR=lower")
    assert (done.returncode, "B 26.0 is the best and not marked" in done.stdout) == (1, True)
    for option in (["--without", "GT"], ["--metric", "SSIM=up"], ["--metric", "FID=lower"]):
        done = cli("audit", tmp_path / "t.tex", *option)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


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


def test_equal_values_of_methods_that_hardly_differ_are_no_wonder(tmp_path: Path) -> None:
    table = tmp_path / "t.md"
    rows = ["Softplus | 20.233 | .93720 | .22891", "FP32 density | 20.233 | {}"]
    rows += ["A | 39.721 | .98948 | .00500", "B | 39.668 | .98959 | .00503"]
    text = "| Control | PSNR ↑ | SSIM ↑ | LPIPS ↓ |\n|---|---|---|---|\n"
    for others, kinds in ((".93722 | .22885", []), (".95101 | .18212", ["identical"])):
        table.write_text(text + "".join(f"| {row.format(others)} |\n" for row in rows))
        assert [finding.kind for finding in audit_files([table]).findings] == kinds


def test_rows_of_changes_are_named_and_no_method(tmp_path: Path) -> None:
    table = BLOCKS.replace(r"\bottomrule", r"$\Delta$ & +0.44 & -0.017 & -3 \\")
    _, found = read(tmp_path, table)
    assert not found.findings
    assert [cell.reason for cell in found.unread] == ["is a change, not a value"] * 3


def test_tables_that_name_no_dataset_are_not_compared(tmp_path: Path) -> None:
    _, found = read(tmp_path, BLOCKS + BLOCKS.replace("25.18", "25.19"))
    assert not found.findings and found.tables == 2


APART = r"""\begin{tabular}{lccc} Method & PSNR & SSIM & LPIPS \\ \midrule
A & \textcolor{blue}{40.30} & \textcolor{blue}{.9874} & .31 \\
B & 39.81 & .9865 & \textcolor{blue}{.30} \\
C & \textcolor{red}{40.43} & \textcolor{red}{.9877} & \textcolor{red}{.29} \\ \midrule
Ours & \textcolor{red}{40.48} & \textcolor{red}{.9864} & \textcolor{red}{.21} \\ \bottomrule
\end{tabular}"""


def test_a_row_that_a_rule_sets_apart_may_stand_outside_the_marks(tmp_path: Path) -> None:
    _, found = read(tmp_path, APART, "t.tex")
    assert not found.findings and not found.abstained
    assert "t.tex: its marks leave out Ours, marked throughout" in found.notes
    _, found = read(tmp_path, APART.replace("{red}{40.43}", "{black}{40.43}"), "t.tex")
    assert [finding.detail for finding in found.findings] == [
        "A 40.30 is 3rd best; C 40.43 is second best and not marked",
        "B 0.30 is 3rd best; C 0.29 is second best",
    ]
    (line,) = found.abstained
    assert line.startswith("t.tex, SSIM, marks: Ours 0.9864 is 4th best, unless the marks of Ours")


def test_what_is_marked_in_pairs_is_judged_in_pairs(tmp_path: Path) -> None:
    rows = [
        f"{n} & {20 + i}.1 & 9 \\\\ {n}+D & \\textbf{{{20 + i}.6}} & 8 \\\\"
        for i, n in enumerate("ABC")
    ]
    table = (
        rf"\begin{{tabular}}{{lcc}} Method & PSNR & Q8 \\ \midrule {' '.join(rows)} \end{{tabular}}"
    )
    values, found = read(tmp_path, table, "t.tex")
    assert not found.findings and not found.abstained and len(values) == 12
    assert "t.tex: its marks compare each method with itself and an addition" in found.notes
    assert any("t.tex: Q8: not judged" in note for note in found.notes)


def test_what_is_marked_alike_is_judged_where_the_caption_says_what_it_means(
    tmp_path: Path,
) -> None:
    head = "Method | PSNR\n---|---\nA | **30.1**\nB | **31.0**\nC | **32.0**\nD | 33.0\n"
    assert "3 or more values are marked alike" in read(tmp_path, head, "t.md")[1].abstained[0]
    (finding,) = read(tmp_path, f"Best in bold.\n\n{head}", "t.md")[1].findings
    assert "D 33.0 is the best and not marked" in finding.detail


SECTIONS = """## {}

| Model | Scale | PSNR ↑ | SSIM ↑ |
|---|---|---|---|
| A | 2x | 3{}.1 | 0.9{} |
| A | 4x | 2{}.1 | 0.8{} |
| B | 2x | 3{}.7 | **0.9{}5** |
| B | 4x | 2{}.7 | **0.8{}5** |
"""


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


def test_files_are_of_one_thing_however_much_differs(tmp_path: Path) -> None:
    for name, digit in (("a.md", 1), ("b.md", 2)):
        (tmp_path / name).write_text(SECTIONS.format("Set5", *[digit] * 8))
    found = audit_files([tmp_path / "a.md", tmp_path / "b.md"])
    assert [finding.kind for finding in found.findings] == ["differs"] * 8
    assert not found.abstained


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


def test_another_table_of_the_file_tells_that_marks_mean_the_best(tmp_path: Path) -> None:
    head = "| Method | PSNR ↑ | LPIPS ↓ | DISTS ↓ | MUSIQ ↑ |\n|---|---|---|---|---|\n"
    first = (
        head
        + "| A | 26.66 | .48 | .28 | 46.4 |\n| **T** | 23.98 | **.29** | **.08** | **66.5** |\n"
    )
    second = (
        head
        + "| A | 23.89 | .58 | .38 | 37.2 |\n| **T** | **22.18** | **.42** | **.16** | **69.1** |\n"
    )
    _, alone = read(tmp_path, second, "t.md")
    assert not alone.findings and "may only say whose row it is" in alone.abstained[0]
    _, found = read(tmp_path, f"{first}\n{second}", "t.md")
    (finding,) = found.findings
    assert finding.detail == "T 22.18 is second best; A 23.89 is the best and not marked"
    assert "t.md, table 2: the marks of T mean the best, as t.md, table 1 shows" in found.notes
    other = second.replace("22.18", "24.9") + "| **U** | **21.1** | **.43** | **.17** | **69** |\n"
    _, found = read(tmp_path, f"{first}\n{other}", "t.md")
    assert not found.findings and "the marks of U may only say" in found.abstained[0]
    time = "| Method | Time |\n|---|---|\n| A | 1.5 |\n| **T** | 2.5 |\n"
    _, found = read(tmp_path, f"{first}\n{time}", "t.md")
    assert not any("mean the best" in note for note in found.notes)


def test_a_method_that_ends_in_a_metrics_name_makes_no_table_of_metrics(tmp_path: Path) -> None:
    rows = "| Dataset | L1 | L1 + LPIPS | GAN | Ours |\n|---|---|---|---|---|\n"
    rows += "| Set5 | 30.1 | 31.2 | 29.0 | 31.5 |\n| Set14 | 27.1 | 28.2 | 26.0 | 28.5 |\n"
    with pytest.raises(DataError, match="neither headings nor first columns name metrics"):
        read(tmp_path, rows, "t.md")


def test_a_footnotes_number_is_no_part_of_a_markdown_cell(tmp_path: Path) -> None:
    rows = "| A<sup>1</sup> | 0.7162<sup>2</sup> |\n| B | –<sup>3</sup> |\n"
    path = tmp_path / "table.md"
    path.write_text(f"| Method | SSIM ↑ |\n|---|---|\n{rows}", encoding="utf-8")
    read = read_file(path)
    assert [(value.method, str(value.value)) for value in read.values] == [("A", "0.7162")]
    assert not read.unread


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


def test_marks_that_compare_a_method_with_itself_and_an_addition(tmp_path: Path) -> None:
    rows = "| Method | PSNR | LPIPS | SSIM |\n|---|---|---|---|\n"
    rows += "| EDSR | 30.1 | .30 | .80 |\n| EDSR + Ours | **30.{}** | **.29** | **.81** |\n"
    rows += "| HAT | 32.1 | .20 | .90 |\n| HAT + Ours | **32.5** | **.19** | **.91** |\n"
    _, found = read(tmp_path, rows.format(5), "t.md")
    assert not found.findings and not found.abstained
    assert "t.md: its marks compare each method with itself and an addition" in found.notes
    _, found = read(tmp_path, rows.format("0"), "t.md")
    (line,) = found.abstained
    assert "EDSR 30.1 is the best and not marked, unless the marks of" in line
    assert not found.findings
    steps = "| Method | PSNR |\n|---|---|\n| +A | 30.1 |\n| +B | **30.5** |\n"
    steps += "| HAT | 31.0 |\n| HAT with Ours | **31.4** |\n"
    (finding,) = read(tmp_path, steps, "t.md")[1].findings
    assert finding.detail == "+B 30.5 is 3rd best; HAT 31.0 is second best and not marked"


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for where, value in (("a", "30.1"), ("b", "30.9")):
        (tmp_path / where).mkdir()
        text = f"dataset,method,metric,value\nSet5,A,PSNR,{value}\nSet5,B,PSNR,29\n"
        (tmp_path / where / "t.csv").write_text(text)
    paths = [tmp_path / where / "t.csv" for where in "ab"]
    (finding,) = audit_files(paths).findings
    assert [
        str(path) in side.place
        for path, side in zip(paths, (finding.first, finding.second), strict=True)
    ] == [True, True]
