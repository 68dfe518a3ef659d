"""`export`, `import` and `diff`: what leaves comes back whole; what does not agree stays out."""

import csv
import dataclasses
import io
import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import Cli, plant_quick_sets
from huggingface_hub import ModelCard
from PIL import Image
from results_example import HOSTILE, PSNR, example

from bench import metrics
from bench.base.errors import BenchError, DataError
from bench.data.find import public_names
from bench.exchange import merge as merging
from bench.exchange.bundle import Bundle, ItemLabel, item_of, of_run, to_json, to_results
from bench.exchange.diff import difference
from bench.exchange.export import benchmark_files, card, export_folder
from bench.exchange.merge import Import, merge
from bench.exchange.reading import MAX_BYTES, read_bundle
from bench.files.safe_csv import write_files
from bench.results.results import Item, PictureSet, Results

NAMES = ("--metrics", "psnr_y,ssim_y,lpips", "--datasets", "quick-bicubic", "--limit", 2)
BRIEF = ("--reports", "csv,markdown")


@dataclass(frozen=True)
class Exported:
    """A small run, exported as a folder with images and as JSON."""

    cli: Cli
    cwd: Path

    @property
    def folder(self) -> Path:
        return self.cwd / "mine"

    @property
    def json(self) -> Path:
        return self.cwd / "mine.json"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    root = tmp_path_factory.mktemp("export")
    cli = Cli(root / "home", root / "cwd")
    plant_quick_sets(root / "home" / "store")
    methods = ("quick", "--methods", "nearest,bicubic,lanczos", *NAMES)
    for arguments in (
        ("run", *methods, *BRIEF, "--out", "reports"),
        ("export", *methods, "--out", "mine", "--images", "--benchmark", "me/faces-x4"),
        ("export", *methods, "--out", "mine.json"),
    ):
        done = cli(*arguments)
        assert done.returncode == 0, done.stderr
    return Exported(cli, root / "cwd")


def table(folder: Path) -> dict[tuple[str, ...], str]:
    with (folder / "scores.csv").open() as file:
        rows = csv.DictReader(file)
        return {(r["dataset"], r["method"], r["image"], r["metric"]): r["value"] for r in rows}


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


def test_imported_methods_stand_beside_our_own(exported: Exported, tmp_path: Path) -> None:
    own = ("quick", "--methods", "nearest", *NAMES)
    done = exported.cli("import", *own, "mine", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert table(tmp_path) == table(exported.cwd / "reports")
    text = (tmp_path / "table.md").read_text()
    assert "Bicubic, Lanczos: imported from mine; not run here" in text
    assert "Nearest" not in text.partition("imported")[0].rpartition("<br>")[2], (
        "it is ours, with the same scores"
    )
    provenance = json.loads((tmp_path / "provenance.json").read_text())
    assert provenance["methods"]["bicubic"]["imported_from"] == "mine"


def changed(path: Path, change: Callable[[dict[str, Any]], object], out: Path) -> Path:
    told = json.loads(path.read_text(encoding="utf-8"))
    change(told)
    out.write_text(json.dumps(told), encoding="utf-8")
    return out


def raise_bicubic(told: dict[str, Any]) -> None:
    for cell in told["measured"]["scores"]:
        if cell["method"] == "bicubic" and cell["metric"] == "psnr_y":
            cell["images"] = {image: value + 0.5 for image, value in cell["images"].items()}
            cell["mean"] += 0.5


def test_same_name_with_other_scores_needs_a_label_and_shows_in_diff(
    exported: Exported, tmp_path: Path
) -> None:
    theirs = changed(exported.json, raise_bicubic, tmp_path / "theirs.json")
    own = ("quick", "--methods", "bicubic", *NAMES)
    refused = exported.cli("import", *own, theirs, "--out", tmp_path / "out")
    assert refused.returncode == 2
    assert "method 'bicubic' is in both, with other scores" in refused.stderr
    done = exported.cli("import", *own, theirs, "--label", "theirs", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    found = table(tmp_path / "out")
    key = next(k for k in found if k[1] == "bicubic" and k[3] == "psnr_y")
    labelled = found[(key[0], "bicubic (theirs)", *key[2:])]
    assert float(labelled) == pytest.approx(float(found[key]) + 0.5)
    compared = exported.cli("diff", "mine", theirs)
    assert compared.returncode == 1
    assert "quick-bicubic / bicubic / psnr_y: " in compared.stdout
    assert "(2 of 2 images)\n8 cells equal, 1 changed" in compared.stdout


def other_version(told: dict[str, Any]) -> None:
    told["measured"]["metrics"]["psnr_y"]["fingerprint"]["version"] = 99


def other_images(told: dict[str, Any]) -> None:
    told["measured"]["datasets"]["quick-bicubic"]["sha256"] = "0" * 64


def other_names(told: dict[str, Any]) -> None:
    cell = told["measured"]["scores"][-2]
    cell.update(images={**cell["images"], "../../etc/passwd": 1.0}, mean=None)


def scores_of(metric: str, value: float | str) -> Callable[[dict[str, Any]], None]:
    """Every image of a method gets one value."""

    def change(told: dict[str, Any]) -> None:
        cell = next(c for c in told["measured"]["scores"] if c["metric"] == metric)
        cell.update(images=dict.fromkeys(cell["images"], value), mean=None)

    return change


def other_suite(told: dict[str, Any]) -> None:
    measured = told["measured"]
    measured["datasets"] = {"x": measured["datasets"]["quick-bicubic"]}
    for cell in measured["scores"]:
        cell["dataset"] = "x"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (other_version, "metric psnr_y: version: 1 here, 99 there"),
        (other_images, "dataset quick-bicubic: sha256: "),
        (other_names, "has no image '../../etc/passwd'"),
        (other_suite, "none of its datasets is one of ours"),
        (lambda told: told["measured"].update(scores=[]), "it holds no score"),
        (scores_of("ssim_y", 6.0), "expected a score from 0 to 1, found 6"),
        (scores_of("psnr_y", "Infinity"), "expected a score from 0 to 80, found inf"),
        (scores_of("psnr_y", 1.7e308), "expected a score from 0 to 80, found 1.7e+308"),
        (scores_of("psnr_y", -0.1), "expected a score from 0 to 80, found -0.1"),
    ],
)
def test_what_does_not_agree_is_named(
    exported: Exported,
    tmp_path: Path,
    change: Callable[[dict[str, Any]], object],
    expected: str,
) -> None:
    theirs = changed(exported.json, change, tmp_path / "theirs.json")
    own = of_results_in(exported)
    with pytest.raises(DataError) as error:
        merge(own, [Import("theirs.json", read_bundle(theirs))])
    assert expected in str(error.value) and str(error.value).startswith("theirs.json: ")


