"""The gate: passes what did not change, fails on damage, refuses what cannot be compared."""

import json
import math
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from conftest import ROOT, Cli, plant_quick_sets
from PIL import Image
from results_example import HOSTILE
from scipy import ndimage

from bench.base.errors import CardError
from bench.base.progress import Progress
from bench.data import find as data
from bench.data.from_card import build
from bench.exchange.measured import (
    DatasetPrint,
    Measured,
    MeasuredCell,
    MethodPrint,
    MetricPrint,
    mean,
)
from bench.gate import output as gate_output
from bench.gate.judge import GateVerdict, Judged, default_policy, judge, keep_scores
from bench.gate.measure import measure_folder
from bench.gate.reference import (
    MARKER,
    Floor,
    Policy,
    Reference,
    ScopedTolerance,
    Tolerance,
    read_reference,
    write_reference,
)
from bench.running.options import RunOptions

# -- damage to real photographs ------------------------------------------------------------------

CROPS, SIDE = 10, 96
Damage = Callable[[np.ndarray], np.ndarray]


def rounded(x: np.ndarray) -> np.ndarray:
    return np.floor(x + 0.5).clip(0, 255).astype(np.uint8)


DAMAGES: dict[str, Damage] = {
    "colour": lambda x: rounded(x + 2),
    "darker": lambda x: rounded(x - 2),
    "blue": lambda x: rounded(x + np.array([0, 0, 2])),
    "truncated": lambda x: x.astype(np.uint8),
    "half a pixel": lambda x: rounded(ndimage.shift(x, (0.5, 0.5, 0), order=3, mode="nearest")),
    "blurred": lambda x: rounded(ndimage.gaussian_filter(x, (0.6, 0.6, 0))),
}


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """100 crops of photographs: HR (uint8), and bicubic SR before rounding (float in [0, 255])."""
    card = data.dataset_cards()["quick-bicubic"]
    found = {}
    store = tmp_path_factory.mktemp("photos") / "store"
    plant_quick_sets(store)
    for pair in build(card, store / "datasets").pairs:
        assert pair.hr and pair.lr
        hr, lr = np.asarray(Image.open(pair.hr)), np.asarray(Image.open(pair.lr), np.float32)
        size = hr.shape[1::-1]
        planes = [Image.fromarray(plane).resize(size, 3) for plane in np.moveaxis(lr, -1, 0)]
        sr = np.stack([np.asarray(plane) for plane in planes], -1).clip(0, 255)
        rng = np.random.default_rng(1)
        for index in range(CROPS):
            y, x = rng.integers(0, hr.shape[0] - SIDE), rng.integers(0, hr.shape[1] - SIDE)
            box = np.s_[y : y + SIDE, x : x + SIDE]
            found[f"{pair.id}-{index}"] = hr[box], sr[box]
    return found


