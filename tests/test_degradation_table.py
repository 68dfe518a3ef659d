"""Distributions of the sampled parameters against the published tables."""

import math
from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from cassr.degradation import PRESETS, DegradationParameters
from cassr.degradation.options import BlurOptions, ResizeOptions, sample_parameters
from cassr.degradation.parameters import GAUSSIAN_KINDS, RESIZE_MODES, GaussianKernel, SincKernel

DRAWS = 6000
KINDS = {
    "iso": 0.45,
    "aniso": 0.25,
    "generalized_iso": 0.12,
    "generalized_aniso": 0.03,
    "plateau_iso": 0.12,
    "plateau_aniso": 0.03,
}
# preset, order: blur, sigma, beta_g, beta_p, (up, down, keep), limits, noise, Poisson scale, JPEG
TABLE = {
    ("full", "first"): (
        *(1.0, (0.2, 3.0), (0.5, 4.0), (1.0, 2.0)),
        *((0.2, 0.7, 0.1), (0.15, 1.5), (1.0, 30.0), (0.05, 3.0), (30, 95)),
    ),
    ("full", "second"): (
        *(0.8, (0.2, 1.5), (0.5, 4.0), (1.0, 2.0)),
        *((0.3, 0.4, 0.3), (0.3, 1.2), (1.0, 25.0), (0.05, 2.5), (30, 95)),
    ),
    ("mild", "first"): (
        *(1.0, (0.2, 1.5), (0.5, 2.0), (1.0, 1.5)),
        *((0.2, 0.7, 0.1), (0.3, 1.5), (1.0, 15.0), (0.05, 2.0), (60, 95)),
    ),
    ("mild", "second"): (
        *(0.5, (0.2, 1.0), (0.5, 2.0), (1.0, 1.5)),
        *((0.3, 0.4, 0.3), (0.6, 1.2), (1.0, 12.0), (0.05, 1.0), (60, 100)),
    ),
}
ORDERS = list(TABLE)


@pytest.fixture(scope="module")
def drawn() -> dict[str, list[DegradationParameters]]:
    generator = np.random.default_rng(20240501)
    return {
        name: [sample_parameters(options, generator) for _ in range(DRAWS)]
        for name, options in PRESETS.items()
    }


def frequencies_agree(items: list, expected: dict) -> None:
    """Each frequency lies within five standard deviations of its binomial."""
    assert items
    assert set(items) <= set(expected)
    counts = Counter(items)
    for key, p in expected.items():
        deviation = math.sqrt(len(items) * p * (1 - p))
        assert abs(counts[key] - len(items) * p) <= 5 * deviation, (key, counts[key], p)


def is_uniform(values: list[float], limits: tuple[float, float]) -> None:
    assert limits[0] <= min(values)
    assert max(values) <= limits[1]
    scaled = (np.array(values) - limits[0]) / (limits[1] - limits[0])
    assert stats.kstest(scaled, "uniform").pvalue > 1e-4


@pytest.mark.parametrize(("preset", "order"), ORDERS)
def test_options_are_the_published_ones(preset: str, order: str) -> None:
    options = getattr(PRESETS[preset], order)
    blur, resize, noise = options.blur, options.resize, options.noise
    assert TABLE[preset, order] == (
        *(blur.probability, blur.sigma, blur.beta_generalized, blur.beta_plateau),
        *(resize.probabilities, resize.limits),
        *(noise.sigma, noise.poisson_scale, options.jpeg.quality),
    )
    assert dict(zip(GAUSSIAN_KINDS, blur.kinds, strict=True)) == KINDS
    assert blur.sizes == (7, 9, 11, 13, 15, 17, 19, 21)
    assert (noise.gaussian_probability, noise.grey_probability) == (0.5, 0.4)


