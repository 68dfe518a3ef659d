"""How often 95 % intervals miss the mean, and how often paired tests call equals different.

python benchmarks/interval_coverage.py --tables 10000     # the tables of docs/statistics.md
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import typer
from scipy import stats

from bench.results.bootstrap import FEW, MIN_IMAGES, bootstrap, wilcoxon
from bench.results.paired import by_group, paired

Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]
BLOCK = 1000
SIZES = (6, 10, 20, 50, 100)
PHOTOGRAPHS, CROPS = 100, 30
UNEVEN = [0, 1, 2, 3, 4, 5, 6, 6, 7, 7]
"""The photographs of ten crops, as those of the suite `quick` are."""


def far_off(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Normal scores, a tenth of them six deviations off."""
    return rng.normal(size=size) + 6.0 * (rng.random(size) < 0.1) - 0.6


def sparse(share: float) -> Draw:
    """Normal differences on some of the images, none on the others."""
    return lambda rng, size: rng.normal(size=size) * (rng.random(size) < share)


DISTRIBUTIONS: dict[str, Draw] = {
    "normal": lambda rng, size: rng.normal(size=size),
    "heavy tails (t, 5 degrees)": lambda rng, size: rng.standard_t(5, size),
    "skewed (log-normal, sigma 0.5)": lambda rng, size: (
        rng.lognormal(0, 0.5, size) - math.exp(0.125)
    ),
    "one in ten far off": far_off,
    "very skewed (log-normal, sigma 1)": lambda rng, size: rng.lognormal(size=size) - math.exp(0.5),
    "exponential": lambda rng, size: rng.exponential(size=size) - 1,
    "+1 or -1": lambda rng, size: rng.choice([-1.0, 1.0], size),
    "sparse, 20 % of the images": sparse(0.2),
    "sparse, 10 % of the images": sparse(0.1),
    "half of the images at one end (clipped)": lambda rng, size: (
        np.maximum(rng.normal(size=size), 0) - 1 / math.sqrt(2 * math.pi)
    ),
    "constant (0)": lambda rng, size: np.zeros(size),
}
"""Of mean 0; scores are drawn from the first `SCORES`, differences from all."""
SCORES = 5


def misses(draw: Draw, n: int, tables: int, owners: list[int] | None = None) -> tuple[float, ...]:
    """Per cent of tables whose interval misses the mean, 0: ours, bootstrap-t without its bound,
    Student's t, percentile; of n photographs where `owners` tells whose each crop is."""
    found = np.zeros(4)
    for seed in range(tables // BLOCK):
        values = draw(np.random.default_rng(seed), (n, BLOCK))
        values = by_group(values[owners], np.array(owners)) if owners else values
        resampled = bootstrap(values, seed, resamples=2000)
        low, high = np.quantile(resampled.means, [0.025, 0.975], axis=0)
        students = stats.t.ppf(0.975, len(values) - 1) * resampled.error
        free = replace(resampled, n=max(FEW, len(values))).half_width()
        for i, half in enumerate((resampled.half_width(), free, students)):
            found[i] += (np.abs(resampled.mean) > half).sum()
        found[3] += ((low > 0) | (high < 0)).sum()
    return tuple((100 * found / tables).tolist())


def false_positives(draw: Draw, n: int, tables: int) -> tuple[float, ...]:
    """Per cent of pairs with equal means called different at 5 %: ours, Student's t, Wilcoxon."""
    found = np.zeros(3)
    for seed in range(tables // BLOCK):
        differences = draw(np.random.default_rng(seed), (n, BLOCK))
        with np.errstate(invalid="ignore"):
            students = stats.ttest_1samp(differences, 0).pvalue
        every = (paired(differences).p(), students, wilcoxon(differences))
        found += [(p < 0.05).sum() for p in every]
    return tuple((100 * found / tables).tolist())


def tested(draw: Draw, n: int, tables: int) -> tuple[float, ...]:
    """Per cent of pairs with equal means whose verdict is "too few images", or which are alike
    throughout; and of all others, per cent called different at 5 %, NaN of fewer than 100."""
    found = np.zeros(3)
    for seed in range(tables // BLOCK):
        differences = draw(np.random.default_rng(seed), (n, BLOCK))
        p, other = paired(differences).p(), (differences != 0).sum(axis=0)
        found += (other < MIN_IMAGES).sum(), (p < 0.05).sum(), (other >= MIN_IMAGES).sum()
    refused, different, judged = map(float, found)
    return 100 * refused / tables, 100 * different / judged if judged >= 100 else math.nan


def of_crops(correlation: float, tables: int) -> list[float]:
    """Per cent called different of crops whose photographs share a part of the variance: with
    crops taken for independent, then over photographs."""
    rng, found = np.random.default_rng(0), np.zeros(2)
    owners = np.repeat(np.arange(PHOTOGRAPHS), CROPS)
    for _ in range(tables // BLOCK):
        shared = rng.normal(0, math.sqrt(correlation), (PHOTOGRAPHS, BLOCK))
        own = rng.normal(0, math.sqrt(1 - correlation), (len(owners), BLOCK))
        differences = shared[owners] + own
        found[0] += (paired(differences).p() < 0.05).sum()
        found[1] += (paired(by_group(differences, owners)).p() < 0.05).sum()
    return [float(share) for share in 100 * found / tables]


def show(title: str, rows: dict[str, list[tuple[float, ...]]]) -> None:
    print(f"| {title} | {' | '.join(f'n = {n}' for n in SIZES)} |")
    print("|---|" + "---:|" * len(SIZES))
    for name, pairs in rows.items():
        print(f"| {name} | {' | '.join(' / '.join(f'{x:.1f}' for x in cell) for cell in pairs)} |")
    print()


def main(tables: int = 10_000) -> None:
    """Simulate so many tables for each cell."""
    for title, count, shares in (
        ("scores; % missed: ours / without bound / Student's t / percentile", SCORES, misses),
        ("differences; % called different: ours / Student's t / Wilcoxon", None, false_positives),
    ):
        drawn = list(DISTRIBUTIONS.items())[:count]
        show(title, {name: [shares(draw, n, tables) for n in SIZES] for name, draw in drawn})
    few = {name: draw for name, draw in DISTRIBUTIONS.items() if name.startswith("sparse")}
    title = "differences; % too few images / of the rest, % called different"
    show(title, {name: [tested(draw, n, 10 * tables) for n in SIZES] for name, draw in few.items()})
    for name, draw in list(DISTRIBUTIONS.items())[:SCORES]:
        missed = misses(draw, len(set(UNEVEN)), tables, UNEVEN)
        shown = " / ".join(f"{x:.1f}" for x in missed)
        print(f"{len(UNEVEN)} crops of 8 photographs, equal in each, {name}: {shown}")
    print(f"{PHOTOGRAPHS} photographs x {CROPS} crops; % called different: crops / photographs")
    for correlation in (0.05, 0.3):
        apart, together = of_crops(correlation, min(tables, 2000))
        print(f"intra-class correlation {correlation}: {apart:.1f} / {together:.1f}")


if __name__ == "__main__":
    typer.run(main)
