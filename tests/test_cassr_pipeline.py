"""CasSRPipeline: sizes, seeds, options, references, prompts, hostile inputs."""

import copy
import subprocess
import sys

import diffusers
import numpy as np
import PIL.Image
import pytest
import torch
from diffusers.callbacks import SDCFGCutoffCallback
from torch import Tensor

from cassr.build import build_pipeline
from cassr.config import FIXED_PROMPTS, MINI, PRESETS, SamplingOptions, get_preset
from cassr.pipeline import CasSRPipeline
from cassr.prompts import PromptEmbeddings, with_caption
from cassr.sampling.images import upscale_bicubic
from cassr.sampling.loop import (
    LatentCodec,
    LatentSpace,
    initial_latents,
    stage_generators,
    training_target,
)


def awaken(pipeline: CasSRPipeline) -> CasSRPipeline:
    """Give zero-initialised tensors values, so that conditions reach the output."""
    generator = torch.Generator().manual_seed(0)
    for module in (pipeline.controlnet, pipeline.activation):
        for parameter in module.parameters() if module is not None else ():
            if not parameter.any():
                parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def pipeline() -> CasSRPipeline:
    return awaken(build_pipeline("mini"))


def photo(height: int, width: int, seed: int = 0) -> Tensor:
    """Smooth random image: (3, height, width) in [0, 1]."""
    coarse = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    image = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return image[0]


def run(pipeline: CasSRPipeline, image: object, **options: object) -> Tensor:
    return pipeline(image, output_type="pt", **options).images


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("size", [(1, 1), (7, 13), (9, 4), (17, 33)])
def test_output_is_exactly_scale_times_the_input(pipeline, scale, size):
    sr = run(pipeline, photo(*size), scale=scale)
    assert tuple(sr.shape) == (1, 3, scale * size[0], scale * size[1])
    assert torch.isfinite(sr).all()
    assert 0 <= sr.min() <= sr.max() <= 1


def test_a_line_of_4000_pixels(pipeline):
    sr = run(pipeline, photo(1, 4000), activation="lr", scale=1, tile=128, vae_tile=128)
    assert tuple(sr.shape) == (1, 3, 1, 4000)


@pytest.mark.parametrize("color_correction", ["none", "adain", "wavelet"])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_black_and_white(pipeline, level, color_correction):
    image = torch.full((3, 6, 6), level)
    sr = run(pipeline, image, color_correction=color_correction)
    assert torch.isfinite(sr).all()


