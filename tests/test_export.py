"""Exports: what others read of them, and that they hold everything and nothing of the machine."""

import dataclasses
import io
import json
import math
import os
from pathlib import Path

import huggingface_hub
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import Cli
from export_example import (
    NAMES,
    Exported,
    hostile_results,
    table,
)
from huggingface_hub import ModelCard
from PIL import Image
from results_example import example

from bench.base.errors import BenchError, DataError
from bench.data.find import public_names
from bench.exchange.bundle import Bundle, ItemLabel, item_of, of_run, to_json
from bench.exchange.diff import difference
from bench.exchange.export import benchmark_files, export_folder
from bench.exchange.reading import read_bundle
from bench.results.results import Item, PictureSet

pytest_plugins = ["export_example"]


def test_the_hub_library_loads_scores_and_images(exported: Exported, tmp_path: Path) -> None:
    from datasets import load_dataset

    cache = str(tmp_path)
    scores = load_dataset(str(exported.folder), split="train", cache_dir=cache).to_pandas()
    told = table(exported.cwd / "reports")
    assert len(scores) == len(told)
    for row in scores.to_dict("records"):
        value = told[row["dataset"], row["method"], row["image"], row["metric"]]
        assert value == ("" if math.isnan(row["value"]) else repr(row["value"]))
        assert bool(row["reason"]) == (value == "")
    images = load_dataset(str(exported.folder), "images", split="train", cache_dir=cache)
    assert len(images) == 6
    stored = {p.read_bytes() for p in exported.cwd.parent.glob("home/store/images/**/*.png")}
    parquet = pq.read_table(exported.folder / "images" / "sr.parquet").to_pylist()
    assert {row["sr"]["bytes"] for row in parquet} == stored
    assert all(isinstance(row["sr"], Image.Image) for row in images)


def test_an_export_is_a_benchmark_and_its_means_are_for_model_cards(exported: Exported) -> None:
    told = yaml.safe_load((exported.folder / "eval.yaml").read_text())
    tasks = [task["id"] for task in told["tasks"]]
    assert tasks == ["quick-bicubic-psnr_y", "quick-bicubic-ssim_y"]
    means = pd.read_csv(exported.cwd / "reports" / "summary.csv").set_index(["metric", "method"])
    for method in ("nearest", "bicubic", "lanczos"):
        folder = exported.folder / "models" / method
        scores = yaml.safe_load((folder / ".eval_results" / "me-faces-x4.yaml").read_text())
        assert [s["dataset"] for s in scores] == [
            {"id": "me/faces-x4", "task_id": t} for t in tasks
        ]
        assert scores[0]["value"] == means["mean"]["psnr_y", method]
        assert {s["evaluation_framework"] for s in scores} == {told["evaluation_framework"]}
        known = ModelCard.load(folder / "README.md").data.eval_results
        assert known is not None
        assert [r.metric_value for r in known] == [s["value"] for s in scores]
        assert {r.metric_type for r in known} == {"psnr_y", "ssim_y"}


def test_the_hub_library_reads_the_means_of_a_model(exported: Exported) -> None:
    if not hasattr(huggingface_hub, "parse_eval_result_entries"):
        pytest.skip("this huggingface_hub has no parser of .eval_results")
    for file in exported.folder.glob("models/*/.eval_results/*.yaml"):
        told = yaml.safe_load(file.read_text())
        entries = huggingface_hub.parse_eval_result_entries(told)
        read = [(e.dataset_id, e.task_id, e.value, e.notes) for e in entries]
        assert len(read) == 2 and read == [
            (e["dataset"]["id"], e["dataset"]["task_id"], e["value"], e["notes"]) for e in told
        ]


@pytest.mark.parametrize("name", ["faces", "a/b/c", "me/ x", "../x"])
def test_a_benchmark_has_the_name_of_a_repository(name: str) -> None:
    with pytest.raises(BenchError, match="--benchmark: expected USER/NAME, found"):
        benchmark_files(example(), name)