@pytest.fixture(scope="module")
def measure(crops, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """Score the crops after some damage, without the first few."""
    root = tmp_path_factory.mktemp("crops")
    (root / "hr").mkdir()
    for name, (hr, _) in crops.items():
        Image.fromarray(hr).save(root / "hr" / f"{name}.png")

    def run(damage: Damage, without: int = 0) -> Measured:
        sr = root / f"sr{len(list(root.iterdir()))}"
        sr.mkdir()
        for name in list(crops)[without:]:
            Image.fromarray(damage(crops[name][1])).save(sr / f"{name}.png")
        options = RunOptions(store=root / "store", workers=1)
        names = ["psnr_y", "ssim_y", "gmsd"]
        return measure_folder(sr, root / "hr", names, options, Progress(True)).measured

    return run


@pytest.fixture(scope="module")
def undamaged(measure) -> Measured:  # type: ignore[no-untyped-def]
    return measure(rounded)


def reference_of(measured: Measured, kind: str) -> Reference:
    policy = default_policy(Tolerance.model_validate({"kind": kind}), measured)
    return Reference(measured=keep_scores(measured), **policy.model_dump())


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_to_photographs_fails(name: str, measure, undamaged: Measured) -> None:  # type: ignore[no-untyped-def]
    found = measure(DAMAGES[name])
    for kind in ("same", "statistical"):
        verdict = judge(reference_of(undamaged, kind), found, {})
        failed = {row.metric: row.reason for row in verdict.failed}
        assert verdict.exit_code == 1 and "psnr_y" in failed, (kind, verdict)
    assert re.search(r"worse by .* over 100 images \(paired test, Holm", failed["psnr_y"])


def test_unchanged_photographs_pass_and_missing_ones_fail(measure, undamaged: Measured) -> None:  # type: ignore[no-untyped-def]
    reference = reference_of(undamaged, "statistical")
    assert judge(reference, measure(rounded), {}).exit_code == 0
    found = measure(rounded, without=3)
    verdict = judge(reference, found, {})
    assert verdict.exit_code == 1
    assert all("3 of 100 images have no score, 0 allowed" in row.reason for row in verdict.rows)
    loose = reference.model_copy(update={"allowed_missing": 3})
    assert judge(loose, found, {}).exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", DAMAGES)
def test_damage_to_published_images_fails_though_some_of_it_scores_better(
    name: str, golden: Path, tmp_path: Path
) -> None:
    """Outputs of a diffusion method, which blur brings nearer to the HR images."""
    folder = golden / "realsr"
    options = RunOptions(store=tmp_path / "store", workers=1, limit=8)
    found = []
    for damage in (rounded, DAMAGES[name]):
        sr = tmp_path / f"sr{len(found)}"
        sr.mkdir()
        for file in sorted((folder / "osediff").iterdir())[:8]:
            exact = np.asarray(Image.open(file), np.float64)
            exact += np.random.default_rng(0).uniform(-0.5, 0.5, exact.shape)
            Image.fromarray(damage(exact.clip(0, 255))).save(sr / file.name)
        metrics = ["psnr_y", "ssim_y"]
        found.append(measure_folder(sr, folder / "hr", metrics, options, Progress(True)).measured)
    verdict = judge(reference_of(found[0], "same"), found[1], {})
    assert {row.metric for row in verdict.failed} == {"psnr_y", "ssim_y"}
    assert ("mean better by" in verdict.rows[0].reason) == (
        name in ("blurred", "half a pixel", "blue")
    )


# -- rules ---------------------------------------------------------------------------------------

IDS = [f"i{index}" for index in range(40)]
NOISE = np.random.default_rng(5).normal(0, 1, (2, len(IDS)))


def measured(
    values: dict[str, dict[str, float]], fid: float | None = 30.0, **changes: object
) -> Measured:
    """Synthetic scores: metric -> image -> value, and FID."""
    cells = [
        MeasuredCell(dataset="d", method="m", metric=metric, mean=mean(images), images=images)
        for metric, images in values.items()
    ]
    missing = {} if fid is not None else {"": "3 of 40 images are missing"}
    cells.append(MeasuredCell(dataset="d", method="m", metric="fid", mean=fid, missing=missing))
    prints = {
        name: MetricPrint(
            better="higher" if name == "psnr" else "lower",
            kind="set" if name == "fid" else "image",
            digits=2,
            fingerprint={"metric": name, "version": 1, "weights": {"net.pth": "ab" * 32}},
        )
        for name in [*values, "fid"]
    }
    whole = Measured(
        suite="s",
        seed=0,
        scale=4,
        datasets={"d": DatasetPrint(sha256="0" * 64, images=len(IDS))},
        methods={"m": MethodPrint(typed="m", sha256="1" * 64)},
        metrics=prints,
        scores=cells,
    )
    return whole.model_copy(update=changes)


def psnr(shift: float = 0.0, noise: float = 0.0) -> dict[str, dict[str, float]]:
    values = 25 + 3 * NOISE[0] + shift + noise * NOISE[1]
    return {"psnr": dict(zip(IDS, values.tolist(), strict=True))}


def state(policy: Policy, before: Measured, after: Measured) -> dict[str, Judged]:
    verdict = judge(Reference(measured=before, **policy.model_dump()), after, {})
    assert not verdict.problems, verdict.problems
    return {row.metric: row for row in verdict.rows}


@pytest.mark.parametrize(
    ("tolerance", "shift", "expected"),
    [
        ({"kind": "same"}, 0.0009, "pass"),
        ({"kind": "same"}, 0.0011, "fail"),
        ({"kind": "absolute", "amount": 0.1}, -0.09, "pass"),
        ({"kind": "absolute", "amount": 0.1}, -0.11, "fail"),
        ({"kind": "absolute", "amount": 0.1}, 5.0, "pass"),
        ({"kind": "relative", "amount": 0.01}, -0.2, "pass"),
        ({"kind": "relative", "amount": 0.01}, -0.3, "fail"),
        ({"kind": "statistical"}, -0.002, "fail"),
        ({"kind": "statistical"}, -0.0005, "pass"),
        ({"kind": "statistical", "amount": 0.5}, -0.4, "pass"),
        ({"kind": "statistical"}, 1.0, "pass"),
    ],
)
def test_each_kind_allows_what_it_says(
    tolerance: dict[str, object], shift: float, expected: str
) -> None:
    policy = Policy(tolerances=[ScopedTolerance(metric="psnr", **tolerance)])  # type: ignore[arg-type]
    assert state(policy, measured(psnr()), measured(psnr(shift)))["psnr"].state == expected


@pytest.mark.parametrize("tolerance", [{"kind": "absolute"}, {"kind": "statistical"}])
@pytest.mark.parametrize(("worse_by", "expected"), [(0.5, "pass"), (0.75, "fail")])
def test_as_much_as_is_allowed_is_allowed(
    tolerance: dict[str, object], worse_by: float, expected: str
) -> None:
    rule = ScopedTolerance(metric="psnr", amount=0.5, **tolerance)  # type: ignore[arg-type]
    before, after = (
        measured({"psnr": {image: mean + i for i, image in enumerate(IDS)}})
        for mean in (8.0, 8.0 - worse_by)
    )
    assert state(Policy(tolerances=[rule]), before, after)["psnr"].state == expected
    floors = [Floor(metric="psnr", value=27.0), Floor(metric="fid", value=30.0)]  # both reached
    policy = Policy(tolerance=Tolerance(kind="absolute", amount=1), floors=floors)
    found = state(policy, before, after)
    assert found["fid"].state == "pass" and found["psnr"].state == expected


def test_reasons_count_the_images_that_are_missing_and_the_photographs_of_the_rest() -> None:
    rule = ScopedTolerance(metric="psnr", kind="statistical")
    groups = {"d": {image: f"photograph {i // 4}" for i, image in enumerate(IDS)}}
    before = measured(psnr(), groups=groups)
    (row,) = judge(
        Reference(measured=before, tolerances=[rule]), measured(psnr(-1.0), groups=groups), {}
    ).failed
    assert row.reason.startswith("mean worse by 1.0000 over 40 images of 10 photographs (paired")
    part = measured({"psnr": {i: psnr()["psnr"][i] for i in IDS[4:]}})
    (row,) = judge(Reference(measured=measured(psnr())), part, {}).failed
    assert row.reason == "4 of 40 images have no score, 0 allowed: i0, i1, i2, …"


def test_statistics_tell_noise_from_loss() -> None:
    policy = Policy(tolerances=[ScopedTolerance(metric="psnr", kind="statistical")])
    centred = NOISE[1] - NOISE[1].mean()
    before = measured(psnr())

    def after(loss: float) -> Measured:
        images = psnr()["psnr"]
        return measured(
            {"psnr": {i: images[i] + n - loss for i, n in zip(IDS, centred, strict=True)}}
        )

    small, large = state(policy, before, after(0.05)), state(policy, before, after(1.0))
    assert small["psnr"].state == "pass" and (small["psnr"].p or 0) > 0.3
    assert large["psnr"].state == "fail" and (large["psnr"].p or 1) < 0.001


def test_a_loss_on_fewer_images_than_a_test_can_use_is_not_told_from_noise() -> None:
    policy = Policy(tolerances=[ScopedTolerance(metric="psnr", kind="statistical")])
    images = psnr()["psnr"]
    few = dict(zip(IDS, [-1.0] * 5 + [0.0] * len(IDS), strict=False))
    found = state(
        policy, measured(psnr()), measured({"psnr": {i: images[i] + few[i] for i in IDS}})
    )
    assert (found["psnr"].state, found["psnr"].p) == ("pass", None)


def test_lower_is_better_sets_floors_and_infinity() -> None:
    policy = Policy(
        tolerances=[ScopedTolerance(metric="fid", kind="relative", amount=0.01)],
        floors=[Floor(metric="fid", value=30.2), Floor(metric="psnr", value=20)],
    )
    assert state(policy, measured({}), measured({}, fid=29.0))["fid"].state == "pass"
    worse = state(policy, measured({}), measured({}, fid=30.29))["fid"]
    assert worse.reason == "mean 30.29 is above the ceiling 30.2"
    assert (
        "mean worse by 1.0000, 0.3 allowed"
        in state(policy, measured({}), measured({}, fid=31.0))["fid"].reason
    )
    gone = state(policy, measured({}), measured({}, fid=None))["fid"]
    assert gone.state == "fail" and "3 of 40 images are missing" in gone.reason
    perfect = {"psnr": dict.fromkeys(IDS, math.inf)}
    assert state(policy, measured(perfect), measured(perfect))["psnr"].state == "pass"
    for kind in ("same", "absolute", "relative", "statistical"):
        rule = ScopedTolerance(metric="psnr", kind=kind, amount=0.1)  # type: ignore[arg-type]
        row = state(Policy(tolerances=[rule]), measured(perfect), measured(psnr()))["psnr"]
        assert row.state == "fail", kind


def test_a_set_or_few_images_cannot_be_tested_and_that_is_said() -> None:
    policy = Policy(tolerance=Tolerance(kind="statistical"))
    reference = Reference(measured=measured(psnr()), **policy.model_dump())
    verdict = judge(reference, measured(psnr()), {})
    assert verdict.exit_code == 2 and "give it kind 'same'" in verdict.problems[0]
    assert default_policy(policy.tolerance, measured(psnr())).tolerances[0].metric == "fid"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"seed": 1}, "seed: 0 in the reference, 1 here"),
        ({"suite": "t"}, "suite: s in the reference, t here"),
        ({"scale": 2}, "scale: 4 in the reference, 2 here"),
        (
            {"datasets": {"d": DatasetPrint(sha256="2" * 64, images=40)}},
            "dataset d: sha256: 0000",
        ),
        (
            {"datasets": {"d": DatasetPrint(sha256="0" * 64, images=39)}},
            "dataset d: images: 40 in the reference, 39 here",
        ),
    ],
)
def test_unlike_runs_are_refused(change: dict[str, object], expected: str) -> None:
    reference = Reference(measured=measured(psnr()))
    verdict = judge(reference, measured(psnr(), **change), {})
    assert verdict.exit_code == 2 and not verdict.rows
    assert verdict.problems[0].startswith(expected)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("version", 2, "metric psnr: version: 1 in the reference, 2 here"),
        ("weights", {"net.pth": "cd" * 32}, "metric psnr: weights: net.pth: abab"),
        ("device", "cuda", "metric psnr: device: none in the reference, cuda here"),
    ],
)
def test_other_metrics_are_refused(key: str, value: object, expected: str) -> None:
    now = measured(psnr())
    print_ = now.metrics["psnr"]
    other = print_.model_copy(update={"fingerprint": {**print_.fingerprint, key: value}})
    now = now.model_copy(update={"metrics": {**now.metrics, "psnr": other}})
    verdict = judge(Reference(measured=measured(psnr())), now, {})
    assert verdict.exit_code == 2 and verdict.problems[0].startswith(expected)


