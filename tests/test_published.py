"""Published values: read whole, matched by name, compared only with their like."""

import csv
import dataclasses
import io
import math
import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Cli
from rich.console import Console

from bench import metrics
from bench.base.errors import DataError
from bench.reports import get_report
from bench.reports.published import show
from bench.reports.tables.markdown import markdown
from bench.results.against import Against, against
from bench.results.published import (
    COLUMNS,
    as_results,
    folder,
    noise_floor,
    read_rows,
    read_source,
    sources,
)
from bench.results.results import Item, Results
from bench.results.table_stats import statistics
from bench.results.view import PLAIN, View
from bench.suites.protocols import protocols

from . import results_example as ex
from .test_reports_latex import compiled, needs_latex


def test_the_papers_tables_are_all_there() -> None:
    cassr = next(source for source in sources() if source.card.name == "cassr")
    assert len(cassr.rows) == 3 * 7 * 9 + 3 * 5 + 4 * 5
    assert {row.table for row in cassr.rows} == {"1", "2", "3"}
    row = next(r for r in cassr.rows if r.method == "SeeSR" and r.metric == "FID")
    assert (row.dataset, str(row.value), row.marked) == ("DIV2K-val", "28.5568", True)


def test_the_papers_rows_are_those_that_were_given(shared: Path) -> None:
    given = shared / "paper" / "published_tables.csv"
    assert read_rows(folder() / "cassr.csv") == read_rows(given)


def test_every_source_names_registered_metrics_and_its_files() -> None:
    for source in sources():
        assert (folder() / f"{source.card.name}.toml").is_file()
        assert source.rows
        for metric in source.card.metrics.values():
            assert metrics.find(metric.name).name == metric.name
        for row in source.rows:
            assert row.better == metrics.find(source.card.metrics[row.metric].name).better


def test_tables_read_from_pictures_are_whole_and_near_the_log() -> None:
    """Methods by three sets and nine metrics in two tables each; ten by four sets and eight."""
    found = {source.card.name: source for source in sources()}
    paper, tsd, ccsr = found["osediff-paper"], found["tsd-sr"], found["ccsr"]
    assert len(paper.rows) == (7 + 5) * 27 and len(tsd.rows) == (4 + 8) * 27
    assert len({(r.dataset, r.method, r.metric) for r in ccsr.rows}) == len(ccsr.rows) == 10 * 32
    theirs = {(r.dataset, r.metric): r.value for r in paper.rows if r.method == "ResShift-s15"}
    for row in (row for row in ccsr.rows if row.method == "ResShift-S15"):
        other = theirs.get((row.dataset, row.metric))  # it was run anew
        assert other is None or abs(row.value / other - 1) < Decimal("0.04"), row
    log = {(row.dataset, row.metric): row.value for row in found["osediff"].rows}
    for row in (row for row in paper.rows if paper.method_name(row).lower() == "osediff"):
        logged = log.get((row.dataset, row.metric))
        assert logged is None or abs(logged - row.value) < Decimal("0.0051"), row


def test_variants_that_are_one_configuration_have_one_name() -> None:
    cassr = next(source for source in sources() if source.card.name == "cassr")
    places = [(r.table, r.variant) for r in cassr.rows if cassr.method_name(r) == "cassr"]
    assert {table for table, _ in places} == {"1", "2", "3"}


def test_noise_floor_is_of_known_sets_and_metrics() -> None:
    names = {name for source in sources() for name in source.card.datasets}
    for (dataset, metric), (half_width, n) in noise_floor().items():
        assert dataset in names
        assert metrics.find(metric)
        assert half_width > 0
        assert n in (93, 100)


def measured(n: int, mean: float, *, dataset: str = "realsr", method: str = "osediff") -> Results:
    """PSNR-Y of `n` images with the given mean and a spread of 2, and one FID."""
    spread = np.random.default_rng(0).normal(0, 2, n)
    values: dict[tuple[str, str, str, str], float | str] = {
        (dataset, method, f"i{i:03}", "psnr_y"): mean + float(x)
        for i, x in enumerate(spread - spread.mean())
    }
    values[dataset, method, "", "fid"] = 123.5
    return ex.results(
        values,
        (ex.PSNR, ex.FID),
        datasets=[Item(dataset, "RealSR")],
        methods=[Item(method, "OSEDiff")],
    )


