"""CasSR called the way diffusers' documentation calls a pipeline."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers import DiffusionPipeline
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from huggingface_hub import ModelCard
from test_cassr_pipeline import awaken, photo, run
from torch import Tensor

from cassr.build import build_pipeline
from cassr.config import MINI, SD15
from cassr.pipeline import CasSRPipeline
from cassr.sampling.loop import LatentCodec, execution_device

TINY_VAE = {
    **SD15.vae,
    "sample_size": 32,
    "block_out_channels": (8, 8, 8),
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "layers_per_block": 1,
    "norm_num_groups": 4,
}


def tiny() -> CasSRPipeline:
    """diffusers' own classes for U-Net and VAE, very small."""
    unet = {**MINI.unet, "in_channels": 4, "out_channels": 4}
    options = replace(MINI.sampling, activation_steps=2, num_inference_steps=2, guidance_scale=2.0)
    preset = replace(
        MINI, unet=unet, vae=TINY_VAE, vae_class="AutoencoderKL", sampling=options,
        latent_target="image", latent_sigma=1.0,
    )  # fmt: skip
    return awaken(build_pipeline(preset))


@pytest.fixture(scope="module")
def pipeline() -> CasSRPipeline:
    made = tiny()
    assert isinstance(made.vae, AutoencoderKL)
    return made


def test_a_callback_sees_every_step_of_both_stages_and_may_change_the_latents(pipeline) -> None:
    expected = run(pipeline, photo(4, 4))
    seen: list[tuple[int, int, tuple[int, ...]]] = []

    def watch(given: CasSRPipeline, step: int, t: Tensor, tensors: dict) -> dict:
        assert given is pipeline
        assert given.num_timesteps == 2
        assert list(tensors) == given._callback_tensor_inputs
        seen.append((step, int(t), tuple(tensors["latents"].shape)))
        return tensors

    assert torch.equal(run(pipeline, photo(4, 4), callback_on_step_end=watch), expected)
    assert [step for step, _, _ in seen] == [0, 1, 0, 1]
    assert {shape[:2] for _, _, shape in seen} == {(1, 4)}
    assert seen[0][1] > seen[1][1]

    def zero(given: CasSRPipeline, step: int, t: Tensor, tensors: dict) -> dict:
        return {"latents": torch.zeros_like(tensors["latents"])}

    assert not torch.equal(run(pipeline, photo(4, 4), callback_on_step_end=zero), expected)
    nothing = {"callback_on_step_end": lambda *a: None, "callback_on_step_end_tensor_inputs": []}
    assert torch.equal(run(pipeline, photo(4, 4), **nothing), expected)


def test_a_callback_may_end_the_steps_of_both_stages(pipeline) -> None:
    expected, seen = run(pipeline, photo(4, 4)), []

    def stop(given: CasSRPipeline, step: int, t: Tensor, tensors: dict) -> None:
        seen.append(step)
        given._interrupt = True

    images = [photo(4, 4), photo(4, 4)]
    assert run(pipeline, images, callback_on_step_end=stop).shape == (2, 3, 16, 16)
    assert seen == [0]
    assert torch.equal(run(pipeline, photo(4, 4)), expected)


def test_freeu_works_in_every_block_that_diffusers_has_it_in(pipeline) -> None:
    unet, stage = pipeline.unet, pipeline.guidance_stage(multiple_attention=False)
    x, t, prompt = torch.randn(1, 4, 8, 8), torch.tensor(500), pipeline.embed_prompt("")
    images = torch.rand(2, 1, 3, 32, 32)
    stage.lr_scale = stage.reference_scale = 0.0
    stage.attention = SimpleNamespace(run_block=lambda place, block, tokens, prompt, **_: block(
        tokens, encoder_hidden_states=prompt))  # fmt: skip
    with torch.no_grad():
        plain = unet(x, t, prompt).sample
        pipeline.enable_freeu(s1=0.9, s2=0.2, b1=1.5, b2=1.6)
        expected, found = unet(x, t, prompt).sample, stage(x, t, prompt, *images)
        pipeline.disable_freeu()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert (found - plain).abs().max() > 1e-3