def test_what_cannot_run_here_is_no_regression_and_another_method_only_a_note() -> None:
    reference = Reference(measured=measured(psnr()))
    verdict = judge(reference, measured({}), {"psnr": "weights are missing"})
    assert verdict.exit_code == 2 and verdict.problems == ("psnr: weights are missing",)
    retrained = measured(psnr(), methods={"m": MethodPrint(typed="m", sha256="3" * 64)})
    verdict = judge(reference, retrained, {})
    assert verdict.exit_code == 0 and "method m is another" in verdict.notes[0]
    assert judge(reference, measured(psnr()), {}).notes == ()


def hollow(change: Callable[[Any], object]) -> Measured:
    """The synthetic scores after somebody's hand was on the file."""
    told = json.loads(measured(psnr()).model_dump_json())
    change(told)
    return Measured.model_validate(told)


def rename_method(told: Any) -> None:
    told["methods"] = {"x": told["methods"]["m"]}
    for cell in told["scores"]:
        cell["method"] = "x"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda told: told["scores"][0].update(mean=None, images={}), "d / m / psnr: 40 of 40"),
        (lambda told: told["scores"][0].update(images={}), "40 of 40 scores are not in the ref"),
        (lambda told: told["scores"][0]["images"].pop("i7"), "1 of 40 scores are not in the "),
        (lambda told: told["scores"][1].update(mean=None), "d / m / fid: the reference holds no"),
        (lambda told: told["scores"].pop(0), "d / m / psnr: 40 of 40 scores are not in the "),
        (lambda told: told["scores"].clear(), "d / m / psnr: 40 of 40 scores are not in the "),
        (rename_method, "methods: m is not in the reference; write it anew with --update"),
    ],
)
def test_a_reference_that_lacks_what_is_measured_cannot_judge(
    change: Callable[[Any], object], expected: str
) -> None:
    verdict = judge(Reference(measured=hollow(change)), measured(psnr()), {})
    assert verdict.exit_code == 2 and not verdict.rows
    assert any(expected in problem for problem in verdict.problems), verdict.problems


