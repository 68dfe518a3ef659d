"""The two stages against diffusers' own forward passes, the paper's equations and autograd."""

import copy
import itertools
import math

import pytest
import torch
from torch import Tensor

from cassr.activation import CSCTuner, CSCTuners
from cassr.attention import ConditionAttention, MultipleAttention
from cassr.build import build_pipeline
from cassr.controlnet import embed_hint, residuals
from cassr.pipeline import CasSRPipeline
from cassr.stages import ControlNetActivation, Guidance, TunerActivation, freeze
from cassr.unet import check_unet, skip_channels, skip_strides

B, SIZE = 2, 8


@pytest.fixture(scope="module")
def pipeline() -> CasSRPipeline:
    return build_pipeline("mini")


@pytest.fixture
def inputs(pipeline: CasSRPipeline) -> dict[str, Tensor]:
    torch.manual_seed(1)
    channels, dim = pipeline.unet.config.in_channels, pipeline.unet.config.cross_attention_dim
    return {
        "latents": torch.randn(B, channels, SIZE, SIZE),
        "t": torch.tensor([700, 20]),
        "prompt": torch.randn(B, 4, dim),
        "lr": torch.rand(B, 3, 4 * SIZE, 4 * SIZE),
        "reference": torch.rand(B, 3, 4 * SIZE, 4 * SIZE),
    }


