"""Tiles, padding, colour correction."""

import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

import cassr
from cassr.build import build_pipeline
from cassr.config import SamplingOptions
from cassr.patch_vae import PatchVAE
from cassr.pipeline import CasSRPipeline
from cassr.sampling.color import adain, low_band, wavelet
from cassr.sampling.loop import LatentCodec, tiled_predictor
from cassr.sampling.tiling import Grid, HintCache, blend, crops, pad_to_multiple


@pytest.mark.parametrize(
    ("height", "width", "tile", "overlap"),
    [(1, 1, 8, 2), (8, 8, 8, 2), (9, 8, 8, 2), (13, 40, 8, 0), (100, 31, 16, 15), (64, 65, 32, 8)],
)
def test_a_grid_covers_the_plane_and_its_weights_add_up_to_one(height, width, tile, overlap):
    grid = Grid(height, width, tile, overlap)
    windows = list(grid)
    assert len(windows) == len(grid) == len(set(windows))
    assert {(w.height, w.width) for w in windows} == {(min(tile, height), min(tile, width))}
    assert all(w.top + w.height <= height and w.left + w.width <= width for w in windows)
    for axis, length in (("top", height), ("left", width)):
        starts = sorted({getattr(w, axis) for w in windows})
        assert starts[0] == 0
        assert starts[-1] + min(tile, length) == length
        gaps = [b - a for a, b in itertools.pairwise(starts)]
        assert all(gap <= tile - overlap for gap in gaps)
    ones = blend(lambda w: torch.ones(1, 1, w[0].height, w[0].width), grid)
    torch.testing.assert_close(ones, torch.ones(1, 1, height, width))


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    tile = draw(st.integers(1, 40))
    overlap = draw(st.integers(0, tile - 1))
    longest = min(150, tile + 12 * (tile - overlap))
    height, width = (draw(st.integers(1, longest)) for _ in range(2))
    return Grid(height, width, tile, overlap)


@settings(max_examples=200, deadline=None)
@given(grid=grids(), factor=st.sampled_from([1, 2, 3, 4, 8]), batch=st.integers(1, 5))
@example(grid=Grid(176, 256, 64, 16), factor=8, batch=1)
@example(grid=Grid(176, 256, 64, 16), factor=1, batch=4)
@example(grid=Grid(360, 360, 128, 16), factor=4, batch=100)
def test_blending_crops_gives_the_image_back(grid, factor, batch):
    """What a decoder without error gives, wherever tiles start, however many come together."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 1, grid.height * factor, grid.width * factor, generator=generator)
    blended = blend(lambda windows: crops(windows, image, factor), grid, factor, batch)
    torch.testing.assert_close(blended, image, atol=1e-5, rtol=0)


class PerfectVAE:
    """Encodes and decodes without loss: pixels are laid into channels and back."""

    factor = 8
    config: ClassVar = {"scaling_factor": 0.5}
    device, dtype = torch.device("cpu"), torch.float32

    def encode(self, x: Tensor) -> SimpleNamespace:
        latent = torch.nn.functional.pixel_unshuffle(x, self.factor)
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: latent))

    def decode(self, z: Tensor, return_dict: bool) -> tuple[Tensor]:
        return (torch.nn.functional.pixel_shuffle(z, self.factor),)


@pytest.mark.parametrize("side", [1280, 1288, 1344, 1408, 1480, 1600, 2120, 2368])
def test_a_perfect_vae_in_the_default_tiles_is_lossless_on_large_images(side):
    default = SamplingOptions()
    codec = LatentCodec(PerfectVAE(), default.vae_tile, default.vae_overlap)
    image = torch.rand(1, 3, side, 520, generator=torch.Generator().manual_seed(side))
    torch.testing.assert_close(codec.decode(codec.encode(image)), image, atol=1e-5, rtol=0)


def test_the_miniature_decodes_large_images_in_tiles_as_at_once():
    shipped = Path(cassr.__file__).parent / "models" / "cassr-mini" / "vae"
    codec = LatentCodec(PatchVAE.from_pretrained(shipped), 512, 64)
    z = torch.randn(1, 12, 360, 24, generator=torch.Generator().manual_seed(0)) / 4
    with torch.no_grad():
        tiled, whole = codec.decode(z), replace(codec, tile=4096).decode(z)
    assert -10 * (tiled - whole).square().mean().log10() > 45


def test_hints_lie_where_their_latents_lie():
    """The predictor sees every window's latents beside the very pixels they stand for."""
    image = torch.rand(1, 3, 176 * 8, 72 * 8, generator=torch.Generator().manual_seed(1))
    latents = torch.nn.functional.avg_pool2d(image, 8)

    class Stage:
        def embed(self, condition: Tensor) -> Tensor:
            return torch.nn.functional.avg_pool2d(condition, 8)

        def predict(self, z: Tensor, t: Tensor, prompt: Tensor, hints: Tensor) -> Tensor:
            return hints - z

    grid = Grid(176, 72, 64, 16)
    predict = tiled_predictor(Stage(), [image], torch.zeros(1, 1, 1), grid, 1.0, 1 << 30)
    zeros = torch.zeros_like(latents)
    torch.testing.assert_close(predict(latents, torch.tensor(1)), zeros, atol=1e-6, rtol=0)


def test_neighbouring_tiles_fade_into_each_other():
    grid = Grid(8, 24, 16, 8)
    steps = blend(lambda w: torch.full((1, 1, 8, 16), float(w[0].left > 0)), grid)[0, 0, 0]
    assert (steps[:8] == 0).all()
    assert (steps[16:] == 1).all()
    assert (steps.diff() >= 0).all()
    assert steps.diff().max() < 0.25