def test_all_that_the_reference_holds_is_judged_unless_a_part_is_asked_for() -> None:
    whole, part = Reference(measured=measured(psnr())), measured({})
    verdict = judge(whole, part, {})
    assert verdict.exit_code == 2
    assert verdict.problems == ("metrics: psnr is in the reference and was not measured here",)
    verdict = judge(whole, part, {}, part=["metrics"])
    assert verdict.exit_code == 0 and [row.metric for row in verdict.rows] == ["fid"]
    gone = measured(psnr()).model_copy(update={"scores": measured({}).scores})
    (row,) = judge(whole, gone, {}).failed
    assert row.metric == "psnr" and "40 of 40 images have no score" in row.reason
    assert GateVerdict(()).exit_code == 2


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


def test_the_terminal_shows_rows_with_their_reasons_and_counts_what_it_leaves_out() -> None:
    good = Judged("d", "bicubic", "psnr", "pass", "", 25.0, 25.0, 3)
    bad = Judged("d", "nearest", "psnr", "fail", "worse; below the floor", 25.0, None, 3)
    assert gate_output.terminal(GateVerdict((good, bad))) == [
        "      dataset  method   metric  reference  now",
        "pass  d        bicubic  psnr    25         25",
        "fail  d        nearest  psnr    25         none",
        "      worse",
        "      below the floor",
        "Gate failed: 1 of 2 scores beyond tolerance",
    ]
    many = gate_output.terminal(GateVerdict((*[good] * gate_output.MAX_ROWS, bad)))
    assert [line[:4] for line in many if "psnr" in line] == ["fail"]
    assert many[-2] == f"{gate_output.MAX_ROWS} more rows are not shown; --json has all"
    all_of_them = gate_output.terminal(GateVerdict((good,) * gate_output.MAX_ROWS))
    assert all_of_them[-1] == "Gate passed: 60 of 60 scores within tolerance"
    assert len(all_of_them) == gate_output.MAX_ROWS + 2


