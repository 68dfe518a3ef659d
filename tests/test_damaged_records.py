"""Damaged lines, features and manifests of a store: named, and computed again."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli
from pictures import put
from run_example import files_of

from bench.base.errors import DataError, SetAside
from bench.files.record_log import sealed
from bench.store.scores import write_features
from bench.store.store import Store

DAMAGED = [
    *(sealed({"sr": "a", "hr": None, "value": v}) for v in (math.nan, math.inf, "12")),
    *(sealed({"sr": "a", "hr": None, "value": v}) for v in (True, None, [1.0])),
    *(b"{}", b"3", b"[" * 100_000, b'{"sr": "\xff", "hr": null, "value": 1.0}', b"\x00\xff"),
    sealed({"sr": "a"}),
]


@pytest.mark.parametrize("line", DAMAGED)
def test_a_damaged_line_is_named_and_counts_as_not_there(tmp_path: Path, line: bytes) -> None:
    scores, images = Store(tmp_path).scores("psnr_y", {}), Store(tmp_path).images("m", {}, "d")
    scores.put(("a", None), 30.5)
    put(images, seconds=1.5)
    other = line.rstrip(b"\n") + b" "
    for folder in (scores.folder, images.folder / "records"):
        (folder / "0.jsonl").write_bytes(b"\n".join([line.rstrip(b"\n"), other, b'{"torn": ']))
    with pytest.warns(SetAside, match=r"0\.jsonl: line 1 is set aside \(.*; and 1 more lines\)"):
        assert Store(tmp_path).scores("psnr_y", {}).get(("a", None)) == 30.5
    with pytest.warns(SetAside, match=r"0\.jsonl: line 1"):
        found = Store(tmp_path).images("m", {}, "d").get("k", "x")
    assert found is not None and found.record.seconds == 1.5


def test_names_that_are_no_unicode_stay_in_the_records(tmp_path: Path) -> None:
    put(Store(tmp_path).images("m", {}, "d"), "x\udcff")
    found = Store(tmp_path).images("m", {}, "d").get("k", "x")
    assert found is not None and found.record.id == "x\udcff"


def test_damaged_features_and_manifests_count_as_not_there(tmp_path: Path) -> None:
    features = Store(tmp_path).features({})
    write_features(features.place("a"), np.arange(6.0))
    file = features.folder / "a.npy"
    whole = file.read_bytes()
    assert features.has("a") and (features.get("a") == np.arange(6.0)).all()
    for damaged in (b"", whole[:60], whole[:-1], b"x" * len(whole), whole.replace(b"f8", b"i8")):
        file.write_bytes(damaged)
        assert not features.has("a")
    write_features(features.place("a"), np.array([1.0, np.nan]))
    with pytest.raises(
        DataError, match=r"a\.npy: holds values that are not finite and is set aside; run again"
    ):
        features.get("a")


def test_a_damaged_score_is_computed_again_and_so_is_a_manifest(cli: Cli, tmp_path: Path) -> None:
    run = ("run", "quick", "--methods", "nearest", "--datasets", "quick-bicubic")
    arguments = (*run, "--metrics", "psnr_y", "--limit", 2, "--reports", "csv", "--store", "store")
    assert cli(*arguments, "--out", tmp_path / "good").returncode == 0
    store = tmp_path / "cwd" / "store"
    (scores,) = store.glob("scores/psnr_y-*/*.jsonl")
    (manifest,) = store.glob("datasets/*/manifest.json")
    text = re.sub(r'"value": [0-9.]+', '"value": "99"', scores.read_text())
    scores.write_text(text)
    without_one = json.loads(manifest.read_text())
    without_one["pairs"] = without_one["pairs"][1:]
    for damaged, warnings in ((json.dumps(without_one), 2), ("{}", 1)):  # a line is named once
        manifest.write_text(damaged)
        done = cli(*arguments, "--out", tmp_path / "again")
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("warning: ") == warnings, done.stderr
        named = f"{scores.name}: line 1 is set aside (its checksum does not fit"
        assert done.stderr.count(named) == warnings - 1
        assert "manifest.json: is set aside (" in done.stderr and "Nearest on" not in done.stderr
        assert files_of(tmp_path / "good") == files_of(tmp_path / "again")