def test_hint_cache_keeps_what_fits():
    calls: list[int] = []

    def embed(window: int) -> Tensor:
        calls.append(window)
        return torch.full((4,), float(window))

    cache = HintCache(embed, limit=20)
    for window in (0, 1, 0, 1):
        assert cache(window)[0] == window
    assert calls == [0, 1, 1]


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 13), (16, 16), (17, 5)])
def test_padding_reflects_and_keeps_the_image(size):
    image = torch.rand(1, 3, *size)
    padded = pad_to_multiple(image, 16)
    assert all(side % 16 == 0 for side in padded.shape[2:])
    assert torch.equal(padded[..., : size[0], : size[1]], image)
    assert torch.isin(padded, image).all()
    if size == (7, 13):
        assert torch.equal(padded[..., 7:13, :13], image.flip(2)[..., 1:7, :])


def test_adain_gives_the_moments_of_the_lr_image():
    sr, lr = torch.rand(2, 3, 9, 11), 0.3 * torch.rand(2, 3, 9, 11) + 0.2
    fixed = adain(sr.clone(), lr)
    for moment in (torch.mean, torch.std):
        torch.testing.assert_close(moment(fixed, (2, 3)), moment(lr, (2, 3)), atol=1e-5, rtol=1e-4)


def test_wavelet_takes_the_low_band_of_the_lr_and_the_high_bands_of_the_sr():
    sr, lr = torch.rand(1, 3, 40, 50), torch.rand(1, 3, 40, 50)
    expected = (sr - low_band(sr)) + low_band(lr)
    torch.testing.assert_close(wavelet(sr.clone(), lr), expected, atol=1e-6, rtol=1e-5)
    flat = torch.full_like(sr, 0.25)
    torch.testing.assert_close(wavelet(flat.clone(), flat + 0.5), flat + 0.5)


def test_low_band_is_the_a_trous_transform():
    x = torch.rand(1, 1, 24, 24)
    kernel = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel = (kernel[:, None] * kernel)[None, None]
    expected = x
    for level in range(5):
        radius = 2**level
        padded = torch.nn.functional.pad(expected, (radius,) * 4, mode="replicate")
        expected = torch.nn.functional.conv2d(padded, kernel, dilation=radius)
    torch.testing.assert_close(low_band(x), expected)


@pytest.fixture(scope="module")
def pipeline() -> CasSRPipeline:
    made = build_pipeline("mini")
    made.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    for parameter in made.controlnet.parameters():
        if not parameter.any():
            parameter.data = 0.05 * torch.randn(parameter.shape, generator=generator)
    return made


def smooth_image(side: int) -> Tensor:
    coarse = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(3))
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)[0]


def test_a_tile_as_large_as_the_image_equals_no_tiling(pipeline):
    options = {"scale": 2, "activation": "lr", "num_inference_steps": 2, "output_type": "pt"}
    sizes = [(48, 48), (4096, 4096)]
    made = [
        pipeline(smooth_image(24), tile=t, tile_overlap=16, vae_tile=v, vae_overlap=16, **options)
        for t, v in sizes
    ]
    assert torch.equal(made[0].images, made[1].images)


def test_tiles_leave_no_seam_and_stay_near_the_whole_image(pipeline):
    """1.5 tiles: steps across the tiles' borders are no larger than steps elsewhere."""
    options = {"scale": 2, "activation": "lr", "color_correction": "none", "output_type": "pt"}
    whole = pipeline(smooth_image(96), **options).images
    tile = {"tile": 128, "tile_overlap": 64, "vae_tile": 128, "vae_overlap": 64}
    tiled = pipeline(smooth_image(96), **options, **tile).images
    difference = tiled - whole
    psnr = -10 * difference.square().mean().log10()
    assert psnr > 15
    steps = difference.diff(dim=3).abs().mean((0, 1, 2))
    borders = steps[[63, 127]].mean()
    assert borders < 1.5 * steps.mean()
    no_cache = pipeline(smooth_image(96), **options, **tile, hint_cache_mb=0).images
    assert torch.equal(no_cache, tiled)


def test_tiles_go_through_the_networks_together_at_equal_results(pipeline):
    """Both stages and the VAE, two images with prompts of their own, classifier-free guidance."""
    images = [smooth_image(40), smooth_image(40).flip(2)]
    options = {"scale": 2, "batch_size": 2, "guidance_scale": 3.0, "num_inference_steps": 2}
    options |= {"tile": 32, "tile_overlap": 8, "vae_tile": 32, "vae_overlap": 8}
    embeds = torch.randn(2, 4, 64, generator=torch.Generator().manual_seed(2))
    sizes: list[int] = []
    counting = pipeline.unet.conv_in.register_forward_hook(
        lambda module, given, made: sizes.append(len(given[0]))
    )
    with counting:
        one, four = (
            pipeline(images, **options, prompt_embeds=embeds, output_type="pt", tile_batch_size=n)
            for n in (1, 4)
        )
    tiles = len(Grid(20, 20, 8, 2))
    assert sizes == [2] * 3 * tiles + [8, 8, 2] * 3
    assert tiles == 9
    torch.testing.assert_close(four.references, one.references, atol=1.01 / 255, rtol=0)
    torch.testing.assert_close(four.images, one.images, atol=2e-3, rtol=0)
    assert (four.images[0] - four.images[1].flip(2)).abs().max() > 0.01
    stage1 = pipeline.activate(images[0], scale=2, tile_batch_size=2, output_type="pt")
    torch.testing.assert_close(stage1, pipeline.activate(images[0], scale=2, output_type="pt"))


@pytest.mark.parametrize("size", [0, 1.5, True])
def test_a_number_of_tiles_that_is_none_is_refused(pipeline, size):
    with pytest.raises(ValueError, match="tile_batch_size="):
        pipeline(smooth_image(8), tile_batch_size=size)