def awaken(module: torch.nn.Module, seed: int = 0) -> None:
    """Give zero-initialised tensors values, as training would."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        if not parameter.any():
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)


def diffusers_prediction(p: CasSRPipeline, x: dict[str, Tensor]) -> Tensor:
    """The plain ControlNet U-Net of diffusers with the residuals of both images added."""
    args = (x["latents"], x["t"], x["prompt"])
    made = [p.controlnet(*args, x[name], return_dict=False) for name in ("lr", "reference")]
    down = [a + b for a, b in zip(made[0][0], made[1][0], strict=True)]
    return p.unet(
        *args,
        down_block_additional_residuals=down,
        mid_block_additional_residual=made[0][1] + made[1][1],
    ).sample


def test_untrained_stage_2_equals_diffusers_controlnet_exactly(pipeline, inputs):
    with torch.no_grad():
        expected = diffusers_prediction(pipeline, inputs)
        found = pipeline.guidance_stage()(**inputs)
    assert found.std() > 0.1
    assert torch.equal(found, expected)


def test_without_multiple_attention_a_trained_controlnet_equals_diffusers(pipeline, inputs):
    trained = copy.copy(pipeline)
    trained.controlnet = copy.deepcopy(pipeline.controlnet)
    awaken(trained.controlnet)
    with torch.no_grad():
        expected = diffusers_prediction(trained, inputs)
        found = trained.guidance_stage(multiple_attention=False)(**inputs)
        guided = trained.guidance_stage()(**inputs)
        plain = pipeline.unet(inputs["latents"], inputs["t"], inputs["prompt"]).sample
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)
    assert (found - plain).abs().max() > 0.01
    assert (found - guided).abs().max() > 1e-3


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (1, 9)])
def test_stage_2_takes_any_latent_size_as_diffusers_does(pipeline, inputs, size):
    x = inputs | {
        "latents": torch.randn(B, inputs["latents"].shape[1], *size),
        "lr": torch.rand(B, 3, 4 * size[0], 4 * size[1]),
        "reference": torch.rand(B, 3, 4 * size[0], 4 * size[1]),
    }
    with torch.no_grad():
        assert torch.equal(pipeline.guidance_stage()(**x), diffusers_prediction(pipeline, x))


def test_untrained_stage_1_equals_the_plain_unet_exactly(pipeline, inputs):
    args = (inputs["latents"], inputs["t"], inputs["prompt"])
    with torch.no_grad():
        expected = pipeline.unet(*args).sample
        tuned = TunerActivation(pipeline.unet, pipeline.activation)(*args, inputs["lr"])
        controlled = ControlNetActivation(pipeline.unet, pipeline.controlnet)(*args, inputs["lr"])
    assert torch.equal(tuned, expected)
    assert torch.equal(controlled, expected)


def plain_attention(module: ConditionAttention, x: Tensor, condition: Tensor) -> Tensor:
    """Eq. 1 / Eq. 2 written out: Softmax(Q K^T / sqrt(d)) V for every head."""
    tokens = condition.flatten(2).transpose(1, 2)
    q = module.norm(x) @ module.to_q.weight.T
    k, v = tokens @ module.to_k.weight.T, tokens @ module.to_v.weight.T
    d = q.shape[-1] // module.heads
    heads = []
    for h in range(module.heads):
        part = slice(h * d, (h + 1) * d)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(d)
        weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
        heads.append(weights @ v[..., part])
    return torch.cat(heads, dim=-1) @ module.to_out.weight.T


@pytest.mark.parametrize(("dim", "condition_dim", "heads"), [(32, 32, 4), (64, 48, 8), (20, 7, 1)])
def test_condition_attention_equals_the_equation(dim, condition_dim, heads):
    torch.manual_seed(0)
    module = ConditionAttention(dim, condition_dim, heads)
    x, condition = torch.randn(2, 30, dim), torch.randn(2, condition_dim, 5, 6)
    with torch.no_grad():
        torch.testing.assert_close(module(x, condition), plain_attention(module, x, condition))


def test_block_runs_reference_self_lr_text_in_this_order(pipeline):
    torch.manual_seed(0)
    block = pipeline.unet.up_blocks[0].attentions[0].transformer_blocks[0]
    attention = MultipleAttention.from_unet(pipeline.unet)
    skip, dim = attention.config.skips[0], block.dim
    condition_dim = attention.config.condition_dims[0]
    x, prompt = torch.randn(2, 16, dim), torch.randn(2, 4, 64)
    lr, reference = torch.randn(2, condition_dim, 4, 4), torch.randn(2, condition_dim, 4, 4)
    with torch.no_grad():
        found = attention.run_block(0, block, x, prompt, {skip: lr}, {skip: reference})
        x1 = x + plain_attention(attention.reference[0], x, reference)  # Eq. 1
        x2 = x1 + block.attn1(block.norm1(x1))
        x3 = x2 + plain_attention(attention.lr[0], x2, lr)  # Eq. 2
        x4 = x3 + block.attn2(block.norm2(x3), encoder_hidden_states=prompt)
        expected = x4 + block.ff(block.norm3(x4))
    torch.testing.assert_close(found, expected)


def test_each_place_uses_the_residual_of_the_skip_it_consumes(pipeline):
    attention = MultipleAttention.from_unet(pipeline.unet)
    assert attention.config.skips == [5, 4, 3, 2]
    channels = skip_channels(pipeline.unet.config)
    assert attention.config.condition_dims == [channels[i] for i in attention.config.skips]


def test_skip_channels_and_strides_are_those_of_the_unet(pipeline, inputs):
    from cassr.unet import embed_time, encode

    unet = pipeline.unet
    with torch.no_grad():
        temb = embed_time(unet, inputs["latents"], inputs["t"])
        skips, _ = encode(unet, inputs["latents"], temb, inputs["prompt"])
    assert [s.shape[1] for s in skips] == skip_channels(unet.config)
    sides = [SIZE, *(s.shape[2] for s in skips)]
    strides = [a // b for a, b in itertools.pairwise(sides)]
    assert strides == skip_strides(unet.config)


def test_csc_tuner_equals_the_equation():
    torch.manual_seed(0)
    tuners = CSCTuners([4, 6], [1, 2], [5], [2], alpha=0.7)
    awaken(tuners)
    skips = [torch.randn(1, 4, 3, 3), torch.randn(1, 6, 2, 2)]
    hints = [torch.randn_like(s) for s in skips]
    with torch.no_grad():
        found = tuners(skips, hints)
        for s, c, tuner, edited in zip(skips, hints, tuners.tuners, found, strict=True):
            w1, w2 = tuner.inner.weight[:, :, 0, 0], tuner.outer.weight[:, :, 0, 0]
            hidden = torch.einsum("oc,bchw->bohw", w1, s + c) + tuner.inner.bias[:, None, None]
            gelu = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
            edit = torch.einsum("oc,bchw->bohw", w2, gelu) + tuner.outer.bias[:, None, None]
            torch.testing.assert_close(edited, s + 0.7 * (c + edit))
    assert isinstance(tuners.tuners[0], CSCTuner)


def test_hints_have_the_shapes_of_the_skips(pipeline, inputs):
    hints = pipeline.activation.encoder(torch.rand(1, 3, 20, 44))
    assert [h.shape[1] for h in hints] == skip_channels(pipeline.unet.config)
    assert tuple(hints[0].shape[2:]) == (5, 11)
    assert tuple(hints[-1].shape[2:]) == (2, 3)


def test_one_batched_controlnet_call_equals_two(pipeline, inputs):
    controlnet = copy.deepcopy(pipeline.controlnet)
    awaken(controlnet)
    args = (inputs["latents"], inputs["t"], inputs["prompt"])
    with torch.no_grad():
        hints = embed_hint(controlnet, torch.cat([inputs["lr"], inputs["reference"]]))
        pair = residuals(controlnet, *args, hints)
        for name, found in zip(("lr", "reference"), pair, strict=True):
            (alone,) = residuals(controlnet, *args, embed_hint(controlnet, inputs[name]))
            down, mid = controlnet(*args, inputs[name], return_dict=False)
            for a, b, c in zip(found.down, alone.down, down, strict=True):
                torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
                torch.testing.assert_close(b, c)
            torch.testing.assert_close(found.mid, mid, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("share_halves", [True, False])
@pytest.mark.parametrize("attention", [True, False])
def test_guided_halves_together_equal_two_calls(pipeline, inputs, share_halves, attention):
    controlnet = copy.deepcopy(pipeline.controlnet)
    awaken(controlnet)
    adapter = MultipleAttention.from_unet(pipeline.unet) if attention else None
    stage = Guidance(pipeline.unet, controlnet, adapter, share_halves)
    positive, negative = inputs["prompt"], torch.randn_like(inputs["prompt"])
    latents, t = inputs["latents"], inputs["t"]
    with torch.no_grad():
        hints = stage.embed(inputs["lr"], inputs["reference"])
        both = stage.predict(latents, t, torch.cat([negative, positive]), hints)
        control = positive if share_halves else None
        first = stage.predict(latents, t, negative, hints, control)
        second = stage.predict(latents, t, positive, hints, control)
    torch.testing.assert_close(both, torch.cat([first, second]), atol=2e-5, rtol=1e-5)


STAGES = ["scedit", "controlnet", "guidance", "guidance-plain"]


def make_stage(kind: str) -> torch.nn.Module:
    if kind.startswith("guidance"):
        return build_pipeline("mini").guidance_stage(multiple_attention=kind == "guidance")
    return build_pipeline("mini", activation=kind).activation_stage()


def stage_inputs(kind: str, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    hidden = set() if kind.startswith("guidance") else {"reference"}
    return {name: value for name, value in inputs.items() if name not in hidden}


@pytest.mark.parametrize("kind", STAGES)
def test_every_trained_tensor_and_no_frozen_one_gets_a_gradient_by_step_two(kind, inputs):
    stage = make_stage(kind)
    trained = freeze(stage)
    frozen = {n: p.clone() for n, p in stage.named_parameters() if not p.requires_grad}
    assert frozen
    assert trained
    optimizer = torch.optim.Adam(trained, lr=5e-4)
    for _ in range(2):
        optimizer.zero_grad()
        loss = (stage(**stage_inputs(kind, inputs)) - 1).square().mean()
        loss.backward()
        optimizer.step()
    silent = [n for n, p in stage.named_parameters() if p.requires_grad and not p.grad.any()]
    assert silent == []
    for name, parameter in stage.named_parameters():
        if name in frozen:
            assert parameter.grad is None
            assert torch.equal(parameter, frozen[name])


@pytest.mark.parametrize("kind", ["scedit", "controlnet", "guidance"])
def test_gradient_checkpointing_gives_the_same_gradients(kind, inputs):
    stage = make_stage(kind)
    for module in stage.trained():
        awaken(module)
    trained = freeze(stage)

    def gradients() -> list[Tensor]:
        loss = stage(**stage_inputs(kind, inputs)).square().mean()
        return list(torch.autograd.grad(loss, trained))

    plain = gradients()
    stage.unet.enable_gradient_checkpointing()
    checkpointed = gradients()
    assert any(block.gradient_checkpointing for block in stage.unet.up_blocks)
    for a, b in zip(plain, checkpointed, strict=True):
        assert torch.equal(a, b)


def test_a_trained_controlnet_can_be_joined_by_attentions_that_change_nothing(pipeline, inputs):
    controlnet = copy.deepcopy(pipeline.controlnet)
    awaken(controlnet)
    attention = MultipleAttention.from_unet(pipeline.unet, zero_output=True)
    with torch.no_grad():
        found = Guidance(pipeline.unet, controlnet, attention)(**inputs)
        expected = Guidance(pipeline.unet, controlnet, None)(**inputs)
    assert torch.equal(found, expected)


def test_a_unet_of_another_kind_is_refused(pipeline):
    unet = copy.deepcopy(pipeline.unet)
    unet.register_to_config(addition_embed_type="text_time")
    with pytest.raises(ValueError, match="addition_embed_type='text_time'"):
        check_unet(unet)
    unet.register_to_config(addition_embed_type=None, up_block_types=["SimpleCrossAttnUpBlock2D"])
    with pytest.raises(ValueError, match="SimpleCrossAttnUpBlock2D"):
        check_unet(unet)


def test_stages_compile_without_a_graph_break(pipeline, inputs):
    import torch._dynamo

    stage = pipeline.guidance_stage()
    hints = stage.embed(inputs["lr"], inputs["reference"])
    torch._dynamo.reset()
    compiled = torch.compile(stage.predict, fullgraph=True, backend="eager")
    args = (inputs["latents"], torch.tensor(500), inputs["prompt"], hints)
    with torch.no_grad():
        torch.testing.assert_close(compiled(*args), stage.predict(*args))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_bf16_on_cuda_stays_near_fp32(pipeline, inputs):
    device = torch.device("cuda")
    x = {name: value.to(device) for name, value in inputs.items()}
    stage = copy.deepcopy(pipeline.guidance_stage()).to(device).eval()
    with torch.no_grad():
        expected = stage(**x)
        stage.to(torch.bfloat16)
        x["prompt"] = x["prompt"].bfloat16()
        found = stage(**x).float()
    assert (found - expected).square().mean() < 0.01 * expected.square().mean()