def test_a_generator_gives_the_seeds(pipeline) -> None:
    def made(seed: int) -> Tensor:
        return run(pipeline, photo(4, 4), generator=torch.Generator().manual_seed(seed))

    assert torch.equal(made(3), made(3))
    assert not torch.equal(made(3), made(4))
    two = [torch.Generator().manual_seed(s) for s in (3, 4)]
    together = run(pipeline, [photo(4, 4), photo(4, 4)], generator=two)
    assert torch.equal(together[1:], made(4))


def test_embeddings_stand_for_prompts(pipeline) -> None:
    prompt, negative = "", pipeline.sampling.negative_prompt
    expected = run(pipeline, photo(4, 4), prompt=prompt, negative_prompt=negative)
    given = {
        "prompt_embeds": pipeline.embed_prompt(prompt),
        "negative_prompt_embeds": pipeline.embed_prompt(negative),
    }
    found = run(pipeline, photo(4, 4), prompt="ignored", negative_prompt="ignored", **given)
    assert torch.equal(found, expected)


def test_prompts_and_embeddings_may_be_one_for_each_image(pipeline) -> None:
    images, texts = [photo(4, 4, 0), photo(4, 4, 1)], ["", pipeline.sampling.prompt]
    each = [
        run(pipeline, image, prompt=text, negative_prompt=other)
        for image, text, other in zip(images, texts, texts[::-1], strict=True)
    ]
    assert not torch.equal(each[0], run(pipeline, images[0], prompt="", negative_prompt=""))
    assert torch.equal(
        run(pipeline, images, prompt=texts, negative_prompt=texts[::-1]), torch.cat(each)
    )
    positive = torch.cat([pipeline.embed_prompt(text) for text in texts])
    given = {"prompt_embeds": positive, "negative_prompt_embeds": positive.flip(0)}
    assert torch.equal(run(pipeline, images, **given), torch.cat(each))
    together = run(pipeline, images, batch_size=2, **given)
    torch.testing.assert_close(together, torch.cat(each), atol=1e-4, rtol=0)
    assert torch.equal(
        run(pipeline, images[0], prompt=None, negative_prompt=None), run(pipeline, images[0])
    )


def test_a_tiny_autoencoder_stands_in_for_the_vae() -> None:
    made = tiny()
    torch.manual_seed(0)
    vae = AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8), decoder_block_out_channels=(8, 8, 8),
        num_encoder_blocks=(1, 1, 1), num_decoder_blocks=(1, 1, 1),
    )  # fmt: skip
    made.register_modules(vae=vae)
    image = photo(8, 8)
    with torch.no_grad():
        z = LatentCodec(vae, 64, 0).encode(image[None])
        assert torch.equal(z, vae.encode(image[None] * 2 - 1).latents)
    assert run(made, image).shape == (1, 3, 32, 32)


@pytest.mark.parametrize("name", ["activation_steps", "num_inference_steps"])
def test_more_steps_than_a_model_of_one_step_has_are_warned_of(name: str, caplog) -> None:
    made = awaken(build_pipeline("mini"))
    with caplog.at_level("WARNING", logger="diffusers"):
        run(made, photo(4, 4))
        assert not caplog.messages
        run(made, photo(4, 4), **{name: 2})
    assert caplog.messages == [f"{name}=2: this model was made for one step; more are untrained"]


def test_output_types_and_tuples(pipeline) -> None:
    images, references = pipeline(photo(4, 4), output_type="pt", return_dict=False)
    whole = pipeline(photo(4, 4), output_type="pt")
    assert torch.equal(images, whole.images)
    assert torch.equal(references, whole.references)
    latents = pipeline(photo(4, 4), output_type="latent", color_correction="none").images
    assert latents.shape[:2] == (1, 4)
    with torch.no_grad():
        decoded = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample
    plain = run(pipeline, photo(4, 4), color_correction="none")
    torch.testing.assert_close((decoded / 2 + 0.5).clamp(0, 1), plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["lr_conditioning_scale", "reference_conditioning_scale"])
def test_conditioning_scales_weigh_what_a_condition_adds(pipeline, name: str) -> None:
    reference, options = photo(16, 16, 3), {"multiple_attention": False}
    images = [run(pipeline, photo(4, 4), reference=reference, **options, **{name: s})
              for s in (0.0, 1.0)]  # fmt: skip
    assert not torch.equal(*images)


