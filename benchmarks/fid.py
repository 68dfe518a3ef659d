"""The FID distance of features against clean-fid's `frechet_distance`.

    python benchmarks/fid.py --images 100,3000

Synthetic features of d = 2048, correlated as a network's are. Timed from the feature arrays to the
number on one thread, one after the other; clean-fid's part includes its covariances, and its
`scipy.linalg.sqrtm` gets back the option `disp` that newer versions of SciPy do not take.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scoring import Row, show

from bench.metrics.frechet import frechet_distance

Features = NDArray[np.float64]


def features(count: int, dimensions: int) -> tuple[Features, Features]:
    """Two sets, non-negative and correlated, their spectrum falling as that of real features."""
    rng = np.random.default_rng(count)
    mix = rng.normal(size=(dimensions, dimensions)) / np.arange(1, dimensions + 1)[:, None] ** 0.5
    x, y = (np.abs(rng.normal(size=(count, dimensions)) @ mix) for _ in range(2))
    return x, 1.1 * y + 0.05


def clean_fid(x: Features, y: Features) -> float:
    import cleanfid.fid as cleanfid

    moments = [value for s in (x, y) for value in (s.mean(0), np.cov(s, rowvar=False))]
    return float(cleanfid.frechet_distance(*moments))


def timed(function: Callable[[], float]) -> tuple[float, float]:
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


def race(count: int, dimensions: int) -> Row:
    x, y = features(count, dimensions)
    frechet_distance(x[:3], y[:3])
    load = os.getloadavg()[0]
    ours, our_value = timed(lambda: frechet_distance(x, y))
    theirs, their_value = timed(lambda: clean_fid(x, y))
    return {
        "images": count,
        "ours": ours,
        "clean_fid": theirs,
        "times": theirs / ours,
        "difference": abs(our_value - their_value) / their_value,
        "load": load,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", default="100,3000", help="sizes of both sets")
    parser.add_argument("--dimensions", type=int, default=2048)
    options = parser.parse_args()
    import cleanfid.fid as cleanfid

    sqrtm = linalg.sqrtm
    cleanfid.linalg.sqrtm = lambda matrix, disp=True: sqrtm(matrix) if disp else (sqrtm(matrix), 0)
    counts = map(int, options.images.split(","))
    show(race(count, options.dimensions) for count in counts)


if __name__ == "__main__":
    main()
