"""Saving and loading: whole pipelines, adapters, Stable Diffusion folders, the hub's cache."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor

from cassr.adapters import INDEX, read_index, read_scheduler
from cassr.build import build_pipeline, pipeline_from_base
from cassr.config import GENERAL_DESCRIPTION, MINI, NEGATIVE_PROMPT
from cassr.pipeline import CasSRPipeline

IMAGE = torch.rand(3, 6, 9, generator=torch.Generator().manual_seed(0))


def trained(**options: object) -> CasSRPipeline:
    """A pipeline whose zero-initialised tensors have values."""
    pipeline = build_pipeline("mini", **options)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    for name in ("controlnet", "activation"):
        module = getattr(pipeline, name)
        for parameter in module.parameters() if module is not None else ():
            if not parameter.any():
                parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    return pipeline


def run(pipeline: CasSRPipeline, **options: object) -> Tensor:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(IMAGE, output_type="pt", guidance_scale=2.0, **options).images


@pytest.fixture(scope="module")
def original() -> CasSRPipeline:
    return trained()


@pytest.mark.parametrize(
    "options", [{}, {"activation": "controlnet"}, {"multiple_attention": False}]
)
def test_a_saved_pipeline_gives_the_same_bits(tmp_path: Path, options: dict):
    pipeline = trained(**options)
    pipeline.save_pretrained(tmp_path)
    loaded = CasSRPipeline.from_pretrained(tmp_path)
    assert torch.equal(run(loaded), run(pipeline))
    assert loaded.sampling == pipeline.sampling
    assert loaded.latent_space == pipeline.latent_space
    assert not list(tmp_path.rglob("*.bin"))


def test_half_precision_loads_and_runs(tmp_path: Path, original: CasSRPipeline):
    original.save_pretrained(tmp_path)
    loaded = CasSRPipeline.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    assert loaded.unet.dtype == loaded.attention.dtype == torch.bfloat16
    reference = torch.rand(3, 24, 36)
    found, expected = run(loaded, reference=reference), run(original, reference=reference)
    assert (found - expected).abs().mean() < 0.02


def test_the_unet_keeps_its_keys(original: CasSRPipeline):
    assert (
        original.unet.state_dict().keys() == UNet2DConditionModel(**MINI.unet).state_dict().keys()
    )


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory, original: CasSRPipeline) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    original.save_adapters(folder)
    return folder


def test_adapters_alone_are_saved(adapters: Path, original: CasSRPipeline):
    folders = {path.name for path in adapters.iterdir() if path.is_dir()}
    assert folders == {"controlnet", "attention", "activation", "prompt_embeddings", "scheduler"}
    saved = sum(t.numel() for f in adapters.rglob("*.safetensors") for t in load_file(f).values())
    parts = (original.controlnet, original.attention, original.activation)
    carried = original.prompt_embeddings.table.numel()
    assert saved == sum(p.numel() for m in parts for p in m.parameters()) + carried


def test_adapters_load_onto_a_fresh_pipeline(adapters: Path, original: CasSRPipeline):
    fresh = build_pipeline("mini", activation="lr", multiple_attention=False)
    assert not torch.equal(run(fresh), run(original))
    fresh.load_adapters(adapters)
    assert torch.equal(run(fresh), run(original))
    assert fresh.config.activation_kind == "scedit"


def test_adapters_without_attention_remove_it(tmp_path: Path, original: CasSRPipeline):
    plain = trained(multiple_attention=False)
    plain.save_adapters(tmp_path)
    fresh = build_pipeline("mini").load_adapters(tmp_path)
    assert fresh.attention is None
    assert torch.equal(run(fresh), run(plain))


def hub_copy(folder: Path, cache: Path, repository: str, commit: str = "a" * 40) -> None:
    """Lay a folder out as the hub's cache keeps a downloaded repository."""
    root = cache / f"models--{repository.replace('/', '--')}"
    shutil.copytree(folder, root / "snapshots" / commit)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(commit)


def test_adapters_load_from_the_hubs_cache(adapters: Path, original: CasSRPipeline, tmp_path: Path):
    hub_copy(adapters, tmp_path, "someone/cassr-mini")
    hub = {"cache_dir": str(tmp_path), "local_files_only": True}
    fresh = build_pipeline("mini").load_adapters("someone/cassr-mini", **hub)
    assert torch.equal(run(fresh), run(original))
    pinned = build_pipeline("mini").load_adapters("someone/cassr-mini", revision="a" * 40, **hub)
    assert torch.equal(run(pinned), run(original))


