"""What headings of tables name: changes, scales, correlations of a test set, methods."""

from pathlib import Path

import pytest
from audit_tables import judged, read
from conftest import Cli

from bench.audit.files import audit_files
from bench.audit.names import change_in, turned


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("PSNR (2×) ↑", "2× PSNR ↑"),
        ("SSIM(x4)", "x4 SSIM"),
        ("PSNR (dB)", "PSNR (dB)"),
        ("CSIQ(PLCC/SRCC)", "CSIQ PLCC/SRCC"),
        ("Speed (GPU)", "Speed (GPU)"),
        ("Budget", "Budget ↓"),
        ("Budget ↑", "Budget ↑"),
    ],
)
def test_headings_are_turned_to_one_order(head: str, expected: str) -> None:
    assert turned(head, {"budget": "lower"}, head=True) == expected


def test_what_is_no_heading_is_told_as_it_is_printed(tmp_path: Path) -> None:
    table = "| Method | PSNR (x4) |\n|---|---|\n| RRDB (PSNR) | **28.60** |\n| B | 28.20 |\n"
    values, found = judged(tmp_path, table, "t.md")
    assert [*values] == ["RRDB (PSNR) PSNR", "B PSNR"] and not found.findings


@pytest.mark.parametrize(
    ("head", "signed", "expected"),
    [
        ("Δ PSNR", True, ("", "Δ PSNR ↑")),
        ("RealSR PSNR gain (dB)", True, ("RealSR", "Δ PSNR ↑")),
        ("Improvement in SSIM", True, ("", "Δ SSIM ↑")),
        ("Δ LPIPS ↓", True, ("", "Δ LPIPS ↓")),
        ("Δ PSNR", False, None),
        ("Δ LPIPS", True, None),
        ("Gain", True, None),
    ],
)
def test_the_direction_of_a_change(
    head: str, signed: bool, expected: tuple[str, str] | None
) -> None:
    found = change_in(head, signed)
    assert found is not None
    assert found[:2] == expected if expected else "more may be better or worse" in found[2]
    assert change_in(head.replace("Δ", "").replace("ain", "uide"), signed) is None or "Imp" in head


CHANGES = r"""\begin{tabular}{llrrrr} \toprule
Method & Input & PSNR & SSIM & $\Delta$PSNR & $\Delta$ LPIPS \\ \midrule
Input & none & 26.16 & 0.845 & 0.00 & 0.00 \\
A & none & 26.13 & 0.848 & -0.03 & +0.01 \\
B & one & 26.82 & \textbf{0.871} & +0.66 & -0.02 \\
B & two & \textbf{26.86} & 0.865 & \textbf{+0.70} & \textbf{-0.03} \\
\bottomrule \end{tabular}"""


def test_changes_are_judged_where_their_sign_tells_and_named_where_it_does_not(
    tmp_path: Path,
) -> None:
    values, found = read(tmp_path, CHANGES)
    assert len(values) == 12 and not found.findings
    assert {(cell.column, cell.text) for cell in found.unread} == {
        ("Δ LPIPS", text) for text in ("0.00", "+0.01", "-0.02", "-0.03")
    }
    wrong = CHANGES.replace("+0.66", "+0.76")
    (finding,) = read(tmp_path, wrong)[1].findings
    assert "Δ PSNR" in finding.first.place and "B, one 0.76 is the best" in finding.detail
    given = audit_files([tmp_path / "t.tex"], metrics={"Δ LPIPS": "lower"})
    assert not given.unread and len(given.findings) == 1
    (tmp_path / "t.tex").write_text(CHANGES.replace("-0.02", "-0.04"))
    (finding,) = audit_files([tmp_path / "t.tex"], metrics={"Δ LPIPS": "lower"}).findings
    assert "B, one -0.04 is the best and not marked" in finding.detail


def test_a_scale_behind_a_metric_tells_its_test_set(tmp_path: Path) -> None:
    table = "Method,PSNR (2x),PSNR (x4)\nA,**36.1**,30.2\nB,35.9,**30.1**\n"
    values, found = read(tmp_path, table, "t.csv")
    assert {(v.dataset, v.metric) for v in values} == {("2x", "PSNR"), ("x4", "PSNR")}
    (finding,) = found.findings
    assert finding.first.place.startswith("t.csv, x4, PSNR")
    assert "B 30.1 is second best; A 30.2 is the best and not marked" in finding.detail


def test_metrics_in_brackets_behind_a_test_set_name_each_value(tmp_path: Path) -> None:
    table = "| Metric name | CSIQ(PLCC/SRCC) | LIVE(PLCC/SRCC) |\n|---|---|---|\n"
    table += "| NIQE | 0.71/**0.72** | 0.91/0.92 |\n| LIQE | **0.77**/0.71 | **0.92**/**0.91** |\n"
    found, audited = judged(tmp_path, table, "t.md")
    assert found["LIQE SRCC"] == "0.91 best" and audited.values == 8
    (finding,) = audited.findings
    assert finding.first.place.startswith("t.md, LIVE, SRCC")


