"""What the store believes: whole lines, manifests and names, and nothing less."""

import io
import json
import re
import warnings
from collections.abc import Iterator
from functools import reduce
from operator import getitem
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_example import flipped, keep_stamp

from bench.base.errors import CannotWrite, DataError, SetAside
from bench.base.records import what_is_wrong
from bench.base.text import slug
from bench.data.manifest import damage, keep, made_in, read_manifest
from bench.data.pairing import pair_files
from bench.files.record_log import Line, opened, sealed
from bench.store.scores import with_digest, write_features
from bench.store.store import Store
from bench.store.upkeep import check

pytest_plugins = ["store_example"]

QUICKLY = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


# -- lines, manifests, names, pairs --------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.text(), JSON, min_size=1), st.data())
@QUICKLY
def test_a_line_comes_back_whole_and_any_changed_byte_is_noticed(
    record: dict[str, Any], data: st.DataObject
) -> None:
    line = sealed(record).removesuffix(b"\n")
    assert b"\n" not in line and json.loads(opened(line, False) or b"") == record
    at = data.draw(st.integers(0, len(line) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != line[at]))
    for damaged in (line[:at] + bytes([other]) + line[at + 1 :], line[:at], line[at + 1 :]):
        assert opened(damaged, False) is None


def test_a_line_that_is_no_json_is_not_told_whole() -> None:
    with pytest.raises(ValueError) as error:
        Line.model_validate_json('{"id": "a", "sha')
    told = what_is_wrong(error.value)
    assert told.startswith("invalid JSON: EOF") and "found" not in told