@pytest.mark.parametrize(("preset", "order"), ORDERS)
def test_blur(drawn: dict, preset: str, order: str) -> None:
    kernels = [getattr(p, order).kernel for p in drawn[preset]]
    probability = TABLE[preset, order][0]
    present = [k for k in kernels if k is not None]
    frequencies_agree([k is not None for k in kernels], {True: probability, False: 1 - probability})
    sinc = [isinstance(k, SincKernel) for k in present]
    frequencies_agree(sinc, {True: 0.1, False: 0.9})
    frequencies_agree([k.size for k in present], dict.fromkeys(range(7, 22, 2), 1 / 8))
    gaussian = [k for k in present if isinstance(k, GaussianKernel)]
    frequencies_agree([k.kind for k in gaussian], KINDS)


@pytest.mark.parametrize(("preset", "order"), ORDERS)
def test_sinc_cutoffs_depend_on_the_kernel_size(drawn: dict, preset: str, order: str) -> None:
    kernels = [getattr(p, order).kernel for p in drawn[preset]]
    sinc = [k for k in kernels if isinstance(k, SincKernel)]
    is_uniform([k.cutoff for k in sinc if k.size < 13], (math.pi / 3, math.pi))
    is_uniform([k.cutoff for k in sinc if k.size >= 13], (math.pi / 5, math.pi))


@pytest.mark.parametrize(("preset", "order"), ORDERS)
def test_gaussian_kernels(drawn: dict, preset: str, order: str) -> None:
    kernels = [getattr(p, order).kernel for p in drawn[preset]]
    kernels = [k for k in kernels if isinstance(k, GaussianKernel)]
    iso = [k for k in kernels if k.kind in ("iso", "generalized_iso", "plateau_iso")]
    aniso = [k for k in kernels if k.kind.endswith("aniso")]
    sigma = TABLE[preset, order][1]
    is_uniform([k.sigma_x for k in kernels], sigma)
    is_uniform([k.sigma_y for k in aniso], sigma)
    is_uniform([k.rotation for k in aniso], (-math.pi, math.pi))
    assert abs(stats.pearsonr(*np.array([(k.sigma_x, k.sigma_y) for k in aniso]).T)[0]) < 0.1
    assert all(k.sigma_x == k.sigma_y and k.rotation == 0 for k in iso)
    assert all(k.beta == 1 for k in kernels if k.kind in ("iso", "aniso"))


@pytest.mark.parametrize(("preset", "order"), ORDERS)
def test_shapes_lie_half_below_one_and_half_above(drawn: dict, preset: str, order: str) -> None:
    kernels = [getattr(p, order).kernel for p in drawn[preset]]
    kernels = [k for k in kernels if isinstance(k, GaussianKernel)]
    generalized = [k.beta for k in kernels if k.kind.startswith("generalized")]
    plateau = [k.beta for k in kernels if k.kind.startswith("plateau")]
    lowest, highest = TABLE[preset, order][2]
    frequencies_agree([b > 1 for b in generalized], {True: 0.5, False: 0.5})
    is_uniform([b for b in generalized if b > 1], (1, highest))
    is_uniform([b for b in generalized if b < 1], (lowest, 1))
    frequencies_agree([b == 1 for b in plateau], {True: 0.5, False: 0.5})
    is_uniform([b for b in plateau if b > 1], (1, TABLE[preset, order][3][1]))


@pytest.mark.parametrize(("preset", "order"), ORDERS)
def test_resize(drawn: dict, preset: str, order: str) -> None:
    resizes = [getattr(p, order).resize for p in drawn[preset]]
    probabilities, (lowest, highest) = TABLE[preset, order][4:6]
    expected = dict(zip(("up", "down", "keep"), probabilities, strict=True))
    frequencies_agree([r.direction for r in resizes], expected)
    is_uniform([r.factor for r in resizes if r.direction == "up"], (1, highest))
    is_uniform([r.factor for r in resizes if r.direction == "down"], (lowest, 1))
    assert {r.factor for r in resizes if r.direction == "keep"} == {1.0}
    frequencies_agree([r.mode for r in resizes], dict.fromkeys(RESIZE_MODES, 1 / 3))


