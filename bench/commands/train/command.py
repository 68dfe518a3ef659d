"""`train`: CasSR's stages, exactly as the paper says or as options say otherwise."""

from __future__ import annotations

from bench.commands import options as o
from bench.commands.train.groups import grouped
from bench.commands.train.options import DryRun, Reading, Reporting, Settings, Source, Stage


@grouped
def train(
    stage: Stage,
    source: Source,
    settings: Settings,
    reading: Reading,
    reporting: Reporting,
    device: o.Device = "auto",
    dry_run: DryRun = False,
    as_json: o.AsJson = False,
) -> None:
    """Train a stage of CasSR.

    The same command goes on where it was stopped or killed. On several GPUs or machines:
    accelerate launch -m bench train guidance ...
    """
    o.one_of("--preset", source.preset, "sd15", "mini")
    o.one_of(
        "--activation", source.activation or "scedit", "scedit", "controlnet", "lr", "external"
    )
    o.one_of("--loss", settings.loss, "noise", "image")
    o.one_of("--precision", settings.precision or "auto", "auto", "no", "bf16", "fp16")
    o.one_of("--tracker", reporting.tracker, "none", "tensorboard", "wandb")
    from bench.commands.train.stage import Run

    run = Run(stage, source, settings, reading, reporting, device, as_json)
    run.plan() if dry_run else run.train()
