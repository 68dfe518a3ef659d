"""How often 95 % intervals miss the mean, and how often paired tests call equals different.

Prints the tables of docs/statistics.md: the symmetric bootstrap-t that the harness uses beside
the percentile bootstrap, and the paired bootstrap beside Wilcoxon's signed-rank test.

    python benchmarks/interval_coverage.py --tables 10000
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.results.bootstrap import bootstrap, wilcoxon

Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]
BLOCK = 1000
SIZES = (6, 10, 20, 50, 100)
SHAPES: dict[str, tuple[Draw, float]] = {
    "normal": (lambda rng, size: rng.normal(size=size), 0.0),
    "skewed (log-normal, sigma 0.5)": (
        lambda rng, size: rng.lognormal(0, 0.5, size),
        math.exp(0.125),
    ),
    "heavy tails (t, 5 degrees)": (lambda rng, size: rng.standard_t(5, size), 0.0),
}


def sparse(share: float) -> Draw:
    """Normal differences on some of the images, none on the others."""
    return lambda rng, size: rng.normal(size=size) * (rng.random(size) < share)


DIFFERENCES: dict[str, Draw] = {
    "normal": lambda rng, size: rng.normal(size=size),
    "heavy tails (t, 5 degrees)": lambda rng, size: rng.standard_t(5, size),
    "skewed (log-normal, sigma 0.5)": lambda rng, size: (
        rng.lognormal(0, 0.5, size) - math.exp(0.125)
    ),
    "very skewed (log-normal, sigma 1)": lambda rng, size: (
        rng.lognormal(0, 1, size) - math.exp(0.5)
    ),
    "+1 or -1": lambda rng, size: rng.choice([-1.0, 1.0], size),
    "sparse, 20 % of the images": sparse(0.2),
    "sparse, 10 % of the images": sparse(0.1),
    "half of the images at one end (clipped)": lambda rng, size: (
        np.maximum(rng.normal(size=size), 0) - 1 / math.sqrt(2 * math.pi)
    ),
    "constant (0)": lambda rng, size: np.zeros(size),
}


def misses(draw: Draw, mean: float, n: int, tables: int) -> tuple[float, float]:
    """Per cent of tables whose interval misses the mean: bootstrap-t, percentile."""
    found = np.zeros(2)
    for seed in range(tables // BLOCK):
        values = draw(np.random.default_rng(seed), (n, BLOCK))
        resampled = bootstrap(values, seed, resamples=2000)
        low, high = np.quantile(resampled.means, [0.025, 0.975], axis=0)
        found[0] += (np.abs(resampled.mean - mean) > resampled.half_width()).sum()
        found[1] += ((mean < low) | (mean > high)).sum()
    first, second = 100 * found / tables
    return float(first), float(second)


def false_positives(draw: Draw, n: int, tables: int) -> tuple[float, float]:
    """Per cent of pairs with equal means called different at 5 %: paired bootstrap, Wilcoxon."""
    found = np.zeros(2)
    for seed in range(tables // BLOCK):
        differences = draw(np.random.default_rng(seed), (n, BLOCK))
        found[0] += (bootstrap(differences, seed, resamples=2000).p() < 0.05).sum()
        found[1] += (wilcoxon(differences) < 0.05).sum()
    first, second = 100 * found / tables
    return float(first), float(second)


def show(title: str, rows: dict[str, list[tuple[float, float]]]) -> None:
    print(f"| {title} | {' | '.join(f'n = {n}' for n in SIZES)} |")
    print("|---|" + "---:|" * len(SIZES))
    for name, pairs in rows.items():
        print(f"| {name} | {' | '.join(f'{a:.1f} / {b:.1f}' for a, b in pairs)} |")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=10_000, help="simulated tables per cell")
    tables = parser.parse_args().tables
    show(
        "scores; % missed: bootstrap-t / percentile",
        {
            name: [misses(draw, mean, n, tables) for n in SIZES]
            for name, (draw, mean) in SHAPES.items()
        },
    )
    show(
        "differences; % called different: paired bootstrap / Wilcoxon",
        {
            name: [false_positives(draw, n, tables) for n in SIZES]
            for name, draw in DIFFERENCES.items()
        },
    )


if __name__ == "__main__":
    main()