@pytest.mark.parametrize(("preset", "order"), ORDERS)
def test_noise(drawn: dict, preset: str, order: str) -> None:
    noises = [getattr(p, order).noise for p in drawn[preset]]
    sigma, scale = TABLE[preset, order][6:8]
    frequencies_agree([n.kind for n in noises], {"gaussian": 0.5, "poisson": 0.5})
    frequencies_agree([n.grey for n in noises], {True: 0.4, False: 0.6})
    is_uniform([n.strength for n in noises if n.kind == "gaussian"], sigma)
    is_uniform([n.strength for n in noises if n.kind == "poisson"], scale)
    assert len({n.seed for n in noises}) == DRAWS


@pytest.mark.parametrize(("preset", "order"), ORDERS)
def test_jpeg_qualities_are_whole_and_uniform(drawn: dict, preset: str, order: str) -> None:
    qualities = [getattr(p, order).jpeg_quality for p in drawn[preset]]
    lowest, highest = TABLE[preset, order][8]
    every = range(lowest, highest + 1)
    frequencies_agree(qualities, dict.fromkeys(every, 1 / len(every)))
    assert set(qualities) == set(every)


@pytest.mark.parametrize("preset", ["full", "mild"])
def test_last_steps(drawn: dict, preset: str) -> None:
    parameters = drawn[preset]
    sinc = [p.final_sinc for p in parameters if p.final_sinc is not None]
    frequencies_agree([p.final_sinc is not None for p in parameters], {True: 0.8, False: 0.2})
    frequencies_agree([k.size for k in sinc], dict.fromkeys(range(7, 22, 2), 1 / 8))
    is_uniform([k.cutoff for k in sinc], (math.pi / 3, math.pi))
    frequencies_agree([p.jpeg_last for p in parameters], {True: 0.5, False: 0.5})
    frequencies_agree([p.final_mode for p in parameters], dict.fromkeys(RESIZE_MODES, 1 / 3))
    assert all(p.usm and p.scale == 4 for p in parameters)


def test_the_light_preset_is_one_blur_little_noise_and_one_good_jpeg(drawn: dict) -> None:
    parameters = drawn["light"]
    assert all(p.first.kernel and not p.second.kernel and not p.usm for p in parameters)
    assert all(p.first.noise is None and p.first.jpeg_quality is None for p in parameters)
    assert {p.first.resize.factor for p in parameters} == {1.0}
    frequencies_agree([p.second.noise is not None for p in parameters], {True: 0.7, False: 0.3})
    qualities = [p.second.jpeg_quality for p in parameters if p.second.jpeg_quality]
    assert (min(qualities), max(qualities)) == (75, 98)
    frequencies_agree([p.final_sinc is not None for p in parameters], {True: 0.1, False: 0.9})


def test_the_clean_preset_is_the_light_one_without_noise_and_jpeg(drawn: dict) -> None:
    for parameters in drawn["clean"]:
        assert parameters.first.kernel and not parameters.second.kernel and not parameters.usm
        for order in (parameters.first, parameters.second):
            assert order.noise is None and order.jpeg_quality is None


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({"probabilities": (0.5, 0.5, 0.5), "limits": (0.5, 1.5)}, "sum to 1"),
        ({"probabilities": (0.5, 0.5, 0.0), "limits": (1.1, 1.5)}, "lowest <= 1"),
        ({"probabilities": (1, 0, 0), "limits": (0.5, 1.5), "range": 1}, "Extra inputs"),
    ],
)
def test_impossible_options_are_refused(update: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ResizeOptions(**update)


def test_reversed_range_is_refused() -> None:
    with pytest.raises(ValidationError, match="lowest, highest"):
        BlurOptions(probability=1.0, sigma=(3.0, 0.2))
