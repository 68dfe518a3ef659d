"""What is in a cell of a table: numbers, marks, names and headings, and what is not read."""

from decimal import Decimal
from pathlib import Path

import pytest
from audit_tables import judged, tabular

from bench.audit.files import read_file
from bench.audit.latex import grids
from bench.audit.names import split_metric
from bench.audit.numbers import numbers
from bench.audit.values import place_of


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


def test_a_footnotes_number_is_no_part_of_a_markdown_cell(tmp_path: Path) -> None:
    rows = "| A<sup>1</sup> | 0.7162<sup>2</sup> |\n| B | –<sup>3</sup> |\n"
    path = tmp_path / "table.md"
    path.write_text(f"| Method | SSIM ↑ |\n|---|---|\n{rows}", encoding="utf-8")
    read = read_file(path)
    assert [(value.method, str(value.value)) for value in read.values] == [("A", "0.7162")]
    assert not read.unread
