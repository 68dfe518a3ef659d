"""The steps of the degradation against their formulas and torch's operators."""

import math

import numpy as np
import pytest
import skimage.data
import torch
from scipy import stats
from torch.nn import functional as F

from cassr.degradation import FULL, MILD, device, fast, parameters, seeded_parameters, steps


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    """(128, 128, 3) uint8, a face."""
    return np.ascontiguousarray(skimage.data.astronaut()[50:178, 160:288])


def closed_form(kernel: parameters.GaussianKernel) -> np.ndarray:
    """The weights by the matrix form of the definition, tap by tap."""
    cos, sin = math.cos(kernel.rotation), math.sin(kernel.rotation)
    turn = np.array([[cos, -sin], [sin, cos]])
    inverse = np.linalg.inv(turn @ np.diag([kernel.sigma_x**2, kernel.sigma_y**2]) @ turn.T)
    out = np.empty((kernel.size, kernel.size))
    for row in range(kernel.size):
        for column in range(kernel.size):
            v = np.array([column, row]) - (kernel.size - 1) / 2
            q = float(v @ inverse @ v)
            out[row, column] = {
                "iso": math.exp(-q / 2),
                "aniso": math.exp(-q / 2),
                "generalized_iso": math.exp(-(q**kernel.beta) / 2),
                "generalized_aniso": math.exp(-(q**kernel.beta) / 2),
                "plateau_iso": 1 / (1 + q**kernel.beta),
                "plateau_aniso": 1 / (1 + q**kernel.beta),
            }[kernel.kind]
    return out / out.sum()


def response(kernel: np.ndarray, omega: float) -> float:
    """Frequency response of a symmetric kernel along x at `omega` radians a pixel."""
    x = np.arange(kernel.shape[1]) - kernel.shape[1] // 2
    return float((kernel.sum(axis=0) * np.cos(omega * x)).sum())


class TestKernels:
    @pytest.mark.parametrize("kind", parameters.GAUSSIAN_KINDS)
    def test_gaussian_family_by_definition(self, kind: str) -> None:
        aniso = kind.endswith("aniso")
        kernel = parameters.GaussianKernel(
            kind=kind,
            size=13,
            sigma_x=2.0,
            sigma_y=0.8 if aniso else 2.0,
            rotation=0.6 if aniso else 0.0,
            beta=1.7,
        )
        np.testing.assert_allclose(kernel.weights(), closed_form(kernel), rtol=1e-12, atol=1e-300)

    def test_every_drawn_kernel_sums_to_one_and_is_symmetric(self) -> None:
        drawn = [seeded_parameters(o, seed) for o in (FULL, MILD) for seed in range(300)]
        kernels = [k for p in drawn for k in (p.first.kernel, p.second.kernel, p.final_sinc)]
        for kernel in filter(None, kernels):
            weights = kernel.weights()
            assert weights.shape == (kernel.size, kernel.size)
            assert weights.sum() == pytest.approx(1, abs=1e-12)
            np.testing.assert_allclose(weights, weights[::-1, ::-1], atol=1e-15)

    def test_rotation_turns_the_long_axis(self) -> None:
        kernel = parameters.GaussianKernel(
            kind="aniso", size=21, sigma_x=3.0, sigma_y=0.5, rotation=math.pi / 2
        )
        weights = kernel.weights()
        assert weights.sum(axis=1)[5] > 100 * weights.sum(axis=0)[5]

    @pytest.mark.parametrize("cutoff", [math.pi / 5, math.pi / 3, 2.0])
    def test_sinc_passes_below_its_cutoff_and_stops_above(self, cutoff: float) -> None:
        weights = parameters.SincKernel(size=101, cutoff=cutoff).weights()
        assert response(weights, 0.7 * cutoff) == pytest.approx(1, abs=0.1)
        assert response(weights, 1.3 * cutoff) == pytest.approx(0, abs=0.1)
        assert response(weights, cutoff) == pytest.approx(0.5, abs=0.1)

    def test_sinc_by_definition(self) -> None:
        weights = parameters.SincKernel(size=7, cutoff=2.0).weights()
        j1 = 0.5767248077568734  # J1(2)
        assert weights[3, 4] / weights[3, 3] == pytest.approx(2 * j1 / 2, rel=1e-12)

    @pytest.mark.parametrize("size", [0, 4, -3])
    def test_even_sizes_are_refused(self, size: int) -> None:
        with pytest.raises(ValueError, match="odd"):
            parameters.SincKernel(size=size, cutoff=2.0).weights()