@pytest.mark.parametrize(
    ("problems", "expected"),
    [
        (["a: the reference holds no score"] * 2, "the reference holds no score to judge by; wr"),
        (["a: the reference holds no score", "seed: 0"], "what was measured is not what the"),
    ],
)
def test_the_last_line_says_why_nothing_could_be_judged(problems: list[str], expected: str) -> None:
    last = gate_output.headline(GateVerdict((), tuple(problems)))
    assert last.startswith(f"Gate could not judge: {expected}")


def test_outputs_show_hostile_names_as_text() -> None:
    rows = tuple(
        Judged(name, name, "psnr", "fail", f"because of {name}", 1.0, math.inf, 3)
        for name in [*HOSTILE, "nul\x00", "lone\udc80"]
    )
    verdict = GateVerdict(rows, notes=tuple(HOSTILE))
    cases = ElementTree.fromstring(gate_output.junit(verdict, "s")).findall(".//testcase")
    assert len(cases) == len(rows) and all(case.find("failure") is not None for case in cases)
    text = gate_output.markdown(verdict)
    assert "<script>" not in text
    table = [line for line in text.splitlines() if line.startswith("| ❌")]
    assert len(table) == len(rows)
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {8}
    assert "\x1b" not in "\n".join(gate_output.terminal(verdict))
    json.loads(json.dumps(verdict.as_json(), allow_nan=False))


