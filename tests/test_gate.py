"""The gate: passes what did not change, fails on damage, refuses what cannot be compared."""

import json
import math
import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from gate_example import IDS, NOISE, measured, psnr, state
from results_example import HOSTILE

from bench.exchange.measured import (
    DatasetPrint,
    Measured,
    MethodPrint,
)
from bench.gate import output as gate_output
from bench.gate.judge import GateVerdict, Judged, default_policy, judge
from bench.gate.reference import (
    Floor,
    Policy,
    Reference,
    ScopedTolerance,
    Tolerance,
)
from bench.results.power import least_difference


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
    (unchanged,) = judge(reference, measured(psnr()), {}).notes
    assert "n = 40: unknown, no score changed and there is one method alone" in unchanged


def of_two(spread: float) -> Measured:
    """A second method whose scores differ by `spread` times a known vector."""
    one = measured(psnr())
    (own, fid), n = one.scores, {**psnr(noise=spread)["psnr"]}
    other = own.model_copy(update={"method": "n", "images": n, "mean": sum(n.values()) / len(n)})
    methods = {"n": MethodPrint(typed="n", sha256="4" * 64)}
    return one.model_copy(
        update={"scores": [own, other, fid], "methods": {**one.methods, **methods}}
    )


@pytest.mark.parametrize("kind", ["same", "statistical"])
def test_every_gate_says_which_difference_its_images_tell_apart(kind: str) -> None:
    two = of_two(2.0)
    # A metric of the whole set needs a tolerance of its own where images are tested.
    own = [ScopedTolerance(metric="fid", kind="same")]
    reference = Reference(measured=two, tolerance=Tolerance(kind=kind), tolerances=own)  # type: ignore[arg-type]
    (said,) = [note for note in judge(reference, two, {}).notes if "psnr" in note]
    least = least_difference(float(np.std(2 * NOISE[1], ddof=1)), len(IDS))
    assert said.startswith(f"d / psnr, n = 40: a paired test finds a difference of {least:.3g} in")
    assert said.endswith("80% of cases (from those of 2 methods)")
    few = dict.fromkeys(IDS[:5], 25.0)
    told = judge(Reference(measured=measured({"psnr": few})), measured({"psnr": few}), {}).notes
    assert told == ("d / psnr, n = 5: unknown, 6 independent images with scores are needed",)


@pytest.mark.parametrize(("lost", "n"), [("an image", 39), ("finite scores", 40), ("order", 40)])
def test_the_difference_told_is_of_the_images_that_methods_share(lost: str, n: int) -> None:
    two = of_two(2.0)
    own, other, fid = two.scores
    images = dict(reversed(other.images.items())) if lost == "order" else {**other.images}
    if lost == "an image":
        images.pop(IDS[3])
    elif lost == "finite scores":
        images[IDS[3]] = math.inf
    other = other.model_copy(update={"images": images, "mean": sum(images.values()) / len(images)})
    found = two.model_copy(update={"scores": [own, other, fid]})
    notes = judge(Reference(measured=found), found, {}).notes
    (said,) = [note for note in notes if "/ psnr" in note]
    told = "there is one method alone" if lost == "finite scores" else "a paired test finds"
    assert said.startswith(f"d / psnr, n = {n}: ") and told in said


def test_where_scores_changed_their_spread_says_which_change_is_found() -> None:
    moved = judge(Reference(measured=measured(psnr())), measured(psnr(0.1, 0.5)), {})
    least = least_difference(float(np.std(0.5 * NOISE[1], ddof=1)), len(IDS))
    assert f"a change of {least:.3g} in 80% of cases (from how scores changed)" in moved.notes[-1]


def hollow(change: Callable[[Any], object]) -> Measured:
    """The synthetic scores after somebody's hand was on the file."""
    told = json.loads(measured(psnr()).model_dump_json())
    change(told)
    return Measured.model_validate(told)


def rename_method(told: Any) -> None:
    told["methods"] = {"x": told["methods"]["m"]}
    for cell in told["scores"]:
        cell["method"] = "x"


def lose_one(told: Any) -> None:
    del told["scores"][0]["images"]["i7"]
    told["scores"][0]["mean"] = None


def test_a_mean_that_is_not_that_of_its_images_is_refused() -> None:
    for of_another in (99.0, 0.0, math.inf):
        with pytest.raises(ValueError, match="d, m, psnr: the mean is not that of the images"):
            hollow(lambda told, mean=of_another: told["scores"][0].update(mean=mean))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda told: told["scores"][0].update(mean=None, images={}), "d / m / psnr: 40 of 40"),
        (lambda told: told["scores"][0].update(images={}), "40 of 40 scores are not in the ref"),
        (lose_one, "1 of 40 scores are not in the "),
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
