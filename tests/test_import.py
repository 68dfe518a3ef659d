"""Methods of others in a leaderboard: merged, refused, compared, reported."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from export_example import (
    NAMES,
    Exported,
    changed,
    hostile_results,
    of_results_in,
    scores_of,
    table,
)

from bench import metrics
from bench.base.errors import DataError
from bench.exchange import merge as merging
from bench.exchange.bundle import ItemLabel, of_run, to_results
from bench.exchange.diff import difference
from bench.exchange.merge import Import, merge
from bench.exchange.reading import read_bundle
from bench.results.results import Item

pytest_plugins = ["export_example"]


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


def test_diff_tells_fingerprints_and_names_apart(exported: Exported) -> None:
    whole = read_bundle(exported.json).measured
    methods = {n: m for n, m in whole.methods.items() if n != "lanczos"}
    cells = [c for c in whole.scores if c.method != "lanczos"]
    less = whole.model_copy(update={"methods": methods, "scores": cells, "seed": 5})
    found = difference(whole, less)
    assert found.fingerprints == ("seed: 0 -> 5",) and found.names == ("methods removed: lanczos",)
    assert found.equal == len(cells) and not found.changes
    assert difference(less, whole).names == ("methods added: lanczos",)


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


def test_what_no_metric_gives_is_named_where_an_export_is_reported(
    exported: Exported, tmp_path: Path
) -> None:
    odd = changed(exported.json, scores_of("ssim_y", 6.0), tmp_path / "odd.json")
    done = exported.cli("report", odd, "--out", tmp_path / "out", "--reports", "csv")
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 2 and all(
        line.startswith("not plausible: quick-bicubic / ") for line in lines
    )
    assert lines[0].endswith("expected a score from 0 to 1, found 6")
    fine = exported.cli("report", exported.json, "--out", tmp_path / "fine", "--reports", "csv")
    assert fine.returncode == 0 and fine.stderr == ""


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
