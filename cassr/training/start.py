"""What training starts from: a preset's base, a saved model, or nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cassr.base.errors import TrainingError, first_line
from cassr.build import build_adapters, build_pipeline, build_scheduler, pipeline_from_base
from cassr.config import ActivationKind, Preset, get_preset
from cassr.pipeline import CasSRPipeline
from cassr.training.stages import Stage, get_stage

NO_NETWORK = ("lr", "external")
"""Kinds of stage 1 without a network of their own."""


@dataclass(frozen=True)
class Start:
    """What training starts from.

    Attributes:
        preset: "sd15" or "mini".
        source: folder of a saved pipeline or of adapters, or hub id; "" for the preset's base, or
            random weights where it has none.
        activation: kind of stage 1: "scedit", "controlnet", or for none "lr" or "external"; None
            for what the source has, "scedit" where it has nothing.
        multiple_attention: False trains the plain ControlNet; None for what the source has.
        fresh: give the stage that is trained new weights, where the source has trained ones.
        random: build everything at random, load nothing (a dry run).
        seed: of new weights.
    """

    preset: str = "sd15"
    source: str = ""
    activation: ActivationKind | None = None
    multiple_attention: bool | None = None
    fresh: bool = False
    random: bool = False
    seed: int = 0

    @property
    def modules(self) -> dict[str, Any]:
        """New ones, where the source has none."""
        return {
            "activation": self.activation or "scedit",
            "multiple_attention": self.multiple_attention is not False,
        }


def load_start(start: Start, name: str) -> CasSRPipeline:
    """The pipeline that a stage changes.

    Raises TrainingError: an unknown preset or stage, or a source it cannot be loaded from.
    """
    stage = get_stage(name)
    try:
        preset = get_preset(start.preset)
        source = start.source or preset.base
        _refuse(start, stage, preset)
        if start.random or not source:
            pipeline = build_pipeline(preset, seed=start.seed, **start.modules)
        else:
            pipeline = _with_wanted_modules(_load(source, preset, start), preset, start, stage)
        if stage.complete is not None:
            stage.complete(pipeline, start.fresh, start.seed)
    except (OSError, ValueError) as error:
        raise TrainingError(f"{start.source or start.preset}: {first_line(error)}") from error
    return pipeline


def _refuse(start: Start, stage: Stage, preset: Preset) -> None:
    """What would train something other than was meant."""
    if stage.from_nothing and preset.base:
        raise TrainingError(
            f"stage {stage.name!r} of preset {preset.name!r}: expected a preset without a base; "
            "Stable Diffusion's VAE and U-Net stay as they are"
        )
    if stage.from_nothing and start.source and start.fresh:
        raise TrainingError(f"stage {stage.name!r}: to start anew, leave --from out; found --fresh")
    untrained = stage.references and preset.base and not start.source
    if untrained and start.activation not in NO_NETWORK and not start.random:
        raise TrainingError(
            f"stage {stage.name!r} learns from the reference images of stage 1: expected --from "
            "and the model of `train activation`, --activation lr, or --activation external with "
            "--reference-method"
        )


def _load(source: str, preset: Preset, start: Start) -> CasSRPipeline:
    folder = Path(source)
    if (folder / "cassr.json").is_file():
        return CasSRPipeline.from_adapters(folder)
    if (folder / "model_index.json").is_file() and (folder / "controlnet").is_dir():
        return CasSRPipeline.from_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(start.seed)
        revision = preset.base_revision if source == preset.base else None
        made = pipeline_from_base(source, revision=revision, preset=preset, **start.modules)
    return made.carry_prompts(("", preset.sampling.prompt, preset.sampling.negative_prompt))


def _with_wanted_modules(
    pipeline: CasSRPipeline, preset: Preset, start: Start, stage: Stage
) -> CasSRPipeline:
    """New modules where the source lacks what is to be trained, or where new ones are wanted."""
    has_kind, has_attention = pipeline.config["activation_kind"], pipeline.attention is not None
    kind = start.activation or has_kind
    attention = has_attention if start.multiple_attention is None else start.multiple_attention
    wrong_kind, wrong_attention = kind != has_kind, attention != has_attention
    if stage.references and wrong_kind and kind not in NO_NETWORK:
        raise TrainingError(
            f"{start.source}: expected a stage 1 of kind {kind!r}, found {has_kind!r}; train it "
            f"first: train activation --activation {kind}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(start.seed)
        fresh = build_adapters(pipeline.unet, preset, kind, attention)
    unfit = {"activation"} if wrong_kind else set()
    unfit |= {"attention"} & {*stage.adapters} if wrong_attention else set()
    names = unfit | {*stage.adapters} if start.fresh else unfit
    if stage.from_nothing:
        pipeline.register_modules(scheduler=build_scheduler(preset))
        pipeline.register_to_config(
            latent_target=preset.latent_target,
            latent_sigma=preset.latent_sigma,
            sampling=preset.sampling.as_dict(),
        )
    pipeline.register_modules(**{name: fresh[name] for name in names})
    pipeline.register_to_config(activation_kind=kind)
    _ = pipeline.latent_space  # refused here, where the model is named
    return pipeline
