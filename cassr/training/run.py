"""From what a user names (stage, preset, folders) to a call of `cassr.training.train.train`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import PartialState
from diffusers.utils.logging import disable_progress_bar

from cassr.base.errors import TrainingError
from cassr.build import build_adapters, build_pipeline, build_scheduler, pipeline_from_base
from cassr.config import ActivationKind, Preset, TrainingSettings, get_preset
from cassr.patch_vae import PatchVAE
from cassr.photographs import sets as training_sets
from cassr.photographs.read import FolderPhotographs, Joined, Photographs, Stream, digest, open_hub
from cassr.training import checkpoints
from cassr.training.data import TrainingPairs, recipe_of
from cassr.training.log import is_log
from cassr.training.objectives import build_objective
from cassr.training.prepared import PreparedSamples, Progress, module_digest, prepare
from cassr.training.train import Outcome, RunOptions, Validate, train

if TYPE_CHECKING:
    from cassr.pipeline import CasSRPipeline

PREPARING = timedelta(days=7)
"""How long processes wait for the one that prepares the samples of all."""

STAGES = ("activation", "guidance", "prior", "texture", "vae")


@dataclass(frozen=True)
class Start:
    """What training starts from.

    Attributes:
        preset: "sd15" or "mini".
        source: folder of a saved pipeline or of adapters, or hub id; "" for the preset's base, or
            random weights where it has none.
        activation: kind of stage 1: "scedit", "controlnet", or "lr" for none; None for what the
            source has, "scedit" where it has nothing.
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


def open_photographs(places: Sequence[str], streaming: bool = False) -> Photographs | Stream:
    """Photographs of folders, files, training sets by name ("paper": all five) and "hf:NAME".

    Raises:
        TrainingError: a place that cannot be used, or several with `streaming`.
    """
    hub = [place.removeprefix("hf:") for place in places if place.startswith("hf:")]
    if streaming:
        if len(places) != 1 or not hub:
            raise TrainingError("streaming: expected exactly one --data hf:NAME")
        return open_hub(hub[0], streaming=True)
    local = [file for place in places if not place.startswith("hf:") for file in _named(place)]
    parts: list[Any] = [FolderPhotographs(local)] if local else []
    parts += [open_hub(name) for name in hub]
    if not parts:
        raise TrainingError("data: expected folders, images or hf:NAME, found none")
    return parts[0] if len(parts) == 1 else Joined(parts)


def _named(place: str) -> list[Path]:
    """A path as it is, a training set as its files."""
    if place == "paper":
        return [file for name in training_sets.PAPER for file in training_sets.photographs(name)]
    if Path(place).exists() or os.sep in place:
        return [Path(place)]
    return training_sets.photographs(place)


def load_start(start: Start, stage: str) -> CasSRPipeline:
    """The pipeline that training changes.

    Raises:
        TrainingError: an unknown preset or stage, a source that cannot be loaded, or a stage that
            cannot start from it.
    """
    if stage not in STAGES:
        raise TrainingError(f"stage {stage!r}: expected one of {', '.join(STAGES)}")
    try:
        preset = get_preset(start.preset)
        source = start.source or preset.base
        _refuse(start, stage, preset)
        if start.random or not source:
            pipeline = _random(preset, start)
        else:
            pipeline = _with_wanted_modules(_load(source, preset, start), preset, start, stage)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise TrainingError(f"{start.source or start.preset}: {reason}") from error
    if stage == "texture":
        _add_texture(pipeline, start)
    return pipeline


def _refuse(start: Start, stage: str, preset: Preset) -> None:
    """What would train something other than was meant."""
    if stage in ("vae", "prior") and preset.base:
        raise TrainingError(
            f"stage {stage!r} of preset {preset.name!r}: expected a preset without a base; Stable "
            "Diffusion's VAE and U-Net stay as they are"
        )
    if stage in ("vae", "prior") and start.source and start.fresh:
        raise TrainingError(f"stage {stage!r}: to start anew, leave --from out; found --fresh")
    untrained = stage == "guidance" and preset.base and not start.source
    if untrained and start.activation != "lr" and not start.random:
        raise TrainingError(
            "stage 'guidance' learns from the reference images of stage 1: expected --from and the "
            "model of `train activation`, or --activation lr"
        )


def _random(preset: Preset, start: Start) -> CasSRPipeline:
    return build_pipeline(
        preset,
        activation=start.activation or "scedit",
        multiple_attention=start.multiple_attention is not False,
        seed=start.seed,
    )


def _load(source: str, preset: Preset, start: Start) -> CasSRPipeline:
    from cassr.pipeline import CasSRPipeline

    folder = Path(source)
    if (folder / "cassr.json").is_file():
        return CasSRPipeline.from_adapters(folder)
    if (folder / "model_index.json").is_file() and (folder / "controlnet").is_dir():
        return CasSRPipeline.from_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(start.seed)
        revision = preset.base_revision if source == preset.base else None
        made = pipeline_from_base(
            source,
            revision=revision,
            preset=preset,
            activation=start.activation or "scedit",
            multiple_attention=start.multiple_attention is not False,
        )
    return made.carry_prompts(("", preset.sampling.prompt, preset.sampling.negative_prompt))