def test_other_settings_are_mentioned_and_titles_told_apart(exported: Exported) -> None:
    bundle = read_bundle(exported.json)
    theirs = bundle.model_copy(
        update={
            "measured": bundle.measured.model_copy(update={"seed": 5, "scale": 2}),
            "methods": {**bundle.methods, "lanczos": ItemLabel(title="bicubic")},
        }
    )
    own = of_results_in(exported)
    kept = own.scores["method"] == "bicubic"
    own = dataclasses.replace(
        own, methods=(Item("bicubic", "bicubic"),), scores=own.scores[kept].reset_index(drop=True)
    )
    merged = merge(own, [Import("theirs.json", theirs)], scale=4)
    items = {item.name: item for item in merged.methods}
    assert items["lanczos"].title == "bicubic (theirs.json: lanczos)"
    told = "imported from theirs.json; made with seed 5 (here 0) and scale 2 (here 4); not run here"
    assert told in items["lanczos"].note


def of_results_in(exported: Exported) -> Results:
    """The run as results, from its reports."""
    frame = pd.read_csv(exported.cwd / "reports" / "scores.csv", keep_default_na=False)
    frame["value"] = pd.to_numeric(frame["value"])
    provenance = json.loads((exported.cwd / "reports" / "provenance.json").read_text())
    names = list(dict.fromkeys(frame["method"]))
    return Results(
        title="Own",
        datasets=(Item("quick-bicubic", "Photos"),),
        methods=tuple(Item(name, name) for name in names),
        metrics=tuple(metrics.find(name) for name in dict.fromkeys(frame["metric"])),
        scores=frame,
        provenance=provenance,
    )


# -- hostile files -------------------------------------------------------------------------------


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


def hostile_results(name: str) -> Results:
    frame = pd.DataFrame(
        [(name, name, name, "psnr_y", 30.0, ""), (name, name, "b", "psnr_y", math.inf, "")],
        columns=["dataset", "method", "image", "metric", "value", "reason"],
    )
    provenance = {
        "suite": {"name": name},
        "seed": 0,
        "limit": None,
        "datasets": {name: {"manifest_sha256": "0" * 64, "images": 2}},
        "methods": {name: {"sha256": "1" * 64}},
        "metrics": {"psnr_y": {"metric": "psnr_y"}},
        "device": "cpu",
    }
    items = (Item(name, name, name),)
    return Results(name, items, items, (PSNR,), frame, notes=(name,), provenance=provenance)


