"""The FID distance of features against clean-fid's `frechet_distance`.

    python benchmarks/fid.py --images 100,3000

Synthetic features, correlated as a network's are. Timed from the feature arrays to the number, one
after the other; clean-fid's part includes its covariances.
"""

import os
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import cleanfid.fid
import numpy as np
import typer
from numpy.typing import NDArray
from scipy import linalg
from scoring import Row, numbers, show

from bench.metrics.frechet import frechet_distance

Features = NDArray[np.float64]
SQRTM = linalg.sqrtm


def features(count: int, dimensions: int) -> tuple[Features, Features]:
    """Two sets, non-negative and correlated, their spectrum falling as that of real features."""
    rng = np.random.default_rng(count)
    mix = rng.normal(size=(dimensions, dimensions)) / np.arange(1, dimensions + 1)[:, None] ** 0.5
    x, y = (np.abs(rng.normal(size=(count, dimensions)) @ mix) for _ in range(2))
    return x, 1.1 * y + 0.05


def clean_fid(x: Features, y: Features) -> float:
    moments = [value for s in (x, y) for value in (s.mean(0), np.cov(s, rowvar=False))]
    with mock.patch.object(cleanfid.fid.linalg, "sqrtm", sqrtm):
        return float(cleanfid.fid.frechet_distance(*moments))


def sqrtm(matrix: Any, disp: bool = True) -> Any:
    """SciPy's, with the option that its newer versions do not take and clean-fid gives."""
    return SQRTM(matrix) if disp else (SQRTM(matrix), 0)


def timed(function: Callable[[Features, Features], float], *sets: Features) -> tuple[float, float]:
    start = time.perf_counter()
    value = function(*sets)
    return time.perf_counter() - start, value


def race(count: int, dimensions: int) -> Row:
    x, y = features(count, dimensions)
    frechet_distance(x[:3], y[:3])
    load = os.getloadavg()[0]
    ours, our_value = timed(frechet_distance, x, y)
    theirs, their_value = timed(clean_fid, x, y)
    apart = abs(our_value - their_value) / their_value
    return {"images": count, "ours": ours, "clean_fid": theirs, "times": theirs / ours,
            "difference": apart, "load": load}  # fmt: skip


def main(images: str = "100,3000", dimensions: int = 2048) -> None:
    """Compare on sets of these sizes."""
    show(race(count, dimensions) for count in numbers(images))


if __name__ == "__main__":
    typer.run(main)