# -- the command ---------------------------------------------------------------------------------

SEEDED = """
import torch

def upscale(lr, *, scale, seeds):
    noise = torch.rand(lr.shape, generator=torch.Generator().manual_seed(seeds[0]))
    return torch.nn.functional.interpolate(0.9 * lr + 0.1 * noise, scale_factor=scale)
"""


@pytest.mark.usefixtures("quick_sets")
def test_order_shards_and_workers_pass_and_a_seed_is_refused(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "cwd" / "seeded.py").write_text(SEEDED)
    names = ("--metrics", "psnr_y,ssim_y", "--datasets", "quick-bicubic", "--limit", 3)
    made = cli(
        *("gate", "quick", "--reference", "r.toml", "--update", "--workers", 1),
        *("--methods", "bicubic,seeded.py", *names),
    )
    assert made.returncode == 0, made.stderr
    assert "4 cells, all new" in made.stdout
    plant_quick_sets(tmp_path / "cwd" / "shards")
    for part in ("3/3", "1/3", "2/3"):
        shard = ("--methods", "seeded.py,bicubic", "--shard", part, "--reports", "csv")
        done = cli("run", "quick", *shard, *names, "--store", "shards", "--out", "part")
        assert done.returncode == 0, done.stderr
    judged = cli("gate", "quick", "--reference", "r.toml", "--store", "shards", "--json")
    assert judged.returncode == 0, judged.stdout + judged.stderr
    verdict = json.loads(judged.stdout)
    assert [row["state"] for row in verdict["rows"]] == ["pass"] * 4
    assert judged.stderr == "", "the shards had everything"
    refused = cli("gate", "quick", "--reference", "r.toml", "--store", "shards", "--seed", 1)
    assert refused.returncode == 2
    assert "seed: 0 in the reference, 1 here" in refused.stdout
    again = cli("gate", "quick", "--reference", "r.toml", "--store", "shards", "--update", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["difference"]["equal"] == 4


@pytest.mark.usefixtures("quick_sets")
@pytest.mark.parametrize(
    ("top", "inside", "expected"),
    [
        ("sys.exit(0)", "return lr", "method 'mine.py': SystemExit: 0 (mine.py:2)"),
        ("", "os._exit(0)", "exit code 0 (mine.py:5)"),
    ],
)
def test_a_method_that_ends_the_process_fails_the_gate(
    cli: Cli, tmp_path: Path, top: str, inside: str, expected: str
) -> None:
    method = tmp_path / "cwd" / "mine.py"
    method.write_text(SEEDED)
    gate = ("gate", "quick", "--reference", "r.toml", "--workers", 1)
    names = ("--methods", "nearest,mine.py", "--metrics", "psnr_y", "--limit", 1)
    assert cli(*gate, *names, "--datasets", "quick-bicubic", "--update").returncode == 0
    method.write_text(f"import os, sys\n{top}\n\ndef upscale(lr, *, scale, seeds):\n    {inside}\n")
    done = cli(*gate, "--junit", "j.xml")
    assert done.returncode == 1 and expected in done.stderr
    assert "Gate failed: 1 of 2 scores beyond tolerance" in done.stdout
    assert re.search(r"^fail .* mine +psnr_y +\d+\.\d+ +none$", done.stdout, re.MULTILINE)
    suite = ElementTree.parse(tmp_path / "cwd" / "j.xml").find("testsuite")
    assert suite is not None and (suite.get("tests"), suite.get("failures")) == ("2", "1")


def test_folders_are_gated_from_reference_to_regression(
    cli: Cli, image_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    sr, hr = image_folders
    folders = ("gate", "--sr", sr, "--hr", hr, "--reference", "r.json")
    absent = cli(*folders)
    assert absent.returncode == 2 and "--update` writes one" in absent.stderr
    made = cli(*folders, "--metrics", "psnr_y", "--update")
    assert made.returncode == 0, made.stderr
    outputs = ("--markdown", "m.md", "--junit", "j.xml")
    good = (sr / "img1.png").read_bytes()
    Image.open(sr / "img1.png").point(lambda v: max(v - 2, 0)).save(sr / "img1.png")
    failed = cli(*folders, *outputs)
    assert failed.returncode == 1
    assert "1 of 3 images moved by more than 0.001, most: img1 " in failed.stdout
    assert max(map(len, failed.stdout.splitlines())) <= 100
    assert "❌" in (tmp_path / "cwd" / "m.md").read_text()
    assert ElementTree.parse(tmp_path / "cwd" / "j.xml").find(".//failure") is not None
    updated = cli(*folders, "--update")
    assert re.search(r"hr / sr / psnr_y: .* -> .* \(1 of 3 images\)", updated.stdout)
    (sr / "img1.png").write_bytes(good)
    Image.open(hr / "img0.png").point(lambda v: min(v + 1, 255)).save(hr / "img0.png")
    refused = cli(*folders)
    assert refused.returncode == 2 and "dataset hr: sha256: " in refused.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("gate", "--reference", "r.toml"), "give either a suite or --sr DIR"),
        (("gate", "quick", "--reference", "r.txt"), "a reference is a file .toml or .json"),
        (
            ("gate", "quick", "--reference", "r.toml", "--update", "--tolerance", "absolute"),
            "--tolerance: expected same, absolute=X",
        ),
        (
            ("gate", "quick", "--reference", "r.toml", "--update", "--tolerance", "same=x"),
            "--tolerance: expected same, absolute=X",
        ),
    ],
)
def test_wrong_use_is_one_line(cli: Cli, arguments: tuple[str, ...], expected: str) -> None:
    done = cli(*arguments)
    assert done.returncode == 2 and expected in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


