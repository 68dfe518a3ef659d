"""Images of one photograph are one: from the card to the verdict."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from bench.base.errors import CardError, DataError
from bench.base.types import ImagePair, Manifest
from bench.data.find import dataset_cards
from bench.data.manifest import by_file, by_pattern, describe, to_manifest
from bench.exchange.bundle import of_run, to_json, to_results
from bench.exchange.measured import Measured, of_results
from bench.gate.judge import judge
from bench.gate.reference import Reference, Tolerance
from bench.reports import get_report
from bench.results.paired import by_group, numbered, paired
from bench.results.results import Results
from bench.results.table_stats import statistics

from . import results_example as ex


def manifest(*ids: str) -> Manifest:
    return Manifest("d", tuple(ImagePair(i, None, None, None, None, 4) for i in ids), "", 4)


def groups(of: Manifest) -> list[str]:
    return [pair.group for pair in of.pairs]


def crops(rng: np.random.Generator, photographs: int, each: int, tables: int) -> np.ndarray:
    """Differences of which 30 % of the variance are the photograph's."""
    shared = np.repeat(rng.normal(0, math.sqrt(0.3), (photographs, tables)), each, axis=0)
    return shared + rng.normal(0, math.sqrt(0.7), shared.shape)


@pytest.mark.parametrize("uneven", [False, True])
def test_crops_of_photographs_err_as_often_as_independent_images(uneven: bool) -> None:
    rng = np.random.default_rng(0)
    owners = np.repeat(np.arange(100), 30)
    kept = rng.random(len(owners)) < 0.7 if uneven else np.full(len(owners), True)
    found = []
    for _ in range(8):
        values = crops(rng, 100, 30, 500)[kept]
        found.append((paired(by_group(values, owners[kept])).p() < 0.05).mean())
    assert 100 * np.mean(found) == pytest.approx(5, abs=1.5)
    assert (paired(crops(rng, 100, 30, 200)).p() < 0.05).mean() > 0.4


def test_rows_of_groups_keep_the_mean_and_the_images_that_do_not_differ() -> None:
    values = np.random.default_rng(1).normal(3, 1, (20, 2))
    for sizes in ([4, 4, 4, 4, 4], [1, 2, 3, 6, 8]):
        owners = np.repeat(np.arange(5), sizes)
        rows = by_group(values, owners)
        assert rows.shape == (5, 2)
        np.testing.assert_allclose(rows.mean(axis=0), values.mean(axis=0))
    sums = [(values[owners == i] - values.mean(axis=0)).sum(axis=0) for i in range(5)]
    np.testing.assert_allclose(rows, values.mean(axis=0) + np.array(sums) * 5 / 20)
    even = np.repeat(np.arange(5), 4)
    np.testing.assert_allclose(by_group(values, even), values.reshape(5, 4, 2).mean(axis=1))
    values[:4] = 0
    assert (by_group(values, even) == 0).sum() == 2
    assert by_group(values, None) is values


def test_images_without_a_group_are_their_own() -> None:
    assert numbered(["a", "b"], {}) is None
    found = numbered(["a", "b", "c", "p"], {"a": "p", "c": "p"})
    assert found is not None and found.tolist() == [0, 1, 0, 2]


def test_a_card_tells_the_photograph_by_the_image_s_name() -> None:
    rule = dataset_cards()["div2k-val-3000"].group
    found = by_pattern(manifest("0801_pch_00001", "0801_pch_00002", "0900_pch_00030", "x"), rule)
    assert groups(found) == ["0801", "0801", "0900", ""]
    assert by_pattern(found, "") is found


def test_a_pattern_that_never_ends_is_refused() -> None:
    with pytest.raises(CardError, match="expected a match within a second"):
        by_pattern(manifest("a" * 60), "(?:a|aa)+(b)")


@pytest.mark.parametrize("rule", ["(", "(a{99999999999999999999})", "[0-9]+", "(a)(b)"])
def test_a_card_with_a_bad_rule_is_refused(rule: str) -> None:
    card = dataset_cards()["div2k-val-3000"]
    with pytest.raises(ValidationError, match=r"one \(group\)|expected a regular expression"):
        type(card).model_validate({**card.model_dump(), "group": rule})