class TestFilters:
    @pytest.mark.parametrize("size", [7, 21])
    @pytest.mark.parametrize("shape", [(64, 47), (33, 128)])
    def test_blur_is_the_mirrored_correlation(self, size: int, shape: tuple[int, int]) -> None:
        image = np.random.default_rng(0).random((3, *shape))
        weights = parameters.GaussianKernel(
            kind="aniso", size=size, sigma_x=2.5, sigma_y=0.7, rotation=0.4
        ).weights()
        padded = F.pad(torch.from_numpy(image)[None], (size // 2,) * 4, mode="reflect")
        kernel = torch.from_numpy(weights).expand(3, 1, -1, -1)
        expected = F.conv2d(padded, kernel, groups=3)[0].numpy()
        np.testing.assert_allclose(steps.blur(image, weights), expected, atol=1e-13)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 4)])
    def test_blur_of_an_image_smaller_than_the_kernel(self, shape: tuple[int, int]) -> None:
        weights = parameters.SincKernel(size=21, cutoff=1.5).weights()
        out = steps.blur(np.full((3, *shape), 0.25), weights)
        np.testing.assert_allclose(out, np.full((3, *shape), 0.25), atol=1e-14)

    @pytest.mark.parametrize("mode", parameters.RESIZE_MODES)
    @pytest.mark.parametrize("size", [(10, 90), (37, 41), (64, 48), (96, 5), (1, 1)])
    def test_resize_to_a_size_is_torch_interpolate(self, mode: str, size: tuple) -> None:
        image = np.random.default_rng(1).random((3, 64, 48))
        expected = F.interpolate(torch.from_numpy(image)[None], size=size, mode=mode)[0].numpy()
        np.testing.assert_allclose(steps.resize(image, size, mode), expected, atol=1e-13)

    @pytest.mark.parametrize("mode", parameters.RESIZE_MODES)
    @pytest.mark.parametrize("factor", [0.15, 0.377, 0.999, 1.0, 1.3721])
    def test_resize_by_a_factor_is_torch_interpolate(self, mode: str, factor: float) -> None:
        image = np.random.default_rng(2).random((3, 61, 45))
        expected = F.interpolate(
            torch.from_numpy(image)[None], scale_factor=factor, mode=mode, align_corners=None
        )[0].numpy()
        found = steps.resize(image, expected.shape[1:], mode, factor)
        np.testing.assert_allclose(found, expected, atol=1e-13)

    def test_usm_by_its_definition(self, photograph: np.ndarray) -> None:
        x = torch.from_numpy(steps.load(photograph))[None]
        tap = torch.exp(-0.5 * (torch.arange(-25, 26, dtype=torch.float64) / 8) ** 2)
        kernel = torch.outer(tap, tap)
        kernel = (kernel / kernel.sum()).expand(3, 1, -1, -1)

        def smooth(y: torch.Tensor) -> torch.Tensor:
            return F.conv2d(F.pad(y, (25,) * 4, mode="reflect"), kernel, groups=3)

        residual = x - smooth(x)
        mask = smooth((residual.abs() * 255 > 10).double())
        expected = mask * (x + residual / 2).clamp(0, 1) + (1 - mask) * x
        found = steps.usm_sharpen(steps.load(photograph))
        np.testing.assert_allclose(found, expected[0].numpy(), atol=1e-12)
        assert found.std() > steps.load(photograph).std()

    def test_usm_leaves_faint_detail_alone(self) -> None:
        faint = np.random.default_rng(3).uniform(0.5, 0.52, (3, 60, 60))
        np.testing.assert_allclose(steps.usm_sharpen(faint), faint, atol=1e-14)

    def test_halves_are_rounded_upwards_whatever_the_last_bit(self) -> None:
        levels = np.arange(255) + 0.5
        for ulp in (-1e-13, 0.0, 1e-13):
            image = (np.tile(levels, (3, 1, 1)) + ulp) / 255
            assert (steps.to_pixels(image)[0, :, 0] == np.arange(1, 256)).all()

    def test_pixels_survive_the_way_there_and_back(self) -> None:
        pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
        assert (steps.to_pixels(steps.load(pixels)) == pixels).all()


