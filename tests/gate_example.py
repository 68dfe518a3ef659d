"""Measured scores for the tests of the gate."""

import numpy as np

from bench.exchange.measured import (
    DatasetPrint,
    Measured,
    MeasuredCell,
    MethodPrint,
    MetricPrint,
    mean,
)
from bench.gate.judge import Judged, judge
from bench.gate.reference import (
    Policy,
    Reference,
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