def test_a_direction_that_is_given_suffices_to_read_a_table(cli: Cli, tmp_path: Path) -> None:
    table = tmp_path / "t.tex"
    rows = r"A & .521 & 10 \\ B & \textbf{.474} & 20 \\ C & .453 & 30 \\"
    table.write_text(
        rf"\begin{{tabular}}{{lcc}} Method & mAP$_{{50}}$ & Steps \\ {rows} \end{{tabular}}"
    )
    done = cli("audit", table)
    assert done.returncode == 2 and "--metric COLUMN=higher" in done.stderr
    done = cli("audit", table, "--metric", "mAP50=higher")
    assert done.returncode == 1 and "A 0.521 is the best and not marked" in done.stdout
    done = cli("audit", table, "--metric", "mAP50=lower")
    assert done.returncode == 1 and "C 0.453 is the best and not marked" in done.stdout
    by_rows = "| Measure | A | B |\n|---|---|---|\n| mAP | **.5** | .4 |\n| Time | 3 | **4** |\n"
    (tmp_path / "t.md").write_text(by_rows)
    found = audit_files([tmp_path / "t.md"], metrics={"mAP": "higher", "Time": "lower"})
    assert [finding.first.place for finding in found.findings] == ["t.md, Time, line 4, marks"]


ACROSS = """| Scene | One PSNR | Two PSNR | One LPIPS | Two LPIPS |
|---|---|---|---|---|
| golf | 31.3 | **32.1** | **0.176** | 0.234 |
| lake | 22.0 | **22.8** | **0.350** | 0.374 |
| solar | **27.7** | 26.2 | **0.117** | 0.123 |
"""


def test_methods_may_stand_above_metrics(tmp_path: Path) -> None:
    values, found = read(tmp_path, ACROSS, "t.md")
    assert {(v.method, v.dataset) for v in values} == {
        (method, scene) for method in ("One", "Two") for scene in ("golf", "lake", "solar")
    }
    assert not found.findings and not found.abstained
    (finding,) = read(tmp_path, ACROSS.replace("0.374", "0.274"), "t.md")[1].findings
    assert "Two 0.274 is the best and not marked" in finding.detail
    sets = ACROSS.replace("Scene", "Scale").replace("golf", "x2").replace("lake", "x3")
    values, _ = read(tmp_path, sets.replace("solar", "x4"), "t.md")
    assert {v.dataset for v in values} == {"One", "Two"}


def test_a_heading_over_all_columns_is_no_table_in_parts(tmp_path: Path) -> None:
    table = r"""\begin{tabular}{lcc} \multicolumn{3}{l}{\textit{Ratings}} \\
    Method & PLCC & SRCC \\ \midrule A & \textbf{.91} & .89 \\ B & .90 & \textbf{.92} \\
    \end{tabular}"""
    found, audited = judged(tmp_path, table)
    assert found == {
        "A PLCC": "0.91 best",
        "A SRCC": "0.89",
        "B PLCC": "0.90",
        "B SRCC": "0.92 best",
    }
    assert not audited.unread


def test_a_test_set_may_be_named_between_values(tmp_path: Path) -> None:
    table = "| Model | Iterations | Dataset | PSNR |\n|---|---|---|---|\n"
    table += "| A | 500k | One | 22.7 |\n| A | 500k | Two | 25.4 |\n"
    values, _ = read(tmp_path, table, "t.md")
    assert [v.dataset for v in values if v.metric == "PSNR"] == ["One", "Two"]


@pytest.mark.parametrize("name", ["↑ Improvement", "- Gain", "— Δ", "(+ Gain)"])
def test_a_row_that_tells_what_was_gained_is_no_method(tmp_path: Path, name: str) -> None:
    rows = ["| Method | PSNR ↑ | LPIPS ↓ |", "|---|---|---|", "| A | **28.60** | 0.35 |"]
    rows += ["| Ours | 28.50 | **0.30** |", f"| {name} | 0.30 | 0.04 |"]
    values, found = judged(tmp_path, "\n".join(rows) + "\n", "t.md")
    assert len(values) == 4 and not found.findings
    assert {cell.reason for cell in found.unread} == {"is a change, not a value"}


def test_a_marked_method_that_has_an_oracle_is_not_what_marks_leave_out(tmp_path: Path) -> None:
    rows = [
        "| Method | PSNR ↑ | SSIM ↑ | LPIPS ↓ | MUSIQ ↑ | NIQE ↓ |",
        "|---|---|---|---|---|---|",
    ]
    rows += ["| Supervised | 29.9 | 0.90 | 0.10 | 60.0 | 5.0 |"]
    rows += ["| A | **28.60** | 0.81 | 0.35 | 62 | **4.0** |"]
    rows += ["| B | 28.20 | **0.83** | 0.34 | 61 | 4.5 |"]
    rows += ["| Ours (oracle prompt) | 28.50 | 0.82 | **0.30** | **63** | 4.6 |"]
    _, found = judged(tmp_path, "\n".join(rows) + "\n", "t.md")
    assert not found.findings and "its marks leave out Supervised" in " ".join(found.notes)


@pytest.mark.parametrize("head", ["ΔE", "Color difference"])
def test_a_metric_that_is_called_a_difference_is_no_change(tmp_path: Path, head: str) -> None:
    rows = [f"| Method | PSNR ↑ | {head} |", "|---|---|---|", "| A | **30.10** | 3.50 |"]
    path = tmp_path / "t.md"
    path.write_text("\n".join([*rows, "| B | 29.20 | **1.80** |"]) + "\n", "utf-8")
    assert not audit_files([path]).unread
    assert not audit_files([path], metrics={head: "lower"}).findings