HOSTILE = {
    "NaN": (torch.full((3, 4, 4), torch.nan), "NaN or infinite"),
    "infinite": (torch.full((3, 4, 4), torch.inf), "NaN or infinite"),
    "above one": (torch.full((3, 4, 4), 255.0), r"values in \[0, 1\], found 255"),
    "negative": (torch.full((3, 4, 4), -0.5), r"values in \[0, 1\], found -0.5"),
    "grey tensor": (torch.zeros(1, 4, 4), "expected RGB"),
    "no pixels": (torch.zeros(3, 0, 4), "at least one pixel"),
    "integers": (torch.zeros(3, 4, 4, dtype=torch.int64), "uint8, uint16 or float"),
    "path": ("photo.png", "image"),
    "empty list": ([], "at least one image"),
    "nothing": (None, "expected a PIL image, array or tensor, found <class 'NoneType'>"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_inputs_get_one_clear_error(pipeline, name):
    image, message = HOSTILE[name]
    with pytest.raises(ValueError, match=message) as error:
        pipeline(image)
    assert "\n" not in str(error.value)


BAD_OPTIONS = {
    "typo": ({"guidence_scale": 3}, "unknown option 'guidence_scale'"),
    "choice": ({"color_correction": "wavlet"}, "expected one of none, adain, wavelet"),
    "steps": ({"num_inference_steps": 0}, "at least 1"),
    "tile": ({"tile": 100}, "tile=100: expected a multiple of 16"),
    "overlap": ({"tile": 32, "tile_overlap": 32}, "less than tile=32"),
    "scale": ({"scale": 0}, "scale=0"),
    "no scale": ({"scale": float("nan")}, "scale=nan: expected a finite number"),
    "guidance": ({"guidance_scale": float("nan")}, "guidance_scale=nan: expected a finite"),
    "kind": ({"output_type": "tensor"}, "output_type='tensor': expected one of pil, np, pt"),
    "seed": ({"seed": 1.5}, "seed=1.5: expected an integer"),
    "true": ({"num_inference_steps": True}, "num_inference_steps=True: expected an integer"),
    "embeddings": ({"prompt_embeds": torch.zeros(2, 4, 64)}, r"expected \(1, T, D\), found \(2"),
    "inputs": ({"callback_on_step_end_tensor_inputs": ["t"]}, "'t': expected 'latents'"),
    "seeds": ({"seed": [1, 2]}, "seed: expected one, or one for each of 1 images, found 2"),
    "no seed": ({"seed": None}, "seed=None: expected an integer"),
    "prompts": ({"prompt": ["", ""]}, "prompt: expected one, or one for each of 1 images, found 2"),
    "no prompt": ({"negative_prompt": 3}, "negative_prompt=3: expected a text, or one for each"),
    "no caption": ({"caption": [None]}, r"caption=\[None\]: expected a text, or one for each"),
    "switch": ({"multiple_attention": "no"}, "multiple_attention='no': expected true or false"),
    "several": ({"num_images_per_prompt": 2}, "unknown option 'num_images_per_prompt'"),
    "IP-Adapter": ({"ip_adapter_image": photo(4, 4)}, "unknown option 'ip_adapter_image'"),
    "callback": (
        {"callback_on_step_end": SDCFGCutoffCallback(cutoff_step_ratio=0.5)},
        "'prompt_embeds': expected 'latents'",
    ),
    "prompt": ({"prompt": "a cat"}, "no text encoder and carries embeddings of ''"),
    "external": ({"activation": "external"}, "reference="),
    "reference": ({"reference": torch.rand(3, 4, 4)}, "expected 16x16 pixels, found 4x4"),
    "references": ({"reference": torch.rand(2, 3, 16, 16)}, "expected 1 images, found 2"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_wrong_options_get_one_clear_error(pipeline, name):
    options, message = BAD_OPTIONS[name]
    with pytest.raises(ValueError, match=message) as error:
        pipeline(torch.rand(3, 4, 4), **options)
    assert "\n" not in str(error.value)


def test_inputs_of_every_kind_give_the_same(pipeline):
    levels = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    tensor = torch.from_numpy(levels).movedim(-1, 0)
    kinds = [PIL.Image.fromarray(levels), levels, levels / 255.0, tensor, tensor.float() / 255]
    first, *others = (run(pipeline, kind) for kind in kinds)
    for other in others:
        torch.testing.assert_close(other, first, atol=1e-4, rtol=0)


def test_integers_of_any_library_are_seeds_and_options(pipeline):
    expected = run(pipeline, photo(4, 4), seed=3, num_inference_steps=2)
    for kind in (np.int64, np.uint8, torch.tensor):
        options = {"seed": kind(3), "num_inference_steps": kind(2), "scale": kind(4)}
        assert torch.equal(run(pipeline, photo(4, 4), **options), expected)
    assert torch.equal(
        run(pipeline, photo(4, 4), seed=torch.tensor([3]), num_inference_steps=2), expected
    )


def test_sixteen_bits_are_not_white(pipeline):
    levels = np.random.default_rng(0).integers(0, 2**16, (5, 6), dtype=np.uint16)
    colour = np.repeat(levels[..., None], 3, axis=2)
    expected = run(pipeline, colour / (2**16 - 1))
    assert 0.2 < expected.mean() < 0.8
    for image in (PIL.Image.fromarray(levels), colour, torch.from_numpy(colour).movedim(-1, 0)):
        torch.testing.assert_close(run(pipeline, image), expected, atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="found mode 'F'"):
        pipeline(PIL.Image.fromarray(levels.astype(np.float32)))


def test_transparency_is_refused_and_an_opaque_alpha_is_not(pipeline):
    image = PIL.Image.fromarray(np.full((5, 6, 3), 90, np.uint8)).convert("RGBA")
    assert torch.equal(run(pipeline, image), run(pipeline, image.convert("RGB")))
    image.putpixel((2, 3), (0, 0, 0, 254))
    with pytest.raises(ValueError, match="found transparency"):
        pipeline(image)


def test_prompts_follow_the_text_encoders_weights(pipeline, monkeypatch):
    found = {"a": torch.zeros(1, 4, 64)}
    monkeypatch.setattr(pipeline, "embed_prompt", lambda text: found["a"])
    first = run(pipeline, photo(4, 4))
    found["a"] = torch.ones(1, 4, 64)
    assert not torch.equal(run(pipeline, photo(4, 4)), first)


def test_output_types(pipeline):
    made = {kind: pipeline(photo(4, 5), output_type=kind).images for kind in ("pil", "np", "pt")}
    assert made["pil"][0].size == (20, 16)
    assert made["np"].shape == (1, 16, 20, 3)
    expected = (made["np"][0] * 255).round().astype(np.uint8)
    assert np.array_equal(np.asarray(made["pil"][0]), expected)
    several = pipeline([photo(4, 5), photo(5, 4)], output_type="np").images
    assert [image.shape for image in several] == [(16, 20, 3), (20, 16, 3)]


def test_repeats_bit_for_bit(pipeline):
    options = {"num_inference_steps": 3, "guidance_scale": 4.0, "seed": 7}
    first = run(pipeline, photo(8, 12), **options)
    assert torch.equal(first, run(pipeline, photo(8, 12), **options))
    assert not torch.equal(first, run(pipeline, photo(8, 12), **options | {"seed": 8}))


def test_company_and_order_change_nothing(pipeline):
    images = [photo(8, 8, 0), photo(8, 8, 1), photo(5, 9, 2), photo(8, 8, 3)]
    seeds = [11, 12, 13, 14]
    options = {"guidance_scale": 3.0, "output_type": "pt"}
    alone = [
        run(pipeline, x, seed=s, guidance_scale=3.0) for x, s in zip(images, seeds, strict=True)
    ]
    together = pipeline(images, seed=seeds, **options).images
    backwards = pipeline(images[::-1], seed=seeds[::-1], **options).images[::-1]
    for a, b, c in zip(alone, together, backwards, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_batches_equal_single_images_to_rounding(pipeline):
    images = torch.stack([photo(8, 8, i) for i in range(3)])
    options = {"seed": [1, 2, 3], "activation": "lr", "guidance_scale": 3.0}
    alone = run(pipeline, images, **options)
    batched = run(pipeline, images, batch_size=3, **options)
    torch.testing.assert_close(batched, alone, atol=1e-4, rtol=0)


def test_optimize_changes_nothing_but_rounding():
    fast = awaken(build_pipeline("mini"))
    expected = run(fast, photo(8, 8), activation="lr")
    found = run(fast.optimize(), photo(8, 8), activation="lr")
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_compiled_stages_are_kept_between_calls(monkeypatch):
    pipeline = awaken(build_pipeline("mini"))
    expected = run(pipeline, photo(4, 4))
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda function: compiled.append(function) or function)
    pipeline.optimize(compile=True, channels_last=False)
    for _ in range(2):
        assert torch.equal(run(pipeline, photo(4, 4)), expected)
    assert len(compiled) == 2
    run(pipeline, photo(4, 4), multiple_attention=False)
    assert len(compiled) == 3


def test_stored_stage_1_gives_the_same_as_running_it(pipeline):
    image, options = photo(8, 8), {"seed": 3, "guidance_scale": 2.0}
    whole = pipeline(image, output_type="pt", **options)
    kept = pipeline.activate(image, output_type="pil", seed=3)
    assert torch.equal(whole.images, run(pipeline, image, reference=kept, **options))
    plain = np.asarray(kept[0], dtype=np.float32) / 255
    assert np.array_equal(whole.references[0].permute(1, 2, 0).numpy(), plain)


def test_reference_lr_is_the_upscaled_input(pipeline):
    found = pipeline(photo(8, 8), activation="lr", output_type="pt").references
    expected = torch.nn.functional.interpolate(
        photo(8, 8)[None], scale_factor=4, mode="bicubic", antialias=True
    )
    torch.testing.assert_close(found, expected.clamp(0, 1), atol=0.5 / 255 + 1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["scedit", "controlnet", "lr", "external"])
def test_every_kind_of_activation(kind):
    pipeline = awaken(build_pipeline("mini", activation=kind))
    reference = {"reference": torch.rand(3, 24, 24)} if kind == "external" else {}
    made = pipeline(photo(6, 6), output_type="pt", **reference)
    assert made.images.shape == made.references.shape == (1, 3, 24, 24)
    if kind in ("lr", "external"):
        with pytest.raises(ValueError, match="has no network"):
            pipeline.activation_stage()


def test_the_reference_and_the_attentions_reach_the_output(pipeline):
    image = photo(8, 8)
    base = run(pipeline, image, reference=torch.zeros(3, 32, 32))
    other = run(pipeline, image, reference=torch.ones(3, 32, 32))
    plain = run(pipeline, image, reference=torch.zeros(3, 32, 32), multiple_attention=False)
    assert (base - other).abs().max() > 1e-4
    assert (base - plain).abs().max() > 1e-5


SCHEDULERS = [
    "DDIMScheduler",
    "DDPMScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
]


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers_of_diffusers(pipeline, name):
    if name.startswith("LMS"):
        pytest.importorskip("scipy")
    config = {k: v for k, v in MINI.scheduler.items() if k.startswith(("beta", "num"))}
    scheduler = getattr(diffusers, name)(**config, prediction_type="epsilon")
    changed = pipeline.__class__(
        **pipeline.components | {"scheduler": scheduler}, activation_kind="lr"
    )
    changed.set_progress_bar_config(disable=True)
    options = {"num_inference_steps": 4, "color_correction": "none", "guidance_scale": 1.0}
    first = run(changed, photo(4, 4), **options)
    assert torch.isfinite(first).all()
    assert torch.equal(first, run(changed, photo(4, 4), **options))
    assert not torch.equal(first, run(changed, photo(4, 4), start="noise", **options))


@pytest.mark.parametrize("name", ["DDIMScheduler", "UniPCMultistepScheduler", "DDPMScheduler"])
def test_lr_latent_in_the_initial_noise(name):
    scheduler = getattr(diffusers, name)(
        **PRESETS["sd15"].scheduler | {"timestep_spacing": "linspace"}
    )
    scheduler.set_timesteps(20)
    noise, z_lr = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    T = scheduler.timesteps[0]
    assert T == 999
    ab = scheduler.alphas_cumprod[T]
    torch.testing.assert_close(ab.sqrt(), torch.tensor(0.06826), atol=1e-5, rtol=0)
    expected = ab.sqrt() * z_lr + (1 - ab).sqrt() * noise
    torch.testing.assert_close(initial_latents(scheduler, noise, z_lr), expected)
    torch.testing.assert_close(initial_latents(scheduler, noise, None), noise)


@pytest.mark.parametrize(
    "name",
    [
        "CMStochasticIterativeScheduler",
        "CogVideoXDPMScheduler",
        "DDIMInverseScheduler",
        "DPMSolverMultistepInverseScheduler",
        "EDMEulerScheduler",
        "FlowMatchEulerDiscreteScheduler",
        "RePaintScheduler",
    ],
)
@pytest.mark.parametrize("start", ["lr", "noise"])
@pytest.mark.parametrize("steps", [1, 4])
def test_a_scheduler_of_other_noise_is_refused(pipeline, name, start, steps):
    changed = copy.copy(pipeline)
    changed.scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config)
    with pytest.raises(ValueError, match=f"scheduler {name}: expected one that takes away Stable"):
        changed(photo(4, 4), num_inference_steps=steps, activation="lr", start=start)


def test_guidance_is_the_weighted_difference(pipeline):
    from cassr.sampling.loop import guided_prediction

    class Constant:
        def embed(self, *images: Tensor) -> None: ...

        def predict(self, latents: Tensor, t: Tensor, prompt: Tensor, hints: object) -> Tensor:
            return prompt.mean((1, 2)).reshape(-1, 1, 1, 1).expand(-1, *latents.shape[1:])

    latents = torch.zeros(2, 1, 2, 2)
    negative, positive = torch.full((2, 3, 4), 1.0), torch.full((2, 3, 4), 5.0)
    args = (Constant(), latents, torch.tensor(1))
    assert guided_prediction(*args, positive, None, 3.0).unique() == 5
    both = torch.cat([negative, positive])
    assert guided_prediction(*args, both, None, 3.0).unique() == 1 + 3 * (5 - 1)


def test_seeds_of_the_stages_are_independent():
    draws = [
        torch.randn(4, generator=generator)
        for stage in (1, 2)
        for generator in stage_generators([0, 1, 2, -1, 2**62], stage)
    ]
    assert len({tuple(draw.tolist()) for draw in draws}) == 10
    again = torch.randn(4, generator=stage_generators([1], 2)[0])
    assert tuple(again.tolist()) in {tuple(draw.tolist()) for draw in draws}


def test_residual_latents_round_trip():
    space = LatentSpace(residual=True, sigma=0.3)
    z, z_lr = torch.randn(1, 4, 3, 3), torch.randn(1, 4, 3, 3)
    torch.testing.assert_close(space.enter(z, z_lr), (z - z_lr) / 0.3)
    torch.testing.assert_close(space.leave(space.enter(z, z_lr), z_lr), z)
    assert not space.enter(z_lr, z_lr).any()
    assert torch.equal(LatentSpace().enter(z, z_lr), z)


def test_a_stage_samples_what_its_last_condition_image_lacks(monkeypatch):
    """A network that says nothing at the end of the noise gives that image back, and the initial
    noise of stage 2 holds what the LR latent differs by from the reference's (section 4.1)."""
    pipeline = awaken(build_pipeline("mini"))
    starts = []

    def say_nothing(self, number, predict, batch, start, steps):
        starts.append(start)
        return torch.zeros_like(batch.z_lr)

    monkeypatch.setattr("cassr.cascade.Cascade._denoise", say_nothing)
    image, reference = photo(16, 16), photo(64, 64, seed=1)
    found = run(pipeline, image, reference=reference, color_correction="none")
    codec = LatentCodec.untiled(pipeline.vae, reference[None])
    z_reference = codec.encode(reference[None])
    torch.testing.assert_close(found, codec.decode(z_reference).clamp(0, 1), atol=1e-5, rtol=0)
    z_lr = codec.encode(upscale_bicubic(image[None], 4))
    sigma = pipeline.config["latent_sigma"]
    torch.testing.assert_close(starts[-1], (z_lr - z_reference) / sigma, atol=1e-4, rtol=0)
    run(pipeline, image)
    assert not starts[-2].any() and starts[-1].any()


def test_an_unknown_kind_of_latents_is_refused():
    pipeline = build_pipeline("mini")
    pipeline.register_to_config(latent_target="residual")
    with pytest.raises(ValueError, match="latent_target='residual': expected one of image, stage"):
        run(pipeline, photo(4, 4))


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_training_target_is_what_the_scheduler_inverts(kind):
    scheduler = diffusers.DDPMScheduler(prediction_type=kind, clip_sample=False)
    clean, noise, t = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3), torch.tensor([500, 500])
    target = training_target(scheduler, clean, noise, t)
    scheduler.set_timesteps(1000)
    noisy = scheduler.add_noise(clean, noise, t)
    predicted = scheduler.step(target, 500, noisy).pred_original_sample
    torch.testing.assert_close(predicted, clean, atol=1e-4, rtol=1e-4)


def test_captions_come_before_the_general_description():
    assert with_caption(" a red house ", "clean") == "a red house, clean"
    assert with_caption("", "clean") == "clean"
    assert with_caption("a house", "") == "a house"


def test_captions_choose_the_embedding():
    pipeline = awaken(build_pipeline("mini"))
    prompts = (*FIXED_PROMPTS, "dark, clean, high-resolution", "light, clean, high-resolution")
    pipeline.register_modules(
        prompt_embeddings=PromptEmbeddings.from_tensor(prompts, torch.randn(len(prompts), 4, 64))
    )
    dark, light = torch.zeros(3, 4, 4), torch.ones(3, 4, 4)

    def captioner(image: PIL.Image.Image) -> str:
        return "light" if np.asarray(image).mean() > 100 else "dark"

    options = {"activation": "lr", "color_correction": "none"}
    by_function = run(pipeline, [dark, light], caption=captioner, **options)
    by_list = run(pipeline, [dark, light], caption=["dark", "light"], **options)
    plain = run(pipeline, [dark, light], **options)
    assert torch.equal(by_function, by_list)
    assert not torch.equal(by_function, plain)


def test_presets():
    assert get_preset("sd15").training_for("guidance").learning_rate == 5e-4
    assert (MINI.latent_target, MINI.sampling.num_inference_steps) == ("stage_residual", 1)
    with pytest.raises(ValueError, match="expected one of sd15, mini"):
        get_preset("sd21")
    parts = build_pipeline("mini").components.values()
    parameters = sum(
        p.numel() for m in parts if isinstance(m, torch.nn.Module) for p in m.parameters()
    )
    assert 2e6 < parameters < 8e6


def test_options_know_their_names():
    assert SamplingOptions().changed({"tile": 1024}).tile == 1024
    assert SamplingOptions().changed({"start": "noise"}) != SamplingOptions()


def test_importing_the_package_loads_nothing_heavy():
    code = "import cassr, sys; assert not {'torch', 'diffusers', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    import cassr

    assert all(getattr(cassr, name) is not None for name in cassr.__all__)
    with pytest.raises(AttributeError, match="attribute CasSR"):
        cassr.CasSR  # noqa: B018