def test_card_and_json_tell_everything_and_no_path(exported: Exported) -> None:
    front = yaml.safe_load((exported.folder / "README.md").read_text().split("---\n")[1])
    assert [c["config_name"] for c in front["configs"]] == ["scores", "images"]
    told = json.loads(exported.json.read_text())
    provenance = json.loads((exported.cwd / "reports" / "provenance.json").read_text())
    datasets = provenance["datasets"]["quick-bicubic"]
    assert told["measured"]["datasets"]["quick-bicubic"]["sha256"] == datasets["manifest_sha256"]
    assert told["made_with"]["versions"] == provenance["versions"]
    for file in (exported.json, exported.folder / "README.md", exported.folder / "result.json"):
        assert str(exported.cwd.parent) not in file.read_text()


def test_folder_json_and_reports_are_one_result(exported: Exported) -> None:
    whole = read_bundle(exported.json)
    assert read_bundle(exported.folder) == whole
    assert not difference(read_bundle(exported.cwd / "reports").measured, whole.measured).changes
    done = exported.cli("diff", "mine", "mine.json")
    assert (done.returncode, done.stdout) == (0, "9 cells equal, 0 changed\n")


def test_export_again_gives_the_same_bytes(exported: Exported, tmp_path: Path) -> None:
    methods = ("quick", "--methods", "nearest,bicubic,lanczos", *NAMES)
    done = exported.cli("export", *methods, "--out", tmp_path / "again", "--images")
    assert done.returncode == 0, done.stderr
    for name in ("README.md", "result.json", "data/scores.parquet", "images/sr.parquet"):
        assert (tmp_path / "again" / name).read_bytes() == (exported.folder / name).read_bytes()


def test_reasons_lose_their_folders_and_datasets_their_paths() -> None:
    results = hostile_results("folder:/home/me/set")
    results.scores.loc[0, ["value", "reason"]] = [
        math.nan,
        "/home/me/sr/a.png: truncated; see https://example.org/a/b or n/a",
    ]
    bundle = of_run(results)
    assert list(bundle.datasets) == ["folder:set"]
    (reason,) = bundle.measured.scores[0].missing.values()
    assert reason == "a.png: truncated; see https://example.org/a/b or n/a"
    twins = public_names(["folder:/a/set", "quick-bicubic", "folder:/b/set"])
    assert list(twins.values()) == ["folder:set", "quick-bicubic", "folder:set-2"]


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match=r"holds other files \(thesis.tex\)"):
        export_folder(hostile_results("a"), tmp_path, 4, images=False)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_a_file_manager_or_an_upload_leaves_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").write_bytes(b"Bud1")
    (tmp_path / ".cache").mkdir()
    assert export_folder(hostile_results("a"), tmp_path, 4, images=False)


def test_an_image_whose_name_is_not_unicode_is_exported(tmp_path: Path) -> None:
    results, name = hostile_results("a"), os.fsdecode(b"\xff")
    file = tmp_path / "sr.png"
    file.write_bytes(b"as it is")
    picture = PictureSet("a", name, 4, file, None, {"a": file})
    results = dataclasses.replace(results, pictures=(picture,))
    *_, written = export_folder(results, tmp_path / "out", 4, images=True)
    assert pq.read_table(written, columns=["image"]).to_pylist() == [{"image": r"\udcff"}]


def test_nothing_stored_is_said(cli: Cli, tmp_path: Path) -> None:
    done = cli("export", "quick", *NAMES, "--out", tmp_path / "x")
    assert done.returncode == 2 and "run `cassr-bench run` first" in done.stderr
    assert not (tmp_path / "x").exists()


def test_a_bundle_is_read_as_it_was_made(exported: Exported) -> None:
    bundle = read_bundle(exported.json)
    assert Bundle.model_validate_json(to_json(bundle)) == bundle
    assert io.StringIO(to_json(bundle)).readline() == "{\n"


def test_changes_are_lines_and_variants_stay_where_a_bundle_is_json(exported: Exported) -> None:
    known = read_bundle(exported.json).measured
    moved = [
        cell.model_copy(update={"images": {i: value + 1 for i, value in cell.images.items()}})
        for cell in known.scores
    ]
    found = difference(known, known.model_copy(update={"scores": moved}))
    told = json.loads(json.dumps(found.as_json()))
    assert told["changes"] == list(found.changes.values()) and len(told["changes"]) > 2
    item = Item("m", "M", "a note", {"steps": "1"})
    assert (
        item_of("m", {"m": ItemLabel.model_validate_json(ItemLabel.of(item).model_dump_json())})
        == item
    )
