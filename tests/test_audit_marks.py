"""Marks of the best in tables that contradict the numbers."""

import dataclasses
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from audit_tables import BLOCKS, LEVELS, read, row

from bench.audit.cells import GridCell, Printed
from bench.audit.grid import read_grid
from bench.audit.recompute import audit
from bench.audit.values import Mark, Value

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
    value = read_grid(Printed(rows), "t", {}).values[0]
    assert (value.better, value.stated) == ("lower", "higher")
    (finding,) = audit([value]).findings
    assert finding.kind == "direction"


def _row(*texts: str) -> list[GridCell]:
    return [GridCell(text) for text in texts]


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


def test_one_mark_in_each_block_may_be_of_all_its_test_sets(tmp_path: Path) -> None:
    rows = ["1k & A & 24.10", " & B & 24.90", r"10k & A & 24.50", r" & B & \textbf{26.00}"]
    rows += [r"\midrule moon & C & 23.00", r" & D & \textbf{25.50}"]
    head = "Data & Method & PSNR $\\uparrow$"
    body = " \\\\ ".join([head, *rows]).replace(r"\midrule", r"\midrule ") + r" \\"
    _, found = read(tmp_path, rf"\begin{{tabular}}{{llc}} {body} \end{{tabular}}")
    assert not found.findings
    assert "all of its parts together" in " ".join(found.abstained)
