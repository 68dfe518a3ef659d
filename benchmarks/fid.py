"""The FID distance of features against clean-fid's `frechet_distance`.

    python benchmarks/fid.py --images 100,3000

Synthetic features of d = 2048, correlated as a network's are. Timed from the feature arrays to the
number on one thread, one after the other; clean-fid's part includes its covariances, and its
`scipy.linalg.sqrtm` gets back the option `disp` that newer versions of SciPy do not take.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from bench.metrics.frechet import frechet_distance

Features = NDArray[np.float64]


@dataclass(frozen=True)
class Race:
    """Seconds and values of both at one n; load of the machine before."""

    images: int
    ours: float
    clean_fid: float
    our_value: float
    their_value: float
    load: float

    def line(self) -> str:
        relative = abs(self.our_value - self.their_value) / self.their_value
        return (
            f"{self.images:6} {self.ours:8.3f} {self.clean_fid:12.2f} "
            f"{self.clean_fid / self.ours:7.0f}x   {relative:.1e}   {self.load:.1f}"
        )


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


def with_disp(sqrtm: Callable[..., Any]) -> Callable[..., Any]:
    return lambda matrix, disp=True: sqrtm(matrix) if disp else (sqrtm(matrix), 0.0)


def timed(function: Callable[[], float]) -> tuple[float, float]:
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


def race(count: int, dimensions: int) -> Race:
    x, y = features(count, dimensions)
    frechet_distance(x[:3], y[:3])
    load = os.getloadavg()[0]
    ours, our_value = timed(lambda: frechet_distance(x, y))
    theirs, their_value = timed(lambda: clean_fid(x, y))
    return Race(count, ours, theirs, our_value, their_value, load)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", default="100,3000", help="sizes of both sets")
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args()
    import cleanfid.fid as cleanfid

    cleanfid.linalg.sqrtm = with_disp(linalg.sqrtm)
    print("images   ours s   clean-fid s   ratio   difference   load")
    found = []
    for count in map(int, options.images.split(",")):
        one = race(count, options.dimensions)
        print(one.line(), flush=True)
        found.append(asdict(one))
    if options.json:
        options.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
