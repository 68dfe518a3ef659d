"""Exports and reports of others that are damaged, hostile or oddly named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from export_example import (
    Exported,
    changed,
    hostile_results,
    scores_of,
)
from results_example import HOSTILE

from bench.base.errors import DataError
from bench.exchange import merge as merging
from bench.exchange.bundle import Bundle, of_run, to_json, to_results
from bench.exchange.export import card, export_folder
from bench.exchange.merge import Import, merge
from bench.exchange.reading import MAX_BYTES, read_bundle
from bench.files.safe_csv import write_files

pytest_plugins = ["export_example"]


def spoil_number(told: dict[str, Any]) -> None:
    told["measured"]["scores"][0]["images"] = {"a": "NaN"}


def hide_fingerprint(told: dict[str, Any]) -> None:
    del told["measured"]["metrics"]["psnr_y"]
    for cell in told["measured"]["scores"]:
        if cell["metric"] == "psnr_y":
            cell["mean"] = None


def give_a_reason_beside_a_score(told: dict[str, Any]) -> None:
    cell = told["measured"]["scores"][0]
    cell["missing"] = dict.fromkeys(cell["images"], "no memory")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda told: told.update(format=2), "field 'format'"),
        (lambda told: told.update(surprise=1), "field 'surprise': extra inputs"),
        (lambda told: told["methods"].update({"x" * 301: {"title": "y"}}), "at most 300"),
        (lambda told: told.update(title="t" * 5000), "field 'title'"),
        (spoil_number, "found NaN"),
        (scores_of("psnr_y", "88.0"), "expected a number, found 88.0"),
        (scores_of("psnr_y", True), "expected a number, found True"),
        (hide_fingerprint, "nothing is said about 'psnr_y'"),
        (give_a_reason_beside_a_score, "' has a score and a reason for none"),
        (lambda told: told["made_with"].update(versions=["1"]), "versions: expected a table"),
        (lambda told: told["measured"].update(limit=True), "field 'measured.limit'"),
        (lambda told: told["measured"].update(seed="3"), "field 'measured.seed'"),
        (lambda told: told["measured"].update(scores="many"), "field 'measured.scores'"),
    ],
)
def test_fields_that_are_wrong_are_named(
    exported: Exported, tmp_path: Path, change: Callable[[dict[str, Any]], object], expected: str
) -> None:
    path = changed(exported.json, change, tmp_path / "x.json")
    with pytest.raises(DataError) as error:
        read_bundle(path)
    assert expected in str(error.value) and len(str(error.value).splitlines()) == 1


def write_parquet(columns: dict[str, Any], path: Path) -> None:
    pq.write_table(pa.table(columns), path)


@pytest.fixture
def folder(exported: Exported, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported.folder, tmp_path / "theirs"))


def test_links_sizes_and_broken_files_are_refused(folder: Path, tmp_path: Path) -> None:
    scores = folder / "data" / "scores.parquet"
    good = pq.read_table(scores)

    def refused(expected: str) -> None:
        with pytest.raises(DataError) as error:
            read_bundle(folder)
        assert expected in str(error.value), str(error.value)

    scores.write_bytes(scores.read_bytes()[:-20])
    refused("is not readable as Parquet")
    pq.write_table(good.drop_columns(["reason"]), scores)
    refused("expected columns dataset, method, image, metric, value, reason")
    pq.write_table(pa.concat_tables([good, good]), scores)
    refused("stands there twice")
    pq.write_table(good.set_column(4, "value", good["value"].cast(pa.string())), scores)
    refused("column 'value' is not")
    no_text = pa.array([b"\xff"] * len(good)).view(pa.string())
    pq.write_table(good.set_column(0, "dataset", no_text), scores)
    refused("is not readable as Parquet ('utf-8' codec")
    bomb = pa.array(["x" * 5000] * len(good))
    pq.write_table(good.set_column(5, "reason", bomb), scores)
    refused("a text in column 'reason' is too long")
    shutil.move(folder / "result.json", tmp_path / "outside.json")
    (folder / "result.json").symlink_to(tmp_path / "outside.json")
    refused("is a link out of its folder")
    (folder / "result.json").unlink()
    with (folder / "result.json").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    refused("at most 256 are read")
    (folder / "result.json").write_text("[" * 100_000)
    refused("is not valid JSON")
    (folder / "result.json").write_text("[]")
    pq.write_table(good, scores)
    refused("result.json: input should be a valid dictionary")
    with pytest.raises(DataError, match="expected an exported"):
        read_bundle(tmp_path)


@pytest.mark.parametrize("name", [*HOSTILE, "---\na: b"])
def test_hostile_names_survive_and_stay_text(name: str, tmp_path: Path) -> None:
    results = hostile_results(name)
    export_folder(results, tmp_path / "out", 4, images=False)
    bundle = of_run(results, 4)
    assert read_bundle(tmp_path / "out") == bundle
    (tmp_path / "x.json").write_text(to_json(bundle))
    assert read_bundle(tmp_path / "x.json") == bundle
    front, _, body = card(results, bundle, images=False).partition("\n---\n")
    assert list(yaml.safe_load(front)) == ["pretty_name", "tags", "configs"]
    assert "<script>" not in body and "\x1b" not in body
    with pytest.raises(DataError, match="found inf"):
        merge(results, [Import("them", bundle)], label="2")
    results.scores["value"] = 30.0
    merged = merge(results, [Import("them", of_run(results, 4))], label="2")
    assert len(merged.scores) == 2 * len(results.scores)
    assert merged.scores["value"].notna().all()


def as_reports(name: str, metric: str, folder: Path) -> Path:
    """What a run writes of results in which everything is called `name`."""
    results = hostile_results(name)
    results.scores["metric"] = metric
    told = dict(results.provenance)
    told |= {"suite": {"name": "s", "title": "S"}, "metrics": {metric: {"metric": metric}}}
    write_files(folder, {"scores.csv": results.scores, "provenance.json": json.dumps(told)})
    return folder


@pytest.mark.parametrize("name", ["-1", "@x", "'y"])
def test_names_that_a_spreadsheet_would_run_come_back_from_reports(
    name: str, tmp_path: Path
) -> None:
    measured = read_bundle(as_reports(name, "psnr_y", tmp_path)).measured
    (cell,) = measured.scores
    assert (cell.dataset, cell.method, set(cell.images)) == (name, name, {name, "b"})


def test_a_metric_in_the_reports_of_others_is_never_read_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text('def score(sr):\n    """Higher is better."""\n')
    reports = as_reports("a", str(tmp_path / "x.py"), tmp_path / "reports")
    with pytest.raises(DataError, match="is none of ours and says not which way is better"):
        read_bundle(reports)


def test_of_several_checks_that_reports_fail_the_first_is_told(tmp_path: Path) -> None:
    reports = as_reports("a", "psnr_y", tmp_path / "reports")
    told = json.loads((reports / "provenance.json").read_text())
    told |= {"seed": "many", "limit": "all"}
    (reports / "provenance.json").write_text(json.dumps(told))
    with pytest.raises(DataError, match=r"of this version \(field 'seed': .*found 'many'\)"):
        read_bundle(reports)


def test_a_file_may_tell_of_what_has_no_cells_and_the_other_way_round() -> None:
    told = json.loads(to_json(of_run(hostile_results("a"))))
    measured = told["measured"]
    measured["datasets"]["empty"] = measured["datasets"]["a"]
    absent = {"dataset": "b", "method": "c", "metric": "psnr_y", "missing": {"i": "no weights"}}
    measured["scores"].append(absent)
    results = to_results(Bundle.model_validate(told))
    assert len(merging.beside(results).methods) >= 2
    own = of_run(results).measured
    assert (list(own.datasets), list(own.methods)) == (["a"], ["a"])
    assert [cell.dataset for cell in own.scores] == ["a", "b"]