def one(results: Results, metric: str = "PSNR-Y", source: str = "OSEDiff's log") -> Against:
    rows = against(results)
    (found,) = [row for row in rows if (row.metric, row.source) == (metric, source)]
    return found


def test_equal_sets_are_compared_with_the_noise_of_our_own_scores() -> None:
    near = one(measured(100, 25.2))
    assert near.published == "25.1511"
    assert near.difference == pytest.approx(25.2 - 25.1511)
    assert near.noise == pytest.approx(0.4, abs=0.05)
    assert (near.noise_of, near.verdict, near.unlike) == ("these scores", "within noise", ())
    assert one(measured(100, 23.83)).verdict == "beyond noise"
    assert any("1.32 dB" in text for text in near.protocol)


def test_other_sizes_are_labelled_not_compared() -> None:
    found = one(measured(20, 25.2))
    assert found.verdict == "not comparable"
    assert found.unlike == ("n = 20 here, 100 there",)
    assert one(measured(20, 25.2), "FID").verdict == "not comparable"
    assert one(measured(100, 25.2), "FID").verdict == "noise unknown"


def test_values_of_two_protocols_are_not_compared() -> None:
    own = measured(100, 25.2)
    assert "the whole table: its protocol is osediff" in one(own).protocol
    assert one(replace(own, provenance={"suite": {"protocol": "osediff"}})).unlike == ()
    found = one(replace(own, provenance={"suite": {"protocol": "seesr"}}))
    assert found.verdict == "not comparable"
    assert found.unlike == ("protocol seesr here, osediff there",)
    border = replace(ex.PSNR, name="psnr_y(crop_border=4)")
    scores = own.scores.assign(metric=own.scores["metric"].replace("psnr_y", border.name))
    found = one(replace(own, metrics=(border, ex.FID), scores=scores), border.title)
    assert found.unlike == ("psnr_y(crop_border=4) here, psnr_y there",)


def test_published_tables_name_their_protocol_in_every_format() -> None:
    cassr = next(source for source in sources() if source.card.name == "cassr")
    assert {*protocols(), "not stated"} >= {source.card.protocol for source in sources()}
    datasets, methods = [Item("realsr", "RealSR")], [Item("cassr", "CasSR")]
    table = as_results(cassr, "1", datasets, methods, [metrics.find("lpips")])
    assert table.title.endswith("as published (protocol cassr)")
    assert "| RealSR | LPIPS" in markdown(table)  # nothing tells over how many images


def test_few_images_take_the_noise_of_the_log() -> None:
    found = one(measured(3, 25.2))
    assert (found.noise, found.noise_of) == (0.46, "OSEDiff's log, n = 100")


def test_an_infinite_score_takes_no_other_methods_noise() -> None:
    values = {
        ("realsr", method, f"i{i:03}", "psnr_y"): 25.2 + 2 * (-1) ** i
        for method in ("osediff", "seesr")
        for i in range(100)
    }
    finite = {row.method: row.noise for row in against(ex.results(values, (ex.PSNR,)))}
    values["realsr", "osediff", "i000", "psnr_y"] = math.inf
    rows = {row.method: row for row in against(ex.results(values, (ex.PSNR,)))}
    assert rows["seesr"].noise == pytest.approx(finite["seesr"])
    assert rows["seesr"].noise_of == "these scores" != rows["osediff"].noise_of


def test_noise_is_of_the_images_that_the_mean_is_of() -> None:
    """Another method lacks the images that would halve the noise."""
    spread = [2.0, -2.0] * 6
    values = {
        ("realsr", "osediff", f"i{i:03}", "psnr_y"): 25.2 + x
        for i, x in enumerate([*spread, *[0.0] * 88])
    }
    alone = one(ex.results(values, (ex.PSNR,)))
    beside = values | {("realsr", "other", f"i{i:03}", "psnr_y"): 20.0 + i for i in range(12)}
    shared = one(ex.results(beside, (ex.PSNR,)))
    few = {key: value for key, value in values.items() if key[2] < "i012"}
    assert (shared.n, shared.noise) == (12, one(ex.results(few, (ex.PSNR,))).noise)
    assert shared.noise and alone.noise and shared.noise > 3 * alone.noise