def test_without_weight_the_attentions_add_nothing(pipeline) -> None:
    options = {"reference": photo(16, 16, 3)}
    silent = run(pipeline, photo(4, 4), attention_scale=0.0, **options)
    torch.testing.assert_close(
        silent, run(pipeline, photo(4, 4), multiple_attention=False, **options), atol=1e-6, rtol=0
    )


def test_small_images_are_processed_at_the_size_of_the_base(pipeline) -> None:
    for scale, size in ((4, (20, 28)), (2.5, (12, 18)), (1, (5, 7))):
        made = pipeline(photo(5, 7), scale=scale, process_size=48, output_type="pt")
        assert tuple(made.images.shape[2:]) == tuple(made.references.shape[2:]) == size
    seen = []

    def note(given: CasSRPipeline, step: int, t: Tensor, tensors: dict) -> None:
        seen.append(tensors["latents"].shape[-2:])

    run(pipeline, photo(5, 10), process_size=48, callback_on_step_end=note)
    assert set(seen) == {torch.Size([12, 24])}
    large = run(pipeline, photo(12, 12), process_size=48)
    assert torch.equal(large, run(pipeline, photo(12, 12), process_size=0))


def test_networks_are_on_the_device_only_while_they_work(monkeypatch) -> None:
    """On a CPU a move is no move, so the moves themselves are looked at."""
    other, moves = tiny(), []
    expected = run(other, photo(4, 4))
    other.enable_model_cpu_offload(device="cpu")
    moved = torch.nn.Module.to

    def note(module: torch.nn.Module, *to: object, **options: object) -> torch.nn.Module:
        moves.append((type(module).__name__, str(to[0])))
        return moved(module, *to, **options)

    monkeypatch.setattr(torch.nn.Module, "to", note)
    monkeypatch.setattr(other, "_offload_to", "cpu:0")
    assert torch.equal(run(other, photo(4, 4)), expected)
    came = [name for name, to in moves if to == "cpu:0"]
    assert came == ["AutoencoderKL", "TunerActivation", "AutoencoderKL", "Guidance",
                    "AutoencoderKL"]  # fmt: skip
    assert [name for name, to in moves if to == "cpu"] == came


def test_offloading_asks_for_a_gpu_and_ends(monkeypatch) -> None:
    other = tiny()
    monkeypatch.setattr("cassr.placement.get_device", lambda: "cpu")
    with pytest.raises(RuntimeError, match="expected a GPU, found none"):
        other.enable_model_cpu_offload()
    monkeypatch.setattr("cassr.placement.get_device", lambda: "mps")
    other.enable_model_cpu_offload()
    assert other._offload_to == torch.device("mps")
    other.remove_all_hooks()
    assert run(other, photo(4, 4)).shape == (1, 3, 16, 16)