def test_merged_scores_are_in_the_order_of_test_sets_then_methods() -> None:
    one = hostile_results("m")
    frame = pd.concat([one.scores.assign(dataset=name, value=30.0) for name in ("z", "a")])
    known = one.provenance["datasets"]["m"]
    results = dataclasses.replace(
        one,
        datasets=(Item("z", "Z"), Item("a", "A")),
        scores=frame.assign(image=frame["image"].where(frame["image"] == "b", "i")),
        provenance={**one.provenance, "datasets": {"z": known, "a": known}},
    )
    merged = merge(results, [Import("them", of_run(results, 4))], label="2")
    found = merged.scores[["dataset", "method"]].drop_duplicates().to_records(index=False).tolist()
    assert found == [("z", "m"), ("z", "m (2)"), ("a", "m"), ("a", "m (2)")]


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


def test_diff_tells_fingerprints_and_names_apart(exported: Exported) -> None:
    whole = read_bundle(exported.json).measured
    methods = {n: m for n, m in whole.methods.items() if n != "lanczos"}
    cells = [c for c in whole.scores if c.method != "lanczos"]
    less = whole.model_copy(update={"methods": methods, "scores": cells, "seed": 5})
    found = difference(whole, less)
    assert found.fingerprints == ("seed: 0 -> 5",) and found.names == ("methods removed: lanczos",)
    assert found.equal == len(cells) and not found.changes
    assert difference(less, whole).names == ("methods added: lanczos",)


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


def test_an_export_is_reported_and_set_beside_ones_own(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = exported.cli("report", exported.json, "--out", "again", "--reports", "markdown,csv")
    assert done.returncode == 0, done.stderr
    refused = exported.cli("report", exported.json, "--out", "again", "--limit", 1)
    assert refused.returncode == 2 and "--limit: expected with a suite" in refused.stderr
    for option in (("--region", "a:0,0,9,9"), ("--no-originals",)):
        refused = exported.cli("report", exported.json, "--out", "again", *option)
        assert f"{option[0]}: an export has no pictures" in refused.stderr
    table = (exported.cwd / "again/table.md").read_text()
    run = (exported.cwd / "reports/table.md").read_text()
    assert "Lanczos" in table and "<br>not here: LPIPS" in table

    def shown(text: str) -> list[str]:
        """All but what gets a metric, which a file cannot know."""
        return [line for line in text.splitlines() if not line.startswith("<br>not here")]

    assert shown(table) == shown(run)


def test_kept_methods_stand_beside_ones_own(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "exports", lambda: [exported.json])
    bundle = read_bundle(exported.json)
    own = to_results(bundle)
    mine = dataclasses.replace(
        own,
        methods=own.methods[:1],
        scores=own.scores[own.scores["method"] == "nearest"],
    )
    both = merging.beside(mine)
    assert [method.name for method in both.methods] == ["nearest", "bicubic", "lanczos"]
    (note,) = set(merging.beside(own).notes) - set(own.notes)
    assert note == "results/measured holds no method that is not in this run"
    pd.testing.assert_frame_equal(
        both.scores[["dataset", "method", "image", "metric", "value"]],
        own.scores[["dataset", "method", "image", "metric", "value"]],
    )
    provenance = json.loads(json.dumps(own.provenance))
    provenance["metrics"]["psnr_y"]["version"] = 99
    other = merging.beside(dataclasses.replace(mine, provenance=provenance))
    assert any("metric psnr_y: version: 99 here" in note for note in other.notes)
    added = other.scores[other.scores["method"] == "bicubic"].set_index("metric")["value"]
    assert added["psnr_y"].isna().all() and added["ssim_y"].notna().all()
    provenance["datasets"]["quick-bicubic"]["manifest_sha256"] = "0" * 64
    assert len(merging.beside(dataclasses.replace(mine, provenance=provenance)).methods) == 1
    metric = metrics.find("dists")
    scores = mine.scores[mine.scores["metric"] == "psnr_y"].assign(metric=metric.name)
    told = {**own.provenance, "metrics": {"dists": own.provenance["metrics"]["psnr_y"]}}
    unknown = dataclasses.replace(mine, metrics=(metric,), scores=scores, provenance=told)
    other = merging.beside(unknown)
    assert other.notes[-1].startswith("results/measured holds nothing for these metrics (it has ")
    monkeypatch.setattr(merging, "exports", list)
    assert (
        merging.beside(unknown).notes[-1] == "results/measured holds nothing, in this installation"
    )