def test_fid_of_unknown_size_is_never_compared() -> None:
    values = {("drealsr", "hat", "", "fid"): 142.0}
    items = {"datasets": [Item("drealsr", "DRealSR")], "methods": [Item("hat", "HAT")]}
    found = one(ex.results(values, (ex.FID,), **items), "FID", "CasSR (the paper)")
    assert found.verdict == "not comparable"
    assert "n, which is not stated" in found.unlike[0]


def test_substituted_weights_are_never_compared() -> None:
    provenance = {"metrics": {"psnr_y": {"substituted": ["x.pth"]}}}
    results = dataclasses.replace(measured(100, 25.2), provenance=provenance)
    assert one(results).verdict == "not comparable"


def test_missing_scores_are_not_measured() -> None:
    values = {("realsr", "osediff", "a", "psnr_y"): "no image of that name"}
    found = one(ex.results(values, (ex.PSNR,)))
    assert (found.verdict, found.measured) == ("not measured", None)
    assert found.unlike == ("no image of that name",)


def test_ablations_meet_their_rows() -> None:
    values = {("div2k-val", "cassr", f"i{i}", "lpips"): 0.32 for i in range(6)}
    rows = against(ex.results(values, (ex.LPIPS,)))
    assert [(row.table, row.published) for row in rows] == [
        ("1", "0.3225"),
        ("2", "0.3175"),
        ("3", "0.3225"),
    ]
    assert all("seed is not published" in row.protocol[0] for row in rows)


def test_report_and_terminal_show_every_row(tmp_path: Path) -> None:
    results = measured(20, 25.2)
    rows, page, latex = get_report("published").load()(results, tmp_path)
    assert r"25.1511 & 25.2" in latex.read_text() and "n = 20 here" in latex.read_text()
    heading = "OSEDiff's log, table log: RealSR, n = 20 (published n = 100)"
    assert heading in latex.read_text()
    with rows.open() as file:
        log = [row for row in csv.DictReader(file) if row["source"] == "OSEDiff's log"]
    assert [row["verdict"] for row in log] == ["not comparable"] * 2
    assert "n = 20 here, 100 there" in page.read_text()
    text = io.StringIO()
    show(results, Console(file=text, width=80))
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "25.1511" in text.getvalue() and "+0.0489" in text.getvalue()
    assert heading in lines


@needs_latex
def test_more_published_rows_than_a_page_holds_compile(tmp_path: Path) -> None:
    own = [metrics.find(name) for name in protocols().find("osediff").metrics]
    names = {"osediff": "OSEDiff", "seesr": "SeeSR", "cassr": "CasSR", "hat": "HAT of four words"}
    values = {
        (dataset, method, "", metric.name): 0.5
        for dataset in ("realsr", "drealsr")
        for method in names
        for metric in own
    }
    results = ex.results(values, own, methods=[Item(*named) for named in names.items()])
    get_report("published").load()(results, tmp_path)
    assert (tmp_path / "published.tex").read_text().count(r"\\") > 100
    packages = "".join(rf"\usepackage{{{p}}}" for p in ("booktabs", "longtable"))
    (tmp_path / "paper.tex").write_text(
        rf"\documentclass{{article}}\usepackage[T1]{{fontenc}}{packages}"
        r"\begin{document}Text.\input{published.tex}\end{document}"
    )
    assert not re.search("(?i)overfull|undefined|too large", compiled(tmp_path, "paper.tex"))


def test_nothing_published_is_said(tmp_path: Path) -> None:
    _, page, latex = get_report("published").load()(ex.example(), tmp_path)
    for text in (page.read_text(), latex.read_text()):
        assert "No published value fits these" in text and "Published values exist for" in text
        assert "realsr" in text and "seesr" in text.casefold()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("table,dataset\n1,d\n", "columns method, variant, metric"),
        (
            ",".join(COLUMNS) + "\n1,d,m,,PSNR,up,3,0\n",
            "line 2: field 'better': .*'higher' or 'lower', found 'up'",
        ),
        (
            ",".join(COLUMNS) + "\n1,d,m,,PSNR,higher,x,0\n",
            "line 2: field 'value': .*valid decimal, found 'x'",
        ),
    ],
)
def test_broken_rows_are_refused_by_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_rows(path)