def test_weights_that_come_part_by_part_name_their_device() -> None:
    vae = tiny().vae
    assert execution_device(vae) == torch.device("cpu")
    vae.decoder.conv_in._hf_hook = SimpleNamespace(execution_device=1)
    assert execution_device(vae) == torch.device(1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("offload", ["enable_model_cpu_offload", "enable_sequential_cpu_offload"])
def test_offloaded_networks_give_the_same(offload: str) -> None:
    expected = run(tiny().to("cuda"), photo(4, 4))
    other = tiny()
    getattr(other, offload)()
    torch.testing.assert_close(run(other, photo(4, 4)), expected, atol=1e-4, rtol=0)


def test_slicing_decodes_one_by_one(pipeline) -> None:
    images = [photo(4, 4, seed) for seed in (0, 1)]
    expected = run(pipeline, images, batch_size=2)
    pipeline.vae.enable_slicing()
    assert pipeline.vae.use_slicing
    torch.testing.assert_close(run(pipeline, images, batch_size=2), expected, atol=1e-5, rtol=0)
    pipeline.vae.disable_slicing()


def test_a_saved_folder_loads_by_diffusers_alone(pipeline, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    pipeline.save_pretrained(folder)
    loaded = DiffusionPipeline.from_pretrained(
        folder, custom_pipeline=str(folder), trust_remote_code=True
    )
    assert type(loaded).__name__ == "CasSRPipeline"
    loaded.set_progress_bar_config(disable=True)
    assert torch.equal(run(loaded, photo(4, 4)), run(pipeline, photo(4, 4)))


def test_variants_and_types_load(pipeline, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path, variant="fp16")
    loaded = CasSRPipeline.from_pretrained(tmp_path, variant="fp16", torch_dtype=torch.bfloat16)
    assert {loaded.unet.dtype, loaded.vae.dtype, loaded.controlnet.dtype} == {torch.bfloat16}


def test_a_model_card_says_what_it_is(pipeline, tmp_path: Path) -> None:
    pipeline.save_adapters(tmp_path)
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.library_name == "diffusers"
    assert "from_adapters" in card.text and "guidance_scale" in card.text
    (tmp_path / "README.md").write_text("mine")
    pipeline.save_adapters(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_lora_weights_change_the_unet(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    made, other = tiny(), tiny()
    torch.manual_seed(0)
    made.unet.add_adapter(
        peft.LoraConfig(r=2, lora_alpha=2, target_modules=["to_q"], init_lora_weights=False)
    )
    layers = peft.get_peft_model_state_dict(made.unet)
    CasSRPipeline.save_lora_weights(tmp_path, unet_lora_layers=layers)
    plain = run(other, photo(4, 4))
    other.load_lora_weights(tmp_path)
    assert torch.equal(run(other, photo(4, 4)), run(made, photo(4, 4)))
    other.unload_lora_weights()
    assert torch.equal(run(other, photo(4, 4)), plain)


def test_its_components_make_the_same_pipeline_again(pipeline) -> None:
    other = CasSRPipeline(**pipeline.components)
    other.register_to_config(**{name: pipeline.config[name] for name in ("sampling", "base")})
    assert other.components.keys() == pipeline.components.keys()
    assert torch.equal(run(other, photo(4, 4)), run(pipeline, photo(4, 4)))


def test_a_pipeline_from_another_has_its_networks_and_options(pipeline) -> None:
    other = CasSRPipeline.from_pipe(pipeline)
    assert other.components == pipeline.components
    assert other.config["sampling"] == pipeline.config["sampling"]
    assert not CasSRPipeline.from_pipe(pipeline, share_halves=False).config["share_halves"]


def test_optional_components_may_be_left_out_of_a_saved_folder(tmp_path: Path) -> None:
    saved = tiny()
    for name in saved._optional_components:
        setattr(saved, name, saved.prompt_embeddings if name == "prompt_embeddings" else None)
    saved.save_pretrained(tmp_path)
    loaded = CasSRPipeline.from_pretrained(tmp_path)
    for name in saved._optional_components:
        assert (getattr(loaded, name) is None) == (name != "prompt_embeddings"), name
    loaded.set_progress_bar_config(disable=True)
    options = {"activation": "lr"}
    assert torch.equal(run(loaded, photo(4, 4), **options), run(saved, photo(4, 4), **options))


def test_a_type_for_each_component(pipeline, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path)
    types = {"unet": torch.bfloat16, "default": torch.float16}
    loaded = CasSRPipeline.from_pretrained(tmp_path, torch_dtype=types)
    assert loaded.unet.dtype == torch.bfloat16
    assert {loaded.vae.dtype, loaded.controlnet.dtype} == {torch.float16}


def test_the_progress_bar_shows_and_hides(pipeline, capfd: pytest.CaptureFixture) -> None:
    pipeline.set_progress_bar_config(disable=False)
    pipeline(photo(4, 4))
    shown = capfd.readouterr().err
    pipeline.set_progress_bar_config(disable=True)
    pipeline(photo(4, 4))
    assert "2/2" in shown
    assert capfd.readouterr().err == ""


def test_slices_of_attention_give_the_same(pipeline) -> None:
    expected = run(pipeline, photo(4, 4))
    pipeline.enable_attention_slicing(1)
    try:
        torch.testing.assert_close(run(pipeline, photo(4, 4)), expected, atol=1e-4, rtol=0)
    finally:
        pipeline.disable_attention_slicing()


def test_an_image_in_a_batch_is_the_image_alone(pipeline) -> None:
    images = [photo(4, 4, seed) for seed in (0, 1, 2)]
    batch = run(pipeline, images, batch_size=3, seed=[5, 6, 7])
    for index, image in enumerate(images):
        alone = run(pipeline, image, seed=5 + index)
        torch.testing.assert_close(batch[index : index + 1], alone, atol=1e-4, rtol=0)