# -- the workflows of the docs -------------------------------------------------------------------


def workflow(heading: str) -> dict[str, object]:
    text = (ROOT / "docs" / "gate.md").read_text().partition(f"## {heading}\n")[2]
    found = re.search(r"```yaml\n(.*?)```", text, re.S)
    assert found
    return yaml.safe_load(found[1])


def run_steps(cli: Cli, steps: list[str], folder: Path, environment: dict[str, str]) -> Path:
    """Run shell steps in a checkout, as a runner does; pip is replaced by a note of its words."""
    programs = folder / "bin"
    programs.mkdir()
    scripts = {
        "pip": f'echo "$@" >> {folder}/pip.txt',
        "cassr-bench": f'exec {cli.program} "$@"',
    }
    for name, body in scripts.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n")
        (programs / name).chmod(0o755)
    for name in ("bench", "baselines", "cassr", "results"):
        (folder / name).symlink_to(ROOT / name)
    path = {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(folder)}
    for step in steps:
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", step],
            cwd=folder,
            env={**os.environ, **path, **environment},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.usefixtures("quick_sets")
def test_github_workflow_passes_on_the_committed_reference(cli: Cli, tmp_path: Path) -> None:
    steps = [s["run"] for s in workflow("GitHub Actions")["jobs"]["gate"]["steps"] if "run" in s]  # type: ignore[index]
    folder = run_steps(cli, steps, tmp_path, {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")})
    assert (folder / "pip.txt").read_text() == "install -c constraints.txt -e .\n"
    assert "Gate passed: 18 of 18 scores" in (folder / "summary.md").read_text()
    suite = ElementTree.parse(folder / "gate.xml").find("testsuite")
    assert suite is not None and (suite.get("tests"), suite.get("failures")) == ("18", "0")


@pytest.mark.slow
def test_gitlab_job_passes_on_the_committed_reference(cli: Cli, tmp_path: Path) -> None:
    steps = workflow("GitLab")["gate"]["script"]  # type: ignore[index]
    folder = run_steps(cli, steps, tmp_path, {})
    assert (folder / "gate.xml").is_file()