def entries_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every entry of nested lists and objects."""
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield (*path, key)
            yield from entries_of(value[key], (*path, key))


def test_a_manifest_with_anything_less_is_not_believed(manifest: Path, tmp_path: Path) -> None:
    whole = manifest.read_text(encoding="utf-8")
    ways = [way for way in entries_of(json.loads(whole)) if way != ("check",)]
    assert len(ways) > 30 and damage(manifest) == ""
    for *above, key in ways:
        found = json.loads(whole)
        del reduce(getitem, above, found)[key]
        (tmp_path / "manifest.json").write_text(json.dumps(found))
        assert damage(tmp_path / "manifest.json"), (*above, key)


def test_a_set_is_known_by_what_it_was_made_of(manifest: Path, tmp_path: Path) -> None:
    told = read_manifest(manifest)
    assert told is not None and made_in(tmp_path, "a") is None
    keep(tmp_path, "d", 4, told["pairs"], [], {}, source="a")
    assert made_in(tmp_path, "a") and made_in(tmp_path) and made_in(tmp_path, "b") is None
    keep(tmp_path, "d", 4, told["pairs"], [], {})  # as old ones are
    assert made_in(tmp_path, "a") and made_in(tmp_path)


def test_what_is_no_table_or_has_text_for_numbers_is_no_manifest(
    manifest: Path, tmp_path: Path
) -> None:
    path = tmp_path / "manifest.json"
    found = json.loads(manifest.read_text(encoding="utf-8"))
    del found["check"]  # as written before there was one: fields alone are held against it
    found["pairs"][0]["lr"]["width"] = str(found["pairs"][0]["lr"]["width"])
    for content in ([], None, "manifest", 7, found):
        path.write_text(json.dumps(content))
        assert damage(path)
        with pytest.warns(SetAside, match="manifest.json"):
            assert read_manifest(path) is None


def test_a_manifest_of_before_checksums_is_held_against_its_own_hash(
    manifest: Path, tmp_path: Path
) -> None:
    found = json.loads(manifest.read_text(encoding="utf-8"))
    del found["check"]
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(found))
    assert damage(path) == ""
    found["pairs"].pop()
    path.write_text(json.dumps(found))
    assert "its pairs are not those" in damage(path)


@pytest.mark.parametrize("name", ["con", "AUX", "nul.tar", "Com1", "lpt9.x", "end."])
def test_a_slug_is_a_file_name_on_windows_too(name: str) -> None:
    found = slug(name)
    assert not PureWindowsPath(found).is_reserved() and not found.endswith(".")
    assert slug(f"a{name}s") == f"a{name}s"


@given(st.text(), st.text())
@QUICKLY
def test_a_slug_is_a_plain_name_and_equal_only_for_equal_names(one: str, other: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_+-][A-Za-z0-9._+-]{0,100}", slug(one)), slug(one)
    assert (slug(one) == slug(other)) == (one == other)


STEMS = st.sets(st.text("abAB.-_é ", min_size=1, max_size=4).filter(lambda s: s.strip(". ")))


@given(STEMS, STEMS)
@QUICKLY
def test_pairs_are_the_names_that_both_folders_have_and_all_others_are_named(
    tmp_path_factory: pytest.TempPathFactory, left: set[str], right: set[str]
) -> None:
    left, right = ({s for s in side if not s.startswith(".")} | {"same"} for side in (left, right))
    folders = [tmp_path_factory.mktemp(name) for name in ("lr", "hr")]
    for folder, stems in zip(folders, (left, right), strict=True):
        for stem in stems:
            (folder / f"{stem}.png").touch()
    pairs, refused, _ = pair_files(*folders)
    assert pairs.keys() == left & right
    assert {stem: (a.stem, b and b.stem) for stem, (a, b) in pairs.items()} == {
        stem: (stem, stem) for stem in left & right
    }
    assert sorted(Path(name).stem for name, _ in refused) == sorted(left ^ right)


# -- what is damaged -----------------------------------------------------------------------------


def test_a_bad_line_is_kept_and_named_once(tmp_path: Path) -> None:
    Store(tmp_path).scores("psnr_y", {}).put(("a", None), 30.5)
    (path,) = tmp_path.glob("scores/*/*.jsonl")
    line = path.read_bytes()
    path.write_bytes(line.replace(b"30.5", b"31.5"))
    with pytest.warns(SetAside, match=r"line 1 is set aside \(its checksum does not fit\)"):
        assert Store(tmp_path).scores("psnr_y", {}).get(("a", None)) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Store(tmp_path).scores("psnr_y", {}).get(("a", None)) is None
    (kept,) = path.parent.glob("set-aside/*")
    assert kept.read_bytes() == line.replace(b"30.5", b"31.5")


def test_half_a_record_is_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = Store(tmp_path).scores("psnr_y", {})
    scores.put(("a", None), 30.5)
    full = SimpleNamespace(write=lambda line: len(line) // 2, close=lambda: None)
    monkeypatch.setattr(scores._log, "_file", full)
    with pytest.raises(CannotWrite, match="no space left"):
        scores.put(("b", None), 31.5)
    scores.put(("c", None), 32.5)
    assert len(list(tmp_path.glob("scores/*/*.jsonl"))) == 2


def test_damaged_features_are_set_aside(tmp_path: Path) -> None:
    features = Store(tmp_path).features({})
    write_features(features.place("a"), np.arange(6.0))
    path = features.folder / "a.npy"
    assert features.has("a")
    keep_stamp(path, flipped(path.read_bytes(), -50))
    assert [problem.path for problem in check(tmp_path)] == [path]
    with pytest.raises(DataError, match=r"a\.npy: is not as it was written and is set aside; run"):
        features.get("a")
    assert not features.has("a") and check(tmp_path) == []
    for damaged in (b"", b"x", b"x" * 31):
        path.write_bytes(damaged)
        assert not features.has("a")
    bare, objects = io.BytesIO(), io.BytesIO()
    np.save(bare, np.arange(6.0))
    path.write_bytes(bare.getvalue())
    assert not features.has("a"), "it is not sealed"
    np.save(objects, np.array([print], dtype=object), allow_pickle=True)
    path.write_bytes(with_digest(objects.getvalue()))
    with pytest.raises(DataError, match="holds no numbers alone"):
        features.get("a")
    write_features(path, np.array(["text"]))
    assert [problem.what for problem in check(tmp_path)] == ["holds <U4, expected floats"]
    write_features(path, np.array([1.0, np.inf]))
    with pytest.raises(DataError, match=r"a\.npy: holds values that are not finite and is set"):
        features.get("a")