def noise(kind: str, strength: float, grey: bool, seed: int = 5) -> parameters.NoiseParameters:
    return parameters.NoiseParameters(kind=kind, strength=strength, grey=grey, seed=seed)


class TestNoise:
    @pytest.mark.parametrize("grey", [True, False])
    def test_gaussian_moments(self, grey: bool) -> None:
        image = np.full((3, 300, 300), 0.5)
        added = steps.add_noise(image, noise("gaussian", 10.0, grey)) - image
        assert stats.kstest(added[0].ravel() * 255 / 10, "norm").pvalue > 1e-4
        correlation = np.corrcoef(added[0].ravel(), added[2].ravel())[0, 1]
        assert correlation == pytest.approx(1.0 if grey else 0.0, abs=0.02)

    @pytest.mark.parametrize("kind", ["gaussian", "poisson"])
    def test_grey_noise_is_grey(self, kind: str) -> None:
        image = np.random.default_rng(4).uniform(0.3, 0.6, (3, 64, 64))
        added = steps.add_noise(image, noise(kind, 1.0, grey=True)) - image
        np.testing.assert_allclose(added[1:], np.broadcast_to(added[0], (2, 64, 64)), atol=1e-15)
        assert added.std() > 1e-3

    @pytest.mark.parametrize(("levels", "peak"), [(1, 1), (2, 2), (3, 4), (17, 32), (128, 128)])
    def test_poisson_peak_is_a_power_of_two(self, levels: int, peak: int) -> None:
        image = np.resize(np.linspace(60, 190, levels).round(), (3, 384, 384)) / 255
        found = (steps.add_noise(image, noise("poisson", 0.05, grey=False)) - image) / 0.05
        relative = found / np.sqrt(image / peak)
        assert relative.mean() == pytest.approx(0, abs=0.01)
        assert relative.var() == pytest.approx(1, abs=0.02)

    def test_poisson_counts_are_the_quantiles(self) -> None:
        generator = np.random.default_rng(6)
        levels = generator.integers(0, 256, 5000).astype(np.uint8)
        quantiles = generator.random(5000)
        expected = stats.poisson.ppf(quantiles, levels / 255 * 64)
        np.testing.assert_array_equal(
            steps.poisson_counts(levels, 64, quantiles), np.maximum(expected, 0)
        )

    @pytest.mark.parametrize("kind", ["gaussian", "poisson"])
    def test_black_and_white_stay_in_range(self, kind: str) -> None:
        image = np.random.default_rng(7).integers(0, 2, (3, 40, 40)).astype(float)
        out = steps.add_noise(image, noise(kind, 30.0, grey=False))
        assert out.min() >= 0
        assert out.max() <= 1

    def test_noise_belongs_to_its_seed(self) -> None:
        image = np.full((3, 8, 8), 0.5)
        outs = [steps.add_noise(image, noise("gaussian", 9.0, False, seed)) for seed in (1, 1, 2)]
        assert (outs[0] == outs[1]).all()
        assert (outs[0] != outs[2]).any()


class TestJpeg:
    def test_lower_quality_loses_more(self, photograph: np.ndarray) -> None:
        image = steps.load(photograph)
        errors = [np.abs(steps.jpeg(image, q) - image).mean() for q in (95, 75, 50, 30)]
        assert errors == sorted(errors)
        assert errors[3] > 2 * errors[0] > 0

    def test_chroma_is_halved_and_luma_is_not(self) -> None:
        """Columns that differ in chroma alone merge; columns that differ in luma stay."""
        columns = np.arange(64) % 2
        chroma = np.zeros((3, 64, 64))
        chroma[0], chroma[2] = 0.5 + 0.114 * (columns - 0.5), 0.5 - 0.299 * (columns - 0.5)
        chroma[1] = 0.5
        luma = np.broadcast_to(0.4 + 0.2 * columns, (3, 64, 64))
        assert np.ptp(steps.jpeg(chroma, 100)[2, 8:-8, 8:-8]) < 0.1 < np.ptp(chroma[2])
        assert np.ptp(steps.jpeg(luma, 100)[2, 8:-8, 8:-8]) == pytest.approx(0.2, abs=0.02)

    @pytest.mark.parametrize("shape", [(1, 1), (5, 17), (128, 128)])
    def test_any_shape(self, shape: tuple[int, int]) -> None:
        assert steps.jpeg(np.full((3, *shape), 0.5), 30).shape == (3, *shape)