def test_a_folder_tells_groups_in_a_table(tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    images = manifest("a1", "a2", "b")
    assert by_file(images, table) is images
    table.write_text("image,group\na1,a\na2,a\nb,b\n")
    assert groups(by_file(images, table)) == ["a", "a", "b"]
    table.write_text("image,group\na1,a\n")
    with pytest.raises(DataError, match=r"groups.csv: has no group for image 'a2' \(2 of 3"):
        by_file(images, table)
    for wrong in ("", "id,group\na1,a\n", "image,group\na1\n"):
        table.write_text(wrong)
        with pytest.raises(DataError, match="expected rows of two columns, image,group"):
            by_file(images, table)


def test_manifests_keep_groups_and_old_ones_have_none() -> None:
    file = {"path": "/x", "sha256": "a", "pixels_sha256": "b"}
    entries = [
        {"id": "a", "lr": file, "hr": None, "group": "p"},
        {"id": "b", "lr": file, "hr": None},
    ]
    found = describe("d", 4, entries, [], {})
    bare = describe("d", 4, [{**e, "group": ""} for e in entries], [], {})
    assert groups(to_manifest(found)) == ["p", ""] and found["sha256"] == bare["sha256"]


def results(photographs: int = 8, each: int = 4, grouped: bool = True) -> Results:
    rng = np.random.default_rng(3)
    images = [f"{p:02}_{i}" for p in range(photographs) for i in range(each)]
    shift = np.repeat(rng.normal(0.4, 0.3, photographs), each)
    values = {}
    for i, image in enumerate(images):
        values["d", "a", image, "psnr_y"] = 25.0 + float(rng.normal())
        values["d", "b", image, "psnr_y"] = values["d", "a", image, "psnr_y"] + float(shift[i])
    known = {"groups": {image: image[:2] for image in images}} if grouped else {}
    prints = {"manifest_sha256": "", "images": len(images), **known}
    provenance = {
        **{"suite": {"name": "s", "title": "S"}, "seed": 0, "limit": None},
        "datasets": {"d": prints},
        "methods": {name: {"sha256": ""} for name in "ab"},
        "metrics": {"psnr_y": {}},
    }
    return dataclasses.replace(ex.results(values, (ex.PSNR,)), provenance=provenance)


def test_intervals_and_tests_go_over_photographs(tmp_path: Path) -> None:
    own, apart = statistics(results()), statistics(results(grouped=False))
    assert own.cells["mean"].tolist() == apart.cells["mean"].tolist()
    (pair,), (other,) = own.pairs.to_dict("records"), apart.pairs.to_dict("records")
    assert (pair["n"], pair["groups"], other["groups"]) == (32, 8, 32)
    assert pair["p"] > 10 * other["p"]
    page = get_report("statistics").load()(results(), tmp_path)[2].read_text()
    assert "n = 32 images of 8 photographs" in page
    few = statistics(results(photographs=5)).pairs.to_dict("records")[0]
    assert few["verdict"] == "too few images"
    assert few["reason"].startswith("n = 20 images of 5 photographs: too few")


def test_exports_keep_groups_and_others_read_as_before() -> None:
    grouped, bare = of_run(results()), of_run(results(grouped=False))
    assert "groups" not in to_json(bare) and to_results(bare).photographs("d") == {}
    again = to_results(type(grouped).model_validate_json(to_json(grouped)))
    assert again.photographs("d") == results().photographs("d")
    assert statistics(again).pairs["p"].tolist() == statistics(results()).pairs["p"].tolist()


def test_the_gate_tests_photographs() -> None:
    measured: Measured = of_results(results())
    a = [cell for cell in measured.scores if cell.method == "a"]
    b = next(cell for cell in measured.scores if cell.method == "b")
    before = measured.model_copy(update={"scores": [b.model_copy(update={"method": "a"})]})
    after = measured.model_copy(update={"scores": a})
    policy = {"tolerance": Tolerance(kind="statistical", amount=0.0)}
    p = []
    for groups in (measured.groups, {}):
        known = before.model_copy(
            update={"groups": groups, "methods": {"a": measured.methods["a"]}}
        )
        now = after.model_copy(update={"groups": groups, "methods": {"a": measured.methods["a"]}})
        p.append(judge(Reference(measured=known, **policy), now, {}).rows[0].p)
    pair = ex.compare(*(np.array(list(c.images.values())) for c in (b, a[0])))
    assert p[1] == pytest.approx(pair.p) and p[0] > 10 * p[1]