def test_a_name_that_the_card_lacks_is_refused(tmp_path: Path) -> None:
    card = (folder() / "osediff.toml").read_text()
    (tmp_path / "osediff.toml").write_text(card)
    rows = (folder() / "osediff.csv").read_text().replace("DRealSR", "Elsewhere")
    (tmp_path / "osediff.csv").write_text(rows)
    with pytest.raises(DataError, match="dataset 'Elsewhere' is not in osediff"):
        read_source(tmp_path / "osediff.toml")


def test_the_package_carries_the_folder() -> None:
    assert '"results/published" = "bench/published"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("report", ["terminal", "markdown", "latex"])
def test_tables_can_mark_all_that_are_not_worse(report: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = {
        ("d", method, f"i{i}", "psnr_y"): 25 + gap + float(rng.normal(0, 0.1))
        for method, gap in (("first", 0.01), ("twin", 0.0), ("third", -3.0))
        for i in range(30)
    }
    plain = ex.results(values, (ex.PSNR,))
    marked = View(groups=statistics(plain).groups)
    text = get_report(report).load()(plain, tmp_path, marked)[0].read_text()
    before = get_report(report).load()(plain, tmp_path, PLAIN)[0].read_text()
    best, undecided = {
        "terminal": ("25.03●", "25.00†"),
        "markdown": ("**25.03**", "25.00†"),
        "latex": (r"\textcolor{red}{\textbf{25.03}}", r"25.00$^{\dagger}$"),
    }[report]
    assert text.count(best) == text.count(undecided) == 1
    legend = "Holm over 3 comparisons per dataset and metric"
    words = " ".join(text.split())
    assert legend in words and "not told apart from" in words and "22.02†" not in words
    assert "≈" not in text and "approx" not in text
    assert "not told apart" not in before


def test_options_know_their_values(cli: Cli) -> None:
    for option, value in (("--marks", "bold"), ("--compare", "paper")):
        done = cli("run", "quick", option, value)
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: {option}: expected")
        assert len(done.stderr.splitlines()) == 1


def test_a_folder_is_not_judged_by_its_name() -> None:
    results = measured(100, 25.2)
    named = dataclasses.replace(results.datasets[0], name="folder:realsr")
    scores = results.scores.assign(dataset="folder:realsr")
    rows = against(dataclasses.replace(results, datasets=(named,), scores=scores))
    assert rows and {row.verdict for row in rows} == {"not comparable"}
    assert "its name alone" in rows[0].unlike[0]


def test_a_published_table_is_shown_in_the_papers_layout_without_any_data(
    cli: Cli, tmp_path: Path
) -> None:
    words = ("--compare", "published", "--reports", "published", "--out", tmp_path / "out")
    done = cli("report", "table1", *words)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["CasSR", "30.7808○", "0.1531●", "0.3225", "68.6242●", "0.4927●", "0.6861○", "3.6026○"] \
        in lines  # fmt: skip
    assert "Table 1, as published" in done.stdout and "Table 2" not in done.stdout
    assert "Nothing is measured here" in done.stdout and "no interval" not in done.stdout
    assert f"Reports: {tmp_path / 'out'}" in done.stdout
    written = tmp_path / "out" / "cassr-table-1"
    row = "| DIV2K-val | FID ↓ | 52.9180 | 42.2293 | 41.7034 | 55.3689 | 31.6253 | 31.2679 |"
    assert row in (written / "table.md").read_text(encoding="utf-8")
    assert "& 52.9180 & 42.2293 &" in (written / "table.tex").read_text(encoding="utf-8")
    assert "div2k-val,fid,bsrgan,52.918," in (written / "summary.csv").read_text(encoding="utf-8")
    assert "52.918,\n" in (written / "scores.csv").read_text(encoding="utf-8")
    page = (written / "html" / "index.html").read_text(encoding="utf-8")
    assert "52.9180" in page and 'id="leaderboard"' in page
    assert "measured" not in page and not (written / "published.md").exists()


def test_where_no_published_table_fits_nothing_is_said_to_be_written(
    cli: Cli, tmp_path: Path
) -> None:
    done = cli("report", "crops", "--compare", "published", "--out", tmp_path / "out")
    assert done.returncode == 0 and not (tmp_path / "out").exists()
    assert "No published table holds most of this suite." in done.stdout
