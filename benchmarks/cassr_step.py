"""Seconds per denoising step: CasSR against diffusers' pipeline with two ControlNets.

Both run in one process, in turns, at the size of SD-1.5 with random weights, with classifier-free
guidance, in the same layout and precision:

    python benchmarks/cassr_step.py                    # 512 px, one thread
    python benchmarks/cassr_step.py --side 256 --rounds 5 --out step.json

On a CPU with one thread the seconds are those of processor time, which other programs on the
machine do not stretch; otherwise they are those of the clock on the wall.

A step is what lies between the scheduler's `scale_model_input` and the end of its `step`, in both
pipelines. The VAE is not part of it, so a narrow one stands in.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionControlNetPipeline,
    UNet2DConditionModel,
)

from cassr.attention import MultipleAttention
from cassr.config import GENERAL_DESCRIPTION, MINI, NEGATIVE_PROMPT, SD15
from cassr.controlnet import controlnet_from_unet, embed_hint, paired_residuals
from cassr.pipeline import CasSRPipeline
from cassr.prompts import PromptEmbeddings
from cassr.unet import decode, embed_time, encode


def now() -> float:
    """Seconds: of processor time for one CPU thread, of the wall clock otherwise."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    elif torch.get_num_threads() == 1:
        return time.process_time()
    return time.perf_counter()


class TimedScheduler(DDIMScheduler):
    """DDIM that notes how long each step took."""

    def scale_model_input(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.started = now()
        return super().scale_model_input(*args, **kwargs)

    def step(self, *args: Any, **kwargs: Any) -> Any:
        result = super().step(*args, **kwargs)
        self.seconds = now() - self.started
        return result


def build(preset_name: str, seed: int = 0) -> CasSRPipeline:
    """CasSR without stage 1, at random weights that let every branch work."""
    preset = {"sd15": SD15, "mini": MINI}[preset_name]
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(**preset.unet)
    controlnet = controlnet_from_unet(unet, preset.hint_channels)
    for block in (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block):
        torch.nn.init.normal_(block.weight, std=0.01)
    narrow = {"block_out_channels": tuple(32 for _ in preset.vae["block_out_channels"])}
    prompts = ["", GENERAL_DESCRIPTION, NEGATIVE_PROMPT]
    dim = preset.unet["cross_attention_dim"]
    return CasSRPipeline(
        vae=AutoencoderKL(**dict(preset.vae) | narrow),
        unet=unet,
        controlnet=controlnet,
        scheduler=timed_scheduler(),
        attention=MultipleAttention.from_unet(unet),
        prompt_embeddings=PromptEmbeddings.random(prompts, preset.prompt_tokens, dim),
        activation_kind="external",
    )


def timed_scheduler() -> TimedScheduler:
    config = {k: v for k, v in SD15.scheduler.items() if k.startswith(("beta", "num", "pred"))}
    return TimedScheduler(**config, clip_sample=False)


def two_controlnets(pipeline: CasSRPipeline) -> StableDiffusionControlNetPipeline:
    """diffusers' pipeline on the same U-Net, with the same ControlNet twice."""
    return StableDiffusionControlNetPipeline(
        vae=pipeline.vae,
        text_encoder=None,
        tokenizer=None,
        unet=pipeline.unet,
        controlnet=[pipeline.controlnet, pipeline.controlnet],
        scheduler=timed_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def contenders(pipeline: CasSRPipeline, side: int) -> dict[str, Callable[[], float]]:
    """Name -> runs one step and returns its seconds."""
    image, reference = torch.rand(2, 1, 3, side, side)
    other = two_controlnets(pipeline)
    for each in (pipeline, other):
        each.set_progress_bar_config(disable=True)
        each.to("cuda" if torch.cuda.is_available() else "cpu")
    table = pipeline.prompt_embeddings

    def theirs() -> float:
        other(
            prompt_embeds=table.find(GENERAL_DESCRIPTION),
            negative_prompt_embeds=table.find(NEGATIVE_PROMPT),
            image=[image, reference],
            height=side,
            width=side,
            num_inference_steps=1,
            output_type="latent",
        )
        return other.scheduler.seconds

    def ours(**changes: Any) -> float:
        whole = {"tile": 4096, "vae_tile": 4096, "num_inference_steps": 1}
        pipeline(image, scale=1, reference=reference, **whole | changes)
        return pipeline.scheduler.seconds

    def unshared() -> float:
        pipeline.register_to_config(share_halves=False)
        try:
            return ours()
        finally:
            pipeline.register_to_config(share_halves=True)

    return {
        "diffusers, two ControlNets": theirs,
        "CasSR": ours,
        "CasSR without multiple attention": lambda: ours(multiple_attention=False),
        "CasSR, each half its own ControlNet pass": unshared,
    }


@torch.no_grad()
def parts(pipeline: CasSRPipeline, side: int) -> dict[str, float]:
    """Seconds of what a step of CasSR is made of, and of what is done once per image."""
    unet, controlnet = pipeline.unet, pipeline.controlnet
    cell = side // 2 ** (len(pipeline.vae.config.block_out_channels) - 1)
    latents = torch.randn(1, unet.config.in_channels, cell, cell, device=unet.device)
    prompt = pipeline.prompt_embeddings.table[1:3]
    images = torch.rand(2, 3, side, side, device=unet.device)
    t, both = torch.tensor(500, device=unet.device), latents.repeat(2, 1, 1, 1)
    stage, made = pipeline.guidance_stage(), {}

    def timed(name: str, function: Callable[[], Any]) -> Any:
        started = now()
        result = function()
        made[name] = now() - started
        return result

    hints = timed("hints, once per image", lambda: embed_hint(controlnet, images))
    lr, reference = timed(
        "ControlNet, LR and reference",
        lambda: paired_residuals(controlnet, latents, t, prompt[-1:], hints),
    )
    temb = embed_time(unet, both, t)  # of both halves
    skips, mid = timed("U-Net, down and middle", lambda: encode(unet, latents, temb, prompt))
    run_block = stage._block_runner(lr, reference)
    timed("U-Net, up, plain", lambda: decode(unet, mid, skips, temb, prompt))
    timed(
        "U-Net, up, with multiple attention",
        lambda: decode(unet, mid, skips, temb, prompt, run_block),
    )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=("sd15", "mini"), default="sd15")
    parser.add_argument("--side", type=int, default=512, help="pixels")
    parser.add_argument("--rounds", type=int, default=3, help="steps of each, in turns")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--channels-last", action="store_true", help="in both pipelines")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pipeline = build(options.preset)
    if options.channels_last:
        pipeline.optimize()
    runs = contenders(pipeline, options.side)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            seconds[name].append(run())
            print(f"{seconds[name][-1]:8.2f} s  {name}", flush=True)
    result = {
        "options": {k: str(v) for k, v in vars(options).items()},
        "seconds": {name: median(values) for name, values in seconds.items()},
        "parts": parts(pipeline, options.side),
    }
    base = result["seconds"]["diffusers, two ControlNets"]
    result["ratios"] = {name: value / base for name, value in result["seconds"].items()}
    print(json.dumps(result, indent=2))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