def test_wrong_adapters_get_one_clear_error(tmp_path: Path, adapters: Path):
    with pytest.raises(OSError, match="expected a folder written by save_adapters"):
        read_index(tmp_path)
    index = json.loads((adapters / INDEX).read_text())
    (tmp_path / INDEX).write_text(json.dumps(index | {"format": 99}))
    with pytest.raises(ValueError, match="expected format 1, found 99"):
        read_index(tmp_path)
    for other, told in (
        ([], "expected format 1, found 'list'"),
        (True, "expected format 1, found 'bool'"),
        (index | {"modules": 1.0}, "expected also modules"),
        (index | {"options": {}}, "expected also activation_kind, latent_sigma"),
    ):
        (tmp_path / INDEX).write_text(json.dumps(other))
        with pytest.raises(ValueError, match=told):
            read_index(tmp_path)
    (tmp_path / INDEX).write_text(json.dumps(index | {"modules": {"unet": "Evil"}}))
    with pytest.raises(ValueError, match="unknown module 'unet' of class 'Evil'"):
        build_pipeline("mini").load_adapters(tmp_path)
    with pytest.raises(ValueError, match="unknown scheduler 'DiffusionPipeline'"):
        read_scheduler(tmp_path, index | {"scheduler": "DiffusionPipeline"})


@pytest.fixture(scope="module")
def stable_diffusion(tmp_path_factory: pytest.TempPathFactory, original: CasSRPipeline) -> Path:
    """A folder in the layout of SD-1.5, with a CLIP text encoder, all tiny."""
    from transformers import CLIPTextConfig, CLIPTextModel

    folder = tmp_path_factory.mktemp("sd")
    torch.manual_seed(0)
    text = CLIPTextConfig(
        vocab_size=600,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=16,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    StableDiffusionPipeline(
        vae=AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(8, 8, 8),
            norm_num_groups=4,
            latent_channels=12,
        ),
        unet=original.unet,
        scheduler=original.scheduler,
        text_encoder=CLIPTextModel(text),
        tokenizer=tiny_tokenizer(folder / "vocabulary"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def tiny_tokenizer(folder: Path):
    """CLIP's tokenizer over single bytes."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    folder.mkdir()
    letters = list(bytes_to_unicode().values())
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(c + "</w>" for c in letters)]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))


def test_a_stable_diffusion_folder_becomes_a_cassr(stable_diffusion: Path, tmp_path: Path):
    pipeline = pipeline_from_base(stable_diffusion, preset="mini", activation="lr")
    assert pipeline.text_encoder is not None
    assert pipeline.controlnet.conv_in.weight.equal(pipeline.unet.conv_in.weight)
    assert not any(p.requires_grad for p in pipeline.unet.parameters())
    with_text = stage_prompts(pipeline)
    calls = []
    pipeline.text_encoder.register_forward_hook(lambda *_: calls.append(1))
    run(pipeline, reference=torch.rand(3, 24, 36), scale=4, num_inference_steps=1)
    assert len(calls) == 2
    pipeline.carry_prompts(["", GENERAL_DESCRIPTION, NEGATIVE_PROMPT])
    assert pipeline.text_encoder is None
    assert torch.equal(stage_prompts(pipeline), with_text)
    assert with_text.unique(dim=0).shape[0] == 3
    pipeline.save_pretrained(tmp_path)
    assert not (tmp_path / "text_encoder").exists()
    loaded = CasSRPipeline.from_pretrained(tmp_path)
    assert torch.equal(stage_prompts(loaded), with_text)


def stage_prompts(pipeline: CasSRPipeline) -> Tensor:
    from cassr.prompts import encode_prompt

    encoders = (pipeline.prompt_embeddings, pipeline.tokenizer, pipeline.text_encoder)
    texts = ("", GENERAL_DESCRIPTION, NEGATIVE_PROMPT)
    return torch.cat([encode_prompt(text, *encoders) for text in texts])


def test_adapters_find_their_base(stable_diffusion: Path, adapters: Path, original: CasSRPipeline):
    made = CasSRPipeline.from_adapters(adapters, base=stable_diffusion)
    assert made.text_encoder is None
    options = {"reference": torch.rand(3, 24, 36, generator=torch.Generator().manual_seed(0))}
    own_vae = original.vae
    try:
        original.register_modules(
            vae=AutoencoderKL.from_pretrained(stable_diffusion, subfolder="vae")
        )
        assert torch.equal(run(made, **options), run(original, **options))
    finally:
        original.register_modules(vae=own_vae)


def test_blip_captions_an_image():
    import PIL.Image
    from transformers import BlipConfig, BlipForConditionalGeneration

    from cassr.prompts import BlipCaptioner

    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    text = small | {"num_attention_heads": 2, "vocab_size": 30, "encoder_hidden_size": 16}
    vision = small | {"num_attention_heads": 2, "image_size": 32, "patch_size": 16}
    captioner = BlipCaptioner.__new__(BlipCaptioner)
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "sep_token_id": 2}
    config = BlipConfig(text_config=text | ids, vision_config=vision)
    captioner._network = BlipForConditionalGeneration(config).eval()
    captioner._processor = TinyProcessor()
    captioner._max_new_tokens = 5
    assert captioner(PIL.Image.new("RGB", (32, 32))).startswith("tokens")


class TinyProcessor:
    """The two functions of a BLIP processor that a captioner calls."""

    def __call__(self, images: object, return_tensors: str):
        from transformers import BatchFeature

        return BatchFeature({"pixel_values": torch.zeros(1, 3, 32, 32)})

    def decode(self, tokens: Tensor, skip_special_tokens: bool) -> str:
        return f"tokens {tokens.tolist()} "
