"""The paper's size with random weights: counts, equality at the start, gradients. Minutes, 8 GB."""

from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from cassr.activation import CSCTuners
from cassr.attention import MultipleAttention
from cassr.build import build_pipeline
from cassr.config import SD15
from cassr.controlnet import controlnet_from_unet
from cassr.stages import Guidance, TunerActivation, freeze
from cassr.training.cost import _flops, step_cost
from cassr.training.stages import build_objective


def millions(module: torch.nn.Module) -> float:
    return sum(p.numel() for p in module.parameters()) / 1e6


PRE_HINT = {"pre_channels": SD15.pre_channels, "pre_strides": SD15.pre_strides}


@pytest.fixture(scope="module")
def meta_unet() -> UNet2DConditionModel:
    with torch.device("meta"):
        return UNet2DConditionModel(**SD15.unet)


@pytest.mark.parametrize(("kernel_size", "expected"), [(1, 28.8), (3, 99.1)])
def test_csc_tuners_have_the_papers_parameters(meta_unet, kernel_size, expected):
    with torch.device("meta"):
        tuners = CSCTuners.from_unet(meta_unet, **PRE_HINT, kernel_size=kernel_size)
    assert len(tuners.tuners) == 12
    assert millions(tuners) == pytest.approx(expected, rel=0.01)


def test_parameters_of_the_other_parts(meta_unet):
    with torch.device("meta"):
        attention = MultipleAttention.from_unet(meta_unet)
        controlnet = controlnet_from_unet(meta_unet, SD15.hint_channels)
        vae = AutoencoderKL(**SD15.vae)
    assert attention.config.skips == [8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert attention.config.dims == [1280] * 3 + [640] * 3 + [320] * 3
    assert attention.config.condition_dims == [1280, 1280, 640, 640, 640, 320, 320, 320, 320]
    assert millions(attention) == pytest.approx(47.5, rel=0.01)
    assert millions(meta_unet) == pytest.approx(859.5, rel=0.001)
    assert millions(controlnet) == pytest.approx(361.3, rel=0.001)
    assert millions(vae) == pytest.approx(83.65, rel=0.001)


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(**SD15.unet).requires_grad_(False)


@pytest.fixture(scope="module")
def inputs() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {
        "latents": torch.randn(1, 4, 16, 16),
        "t": torch.tensor(500),
        "prompt": torch.randn(1, 77, 768),
        "lr": torch.rand(1, 3, 128, 128),
        "reference": torch.rand(1, 3, 128, 128),
    }


@pytest.mark.slow
def test_untrained_stage_2_equals_diffusers_and_then_learns(unet, inputs):
    stage = Guidance(
        unet, controlnet_from_unet(unet, SD15.hint_channels), MultipleAttention.from_unet(unet)
    )
    args = (inputs["latents"], inputs["t"], inputs["prompt"])
    with torch.no_grad():
        made = [stage.controlnet(*args, inputs[n], return_dict=False) for n in ("lr", "reference")]
        down = [a + b for a, b in zip(made[0][0], made[1][0], strict=True)]
        residuals = {
            "down_block_additional_residuals": down,
            "mid_block_additional_residual": made[0][1] + made[1][1],
        }
        expected = unet(*args, **residuals).sample
        assert torch.equal(stage(**inputs), expected)
        assert expected.std() > 0.01
    trained = freeze(stage)
    for _ in range(2):
        stage.zero_grad(set_to_none=True)
        stage(**inputs).square().mean().backward()
        with torch.no_grad():
            for parameter in trained:
                parameter -= 1e-3 * parameter.grad.sign()
    silent = [n for n, p in stage.named_parameters() if p.requires_grad and not p.grad.any()]
    assert silent == []
    assert all(p.grad is None for p in unet.parameters())


@pytest.mark.slow
def test_untrained_stage_1_equals_the_plain_unet(unet, inputs):
    stage = TunerActivation(unet, CSCTuners.from_unet(unet, **PRE_HINT))
    args = (inputs["latents"], inputs["t"], inputs["prompt"])
    with torch.no_grad():
        assert torch.equal(stage(*args, inputs["lr"]), unet(*args).sample)


TFLOP = {
    "activation": {"VAE, LR and HR image": 8.93, "forward": 3.33, "backward": 2.68},
    "guidance": {
        "VAE, LR and HR image": 8.93,
        "reference images, 20 steps": 142.05,
        "forward": 6.3,
        "backward": 8.61,
    },
}
"""A step of 4 samples of 512 px; a multiplication and an addition are 2."""

PART_TFLOP = {
    "U-Net": (0.80,),
    "VAE": (1.12, 2.51),
    "ControlNet": (0.54,),
    "multiple attention": (0.20,),
    "CSC-Tuners": (0.01,),
}
"""A prediction for one sample; of the VAE to encode and to decode."""


@pytest.mark.slow
@torch.no_grad()
def test_flops_of_a_prediction_by_part() -> None:
    with torch.device("meta"):
        pipeline = build_pipeline("sd15")
        image, reference = torch.empty(2, 1, 3, 512, 512)
        z, t, c = torch.empty(1, 4, 64, 64), torch.zeros(()), torch.empty(1, 77, 768)
    pipeline.prompt_embeddings.to("meta")
    first, plain, second = (
        pipeline.activation_stage(),
        pipeline.guidance_stage(multiple_attention=False),
        pipeline.guidance_stage(),
    )
    hints = [stage.embed(image, reference) for stage in (plain, second)]
    tuned = first.embed(image)
    unet = _flops(lambda: pipeline.unet(z, t, c))
    controlled, whole = (
        _flops(lambda stage=stage, hint=hint: stage.predict(z, t, c, hint))
        for stage, hint in zip((plain, second), hints, strict=True)
    )
    found = {
        "U-Net": (unet,),
        "VAE": (
            _flops(lambda: pipeline.vae.encode(image)),
            _flops(lambda: pipeline.vae.decode(z)),
        ),
        "ControlNet": (controlled - unet,),
        "multiple attention": (whole - controlled,),
        "CSC-Tuners": (_flops(lambda: first.predict(z, t, c, tuned)) - unet,),
    }
    rounded = {name: tuple(round(n / 1e12, 2) for n in each) for name, each in found.items()}
    assert rounded == PART_TFLOP


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["activation", "guidance"])
def test_flops_by_part(stage: str) -> None:
    with torch.device("meta"):
        pipeline = build_pipeline("sd15")
    settings = replace(SD15.training_for(stage), precision="no")
    made = step_cost(build_objective(stage, pipeline, settings), settings, stage == "guidance")
    assert {part: round(flops / 1e12, 2) for part, flops in made.flops.items()} == TFLOP[stage]
