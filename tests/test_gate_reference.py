"""References of the gate: read as written, kept byte for byte, refused by name."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gate_example import measured, psnr
from results_example import HOSTILE

from bench.base.errors import CardError
from bench.exchange.measured import (
    Measured,
)
from bench.gate.reference import (
    MARKER,
    Floor,
    Policy,
    ScopedTolerance,
    Tolerance,
    read_reference,
    write_reference,
)

# -- files ---------------------------------------------------------------------------------------


def hostile() -> Measured:
    names = [name for name in HOSTILE if len(name) < 300]
    images = {name: 1.5 + index for index, name in enumerate([*names, "del\x7f", "a.b", ""])}
    images.pop("")
    return measured({"psnr": images, 'q"\n\\': {"x": math.inf}})


@pytest.mark.parametrize("suffix", [".toml", ".json"])
def test_a_reference_is_read_as_it_was_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"r{suffix}"
    policy = Policy(
        allowed_missing=2,
        tolerance=Tolerance(kind="absolute", amount=0.5),
        tolerances=[ScopedTolerance(metric="psnr", kind="statistical", alpha=0.01)],
        floors=[Floor(metric="fid", value=40)],
    )
    write_reference(path, hostile(), policy)
    read = read_reference(path)
    assert read.measured == hostile()
    assert Policy.model_validate(read.model_dump(exclude={"measured"})) == policy


def test_update_keeps_the_policy_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    write_reference(path, measured(psnr()), Policy())
    edited = "# mine, ünïcode\r\nallowed_missing   =  7\r\n\n" + MARKER
    path.write_bytes((edited + path.read_text().partition(MARKER)[2]).encode())
    write_reference(path, measured(psnr(1.0)), read_reference(path))
    assert path.read_bytes().startswith((edited + "\n").encode())
    found = read_reference(path)
    assert found.allowed_missing == 7
    assert found.measured.cells()["d", "m", "psnr"].mean == pytest.approx(26, abs=2)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("allowed_mising = 1", "field 'allowed_mising': extra inputs"),
        ("[tolerance]\nkind = 'absolute'", "needs an amount"),
        ("[tolerance]\nkind = 'sane'", "field 'tolerance.kind'"),
        ("[[floors]]\nmetric = 'psnrr'\nvalue = 1", "nothing in the reference is called 'psnrr'"),
        ("[[tolerances]]\nmethod = 'x'", "nothing in the reference is called 'x'"),
        ("a = ", "is not valid TOML"),
    ],
)
def test_a_wrong_reference_is_named(tmp_path: Path, head: str, expected: str) -> None:
    path = tmp_path / "r.toml"
    write_reference(path, measured(psnr()), Policy())
    path.write_text(f"{head}\n{MARKER}{path.read_text().partition(MARKER)[2]}")
    with pytest.raises(CardError) as error:
        read_reference(path)
    assert str(path) in str(error.value) and expected in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_scores_that_are_no_numbers_or_of_nothing_known_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write_reference(path, measured(psnr()), Policy())
    good = json.loads(path.read_text())
    for spoil in ("NaN", "unknown", "half a character", "twice"):
        spoilt = json.loads(json.dumps(good))
        cell = spoilt["measured"]["scores"][0]
        if spoil == "NaN":
            cell["images"]["i0"] = "NaN"
        elif spoil == "unknown":
            cell["metric"] = "other"
        elif spoil == "half a character":
            cell["images"]["i0"] = "\ud800"
        else:
            spoilt["measured"]["scores"].append(cell)
        path.write_text(json.dumps(spoilt))
        with pytest.raises(CardError):
            read_reference(path)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda told: told.update(scale=-4), "measured.scale"),
        (lambda told: told.update(scale=4.0), "measured.scale"),
        (lambda told: told["scores"][0]["images"].update(i0="31.5"), "measured.scores.0.images.i0"),
        (lambda told: told["scores"][0]["images"].update(i0=True), "measured.scores.0.images.i0"),
    ],
)
def test_values_that_only_look_like_numbers_are_refused(
    tmp_path: Path, change: Callable[[Any], object], field: str
) -> None:
    path = tmp_path / "r.json"
    write_reference(path, measured(psnr()), Policy())
    told = json.loads(path.read_text())
    change(told["measured"])
    path.write_text(json.dumps(told))
    with pytest.raises(CardError) as error:
        read_reference(path)
    assert f"field '{field}'" in str(error.value)


@pytest.mark.parametrize("name", ["r.toml", "r.json"])
def test_scores_are_kept_in_twelve_digits(tmp_path: Path, name: str) -> None:
    write_reference(tmp_path / name, measured({"psnr": {"i0": 100 / 3, "i1": 2 / 3}}), Policy())
    kept = read_reference(tmp_path / name).measured.scores[0].images
    assert kept == {"i0": 33.3333333333, "i1": 0.666666666667}
