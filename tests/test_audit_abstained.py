"""Marks that may mean something else: what is judged all the same, and what is not and why."""

from pathlib import Path

import pytest
from audit_tables import LEVELS, read
from conftest import Cli

from bench.base.errors import DataError

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


def reference(changed: str = "", to: str = "") -> str:
    """A table whose first row, the input, is never marked though it is second or best in three."""
    table = r"""\begin{tabular}{lccccc}
Method & PSNR$\uparrow$ & SSIM$\uparrow$ & LPIPS$\downarrow$ & MUSIQ$\uparrow$ & FID$\downarrow$ \\
Input & 27.9 & .790 & .291 & 30.1 & 190 \\
A & 26.1 & .731 & .312 & \underline{61.2} & \underline{141} \\
B & \underline{26.5} & \underline{.742} & \underline{.298} & 57.3 & 149 \\
C & \textbf{26.8} & \textbf{.751} & \textbf{.285} & \textbf{66.0} & \textbf{130} \\
\end{tabular}"""
    return table.replace(changed, to) if changed else table


def test_a_reference_that_is_never_marked_may_be_left_out(tmp_path: Path) -> None:
    _, found = read(tmp_path, reference())
    assert not found.findings and not found.abstained
    assert found.notes == ("t.tex: its marks leave out Input, which has none",)
    _, planted = read(tmp_path, reference("57.3", "70.2"))
    (finding,) = planted.findings
    assert "C 66.0 is second best" in finding.detail and "MUSIQ" in finding.first.place
    _, few = read(tmp_path, reference("27.9", "20.9"))
    assert [finding.first.place[:11] for finding in few.findings] == ["t.tex, SSIM", "t.tex, LPIP"]


ORACLE = r"""\begin{tabular}{lcccc} Method & PSNR & SSIM & LPIPS & MUSIQ \\ \midrule
A & \textbf{25.2} & .775 & .31 & 60.1 \\ B & 24.9 & \textbf{.781} & \textbf{.29} & \textbf{63.2} \\
B (oracle) & 24.95 & .784 & .28 & 62.8 \\ \bottomrule \end{tabular}"""


def test_a_bound_by_its_name_may_be_left_out_of_the_marks(tmp_path: Path) -> None:
    _, found = read(tmp_path, ORACLE)
    assert not found.findings and not found.abstained
    assert found.notes == ("t.tex: its marks leave out B (oracle), which has none",)
    (finding,) = read(tmp_path, ORACLE.replace("60.1", "64.1"))[1].findings
    assert "A 64.1 is the best and not marked" in finding.detail
    assert len(read(tmp_path, ORACLE.replace("B (oracle)", "C"))[1].findings) == 2


@pytest.mark.parametrize("head", ["Method", "BIQA Model"])
def test_methods_that_are_called_like_metrics_are_methods(head: str, tmp_path: Path) -> None:
    rows = r"BRISQUE & .93 & .94 \\ MUSIQ & .94 & .91 \\ MANIQA & \textbf{.98} & .98 \\ "
    table = (
        rf"\begin{{tabular}}{{lcc}} {head} & SRCC & PLCC \\ {rows}Ours & .97 & \textbf{{.99}} \\ "
    )
    _, found = read(tmp_path, table + r"\end{tabular}")
    assert (found.values, found.findings) == (8, ())
    _, planted = read(tmp_path, table.replace(".94 & .91", ".99 & .91") + r"\end{tabular}")
    (finding,) = planted.findings
    assert "MUSIQ 0.99 is the best and not marked" in finding.detail
    nameless = table.replace("SRCC", "LIVE").replace("PLCC", "CSIQ")
    with pytest.raises(DataError, match="neither headings nor first columns name metrics"):
        read(tmp_path, nameless + r"\end{tabular}")


def test_a_rival_that_is_never_marked_is_not_left_out(tmp_path: Path) -> None:
    lines = reference().splitlines()
    rival = "\n".join([*lines[:2], lines[3], lines[2], *lines[4:]])
    _, found = read(tmp_path, rival)
    places = [finding.first.place[:11] for finding in found.findings]
    assert places == ["t.tex, PSNR", "t.tex, SSIM", "t.tex, LPIP"]


def test_marks_beside_a_scale_of_colours_are_judged(tmp_path: Path) -> None:
    shades = iter(range(9))
    rows = ""
    for name, own in (("A", "2"), ("B", "1"), ("C", "3")):
        cells = (rf"\cellcolor[HTML]{{FFB3C{next(shades)}}}{own}{i}.0" for i in range(3))
        rows += f"{name} & " + " & ".join(cells) + r" \\ "
    head = r"M & PSNR$\uparrow$ & SSIM$\uparrow$ & MUSIQ$\uparrow$ \\ \hline "
    marked = rows.replace("20.0", r"\textbf{20.0}").replace("31.0", r"\textbf{31.0}")
    _, found = read(tmp_path, rf"\begin{{tabular}}{{lccc}} {head}{marked}\end{{tabular}}")
    (finding,) = found.findings
    assert "20.0 is second best" in finding.detail and "PSNR" in finding.first.place


def test_parts_that_are_compared_are_test_sets(tmp_path: Path) -> None:
    sets = (("One", "30.1", r"\textbf{29.2}"), ("Two", r"\textbf{27.1}", "28.9"))
    rows = "".join(rf"{name} & X & {x} \\ {name} & Y & {y} \\ " for name, x, y in sets)
    alone = r"Three & Y & \textbf{26.0} \\ "
    table = (
        rf"\begin{{tabular}}{{llc}} Dataset & M & PSNR$\uparrow$ \\ {rows}{alone}\end{{tabular}}"
    )
    _, found = read(tmp_path, table)
    assert len(found.findings) == 2 and not found.abstained


def test_a_scale_of_colours_marks_no_ranks(tmp_path: Path) -> None:
    shades = [f"FF{shade}B3" for shade in ("B3", "C4", "C7", "D1", "D6", "D9", "DD", "DE", "E0")]
    rows = ""
    for i in range(3):
        cells = (rf"\cellcolor[HTML]{{{shades[3 * i + j]}}}2{i}.{j}" for j in range(3))
        rows += f"{chr(65 + i)} & " + " & ".join(cells) + r" \\ "
    head = r"M & PSNR$\uparrow$ & LPIPS$\downarrow$ & FID$\downarrow$ \\ \hline "
    _, found = read(tmp_path, rf"\begin{{tabular}}{{lccc}} {head}{rows}\end{{tabular}}")
    assert not found.findings
    assert found.abstained == ("t.tex: marks: 9 colours are a scale, not ranks",)


def test_a_first_column_may_be_part_of_the_method(tmp_path: Path) -> None:
    table = r"""\begin{tabular}{llccc}
Mode & Order & PSNR$\uparrow$ & SSIM$\uparrow$ & LPIPS$\downarrow$ \\ \midrule
Threshold & Hilbert & \textbf{23.78} & \textbf{0.811} & \textbf{0.085} \\
Quantile & Hilbert & 22.54 & 0.775 & 0.118 \\
Quantile & None & 21.81 & 0.707 & 0.201 \\ \end{tabular}"""
    _, found = read(tmp_path, table)
    assert not found.findings
    assert found.notes == ("t.tex: its marks hold for all of its parts together",)