def on_planes(by: object, name: str, image: np.ndarray, *arguments: object) -> np.ndarray:
    """A step of `fast` or `device` on planes (3, H, W), as `steps` has it."""
    if by is fast:
        made = getattr(fast, name)(image.transpose(1, 2, 0).astype(np.float32).copy(), *arguments)
        return made.transpose(2, 0, 1)
    return getattr(device, name)(torch.from_numpy(image)[None].float(), *arguments)[0].numpy()


@pytest.mark.parametrize("by", [fast, device], ids=["fast", "device"])
class TestOtherImplementations:
    """`fast` and `device` against `steps`, step by step."""

    LEVEL = 1 / 255

    def test_blur_by_every_kind_of_kernel(self, by: object, photograph: np.ndarray) -> None:
        image = steps.load(photograph)[:, :90, :70]
        drawn = [seeded_parameters(FULL, seed) for seed in range(40)]
        kernels = filter(None, (k for p in drawn for k in (p.first.kernel, p.final_sinc)))
        for weights in (kernel.weights() for kernel in kernels):
            found, expected = on_planes(by, "blur", image, weights), steps.blur(image, weights)
            np.testing.assert_allclose(found, expected, atol=0.25 * self.LEVEL)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 4)])
    def test_blur_of_an_image_smaller_than_the_kernel(self, by: object, shape: tuple) -> None:
        weights = parameters.SincKernel(size=21, cutoff=1.5).weights()
        found = on_planes(by, "blur", np.full((3, *shape), 0.25), weights)
        np.testing.assert_allclose(found, 0.25, atol=1e-3)

    @pytest.mark.parametrize("mode", parameters.RESIZE_MODES)
    @pytest.mark.parametrize("factor", [None, 0.15, 0.377, 0.9999, 1.0, 1.3721])
    def test_resize(self, by: object, mode: str, factor: float | None) -> None:
        image = np.random.default_rng(2).random((3, 61, 45))
        size = (17, 80) if factor is None else (int(61 * factor), int(45 * factor))
        found = on_planes(by, "resize", image, size, mode, factor)
        np.testing.assert_allclose(found, steps.resize(image, size, mode, factor), atol=1e-5)

    def test_usm(self, by: object, photograph: np.ndarray) -> None:
        image = steps.load(photograph)[:, :100]
        found = steps.usm_sharpen(image, lambda x, kernel: on_planes(by, "blur", x, kernel))
        np.testing.assert_allclose(found, steps.usm_sharpen(image), atol=1e-5)

    @pytest.mark.parametrize("quality", [30, 60, 95])
    def test_jpeg(self, by: object, photograph: np.ndarray, quality: int) -> None:
        image = steps.load(photograph)[:, :101, :77]
        difference = on_planes(by, "jpeg", image, quality) - steps.jpeg(image, quality)
        assert np.abs(difference).mean() < (1e-7 if by is fast else 0.7 * self.LEVEL)
        assert np.abs(difference.mean()) < 0.2 * self.LEVEL

    @pytest.mark.parametrize("grey", [True, False])
    @pytest.mark.parametrize("kind", ["gaussian", "poisson"])
    def test_noise(self, by: object, kind: str, grey: bool) -> None:
        """Against noise of another seed: its distribution at some levels, how planes correlate."""
        levels = np.linspace(30, 220, 20).round() / 255
        image = np.broadcast_to(levels[:, None], (3, 4000, 20, 1))[..., 0].copy()
        strength = 10.0 if kind == "gaussian" else 1.0
        expected = steps.add_noise(image, noise(kind, strength, grey, seed=1))
        found = on_planes(by, "add_noise", image, noise(kind, strength, grey, seed=2))
        for column in (0, 10, 19):
            ours, theirs = found[0, :, column], expected[0, :, column]
            assert stats.ks_2samp(np.round(ours, 5), np.round(theirs, 5)).pvalue > 1e-4
        a, b = (np.corrcoef((x - image)[0].ravel(), (x - image)[2].ravel())[0, 1]
                for x in (found, expected))  # fmt: skip
        assert a == pytest.approx(b, abs=0.02)
        again = on_planes(by, "add_noise", image, noise(kind, strength, grey, seed=2))
        assert (again == found).all()