def _with_wanted_modules(
    pipeline: CasSRPipeline, preset: Preset, start: Start, stage: str
) -> CasSRPipeline:
    """New modules where the source lacks what is to be trained, or where new ones are wanted."""
    has_kind, has_attention = pipeline.config["activation_kind"], pipeline.attention is not None
    kind = start.activation or has_kind
    attention = has_attention if start.multiple_attention is None else start.multiple_attention
    wrong_kind, wrong_attention = kind != has_kind, attention != has_attention
    if stage == "guidance" and wrong_kind and kind != "lr":
        raise TrainingError(
            f"{start.source}: expected a stage 1 of kind {kind!r}, found {has_kind!r}; train it "
            f"first: train activation --activation {kind}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(start.seed)
        fresh = build_adapters(pipeline.unet, preset, activation=kind, multiple_attention=attention)
    names = ["activation"] if wrong_kind or (stage == "activation" and start.fresh) else []
    if stage in ("prior", "guidance"):
        names += ["controlnet"] * start.fresh + ["attention"] * (start.fresh or wrong_attention)
    if stage in ("vae", "prior"):
        pipeline.register_modules(scheduler=build_scheduler(preset))
        pipeline.register_to_config(
            latent_target=preset.latent_target,
            latent_sigma=preset.latent_sigma,
            sampling=preset.sampling.as_dict(),
        )
    pipeline.register_modules(**{name: fresh[name] for name in names})
    pipeline.register_to_config(activation_kind=kind)
    return pipeline


def _add_texture(pipeline: CasSRPipeline, start: Start) -> None:
    vae = pipeline.vae
    if not isinstance(vae, PatchVAE):
        raise TrainingError(
            f"{start.source or start.preset}: expected a model with a PatchVAE for stage "
            f"'texture', found {type(vae).__name__}"
        )
    if start.fresh or "texture" not in vae.decoder:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(start.seed)
            vae.add_texture()


def run(
    stage: str,
    start: Start,
    photographs: Photographs | Stream,
    settings: TrainingSettings,
    options: RunOptions,
    *,
    cache: Path | None = None,
    validate: Validate | None = None,
    cpu: bool = False,
    report: Progress = lambda layer, done, total: None,
    skip: Callable[[str, str], None] = lambda name, reason: None,
) -> Outcome:
    """Train a stage from what a user names.

    Args:
        settings: with `samples`, pairs, latents and references are computed once, into `cache`.
        cache: default: `prepared` beside the run's folder.
        report, skip: told of the preparation, see `cassr.training.prepared.prepare`.

    Raises:
        TrainingError: see `cassr.training.train.train`.
    """
    refuse_strangers(options.out)
    recipe = recipe_of(settings)
    disable_progress_bar()
    device = PartialState(cpu=cpu, timeout=PREPARING).device
    _check_tools(settings, options, device)
    pipeline = load_start(start, stage)
    pipeline.set_progress_bar_config(disable=True)
    identity = {"start": starting_point(pipeline), "data": _data_identity(photographs)}
    build_objective(stage, pipeline, settings)  # what it refuses is refused before preparing
    options = replace(options, identity=identity)
    pairs: TrainingPairs | PreparedSamples | Stream
    if isinstance(photographs, Stream):
        pairs = photographs
    else:
        pairs = TrainingPairs(photographs, recipe, settings.samples or None)
        if settings.samples:
            place = cache or options.out.parent / "prepared"
            pipeline.to(device)
            with PartialState().main_process_first():
                pairs = _prepared(pairs, stage, pipeline, place, report, skip)
    made = train(stage, pipeline, pairs, recipe, settings, options, validate=validate, cpu=cpu)
    skipped = pairs.skipped if isinstance(pairs, PreparedSamples) else {}
    return replace(made, skipped={**skipped, **made.skipped})


def refuse_strangers(out: Path) -> None:
    """Refuse a folder in which a run would replace files that no run has written.

    Raises:
        TrainingError: names the first.
    """
    tables = [out / "log.csv", out / "validation.csv"]
    strange = [path for path in tables if path.exists() and not is_log(path)]
    if (out / "model").exists() and not checkpoints.found(out / "checkpoints"):
        strange.append(out / "model")
    if strange:
        raise TrainingError(
            f"{strange[0]}: expected nothing, or what a run has written, found something else; "
            "move it away or give another --out"
        )


def _check_tools(settings: TrainingSettings, options: RunOptions, device: torch.device) -> None:
    if settings.precision == "fp16" and device.type == "cpu":
        raise TrainingError("precision='fp16': expected a GPU, found a CPU; take no or bf16")
    if options.tracker != "none" and find_spec(options.tracker) is None:
        raise TrainingError(
            f"tracker={options.tracker!r}: not installed; pip install {options.tracker}"
        )


def _prepared(
    pairs: TrainingPairs,
    stage: str,
    pipeline: CasSRPipeline,
    cache: Path,
    report: Progress,
    skip: Callable[[str, str], None],
) -> PreparedSamples:
    return prepare(
        pairs,
        cache,
        pipeline=None if stage == "vae" else pipeline,
        references=stage == "guidance",
        report=report,
        skip=skip,
    )


def starting_point(pipeline: CasSRPipeline) -> dict[str, str]:
    """Hashes of the modules that a stage starts from."""
    names = ("vae", "unet", "activation", "controlnet", "attention")
    modules = {name: getattr(pipeline, name) for name in names}
    digests = {name: module_digest(m)[:16] for name, m in modules.items() if m is not None}
    return digests | {"activation_kind": pipeline.config["activation_kind"]}


def _data_identity(photographs: Photographs | Stream) -> dict[str, Any]:
    if isinstance(photographs, Stream):
        return {"stream": photographs.label}
    return {"photographs": len(photographs), "digest": digest(photographs)}
