"""From what a user names (stage, preset, folders) to a call of `cassr.training.train.train`."""

from dataclasses import replace
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import gather_object
from diffusers.utils.logging import disable_progress_bar

from cassr.base.errors import TrainingError
from cassr.base.hashes import module_digest
from cassr.config import TrainingSettings
from cassr.photographs.read import Photographs, Stream, digest
from cassr.pipeline import CasSRPipeline
from cassr.training import checkpoints
from cassr.training.log import is_log
from cassr.training.samples.data import TrainingPairs
from cassr.training.samples.prepared import (
    Hands,
    LayerProgress,
    PreparedSamples,
    Skip,
    prepare,
    untold,
)
from cassr.training.samples.recipe import recipe_of
from cassr.training.samples.references import External, References, Stage1
from cassr.training.schedule import settled, worker_count
from cassr.training.stages import Stage, build_objective, get_stage
from cassr.training.start import Start, load_start
from cassr.training.state import TrainingOptions
from cassr.training.train import FIRST_IMAGES, TrainingOutcome, Validate, train

NETWORKS = ("vae", "unet", "controlnet", "attention", "activation")
PREPARING = timedelta(days=7)
"""How long processes wait for the one that prepares the samples of all."""


def run(
    stage: str,
    start: Start,
    photographs: Photographs | Stream,
    settings: TrainingSettings,
    options: TrainingOptions,
    *,
    cache: Path | None = None,
    reference_method: External | None = None,
    validate: Validate | None = None,
    cpu: bool = False,
    report: LayerProgress = untold,
    skip: Skip = untold,
) -> TrainingOutcome:
    """Train a stage from what a user names.

    Args:
        settings: with `samples`, pairs, latents and references are computed once, into `cache`.
        cache: default: `prepared` beside the run's folder.
        reference_method: what makes the reference images of activation "external".
        report, skip: told of the preparation, the first on the main process alone.

    Raises TrainingError: see `cassr.training.train.train`.
    """
    refuse_strangers(options.out)
    recipe = recipe_of(settings, degrade=options.degrade_on == "cpu")
    disable_progress_bar()
    device = PartialState(cpu=cpu, timeout=PREPARING).device
    _refuse_settings(settings, options, device.type)
    settings = settled(settings, on_gpu=device.type == "cuda")
    pipeline = load_start(start, stage)
    pipeline.set_progress_bar_config(disable=True)
    references = _references(get_stage(stage), pipeline, reference_method)
    objective = build_objective(stage, pipeline, settings)  # refuses before preparing
    options = replace(options, identity=_identity(pipeline, photographs, reference_method))
    pairs: TrainingPairs | PreparedSamples | Stream
    if isinstance(photographs, Stream):
        pairs = photographs
    else:
        size = _used_samples(settings, objective.needs_images)
        pairs = TrainingPairs(photographs, recipe, size)
        if size:
            place = cache or options.out.parent / "prepared"
            pipeline.to(device)
            latents = pipeline if get_stage(stage).latents else None
            state, workers = PartialState(), worker_count(options.workers, device.type == "cuda")
            told = report if state.is_main_process else untold
            hands = Hands(
                state.process_index, state.num_processes, workers, gather_object, told, skip
            )
            pairs = prepare(pairs, place, pipeline=latents, references=references, hands=hands)
    made = train(stage, pipeline, pairs, settings, options, references=references,
                 validate=validate, cpu=cpu)  # fmt: skip
    skipped = pairs.skipped if isinstance(pairs, PreparedSamples) else {}
    return replace(made, skipped={**skipped, **made.skipped})


def _refuse_settings(settings: TrainingSettings, options: TrainingOptions, device: str) -> None:
    """Refuse what cannot be done together, on this kind of device, or with what is installed."""
    if settings.samples and options.degrade_on == "device":
        raise TrainingError(
            "degrade_on='device': expected pairs that are made as they are needed, "
            f"found samples={settings.samples}; give --samples 0"
        )
    if settings.precision == "fp16" and device == "cpu":
        raise TrainingError("precision='fp16': expected a GPU, found a CPU; take no or bf16")
    if device == "mps" and options.degrade_on == "device":  # JPEG is computed in double precision
        raise TrainingError("degrade_on='device': expected one with float64, found mps; take cpu")
    if (tracker := options.tracker) != "none" and find_spec(tracker) is None:
        raise TrainingError(f"tracker={tracker!r}: not installed; pip install {tracker}")


def _references(
    stage: Stage, pipeline: CasSRPipeline, method: External | None
) -> References | None:
    """What makes a stage's reference images; refuses a method where none is wanted."""
    wanted = stage.references and pipeline.config["activation_kind"] == "external"
    if wanted != (method is not None):
        expected = "expected" if wanted else "expected none, found"
        raise TrainingError(
            f"stage {stage.name!r}, activation {pipeline.config['activation_kind']!r}: {expected} "
            "--reference-method, which goes with guidance --activation external"
        )
    if not stage.references:
        return None
    return method or Stage1(pipeline)


def _used_samples(settings: TrainingSettings, first_images: bool) -> int | None:
    """How many different pairs a run comes to see, at most those asked for; None for no end."""
    if not settings.samples:
        return None
    step = settings.batch_size * settings.accumulation * PartialState().num_processes
    needed = max(settings.steps * step, FIRST_IMAGES if first_images else 1)
    return min(settings.samples, needed)


def refuse_strangers(out: Path) -> None:
    """Refuse a folder in which a run would replace files that no run has written."""
    tables = [out / "log.csv", out / "validation.csv"]
    strange = [path for path in tables if path.exists() and not is_log(path)]
    if (out / "model").exists() and not checkpoints.found(out / "checkpoints"):
        strange.append(out / "model")
    if strange:
        raise TrainingError(
            f"{strange[0]}: expected nothing, or what a run has written, found something else; "
            "move it away or give another --out"
        )


def _identity(
    pipeline: CasSRPipeline, photographs: Photographs | Stream, method: External | None
) -> dict[str, Any]:
    """What a run starts from (hashes of weights) and learns from; it goes on only with the same."""
    networks = {name: getattr(pipeline, name) for name in NETWORKS}
    start = {name: module_digest(m)[:16] for name, m in networks.items() if m is not None}
    start["activation_kind"] = pipeline.config["activation_kind"]
    data: dict[str, Any]
    if isinstance(photographs, Stream):
        data = {"stream": photographs.label}
    else:
        data = {"photographs": len(photographs), "digest": digest(photographs)}
    return {"start": start, "data": data} | ({"reference": method.identity()} if method else {})
