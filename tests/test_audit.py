"""Tables and prose recomputed: the paper's contradictions, and anybody's CSV and LaTeX."""

import itertools
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from audit_tables import GROUPED, METHODS_AS_ROWS, SECTIONS, judged, read, text
from conftest import ROOT, Cli

from bench.audit.files import audit_files, audit_published
from bench.audit.prose import ClaimsCard
from bench.audit.values import Audit
from bench.base.cards import read_card
from bench.base.errors import BenchError, DataError
from bench.results.published import folder


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


def test_files_are_of_one_thing_however_much_differs(tmp_path: Path) -> None:
    for name, digit in (("a.md", 1), ("b.md", 2)):
        (tmp_path / name).write_text(SECTIONS.format("Set5", *[digit] * 8))
    found = audit_files([tmp_path / "a.md", tmp_path / "b.md"])
    assert [finding.kind for finding in found.findings] == ["differs"] * 8
    assert not found.abstained


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
